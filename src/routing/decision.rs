//! A decision, what was tried on the way to it, and why.

use std::fmt;

use serde::Serialize;

use crate::model::LaneName;
use crate::routing::RungId;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The rung it goes to; none if the ladder is exhausted. Means something to its table only.
    #[serde(skip)]
    pub rung: Option<RungId>,
    /// The lane of that rung; none is the baseline, or no rung at all.
    pub lane: Option<LaneName>,
    /// Why it goes there.
    pub reason: Reason,
}

impl Decision {
    /// No rung had an instance to take the request.
    pub(super) const NO_INSTANCE: Self =
        Self { rung: None, lane: None, reason: Reason::NoInstance };

    /// Returns the lane as people and metrics see it: `baseline` for the baseline, `none` where
    /// there is no rung.
    pub fn lane_label(&self) -> &str {
        match (&self.rung, &self.lane) {
            (None, _) => "none",
            (Some(_), None) => "baseline",
            (Some(_), Some(lane)) => lane.as_str(),
        }
    }
}

/// Why a request goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has no tenant: the baseline.
    Baseline,
    /// The tenant's own lane has a healthy instance.
    Exact,
    /// A dotted parent of the lane has; no rung before it.
    Parent,
    /// A lane of the `fallback` list has; no rung before it.
    Fallback,
    /// No lane of the ladder has an instance: the baseline.
    Absent,
    /// No lane of the ladder has a healthy instance, and one or more have unhealthy ones: the
    /// baseline.
    Unhealthy,
    /// The operator turned the tenant off: the baseline.
    Disabled,
    /// The ladder is exhausted; the trail says how.
    NoInstance,
}

impl Reason {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Baseline,
        Self::Exact,
        Self::Parent,
        Self::Fallback,
        Self::Absent,
        Self::Unhealthy,
        Self::Disabled,
        Self::NoInstance,
    ];

    /// Returns the word for it in metrics, logs and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Exact => "exact",
            Self::Parent => "parent",
            Self::Fallback => "fallback",
            Self::Absent => "absent",
            Self::Unhealthy => "unhealthy",
            Self::Disabled => "disabled",
            Self::NoInstance => "no_instance",
        }
    }

    /// Returns whether a tenant's request left the tenant's own lane.
    pub fn is_fallback(self) -> bool {
        matches!(self, Self::Parent | Self::Fallback | Self::Absent | Self::Unhealthy)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// What was found at a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A healthy instance: the request goes there.
    Taken,
    /// No instance.
    Absent,
    /// Instances, none of them up and healthy.
    Unhealthy,
    /// The same, of a lane with `on_unhealthy = "fail"`: nothing more is tried.
    Failed,
    /// The baseline, which `strict` forbids.
    Strict,
}

impl Outcome {
    /// Returns the word for it in what `explain` prints.
    pub fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Absent => "absent",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Strict => "strict",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// Hears what a decision tried, in order.
pub trait Trail {
    /// Whether anything is done with what is heard; what is not heard need not be worked out.
    const LISTENS: bool = true;

    /// The rung of that lane was tried; none is the baseline.
    fn tried(&mut self, lane: Option<&LaneName>, outcome: Outcome);
}

impl Trail for () {
    const LISTENS: bool = false;

    fn tried(&mut self, _: Option<&LaneName>, _: Outcome) {}
}

/// One rung that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its lane; none is the baseline.
    pub lane: Option<LaneName>,
    /// What was found there.
    pub outcome: Outcome,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lane = self.lane.as_ref().map_or("baseline", LaneName::as_str);
        write!(f, "{lane}: {}", self.outcome)
    }
}

impl Trail for Vec<Step> {
    fn tried(&mut self, lane: Option<&LaneName>, outcome: Outcome) {
        self.push(Step { lane: lane.copied(), outcome });
    }
}
