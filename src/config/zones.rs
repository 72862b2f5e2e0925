//! `clusters` and `zones`: which of a service's instances a sidecar prefers by where they run.

use std::sync::Arc;

use serde::Serialize;

use crate::config::reading::Section;

/// Clusters a service names at most.
const MOST_CLUSTERS: usize = 64;

/// `zones`: which zone's instances are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Zones {
    /// Whether those of our own zone are, while they have room.
    pub prefer: bool,
    /// How much more an instance of the preferred zone may get than the average of all before
    /// requests go to other zones: 1.0 to 10.0.
    pub slack: f64,
}

impl Default for Zones {
    fn default() -> Self {
        Self { prefer: true, slack: 1.4 }
    }
}

impl Zones {
    pub(super) fn read(section: &mut Section<'_>, base: Self) -> Self {
        Self {
            prefer: section.flag("prefer", base.prefer),
            slack: section.number("slack", 1.0..=10.0, base.slack),
        }
    }
}

/// Reads `clusters`.
pub(super) fn read_clusters(section: &mut Section<'_>, base: &[Arc<str>]) -> Vec<Arc<str>> {
    let shown = format!("{base:?}");
    let mut seen: Vec<Arc<str>> = Vec::new();
    let read = section.list("clusters", ("clusters, at most 64", &shown), |value| {
        let cluster: Arc<str> = value.label()?.into();
        if seen.contains(&cluster) {
            return value.refuse(format!("names {cluster} twice"), "remove one of the two");
        }
        if seen.len() == MOST_CLUSTERS {
            return value.refuse("has more than 64 clusters", "remove some of them");
        }
        seen.push(Arc::clone(&cluster));
        Some(cluster)
    });
    read.unwrap_or_else(|| base.to_vec())
}
