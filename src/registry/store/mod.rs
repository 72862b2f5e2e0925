//! The records of one node: leases, versions, and what changed.
//!
//! ```text
//! clients ─► register renew cancel alter ─┐              ┌─► services, by index and hash; applications, for Eureka
//! peers   ─► merge hear ──────────────────┼─► the table ─┼─► changes, for watchers and peers
//! time    ─► pass ────────────────────────┘              └─► digest, for peers
//! ```
//!
//! Every node writes without asking another. The later writing of a record wins, on every node
//! alike, so nodes that have heard the same have the same, whatever the order. No clock, no socket,
//! no lock: whoever owns a store brings the time.

mod apps;
mod clock;
mod digest;
mod lease;
mod lookup;
mod merge;
mod names;
mod news;
mod order;
mod protect;
mod service;
mod slots;
mod table;
mod write;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use apps::{App, EnvApps, Member, has_name};
pub use clock::LATEST;
pub use digest::{BUCKETS, bucket_of};
pub use lease::Pass;
pub use merge::{Heard, Merge};
pub use news::{Action, Changed};
pub use service::{ServiceKey, ServiceView};

use crate::registry::record::{Id, Key, NodeId, Record, Version};
use crate::registry::store::apps::Apps;
use crate::registry::store::clock::Clock;
use crate::registry::store::digest::Digest;
use crate::registry::store::lease::LeaseTime;
use crate::registry::store::lookup::Lookup;
use crate::registry::store::names::Names;
use crate::registry::store::protect::Groups;
use crate::registry::store::service::Services;
use crate::registry::store::table::Table;

/// How long things last, and how many there may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long an instance may be silent that does not say so itself.
    pub lease: Duration,
    /// How long any instance may be silent, protected or not.
    pub ceiling: Duration,
    /// How often [`Store::pass`] is to be called: what is later than that was our own standstill.
    pub pass: Duration,
    /// What share of the registry a pass may evict; one at least.
    pub evict_share: f64,
    /// How long what is gone is remembered; longer than `ceiling`, or it could come back.
    pub tombstones: Duration,
    /// How many records there may be, gone ones included.
    pub capacity: usize,
    /// For how long evictions count as one loss, while one follows on the other.
    pub protect_window: Duration,
    /// What share may be lost silently before the rest is protected.
    pub protect_share: f64,
    /// How many must be lost for that.
    pub protect_least: usize,
    /// How far ahead of ours a peer's clock may be and still be followed.
    pub drift: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(90),
            ceiling: Duration::from_secs(3600),
            pass: Duration::from_secs(60),
            evict_share: 0.15,
            tombstones: Duration::from_secs(7200),
            capacity: 1_000_000,
            protect_window: Duration::from_secs(900),
            protect_share: 0.15,
            protect_least: 3,
            drift: Duration::from_secs(300),
        }
    }
}

/// There is no room for one more record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registry is full: it holds {capacity} records")]
pub struct Full {
    /// How many records it holds at most.
    pub capacity: usize,
}

/// Who wrote a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This node: a client of it, or its pass. Peers are to be told.
    Here,
    /// A peer, which told us.
    Peer,
}

/// A record that is now another one.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it is now.
    pub record: Arc<Record>,
    /// Who wrote it.
    pub origin: Origin,
    /// The index of the change; later ones have greater ones.
    pub index: u64,
}

/// A live record, and what this node alone knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its short name.
    pub id: Id,
    /// What is registered.
    pub record: &'a Arc<Record>,
    /// When it was last heard of, in unix nanoseconds.
    pub renewed: u64,
    /// The index of its last change: unix nanoseconds, or a little more.
    pub changed: u64,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Live records.
    pub live: usize,
    /// Records of what is gone.
    pub gone: usize,
    /// Services, those included of which all instances are gone.
    pub services: usize,
    /// Zones and lanes that are protected.
    pub protected: usize,
    /// Live records kept by protection alone, at the last pass.
    pub held: usize,
    /// Versions of peers that were too far ahead of our clock to be followed.
    pub ahead: u64,
}

/// All records of a node.
#[derive(Debug)]
pub struct Store {
    settings: Settings,
    clock: Clock,
    time: LeaseTime,
    table: Table,
    digest: Digest,
    services: Services,
    apps: Apps,
    lookup: Lookup,
    groups: Groups,
    names: Names,
    live: usize,
    held: usize,
    index: u64,
    /// What is gone, the earliest first, with the index of that change; also what has come back
    /// since.
    graves: VecDeque<(Id, u64)>,
    changes: Vec<Change>,
}

