//! One rule: what operators want, and what is written of it.

use serde::{Deserialize, Serialize};

use crate::config::{Lane, Tenant};
use crate::model::{LaneName, TenantId};
use crate::registry::record::Version;
use crate::registry::rules::MOST;

/// Lanes a `fallback` list has at most.
const MOST_FALLBACKS: usize = 8;
/// Why a rule is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The table is full.
    #[error("there are {MOST} tenants and lanes already, those removed included")]
    Full,
    /// A lane falls back to itself.
    #[error("lane {0} falls back to itself")]
    Itself(LaneName),
    /// A lane falls back to another one twice.
    #[error("lane {0} is in the list twice")]
    Twice(LaneName),
    /// A lane falls back to too many others.
    #[error("a lane falls back to at most {MOST_FALLBACKS} others")]
    TooMany,
}

/// What is written of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<N, V> {
    /// Of which.
    pub name: N,
    /// When, in the order all nodes agree on.
    pub version: Version,
    /// What; none: it was removed.
    pub value: Option<V>,
    /// Until when, if not for good.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until<V>>,
}

fn none<V>() -> Option<Until<V>> {
    None
}

/// The end of what is said for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until<V> {
    /// When that is, in unix nanoseconds.
    pub at: u64,
    /// What is said from then on; none: nothing.
    pub then: Option<V>,
}

/// One rule, as nodes send it to each other and as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// As `[tenants.NAME]`.
    Tenant(Entry<TenantId, Tenant>),
    /// As `[lanes.NAME]`.
    Lane(Entry<LaneName, Lane>),
}

/// What an operator wants of one name; none: that nothing is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Of a tenant.
    Tenant(TenantId, Option<Tenant>),
    /// Of a lane.
    Lane(LaneName, Option<Lane>),
}

impl Edit {
    /// Refuses what `sidecar.toml` could not say either.
    pub(super) fn check(&self) -> Result<(), InvalidRule> {
        let Self::Lane(own, Some(lane)) = self else { return Ok(()) };
        if lane.fallback.len() > MOST_FALLBACKS {
            return Err(InvalidRule::TooMany);
        }
        if lane.fallback.contains(own) {
            return Err(InvalidRule::Itself(*own));
        }
        let mut others = lane.fallback.iter().enumerate();
        let twice = others.find(|(at, it)| lane.fallback.iter().take(*at).any(|one| one == *it));
        twice.map_or(Ok(()), |(_, it)| Err(InvalidRule::Twice(*it)))
    }
}
