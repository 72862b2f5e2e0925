//! Picks the endpoint of a rung that a request goes to.
//!
//! [`Endpoints`] are the instances of one rung with what we learned of each: how long it takes to
//! answer, how many requests it has, whether it fails. Nothing here leaves the rung, whatever
//! happens in it; which rung it is was decided before.
//!
//! ```text
//!            draw two by weight ─► the less loaded ─► Flight ─► how it ended
//!                  ▲                     ▲                          │
//!          ejected, unreachable    latency × in flight  ◄───────────┘
//! ```
//!
//! Of the instances of a rung we send to a few, if there are many: a [`subset()`], shared out evenly over
//! all clients. Where they run in several zones, a draw begins with that of a zone: our own, while it
//! has room, or as a scheduler says.
//!
//! Three things keep requests away from an endpoint. *Ejection*: it answers, and fails too often in
//! a row. It is a judgement, so it is bounded: a share of the rung at most, and never the last one
//! that is well. *Unreachable*: connecting to it fails too often in a row. That is a fact, so it is
//! not bounded, and a rung of which no endpoint can be reached counts as unhealthy. Both are for a
//! period that doubles. *Unhealthy*: probes say so, until they say otherwise; it counts as
//! unreachable. All three end in a slow return, and an endpoint that comes to others starts as
//! slowly. If nobody is well, a pick takes who is ejected rather than nobody, then who is
//! unreachable.
//!
//! State is a handful of atomics an endpoint, shared by all worker threads, and outlives a
//! reload. Each is a number that means something by itself and guards no other memory, so
//! `Relaxed` is enough for all of them; the one exception says so.
//!
//! `now` is the time since one fixed origin of the process, by a clock that never goes back.
//!
//! Floor 2: uses [`model`](crate::model) and [`config`](crate::config).

mod choice;
mod draw;
mod endpoint;
mod load;
mod outlier;
mod pick;
mod ramp;
mod shares;
mod site;
mod subset;
#[cfg(test)]
mod tests;
mod zone;

pub use choice::View;
pub use endpoint::{End, Endpoint, Flight};
pub use pick::Endpoints;
pub use site::Site;
pub use subset::{Place, subset};
pub use zone::ZoneState;

use crate::model::Instance;

/// A weight a draw can use, whatever a source said.
fn weight(instance: &Instance) -> u32 {
    instance.weight.clamp(1, 10_000)
}

#[expect(clippy::cast_precision_loss, reason = "a load is an estimate")]
fn float(number: u32) -> f32 {
    number as f32
}
