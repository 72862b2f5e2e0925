//! `[tenants.NAME]` and `[lanes.NAME]`: where tenants go, and what lanes fall back to.

use crate::model::LaneName;

/// `[tenants.NAME]`: what is particular to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tenant {
    /// The lane it is sent to; none: the one of its own name.
    pub lane: Option<LaneName>,
    /// Turned off, it is routed as if it were no tenant, and still carried onward.
    pub disabled: bool,
    /// Whether its requests fail rather than reach the baseline.
    pub strict: bool,
}

/// What becomes of a request whose rung has instances of which none is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnhealthy {
    /// It goes on to the next rung, as if there were none.
    #[default]
    Fallback,
    /// It fails: 503, reason `no_instance`.
    Fail,
}

/// `[lanes.NAME]`: what is particular to a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lane {
    /// The lanes tried, in order, after the lane and its dotted parents, before the baseline. At
    /// most 8.
    pub fallback: Vec<LaneName>,
    /// Whether requests of this lane fail rather than reach the baseline.
    pub strict: bool,
    /// What becomes of a request that finds this lane's instances unhealthy.
    pub on_unhealthy: OnUnhealthy,
}
