//! A running node: its listener, its tasks, and its end.
//!
//! ```text
//! start  open the node, listen, register itself, serve
//! tasks  wake watchers · the pass · renew itself · end rules · read schedulers · become readable
//! stop   cancel itself, let go who waits, finish answers under way, end the tasks
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::task::TaskTracker;

use crate::net;
use crate::registry::api::listener;
use crate::registry::node::{Member, Node, NodeError, Settings};
use crate::registry::peers::Cluster;
pub use crate::registry::record::OWN_SERVICE;
use crate::registry::record::{Key, Registration};

/// How often the files of schedulers are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How often a node looks whether it is registered still.
const GLANCE: Duration = Duration::from_secs(1);
/// How often it is looked whether the time of a rule is over.
const MOMENT: Duration = Duration::from_millis(500);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no node.
    #[error("cannot make the node")]
    Node(#[from] NodeError),
    /// It cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The file system was too slow to say anything.
    #[error("the node was stopped while it started")]
    Stopped,
}

/// A running node. Dropped without [`stop`](Self::stop), it ends without a farewell.
#[derive(Debug)]
#[must_use = "a registry that is dropped ends"]
pub struct Registry {
    node: Arc<Node>,
    address: SocketAddr,
    itself: Arc<Itself>,
    cluster: Arc<Cluster>,
    tasks: TaskTracker,
}

