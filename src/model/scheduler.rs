//! How the callers of each zone spread over the zones of a service, where someone has said so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How the callers of each zone spread over the zones of a service: weights, by the caller's zone
/// and then by the zone of the instances.
///
/// Callers of a zone it does not name, or that it gives no weight at all, go by what they prefer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scheduler(BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>);

impl Scheduler {
    /// A scheduler of these weights: `from zone → to zone → weight`.
    pub fn new(weights: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>) -> Self {
        Self(weights)
    }

    /// Returns the weights for callers of `zone`; none if it says nothing of them.
    pub fn of_callers_in(&self, zone: &str) -> Option<&BTreeMap<Arc<str>, u32>> {
        self.0.get(zone).filter(|zones| zones.values().any(|weight| *weight > 0))
    }
}
