//! From a file to running threads.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{RulesView, Status};
use crate::app::control::Control;
use crate::app::file::File;
use crate::app::presence::Beginning;
use crate::app::readiness::Readiness;
use crate::app::worlds::{Worlds, together};
use crate::app::{Bound, Sidecar, StartError};
use crate::config::Config;
use crate::discovery;
use crate::live::Live;
use crate::model::ServiceName;
use crate::net;
use crate::presence::{Checks, Standing};
use crate::proxy;
use crate::proxy::Entry;
use crate::proxy::Shared;
use crate::proxy::World;
use crate::telemetry::AccessLog;
use crate::telemetry::Direction;
use crate::telemetry::LogLevel;
use crate::telemetry::Metrics;

/// Worker threads at most, unless the file says otherwise: a sidecar is a guest in its pod.
const WORKERS: usize = 4;

/// Starts the sidecar that `file` describes; `level` is the process's log, if it follows the file.
pub(super) async fn launch(path: &Path, level: Option<LogLevel>) -> Result<Sidecar, StartError> {
    let (file, parsed) = File::read_first(path)?;
    launch_parsed(file, parsed, level).await
}

pub(super) async fn launch_parsed(
    file: File,
    parsed: crate::config::Parsed,
    level: Option<LogLevel>,
) -> Result<Sidecar, StartError> {
    let config = parsed.config;
    let metrics = Arc::new(Metrics::new(&Registry::new())?);
    let (access_log, log_writer) =
        AccessLog::start(std::io::stdout(), &metrics).map_err(StartError::Thread)?;
    access_log.configure(config.log.access.enabled, config.log.access.sample);
    metrics.reload_applied(parsed.quarantined.len(), SystemTime::now());
    metrics.set_generation(1);
    let workers = usize::from(config.runtime.workers.unwrap_or(0));
    let workers = if workers > 0 { workers } else { cpus().min(WORKERS) };
    let mut sockets = Sockets { bound: Bound::default(), entries: Vec::new(), workers };
    sockets.open(&config)?;
    let admin = match config.admin.listen {
        Some(address) => Some(listen(address, false)?),
        None => None,
    };
    let Sockets { mut bound, entries, .. } = sockets;
    bound.admin = admin.as_ref().and_then(|it| it.local_addr().ok());
    let file_config = Arc::new(config);
    let known = discovery::load(&file_config.discovery);
    let (config, catalog, underlay) = together(&file_config, &known);
    let awaited = known.unknown(&config);
    let readiness = Readiness::new(Checks::of(&config).is_asking(), awaited);
    let status = Status {
        file: file.path().to_owned(),
        started: SystemTime::now(),
        loaded: SystemTime::now(),
        last_error: None,
        quarantined: parsed.quarantined.iter().map(Into::into).collect(),
        restart_needed: Vec::new(),
        not_ready: readiness.reasons(),
        sources: Vec::new(),
        rules: RulesView::new(&underlay, known.bad_rules()),
    };
    let status = Arc::new(Live::new(status));
    let shared = Arc::new(Shared {
        world: Arc::new(Live::new(World::first(config, catalog))),
        metrics,
        access_log,
        origin: Instant::now(),
        drain: CancellationToken::new(),
        generation: watch::Sender::new(1),
    });
    let (commands, received) = mpsc::channel(16);
    let (standing, stands) = watch::channel(Standing::default());
    let leave = CancellationToken::new();
    let (end, abort) = (CancellationToken::new(), CancellationToken::new());
    let worlds = Worlds::new(shared.clone(), file_config.clone(), known, underlay);
    let control = Control {
        shared: shared.clone(),
        status: status.clone(),
        file,
        readiness,
        worlds,
        started: file_config,
        commands: received,
        presence: Beginning { inbound: bound.inbound.clone(), standing, leave: leave.clone() },
        level,
        end: end.clone(),
    };
    let admin = admin.map(TcpListener::into_std).transpose().map_err(StartError::Thread)?;
    let control = spawn("dyelane-control", move || control.run_on_this_thread(admin))?;
    let mut sidecar = Sidecar {
        shared: shared.clone(),
        status,
        commands,
        bound,
        end,
        abort: abort.clone(),
        leave,
        standing: stands,
        workers: Vec::new(),
        control: Some(control),
        access_log: Some(log_writer),
    };
    for (number, entries) in entries.into_iter().enumerate() {
        let (shared, abort) = (shared.clone(), abort.clone());
        let run = move || {
            if let Err(error) = proxy::run(shared, entries, &abort) {
                tracing::error!(%error, "a worker ended");
            }
        };
        sidecar.workers.push(spawn(&format!("dyelane-{number}"), run)?);
    }
    Ok(sidecar)
}

/// CPUs we may use.
fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Starts a thread; what is returned resolves when it has ended.
fn spawn(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<oneshot::Receiver<()>, StartError> {
    let (alive, ended) = oneshot::channel();
    let body = move || {
        let _alive: oneshot::Sender<()> = alive;
        run();
    };
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(StartError::Thread)?;
    Ok(ended)
}

fn listen(address: SocketAddr, reuse_port: bool) -> Result<TcpListener, StartError> {
    net::listen(address, reuse_port).map_err(|source| StartError::Listen { address, source })
}

/// The sockets of all workers, in the making.
struct Sockets {
    bound: Bound,
    /// By worker.
    entries: Vec<Vec<Entry>>,
    workers: usize,
}

impl Sockets {
    fn open(&mut self, config: &Config) -> Result<(), StartError> {
        self.entries.resize_with(self.workers, Vec::new);
        for address in &config.inbound.listen {
            let at = self.open_one(*address, Direction::Inbound, None)?;
            self.bound.inbound.push(at);
        }
        for address in &config.outbound.listen {
            let at = self.open_one(*address, Direction::Outbound, None)?;
            self.bound.outbound.push(at);
        }
        for (name, service) in &config.services {
            if let Some(address) = service.listen {
                let at = self.open_one(address, Direction::Outbound, Some(name))?;
                self.bound.services.push((name.clone(), at));
            }
        }
        Ok(())
    }

    /// Opens one socket for each worker at `address`, and returns where that is: port 0 becomes the
    /// same port for all.
    fn open_one(
        &mut self,
        mut address: SocketAddr,
        direction: Direction,
        service: Option<&ServiceName>,
    ) -> Result<SocketAddr, StartError> {
        if address.port() != 0 {
            net::claim(address).map_err(|source| StartError::Listen { address, source })?;
        }
        for entries in &mut self.entries {
            let failed = |source| StartError::Listen { address, source };
            let listener = listen(address, true)?;
            let bound = listener.local_addr().map_err(failed)?;
            let socket = listener.into_std().map_err(failed)?;
            address = bound;
            entries.push(Entry { socket, direction, service: service.cloned() });
        }
        Ok(address)
    }
}
