//! `[leases]`, `[protection]` and `[limits]`: what a node keeps, for how long, and how much of it.

use std::time::Duration;

use crate::config::reading::{DAY, HOUR, KIBIBYTE, MEBIBYTE, MILLISECOND, MINUTE, SECOND, Section};

/// `[leases]`: how long the silent are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leases {
    /// How long an instance may be silent, unless it says otherwise itself: 1 s to 1 h.
    pub lease: Duration,
    /// How often the silent are looked for: 100 ms to 10 min.
    pub pass: Duration,
    /// How long one is kept at most while the registry protects itself: 1 s to 24 h.
    pub ceiling: Duration,
    /// Share of the registry one pass evicts at most: 0.01 to 1.0.
    pub evict: f64,
    /// How long is remembered that an instance went: 1 s to 7 days, and longer than `ceiling`.
    pub tombstones: Duration,
    /// How far ahead of ours the clock of another node may be before it is left out of account: 1 s
    /// to 1 h.
    pub drift: Duration,
}

/// `[protection]`: when silence is rather our own fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protection {
    /// Whether there is any.
    pub enabled: bool,
    /// Over how long losses are counted: 1 s to 24 h.
    pub window: Duration,
    /// Share of the instances of a zone and lane that must be lost in silence: 0.0 to 1.0.
    pub share: f64,
    /// How many must be lost at least: 1 to 1,000,000.
    pub least: u32,
}

/// `[limits]`: bounds on what clients can make a node hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Instances, those that went and are remembered included: 1 to 10,000,000.
    pub instances: u32,
    /// Connections at a time: 1 to 1,000,000.
    pub connections: u32,
    /// Requests that wait for news at a time: 1 to 1,000,000.
    pub watchers: u32,
    /// Bytes of a request's body: 4 KiB to 64 MiB.
    pub body: u32,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(90),
            pass: MINUTE,
            ceiling: HOUR,
            evict: 0.15,
            tombstones: 2 * HOUR,
            drift: 5 * MINUTE,
        }
    }
}

impl Leases {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        let read = Self {
            lease: section.period("lease", SECOND..=HOUR, base.lease),
            pass: section.period("pass", 100 * MILLISECOND..=10 * MINUTE, base.pass),
            ceiling: section.period("ceiling", SECOND..=DAY, base.ceiling),
            evict: section.number("evict", 0.01..=1.0, base.evict),
            tombstones: section.period("tombstones", SECOND..=7 * DAY, base.tombstones),
            drift: section.period("drift", SECOND..=HOUR, base.drift),
        };
        section.ordered(("lease", read.lease), ("ceiling", read.ceiling));
        // What is forgotten to have gone could come back from a node that was cut off.
        section.ordered(("ceiling", read.ceiling), ("tombstones", read.tombstones));
        read
    }
}

impl Default for Protection {
    fn default() -> Self {
        Self { enabled: true, window: 15 * MINUTE, share: 0.15, least: 3 }
    }
}

impl Protection {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            enabled: section.flag("enabled", base.enabled),
            window: section.period("window", SECOND..=DAY, base.window),
            share: section.number("share", 0.0..=1.0, base.share),
            least: section.integer("least", 1..=1_000_000, base.least),
        }
    }
}

impl Default for RegistryLimits {
    fn default() -> Self {
        let (instances, connections, watchers) = (1_000_000, 20_000, 20_000);
        Self { instances, connections, watchers, body: 4 * MEBIBYTE }
    }
}

impl RegistryLimits {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            instances: section.integer("instances", 1..=10_000_000, base.instances),
            connections: section.integer("connections", 1..=1_000_000, base.connections),
            watchers: section.integer("watchers", 1..=1_000_000, base.watchers),
            body: section.size("body", 4 * KIBIBYTE..=64 * MEBIBYTE, base.body),
        }
    }
}