impl Store {
    /// Begins with nothing. `node` is in every version written here.
    pub fn new(node: NodeId, settings: Settings) -> Self {
        Self {
            clock: Clock::new(node, settings.drift),
            settings,
            time: LeaseTime::default(),
            table: Table::new(),
            digest: Digest::new(),
            services: Services::default(),
            apps: Apps::default(),
            lookup: Lookup::default(),
            groups: Groups::default(),
            names: Names::default(),
            live: 0,
            held: 0,
            index: 0,
            graves: VecDeque::new(),
            changes: Vec::new(),
        }
    }

    /// Returns what it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns what is registered of a key, if it is alive.
    pub fn get(&self, key: &Key) -> Option<Seen<'_>> {
        self.seen(key.id())
    }

    /// Returns what is registered by its short name, if it is alive.
    pub fn seen(&self, id: Id) -> Option<Seen<'_>> {
        let entry = self.table.get(id).filter(|it| it.record.live().is_some())?;
        Some(Seen { id, record: &entry.record, renewed: entry.renewed, changed: entry.index })
    }

    /// Returns a record, alive or gone.
    pub fn by_id(&self, id: Id) -> Option<&Arc<Record>> {
        self.table.get(id).map(|it| &it.record)
    }

    /// Returns every record, alive or gone, in no order.
    pub fn records(&self) -> impl Iterator<Item = (Id, &Arc<Record>)> {
        self.table.iter().map(|(id, entry)| (id, &entry.record))
    }

    /// Returns a service. One whose instances are all gone is there, and empty, for as long as one
    /// of them is remembered.
    pub fn service(&self, env: &str, appid: &str) -> Option<&ServiceView> {
        self.services.get(env, appid)
    }

    /// Returns all services, those included whose instances are all gone, in no order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = (&ServiceKey, &ServiceView)> {
        self.services.iter()
    }

    /// Returns an environment's services as Eureka's callers see them; none: there are none, and
    /// none changed lately.
    pub fn apps(&self, env: &str) -> Option<&EnvApps> {
        self.apps.env(env)
    }

    /// Returns the index of the last change that Eureka's callers see in an environment; it rises
    /// with each, and when the environment is forgotten.
    pub fn apps_version(&self, env: &str) -> u64 {
        self.apps.version(env)
    }

    /// Returns a live record by what Eureka calls it: the application, in capitals, and the id.
    pub fn find_eureka(&self, env: &str, app: &str, instance_id: &str) -> Option<Seen<'_>> {
        self.seen(self.apps.env(env)?.get(app)?.get(instance_id)?.id)
    }

    /// Returns the live record of a service that takes requests at `addr`, written as registered.
    pub fn find_addr(&self, env: &str, appid: &str, addr: &str) -> Option<Seen<'_>> {
        self.get(&self.lookup.addr(env, appid, addr)?.key)
    }

    /// Returns how many live records there are.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether nothing is alive.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Returns the index of the last change; 0 if there was none.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Takes what changed since the last call, in order. To be called after every write: until then
    /// changes are kept.
    pub fn drain(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Returns the hash of all there is: equal on two nodes that have the same.
    pub fn root(&self) -> u128 {
        self.digest.root()
    }

    /// Returns the hashes of all [`BUCKETS`].
    pub fn buckets(&self) -> &[u128] {
        self.digest.buckets()
    }

    /// Returns what a bucket holds: the living and the cancelled, but not the evicted.
    ///
    /// So a node that evicted a record lacks it here. A peer that still has it offers it, and is to
    /// be sent what [`Store::merge`] answers.
    pub fn bucket(&self, number: usize) -> Vec<(Id, Version)> {
        let told = self.table.bucket(number).filter(|(_, it)| digest::is_told(&it.record));
        told.map(|(id, entry)| (id, entry.record.version)).collect()
    }

    /// Says whether this node hears nobody, neither peers nor instances: then nothing is evicted for
    /// its silence, up to the ceiling.
    pub fn set_isolated(&mut self, isolated: bool) {
        self.groups.set_isolated(isolated);
    }

    /// Whether this node hears nobody.
    pub fn is_isolated(&self) -> bool {
        self.groups.is_isolated()
    }

    /// Whether anything is protected: instances may be served that have not been heard of for long.
    pub fn is_protected(&self) -> bool {
        self.groups.is_isolated() || self.groups.protected().next().is_some()
    }

    /// Returns the zones and lanes that were protected at the last pass.
    pub fn protected(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.groups.protected()
    }

    /// Counts everything.
    pub fn counts(&self) -> Counts {
        Counts {
            live: self.live,
            gone: self.table.len() - self.live,
            services: self.services.len(),
            protected: self.groups.protected().count(),
            held: self.held,
            ahead: self.clock.ahead(),
        }
    }
}
