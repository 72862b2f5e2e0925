//! Tenants and lanes that are wrong, and therefore stay as they were.

use std::fmt;

use crate::config::Config;
use crate::config::problem::Report;

/// What was left out: `[tenants.NAME]` or `[lanes.NAME]`, by the name as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// `[tenants.NAME]`
    Tenant(String),
    /// `[lanes.NAME]`
    Lane(String),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(name) => write!(f, "tenant {}", name.escape_debug()),
            Self::Lane(name) => write!(f, "lane {}", name.escape_debug()),
        }
    }
}

/// An entry that was left out, so that one slip does not hold up everybody else's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Which.
    pub entry: Entry,
    /// What is wrong with it.
    pub report: Report,
}

impl Config {
    /// Gives the entries that were left out of this configuration the value they have in
    /// `previous`. One that has none there is not there.
    pub fn keep_quarantined(&mut self, quarantined: &[Quarantined], previous: &Self) {
        for Quarantined { entry, .. } in quarantined {
            match entry {
                Entry::Tenant(name) => {
                    let kept = previous.tenants.get_key_value(name.as_str());
                    self.tenants.extend(kept.map(|(name, tenant)| (*name, tenant.clone())));
                }
                Entry::Lane(name) => {
                    let kept = previous.lanes.get_key_value(name.as_str());
                    self.lanes.extend(kept.map(|(name, lane)| (*name, lane.clone())));
                }
            }
        }
    }
}
