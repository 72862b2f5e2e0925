//! One worker thread: its runtime, its listeners, its connections; nothing of it is shared.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::HeadLimits;
use crate::http::Options;
use crate::live::Live;
use crate::model::ServiceName;
use crate::proxy::pool::Pool;
use crate::proxy::world::World;
use crate::routing::ServiceId;
use crate::telemetry::AccessLog;
use crate::telemetry::Active;
use crate::telemetry::Direction;
use crate::telemetry::Metrics;
use crate::telemetry::Recorder;
use crate::telemetry::Retry;

/// Connections to instances that are gone are let go over this long, so that those who lose them do
/// not all come back at once.
const RETIRE_WINDOW: Duration = Duration::from_secs(5);

/// What all workers of a sidecar have in common.
#[derive(Debug)]
pub struct Shared {
    /// The newest world.
    pub world: Arc<Live<World>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are written down.
    pub access_log: AccessLog,
    /// The origin of the clock that balancing and correlation go by.
    pub origin: Instant,
    /// Cancelled when no more connections are to be taken, and those there are to end in peace.
    pub drain: CancellationToken,
    /// Tells the generation of the newest world.
    pub generation: watch::Sender<u64>,
}

/// A listening socket and what comes in there.
#[derive(Debug)]
pub struct Entry {
    /// The socket, which does not block.
    pub socket: std::net::TcpListener,
    /// Which way its requests go.
    pub direction: Direction,
    /// The service that everything there is for; none: as each request says.
    pub service: Option<ServiceName>,
}

/// One worker thread's own.
pub(super) struct Worker {
    shared: Arc<Shared>,
    pool: Rc<Pool>,
    recorder: Recorder,
    random: RefCell<fastrand::Rng>,
    /// Everything under way on this thread.
    pub(super) tasks: TaskTracker,
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Rc<Self> {
        let workload = shared.world.snapshot().config.workload.service.clone();
        let (metrics, log) = (shared.metrics.clone(), shared.access_log.clone());
        Rc::new(Self {
            pool: Pool::new(metrics.clone()),
            recorder: Recorder::new(metrics, log, &workload),
            random: RefCell::new(fastrand::Rng::new()),
            tasks: TaskTracker::new(),
            shared,
        })
    }

    pub(super) fn world(&self) -> Arc<World> {
        self.shared.world.snapshot()
    }

    /// Time since the sidecar's origin.
    pub(super) fn now(&self) -> Duration {
        self.shared.origin.elapsed()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    pub(super) fn drain(&self) -> &CancellationToken {
        &self.shared.drain
    }

    pub(super) fn with_random<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.borrow_mut())
    }

    pub(super) fn stream_began(&self, direction: Direction) -> Active {
        self.shared.metrics.stream_began(direction)
    }

    pub(super) fn retried(&self, world: &World, service: Option<ServiceId>, verdict: Retry) {
        let service = service.and_then(|id| world.routes.service(id)).map(|it| &it.name);
        let service = service.unwrap_or(&world.config.workload.service);
        self.shared.metrics.retried(service, verdict);
    }

    /// Lets go of connections to instances that left the catalog, world after world.
    async fn follow_worlds(self: Rc<Self>) {
        let mut generation = self.shared.generation.subscribe();
        let mut before = self.world().addresses().clone();
        while generation.changed().await.is_ok() {
            let after = self.world().addresses().clone();
            let retiring =
                self.pool.retire_unless(|it| after.contains(&it) || !before.contains(&it));
            let pause = RETIRE_WINDOW / u32::try_from(retiring.len().max(1)).unwrap_or(u32::MAX);
            let pause = pause.min(Duration::from_millis(100));
            for connection in retiring {
                connection.retire();
                tokio::time::sleep(pause).await;
            }
            before = after;
        }
    }
}

/// How HTTP/2 connections behave in a world.
pub(super) fn options(world: &World) -> Options {
    let limits = &world.config.limits;
    Options {
        streams: limits.streams,
        head: HeadLimits {
            list: limits.header_list as usize,
            fields: limits.header_fields as usize,
        },
        stream_window: limits.stream_window,
        connection_buffer: limits.connection_buffer,
        resets: limits.resets,
        first_frame: limits.detect_timeout,
        frame: limits.header_timeout,
        idle: limits.connection_idle,
        stall: limits.stall_timeout,
    }
}

/// Runs one worker on this thread until the sidecar drains and everything under way has ended, or
/// `drain_timeout` of the newest world has passed. `abort` ends it at once.
///
/// # Errors
/// The runtime cannot be built, or a socket is of no use.
pub fn run(shared: Arc<Shared>, entries: Vec<Entry>, abort: &CancellationToken) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let work = local.run_until(work(shared, entries));
    runtime.block_on(abort.run_until_cancelled(work)).unwrap_or(Ok(()))
}

async fn work(shared: Arc<Shared>, entries: Vec<Entry>) -> io::Result<()> {
    let worker = Worker::new(shared);
    let follower = tokio::task::spawn_local(worker.clone().follow_worlds());
    for entry in entries {
        let listener = tokio::net::TcpListener::from_std(entry.socket)?;
        let accepting = worker.clone().accept(listener, entry.direction, entry.service);
        worker.tasks.spawn_local(accepting);
    }
    worker.drain().cancelled().await;
    worker.tasks.close();
    let limit = worker.world().config.runtime.drain_timeout;
    if tokio::time::timeout(limit, worker.tasks.wait()).await.is_err() {
        tracing::warn!(left = worker.tasks.len(), "drain timeout: breaking off what is left");
    }
    follower.abort();
    Ok(())
}
