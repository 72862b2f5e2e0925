//! One node: everything its handlers share.
//!
//! A write locks the store, runs, and is told to watchers and peers once the lock is free again;
//! neither can make the writer wait. A read clones what it needs and encodes it outside.

mod doors;
mod rules;
mod settings;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

pub use doors::{Answering, Doors, Outbox, PeerDoor, PeersDoor, PeersView, Told};
pub use settings::Settings;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::live::Live;
use crate::registry::api::admission::Admission;
use crate::registry::dialect::eureka::Lists;
use crate::registry::durable::{Directory, DurableError};
use crate::registry::encoded::Encoded;
use crate::registry::record::{Key, Moment, NodeId, Record};
use crate::registry::rulebook::Rulebook;
use crate::registry::scheduler::Schedulers;
use crate::registry::store::{ServiceKey, Store};
use crate::registry::watch::{Damper, Hub, News, Recent, Repeat};
use crate::telemetry::RegistryMetrics;

/// The file of a node's number.
const NUMBER: &str = "node";

/// A node of the cluster, as clients are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it takes requests, as `host:port`.
    pub addr: Arc<str>,
    /// Its zone.
    pub zone: Arc<str>,
    /// Whether it does not answer.
    pub is_lost: bool,
}

/// The store, and what changed in it: together under one lock, so that an index means one state.
#[derive(Debug)]
struct Inner {
    store: Store,
    recent: Recent,
}

