//! The composition root: from a file to a running sidecar, and to its end.
//!
//! ```text
//!  start   file ──► Config ──► World ──► sockets ──► worker threads      (launch.rs)
//!                                 ▲                  control thread:
//!  change  of the file, ──────────┘                    file, sources,    (control.rs,
//!          of what sources say                         readiness, the     worlds.rs)
//!                                                      admin listener
//!  stop    deregister ──► unready ──► wait ──► drain ──► end             (this file)
//! ```
//!
//! Worker threads share a [`Shared`] and nothing else. All that is not a request happens on the
//! control thread, so that no request ever waits for it.

mod control;
mod file;
mod launch;
mod presence;
mod readiness;
pub mod registry;
mod signals;
mod worlds;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Report;
use crate::live::Live;
use crate::model::ServiceName;
use crate::presence::Standing;
use crate::proxy::Shared;
use crate::telemetry::AccessLogWriter;
use crate::telemetry::LogError;

pub use signals::run;

/// How long the access log may take to write what waits, once everything else has ended.
const PARTING: std::time::Duration = std::time::Duration::from_secs(2);

/// How long a registry may take to hear that we end. Beyond it is told again while we drain.
const DEPARTURE: std::time::Duration = std::time::Duration::from_secs(3);

/// Why a sidecar does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be read.
    #[error("cannot read {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the file says is wrong. The report shows where.
    #[error("{0}")]
    Config(Report),
    /// A socket cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The log cannot be written as wanted.
    #[error("cannot log")]
    Log(#[from] LogError),
    /// A metric is declared twice.
    #[error("cannot count")]
    Metrics(#[from] prometheus::Error),
}

/// Something asked of the control thread.
enum Command {
    /// Look at the file now; answer with the generation in force, or with what is wrong.
    Reload(oneshot::Sender<Result<u64, String>>),
    /// Say that we are no longer ready, and why; answer once it is said.
    Unready(&'static str, oneshot::Sender<()>),
}

/// A running sidecar. Dropping it breaks off whatever is under way; [`Sidecar::stop`] does not.
#[derive(Debug)]
pub struct Sidecar {
    shared: Arc<Shared>,
    status: Arc<Live<crate::admin::Status>>,
    commands: mpsc::Sender<Command>,
    bound: Bound,
    /// Ends the control thread.
    end: CancellationToken,
    /// Breaks off the workers.
    abort: CancellationToken,
    /// Has our instance taken back.
    leave: CancellationToken,
    /// What became of our registration.
    standing: watch::Receiver<Standing>,
    workers: Vec<oneshot::Receiver<()>>,
    control: Option<oneshot::Receiver<()>>,
    access_log: Option<AccessLogWriter>,
}

/// Where a sidecar listens.
#[derive(Debug, Default)]
struct Bound {
    inbound: Vec<SocketAddr>,
    outbound: Vec<SocketAddr>,
    services: Vec<(ServiceName, SocketAddr)>,
    admin: Option<SocketAddr>,
}

impl Sidecar {
    /// Starts the sidecar that `file` describes, on threads of its own.
    ///
    /// Takes requests when this returns. Must be called in a tokio runtime with I/O.
    ///
    /// # Errors
    /// The file is not good, or a socket cannot be had: nothing runs then.
    pub async fn start(file: &Path) -> Result<Self, StartError> {
        launch::launch(file, None).await
    }

    /// Returns where it takes requests for our application.
    pub fn inbound(&self) -> &[SocketAddr] {
        &self.bound.inbound
    }

    /// Returns where it takes requests of our application.
    pub fn outbound(&self) -> &[SocketAddr] {
        &self.bound.outbound
    }

    /// Returns where it takes requests of our application for one service each.
    pub fn service_listeners(&self) -> &[(ServiceName, SocketAddr)] {
        &self.bound.services
    }

    /// Returns where operators ask it.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.bound.admin
    }

    /// Returns the generation of the world in force.
    pub fn generation(&self) -> u64 {
        *self.shared.generation.borrow()
    }

    /// Returns why it should be given no traffic; empty if it should.
    pub fn not_ready(&self) -> Vec<String> {
        self.status.snapshot().not_ready.clone()
    }

    /// Takes up the file now, without waiting for the next look at it, and returns the generation
    /// in force afterwards: requests that begin after this go by it.
    ///
    /// # Errors
    /// What is wrong with the file; the generation before stays in force.
    pub async fn reload(&self) -> Result<u64, String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the sidecar has ended".to_owned();
        self.commands.send(Command::Reload(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Ends in peace: has the registry forget us, says that it is not ready, goes on for
    /// `drain_delay` while callers learn of it, takes no more connections, finishes what is under
    /// way within `drain_timeout`.
    ///
    /// A registry whose nodes all fail is not waited for, one that hangs for 3 s; both are told
    /// again until the end.
    pub async fn stop(mut self) {
        let runtime = self.shared.world.snapshot().config.runtime;
        let was_told = self.depart().await;
        let (said, hears) = oneshot::channel();
        if self.commands.send(Command::Unready(control::DRAINING, said)).await.is_ok() {
            let _ = hears.await;
        }
        self.shared.metrics.set_draining(true);
        let delay = runtime.drain_delay(was_told);
        tracing::info!(?delay, timeout = ?runtime.drain_timeout, "draining");
        tokio::time::sleep(delay).await;
        self.shared.drain.cancel();
        for worker in std::mem::take(&mut self.workers) {
            let _ = worker.await;
        }
        self.end.cancel();
        if let Some(control) = self.control.take() {
            let _ = control.await;
        }
        if let Some(log) = self.access_log.take() {
            let written = tokio::task::spawn_blocking(move || log.finish(PARTING)).await;
            if !written.unwrap_or(false) {
                tracing::warn!("access log: some lines were not written");
            }
        }
        tracing::info!("ended");
    }

    /// Has our instance taken back; returns whether callers may have learned of it by a registry.
    async fn depart(&mut self) -> bool {
        let mut was_told = self.standing.borrow().was_told;
        self.leave.cancel();
        let gone = self.standing.wait_for(|it| !it.is_known || it.is_owed);
        // Where a node hangs, it is told again while we drain.
        if let Ok(Ok(standing)) = tokio::time::timeout(DEPARTURE, gone).await {
            was_told |= standing.was_told;
        }
        was_told
    }

    /// Waits until a worker ended without being asked to.
    fn worker_ended(&mut self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|cx| {
            let mut workers = self.workers.iter_mut();
            let ended = workers.position(|it| std::pin::Pin::new(it).poll(cx).is_ready());
            // One that said so is not to be asked again.
            let ended = ended.map(|place| self.workers.swap_remove(place));
            if ended.is_some() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.abort.cancel();
        self.end.cancel();
    }
}
