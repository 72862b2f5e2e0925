//! Shows the operator what the sidecar is doing: metrics, health, configuration, catalog,
//! decisions.
//!
//! Everything here reads and changes nothing. A decision is explained by the function that makes
//! it on the data path, called on a snapshot of the same world.
//!
//! ```text
//! /metrics  counters          /config   file, generation, last error, effective values
//! /healthz  we run            /catalog  services → lanes → instances, with their load
//! /readyz   we take traffic   /decide   where a request would go, and why
//! ```
//!
//! Floor 5: uses [`proxy`](crate::proxy) and what is below.

mod catalog;
mod decide;
mod listener;
mod routes;
mod state;
#[cfg(test)]
mod tests;

pub use catalog::{InstanceView, LaneView, LoadView, ServiceView};
pub use decide::{Explanation, Question, Refusal, Tried, explain};
pub use listener::serve;
pub use state::{LoadError, Quarantined, RulesView, State, Status};
