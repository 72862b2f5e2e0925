//! Who a node is, and its bounds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::registry::record::NodeId;
use crate::registry::store;

/// Who a node is, and its bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Its number among all nodes; none: drawn once, and kept in `data`.
    pub id: Option<NodeId>,
    /// The region it runs in; may be empty.
    pub region: Arc<str>,
    /// The zone it runs in.
    pub zone: Arc<str>,
    /// The environment it registers itself in.
    pub env: Arc<str>,
    /// What it calls itself.
    pub host: Arc<str>,
    /// Where others reach it, as `host:port`; none: where it listens.
    pub advertise: Option<Arc<str>>,
    /// How long things last in the store.
    pub store: store::Settings,
    /// How often it renews its own registration.
    pub renew: Duration,
    /// How long a poll without news is held.
    pub hold: Duration,
    /// The directory for what outlives the process; none: nothing does.
    pub data: Option<PathBuf>,
    /// The directory of files that say how zones spread their requests; none: nothing is said.
    pub schedulers: Option<PathBuf>,
    /// Who may write tenant rules: who says this; none: nobody.
    pub token: Option<Arc<str>>,
    /// Nodes of its own zone, as `host:port`.
    pub peers: Vec<Arc<str>>,
    /// Nodes of other zones.
    pub zones: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Connections at a time.
    pub connections: usize,
    /// Requests that wait for news at a time; a tenth of the connections is kept from them all the
    /// same.
    pub watchers: usize,
    /// Longest body of a request, in bytes.
    pub body: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            id: None,
            region: "".into(),
            zone: "default".into(),
            env: "prod".into(),
            host: "localhost".into(),
            advertise: None,
            store: store::Settings::default(),
            renew: Duration::from_secs(30),
            hold: Duration::from_secs(30),
            data: None,
            schedulers: None,
            token: None,
            peers: Vec::new(),
            zones: BTreeMap::new(),
            connections: 20_000,
            watchers: 20_000,
            body: 4 << 20,
        }
    }
}

impl Settings {
    /// Returns how many may wait: never so many that no connection is left for heartbeats.
    pub(super) fn most_watchers(&self) -> usize {
        self.watchers.min(self.connections - self.connections / 10)
    }
}