/// One node of the registry.
pub struct Node {
    settings: Settings,
    id: NodeId,
    run: Arc<str>,
    started: Instant,
    inner: Mutex<Inner>,
    hub: Arc<Hub>,
    damper: Mutex<Damper>,
    encoded: Encoded,
    eureka: Lists,
    admission: Admission,
    rulebook: Rulebook,
    schedulers: Live<Schedulers>,
    members: Live<Vec<Member>>,
    doors: Doors,
    readable: CancellationToken,
    is_filled: AtomicBool,
    stopping: CancellationToken,
    metrics: RegistryMetrics,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("run", &self.run).finish_non_exhaustive()
    }
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// What it kept on its disk is of no use.
    #[error("cannot use the directory of what outlives the process")]
    Durable(#[from] DurableError),
    /// The metrics cannot be declared.
    #[error("cannot declare the metrics")]
    Metrics(#[from] prometheus::Error),
}

impl Node {
    /// Makes a node: reads its number and its rules from its disk. Blocks for as long as that does.
    ///
    /// # Errors
    /// What is on the disk cannot be read.
    pub fn open(settings: Settings) -> Result<Arc<Self>, NodeError> {
        let directory = settings.data.clone().map(Directory::open).transpose()?;
        let id = number(settings.id, directory.as_ref())?;
        let start = unix_now();
        let metrics = RegistryMetrics::new(&prometheus::Registry::new())?;
        Ok(Arc::new(Self {
            id,
            run: format!("{:x}-{start:x}", id.0).into(),
            started: Instant::now(),
            inner: Mutex::new(Inner {
                store: Store::new(id, settings.store.clone()),
                recent: Recent::default(),
            }),
            hub: Arc::new(Hub::new(settings.most_watchers())),
            damper: Mutex::default(),
            encoded: Encoded::default(),
            eureka: Lists::default(),
            admission: Admission::default(),
            rulebook: Rulebook::open(directory)?,
            schedulers: Live::new(Schedulers::default()),
            members: Live::new(Vec::new()),
            doors: Doors::default(),
            readable: CancellationToken::new(),
            is_filled: AtomicBool::new(false),
            stopping: CancellationToken::new(),
            metrics,
            settings,
        }))
    }

    /// Returns who it is, and its bounds.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns its number.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Returns the name of this run of it: indexes of another run mean nothing here.
    pub fn run(&self) -> &Arc<str> {
        &self.run
    }

    /// Returns the time by both clocks.
    pub fn now(&self) -> Moment {
        Moment { since_start: self.started.elapsed(), unix: unix_now() }
    }

    /// Changes the store; then tells watchers and peers what changed, neither of which waits.
    pub fn write<R>(&self, write: impl FnOnce(&mut Store, Moment) -> R) -> R {
        let now = self.now();
        let mut inner = self.lock();
        let result = write(&mut inner.store, now);
        let changes = inner.store.drain();
        for change in &changes {
            inner.recent.push(News::Instance(Arc::clone(&change.record)));
        }
        drop(inner);
        if !changes.is_empty() {
            self.hub.tell(changes.iter().map(|it| topic_of(&it.record.key)));
            self.doors.tell_peers(Told::Changes(&changes));
        }
        result
    }

    /// Renews a lease for a client of this node, and tells peers. Returns what is registered, and
    /// the time of the renewal in unix nanoseconds; none: there is no lease to renew.
    pub fn renew(&self, key: &Key) -> Option<(Arc<Record>, u64)> {
        let now = self.now();
        let record = self.lock().store.renew(key, now)?;
        self.doors.tell_peers(Told::Renewed(record.key.id(), record.version));
        Some((record, now.unix))
    }

    /// Looks at the store. Whatever takes long is to be done with what this returns.
    pub fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        read(&self.lock().store)
    }

    /// Looks at the store, and at what changed in it lately.
    pub fn read_recent<R>(&self, read: impl FnOnce(&Store, &Recent) -> R) -> R {
        let inner = self.lock();
        read(&inner.store, &inner.recent)
    }

    /// Looks at the store, and at how requests are spread at that same moment: an index is then of
    /// both.
    pub fn read_spread<R>(&self, read: impl FnOnce(&Store, &Schedulers) -> R) -> R {
        let inner = self.lock();
        read(&inner.store, &self.schedulers.snapshot())
    }

    /// Says that requests to these services are spread in another way.
    pub fn publish_schedulers(&self, mut schedulers: Schedulers, changed: Vec<ServiceKey>) {
        let now = self.now();
        let mut inner = self.lock();
        if !changed.is_empty() {
            schedulers.date(&changed, inner.store.step(now));
        }
        self.schedulers.publish(schedulers);
        for topic in &changed {
            inner.recent.push(News::Spread(topic.clone()));
        }
        drop(inner);
        self.hub.tell(changed);
    }

    /// Returns how requests are spread over zones.
    pub fn schedulers(&self) -> Arc<Schedulers> {
        self.schedulers.snapshot()
    }

    /// Returns who waits for news.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Returns how long to wait before repeating an answer.
    pub fn damp(&self, repeat: Repeat) -> Duration {
        let now = self.started.elapsed();
        self.damper.lock().unwrap_or_else(PoisonError::into_inner).wait(repeat, now)
    }

    /// Returns answers that are shared.
    pub fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// Returns the lists that Eureka's clients are given.
    pub fn eureka(&self) -> &Lists {
        &self.eureka
    }

    /// Returns who may do what takes long.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Returns what is counted.
    pub fn metrics(&self) -> &RegistryMetrics {
        &self.metrics
    }

    /// Returns the tenant rules.
    pub fn rulebook(&self) -> &Rulebook {
        &self.rulebook
    }

    /// Returns what joins it to other nodes.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// Returns the nodes of the cluster, this one among them.
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.members.snapshot()
    }

    /// Says which nodes the cluster has, this one among them.
    pub fn set_members(&self, members: Vec<Member>) {
        self.members.publish(members);
    }

    /// Says that what there is to read is worth reading: a copy of a peer's is here, or nobody has
    /// one.
    pub fn set_readable(&self) {
        self.readable.cancel();
    }

    /// Returns whether what there is to read is worth reading.
    pub fn is_readable(&self) -> bool {
        self.readable.is_cancelled()
    }

    /// Returns once what there is to read is worth reading.
    ///
    /// Cancel safe.
    pub async fn readable(&self) {
        self.readable.cancelled().await;
    }

    /// Returns whether it began less than a lease ago, without a copy of a node that did not: whoever
    /// has not spoken to it since may be there all the same.
    pub fn is_filling(&self) -> bool {
        !self.is_filled.load(Relaxed) && self.started.elapsed() < self.settings.store.lease
    }

    /// Says that it has a copy of a node that had heard of everybody.
    pub fn set_filled(&self) {
        self.is_filled.store(true, Relaxed);
    }

    /// Returns what is cancelled once the node is to stop: those who wait are to be let go.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A writer that panicked has left a store whose parts are each sound: they are not worth
        // stopping everything for.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what watchers of an instance wait for.
fn topic_of(key: &Key) -> ServiceKey {
    ServiceKey { env: Arc::clone(&key.env), appid: Arc::clone(&key.appid) }
}

/// Returns the number of this node: the one it is given, else the one on its disk, else a new one.
fn number(given: Option<NodeId>, directory: Option<&Directory>) -> Result<NodeId, DurableError> {
    if let Some(number) = given {
        return Ok(number);
    }
    if let Some(number) = directory.map(|it| it.read(NUMBER)).transpose()?.flatten() {
        return Ok(number);
    }
    // Half of what there is room for: some clients read a number as signed.
    let number = NodeId(fastrand::u64(1..u64::MAX / 2));
    if let Some(directory) = directory {
        directory.write(NUMBER, &number)?;
    }
    Ok(number)
}

/// Returns the time in unix nanoseconds.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
