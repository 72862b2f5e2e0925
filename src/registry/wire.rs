//! Our own watch: what a sidecar asks of `POST /v1/watch`, and what it is answered.
//!
//! A watcher says what it watches and where it is: the node it last spoke to and that node's index.
//! The answer comes as soon as there is something newer, else after `wait_ms`. It holds only what
//! changed; a hash of each service's content lets the watcher know that it now has what the node
//! has, and ask for the whole if it does not.
//!
//! ```text
//! first        index 0                       → everything, in full
//! then         node, index                   → what changed since (`set`, `gone`), or nothing
//! another node index 0, `known` hashes       → in full, those that differ
//! mismatch     `known` without that service  → that one in full
//! ```
//!
//! Names are JSON's, times unix nanoseconds, hashes 32 hexadecimal digits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Lane, Tenant};
use crate::registry::record::{Id, Record, Standing};

/// The path of the watch.
pub const WATCH_PATH: &str = "/v1/watch";

/// What a watcher asks: `POST /v1/watch`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchRequest {
    /// The environment it lives in.
    pub env: Arc<str>,
    /// Names of services, or patterns: `*` is all, `*.shop` those that end so. At most 10,000.
    pub services: Vec<Arc<str>>,
    /// Who asks, for the operator: its host's or pod's name.
    pub consumer: Arc<str>,
    /// The zone it runs in, for schedulers; may be empty.
    pub zone: Arc<str>,
    /// The `node` of the last answer; empty at first.
    pub node: Arc<str>,
    /// The `index` of the last answer; 0 at first: then what there is comes at once.
    pub index: u64,
    /// With `index` 0: the content it has, by service, as [`ServiceChange::hash`]. Only what differs
    /// is sent, and what no longer exists is said to be gone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<Arc<str>, Id>,
    /// Whether it wants tenant rules.
    pub rules: bool,
    /// [`RulesChange::hash`] of the rules it has; none: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_rules: Option<Id>,
    /// How long the answer may wait for news, in milliseconds: at most 60,000; 0 answers at once.
    pub wait_ms: u32,
}

/// The answer of 200.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WatchAnswer {
    /// The run of the node that answers: another one has another index.
    pub node: Arc<str>,
    /// Where the watcher now is.
    pub index: u64,
    /// What changed, by service.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<Arc<str>, ServiceChange>,
    /// The tenant rules, whole, if they are wanted and others than those known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesChange>,
    /// Whether the node protects itself: it keeps instances it has not heard of for long.
    #[serde(default)]
    pub protected: bool,
    /// Whether the node began less than a lease ago, so that some who are there may not have spoken
    /// to it yet: what it does not name need not be gone.
    #[serde(default)]
    pub filling: bool,
}

/// What changed of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceChange {
    /// Whether `set` is all there is, and whatever else the watcher has is gone.
    #[serde(default)]
    pub full: bool,
    /// The exclusive or of [`SeenInstance::hash`] over all instances the service now has.
    pub hash: Id,
    /// Instances that came or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<SeenInstance>,
    /// Instances that went, as `zone/hostname`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Arc<str>>,
    /// How callers of each zone are to spread over the zones, if someone has said so:
    /// `from zone → to zone → weight`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scheduler: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
}

/// One instance, as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeenInstance {
    /// Its zone.
    pub zone: Arc<str>,
    /// Its name there.
    pub hostname: Arc<str>,
    /// Where it takes requests.
    pub addrs: Vec<Arc<str>>,
    /// Its version; may be empty.
    #[serde(default)]
    pub version: Arc<str>,
    /// Whatever else it says.
    #[serde(default)]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether it takes traffic.
    #[serde(default)]
    pub status: Standing,
    /// Its number among the copies of its service.
    #[serde(default)]
    pub slot: u32,
    /// Its content hash: [`SeenInstance::content_hash`], which the watcher need not compute.
    pub hash: Id,
}

impl SeenInstance {
    /// What a watcher sees of a record; none if the instance is gone.
    pub fn of(record: &Record) -> Option<Self> {
        let live = record.live()?;
        Some(Self {
            zone: record.key.zone.clone(),
            hostname: record.key.hostname.clone(),
            addrs: live.addrs.clone(),
            version: live.version.clone(),
            metadata: live.metadata.clone(),
            status: live.status,
            slot: live.slot,
            hash: Self::content_hash(record),
        })
    }

    /// Returns the hash of a record as a watcher sees it: of its id and version, which no two
    /// contents have in common.
    pub fn content_hash(record: &Record) -> Id {
        use sha1::Digest as _;
        let mut hash = sha1::Sha1::new();
        hash.update(record.key.id().0.to_be_bytes());
        hash.update(record.version.at.to_be_bytes());
        hash.update(record.version.node.0.to_be_bytes());
        Id(crate::registry::record::first_128_bits(&hash.finalize()))
    }

    /// Returns the name by which `gone` speaks of it.
    pub fn name(zone: &str, hostname: &str) -> Arc<str> {
        format!("{zone}/{hostname}").into()
    }
}

/// The tenant rules, whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RulesChange {
    /// The hash of the rules, for `known_rules`.
    pub hash: Id,
    /// As `[tenants.NAME]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<Arc<str>, Tenant>,
    /// As `[lanes.NAME]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lanes: BTreeMap<Arc<str>, Lane>,
}
