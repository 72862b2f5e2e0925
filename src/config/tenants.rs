//! `[tenants.NAME]` and `[lanes.NAME]`: where tenants go, and what lanes fall back to.

use serde::{Deserialize, Serialize};

use crate::config::reading::Section;
use crate::config::written;
use crate::model::LaneName;

/// Lanes a `fallback` list has at most.
const MOST_FALLBACKS: usize = 8;

/// `[tenants.NAME]`: what is particular to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tenant {
    /// The lane it is sent to; none: the one of its own name.
    pub lane: Option<LaneName>,
    /// Turned off, it is routed as if it were no tenant, and still carried onward.
    #[serde(
        rename = "enabled",
        serialize_with = "written::inverse",
        deserialize_with = "written::read_inverse"
    )]
    pub disabled: bool,
    /// Whether its requests fail rather than reach the baseline.
    pub strict: bool,
}

/// What becomes of a request whose rung has instances of which none is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnhealthy {
    /// It goes on to the next rung, as if there were none.
    #[default]
    Fallback,
    /// It fails: 503, reason `no_instance`.
    Fail,
}

/// `[lanes.NAME]`: what is particular to a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lane {
    /// The lanes tried, in order, after the lane and its dotted parents, before the baseline. At
    /// most 8.
    pub fallback: Vec<LaneName>,
    /// Whether requests of this lane fail rather than reach the baseline.
    pub strict: bool,
    /// What becomes of a request that finds this lane's instances unhealthy.
    pub on_unhealthy: OnUnhealthy,
}

impl Tenant {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            lane: section.name("lane"),
            disabled: !section.flag("enabled", true),
            strict: section.flag("strict", false),
        }
    }
}

impl OnUnhealthy {
    const WORDS: [(&'static str, Self); 2] = [("fallback", Self::Fallback), ("fail", Self::Fail)];
}

impl Lane {
    /// Returns whether the file could say this of the lane `own`: for what is written elsewhere.
    pub fn makes_sense(&self, own: &LaneName) -> bool {
        let mut lanes = self.fallback.iter().enumerate();
        let named_before =
            |at: usize, it: &LaneName| self.fallback.iter().take(at).any(|one| one == it);
        self.fallback.len() <= MOST_FALLBACKS
            && lanes.all(|(at, it)| it != own && !named_before(at, it))
    }

    /// Reads the lane `own`.
    pub(super) fn read(section: &mut Section<'_>, own: LaneName) -> Self {
        let mut fallback: Vec<LaneName> = Vec::new();
        section.list("fallback", ("lanes, at most 8", "[]"), |value| {
            let lane = value.name()?;
            if lane == own {
                return value.refuse("names the lane itself", "remove it");
            }
            if fallback.contains(&lane) {
                return value.refuse(format!("names {lane} twice"), "remove one of the two");
            }
            if fallback.len() == MOST_FALLBACKS {
                return value.refuse("has more than 8 lanes", "remove those that are tried last");
            }
            fallback.push(lane);
            Some(())
        });
        Self {
            fallback,
            strict: section.flag("strict", false),
            on_unhealthy: section.choice(
                "on_unhealthy",
                &OnUnhealthy::WORDS,
                OnUnhealthy::Fallback,
            ),
        }
    }
}
