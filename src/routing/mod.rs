//! Decides which rung of a service a request goes to, and says why.
//!
//! Routing is a function of these values and of nothing else:
//!
//! ```text
//! Config   what the operator wrote  ─┐
//! Catalog  what the sources found   ─┴─► RouteTable ─┐
//! ServiceId  what is called ─────────────────────────┼─►  decide()  ─►  Decision, Trail
//! Who        whose request it is ────────────────────┤
//! available  which rungs are healthy now ────────────┘
//! ```
//!
//! The ladder of a tenant is: its lane (`tenants.T.lane`, else the one of its own name), the lane's
//! dotted parents, the lane's `fallback` list, the baseline. The first rung that has a healthy
//! instance is taken. Whoever has no tenant has the baseline and nothing else.
//!
//! A lane without a `[lanes.NAME]` section has that of its nearest dotted parent with one. So a
//! lane nobody wrote down or registered is treated as its nearest parent is. Sections of tenants
//! are not inherited: dots make a hierarchy of lanes, not of people.
//!
//! `strict`, of the tenant, its lane or the service, takes the baseline off the ladder. It says
//! nothing to a request without a tenant, for which the baseline is no fallback.
//!
//! No clock, no socket, no lock, no `async`. The data path and `explain` call the same function,
//! and any case can be written as a test with three literals. The cost of a decision depends on
//! the length of one ladder, not on how many tenants, services or instances there are; it
//! allocates nothing.
//!
//! Floor 2: uses [`model`](crate::model) and [`config`](crate::config).

mod decision;
mod host;
mod ladder;
mod rule;
mod share;
mod table;
#[cfg(test)]
mod tests;

pub use decision::{Decision, Outcome, Reason, Step, Trail};
pub use rule::{Coloring, RuleTable};
pub use table::{RouteTable, Rung, RungId, ServiceId, ServiceRoute};

use crate::model::{LaneName, TenantId};

/// Whose request is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// Nobody's we know of: it goes to the baseline.
    Nobody,
    /// A tenant's.
    Tenant(TenantId),
    /// A sandbox's own, made without any context: it goes to that lane, whatever the operator said
    /// of the tenant of that name.
    Lane(LaneName),
}

/// Decides which rung of `service` a request of `who` goes to.
///
/// `available` tells of a rung that has instances which are up whether one of them is healthy. It
/// is asked at most once for each rung of the ladder, the baseline included, and only until one is
/// taken; whether the baseline is still tried when all its instances fail is the caller's answer
/// there.
/// `trail` hears of every rung in order; `&mut ()` does not listen and costs nothing.
///
/// A `service` of another table has no instance here.
pub fn decide(
    table: &RouteTable,
    service: ServiceId,
    who: &Who,
    available: impl Fn(RungId) -> bool,
    trail: &mut impl Trail,
) -> Decision {
    let Some(start) = table.start(service) else { return Decision::NO_INSTANCE };
    let ladders = table.ladders();
    let ladder = match who {
        Who::Nobody => return start.baseline(Reason::Baseline, available, trail),
        Who::Tenant(tenant) => ladders.of_tenant(tenant, trail),
        Who::Lane(lane) => Some(ladders.of_lane(lane, trail)),
    };
    let Some(ladder) = ladder else {
        return start.baseline(Reason::Disabled, available, trail);
    };
    let mut below = Reason::Absent;
    for (lane, reason) in ladder.lanes() {
        let name = ladders.name(lane);
        match table.foothold(start, lane) {
            None => trail.tried(name, Outcome::Absent),
            Some(it) if it.is_up && available(it.rung) => {
                trail.tried(name, Outcome::Taken);
                return Decision { rung: Some(it.rung), lane: name.copied(), reason };
            }
            Some(it) if it.fails => {
                trail.tried(name, Outcome::Failed);
                return Decision::NO_INSTANCE;
            }
            Some(_) => {
                trail.tried(name, Outcome::Unhealthy);
                below = Reason::Unhealthy;
            }
        }
    }
    if ladder.is_strict || start.is_strict {
        trail.tried(None, Outcome::Strict);
        return Decision::NO_INSTANCE;
    }
    start.baseline(below, available, trail)
}