impl Registry {
    /// Starts a node: on return it answers.
    ///
    /// # Errors
    /// What it kept on its disk cannot be read, or it cannot listen.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let address = settings.listen;
        let opening = tokio::task::spawn_blocking(|| Node::open(settings));
        let node = opening.await.map_err(|_| StartError::Stopped)??;
        let failed = |source| StartError::Listen { address, source };
        let listener = net::listen(address, false).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let itself = Arc::new(Itself::new(&node, address));
        let own = vec![itself.named.id(), itself.numbered.id()];
        let cluster = Cluster::join(&node, Arc::clone(&itself.addr), own);
        let registry = Self { node, address, itself, cluster, tasks: TaskTracker::new() };
        registry.node.set_members(members(registry.node.settings(), &registry.itself.addr));
        registry.itself.register(&registry.node);
        registry.spawn_tasks();
        let (node, serving) =
            (Arc::clone(&registry.node), listener::serve(listener, Arc::clone(&registry.node)));
        registry.tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the listener has failed: the node stops");
                node.stopping().cancel();
            }
        });
        Ok(registry)
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where others reach it, as `host:port`.
    pub fn advertised(&self) -> &Arc<str> {
        &self.itself.addr
    }

    /// Returns the node.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Returns once it stops by itself, as its listener failed, or is told to.
    ///
    /// Cancel safe.
    pub async fn stopped(&self) {
        self.node.stopping().cancelled().await;
    }

    /// Ends it: takes back its own registration, lets go those who wait, finishes answers under way.
    ///
    /// Not cancel safe: dropped half way, the rest ends without a farewell.
    pub async fn stop(self) {
        self.itself.cancel(&self.node);
        self.cluster.say_farewell().await;
        self.node.stopping().cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn_tasks(&self) {
        let node = &self.node;
        self.spawn(node, |node| async move { Arc::clone(node.hub()).ring().await });
        self.spawn(node, pass);
        self.spawn(node, end_rules);
        let itself = Arc::clone(&self.itself);
        self.spawn(node, |node| async move { itself.renew(&node).await });
        if let Some(directory) = node.settings().schedulers.clone() {
            self.spawn(node, |node| read_schedulers(node, directory));
        }
        if node.settings().peers.is_empty() && node.settings().zones.values().all(Vec::is_empty) {
            node.set_readable();
        }
        let cluster = Arc::clone(&self.cluster);
        self.spawn(node, |_| cluster.run());
    }

    /// Runs a task until the node stops.
    fn spawn<F>(&self, node: &Arc<Node>, task: impl FnOnce(Arc<Node>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = task(Arc::clone(node));
        let stopping = node.stopping().clone();
        self.tasks.spawn(async move { stopping.run_until_cancelled(task).await });
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.node.stopping().cancel();
    }
}

/// Returns the nodes there should be: those but this one count as lost until they answer.
fn members(settings: &Settings, own: &Arc<str>) -> Vec<Member> {
    let member = |addr: &Arc<str>, zone: &Arc<str>, is_lost| Member {
        addr: Arc::clone(addr),
        zone: Arc::clone(zone),
        is_lost,
    };
    let ours = settings.peers.iter().map(|addr| (addr, &settings.zone));
    let others = settings.zones.iter().flat_map(|(zone, all)| all.iter().map(move |it| (it, zone)));
    let others = ours.chain(others).filter(|(addr, _)| *addr != own);
    let others = others.map(|(addr, zone)| member(addr, zone, true));
    [member(own, &settings.zone, false)].into_iter().chain(others).collect()
}

/// Evicts who has been silent for too long, again and again.
async fn pass(node: Arc<Node>) {
    let every = node.settings().store.pass.max(Duration::from_millis(1));
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut random = fastrand::Rng::new();
    loop {
        ticks.tick().await;
        let pass = node.write(|store, now| store.pass(now, &mut random));
        node.metrics().evictions.inc_by(pass.evicted as u64);
        node.eureka().sweep(&node);
        if pass.evicted + pass.held + pass.left > 0 {
            let (evicted, held, left) = (pass.evicted, pass.held, pass.left);
            tracing::info!(evicted, held, left, late = ?pass.late, "instances have fallen silent");
        }
    }
}

/// Ends rules whose time is over, again and again.
async fn end_rules(node: Arc<Node>) {
    loop {
        sleep(MOMENT).await;
        node.expire_rules().await;
    }
}

/// Reads the files of schedulers, again and again.
async fn read_schedulers(node: Arc<Node>, directory: PathBuf) {
    let mut is_told = false;
    loop {
        let (before, place) = (node.schedulers(), directory.clone());
        let reading = tokio::task::spawn_blocking(move || before.next(&place));
        match reading.await {
            Ok(Ok((schedulers, changed))) => {
                is_told = false;
                if !changed.is_empty() {
                    tracing::info!(services = changed.len(), "schedulers have changed");
                }
                node.publish_schedulers(schedulers, changed);
            }
            Ok(Err(error)) if !is_told => {
                is_told = true;
                let directory = directory.display();
                tracing::error!(%error, %directory, "cannot list the schedulers: they stay as they are");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        sleep(LOOK).await;
    }
}

/// A node as an instance of [`OWN_SERVICE`].
#[derive(Debug)]
struct Itself {
    /// Where others reach it.
    addr: Arc<str>,
    /// By the name of its host.
    named: Key,
    /// By its address too, if another node of its zone has the same name.
    numbered: Key,
    registration: Registration,
}

impl Itself {
    fn new(node: &Node, address: SocketAddr) -> Self {
        let settings = node.settings();
        let addr = settings.advertise.clone().unwrap_or_else(|| address.to_string().into());
        let key = |hostname: Arc<str>| Key {
            env: Arc::clone(&settings.env),
            appid: OWN_SERVICE.into(),
            zone: Arc::clone(&settings.zone),
            hostname,
        };
        let registration = Registration {
            region: Arc::clone(&settings.region),
            addrs: vec![format!("http://{addr}").into()],
            version: env!("CARGO_PKG_VERSION").into(),
            ..Registration::default()
        };
        let numbered = key(format!("{}/{addr}", settings.host).into());
        Self { addr, named: key(Arc::clone(&settings.host)), numbered, registration }
    }

    /// Returns by which name it is registered: its host's, unless another node has that.
    fn key(&self, node: &Node) -> &Key {
        let is_taken = node.read(|store| {
            let there = store.get(&self.named);
            let live = there.and_then(|it| it.record.live());
            live.is_some_and(|it| it.addrs != self.registration.addrs)
        });
        if is_taken { &self.numbered } else { &self.named }
    }

    fn register(&self, node: &Node) {
        let key = self.key(node).clone();
        let registration = self.registration.clone();
        if let Err(full) = node.write(|store, now| store.register(key, registration, now).map(drop))
        {
            tracing::error!(%full, "the node cannot register itself");
        }
    }

    /// Renews the registration in time; writes it again at once where it is gone, or where another
    /// node of the same name has taken its place.
    async fn renew(&self, node: &Node) {
        let every = node.settings().renew;
        let mut renewed = Instant::now();
        loop {
            sleep(every.min(GLANCE)).await;
            let key = self.key(node);
            let is_there = node.read(|store| store.get(key).is_some());
            if is_there && renewed.elapsed() < every {
                continue;
            }
            renewed = Instant::now();
            if node.renew(key).is_none() {
                self.register(node);
            }
        }
    }

    fn cancel(&self, node: &Node) {
        let key = self.key(node).clone();
        node.write(|store, now| drop(store.cancel(&key, now)));
    }
}
