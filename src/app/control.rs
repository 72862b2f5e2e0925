//! The control thread: takes up the file as it changes, watches for the application, answers
//! operators.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::admin::{LoadError, State, Status};
use crate::app::{Command, StartError};
use crate::config::Config;
use crate::config::Parsed;
use crate::live::Live;
use crate::model::Catalog;
use crate::net;
use crate::proxy::Shared;
use crate::telemetry::LogLevel;

/// Why we are not ready before the application is.
pub(super) const NO_APPLICATION: &str = "the application does not answer yet";
/// How often it is asked whether it does.
const ASK_APPLICATION: Duration = Duration::from_millis(250);
/// How long it may take to answer.
const APPLICATION_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest file that is read, in bytes: one far beyond what a sidecar holds is a mistake.
const LARGEST_FILE: u64 = 64 << 20;

/// The file, and its bytes as they were last looked at.
pub(super) struct File {
    path: PathBuf,
    /// What was last judged; none if it could not be read.
    last: Option<Vec<u8>>,
}

impl File {
    /// Reads the file for the first time.
    pub(super) fn read_first(path: &Path) -> Result<(Self, Parsed), StartError> {
        let failed = |source| StartError::Read { file: path.to_owned(), source };
        let bytes = read(path).map_err(failed)?;
        let text = text(&bytes).map_err(failed)?;
        let parsed = parse(path, text).map_err(StartError::Config)?;
        Ok((Self { path: path.to_owned(), last: Some(bytes) }, parsed))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file, and returns its bytes if they differ from those last judged.
    ///
    /// Bytes are compared, not times or inodes: right for a `ConfigMap` whose link is swapped, for a
    /// file edited in place, and for file systems that tell nobody.
    fn changed(&mut self, force: bool) -> io::Result<Option<Vec<u8>>> {
        let bytes = match read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.last = None;
                return Err(error);
            }
        };
        if !force && self.last.as_ref() == Some(&bytes) {
            return Ok(None);
        }
        self.last = Some(bytes.clone());
        Ok(Some(bytes))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB"));
    }
    fs::read(path)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn parse(path: &Path, text: &str) -> Result<Parsed, crate::config::Report> {
    Config::parse(&path.display().to_string(), text, &|name| std::env::var(name).ok())
}

/// What the control thread works with.
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) status: Arc<Live<Status>>,
    pub(super) file: File,
    /// The configuration we were started with: what needs a restart is told against it.
    pub(super) started: Arc<Config>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// The application whose first answer makes us ready.
    pub(super) application: Option<SocketAddr>,
    pub(super) level: Option<LogLevel>,
    pub(super) end: CancellationToken,
}

impl Control {
    /// Runs until told to end.
    pub(super) fn run_on_this_thread(self, admin: Option<std::net::TcpListener>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.run(admin)),
            Err(error) => tracing::error!(%error, "no control thread: the file is not followed"),
        }
    }

    async fn run(mut self, listener: Option<std::net::TcpListener>) {
        let serving = listener.and_then(|it| tokio::net::TcpListener::from_std(it).ok());
        let serving = serving.map(|listener| {
            let origin = self.shared.origin;
            let state = State {
                metrics: self.shared.metrics.clone(),
                world: self.shared.world.clone(),
                status: self.status.clone(),
                now: Box::new(move || origin.elapsed()),
            };
            tokio::spawn(admin::serve(listener, Arc::new(state), self.end.clone()))
        });
        let mut asking = self
            .application
            .map(|application| tokio::spawn(async move { wait_for(application).await }));
        let end = self.end.clone();
        loop {
            let poll = self.shared.world.snapshot().config.runtime.poll;
            tokio::select! {
                () = end.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(Command::Reload(answer)) => {
                        let _ = answer.send(self.take_up(true));
                    }
                    Some(Command::Unready(why, said)) => {
                        self.show(|it| it.not_ready = vec![why.to_owned()]);
                        let _ = said.send(());
                    }
                    None => break,
                },
                () = tokio::time::sleep(poll) => {
                    let _ = self.take_up(false);
                }
                Some(()) = join(&mut asking) => {
                    asking = None;
                    self.show(|it| it.not_ready.retain(|why| why != NO_APPLICATION));
                    tracing::info!("ready: the application answers");
                }
            }
        }
        if let Some(serving) = serving {
            let _ = serving.await;
        }
    }

    /// Changes what operators are shown.
    fn show(&self, change: impl FnOnce(&mut Status)) {
        let mut status = Status::clone(&self.status.snapshot());
        change(&mut status);
        self.status.publish(status);
    }

    /// Takes the file up if it changed, all or nothing; returns the generation in force.
    fn take_up(&mut self, force: bool) -> Result<u64, String> {
        let bytes = match self.file.changed(force) {
            Ok(None) => return Ok(self.generation()),
            Ok(Some(bytes)) => bytes,
            Err(error) => return self.reject(&format!("cannot read the file: {error}")),
        };
        let parsed = match text(&bytes) {
            Ok(text) => parse(self.file.path(), text).map_err(|report| report.to_string()),
            Err(error) => Err(format!("the file is no text: {error}")),
        };
        match parsed {
            Ok(parsed) => Ok(self.apply(parsed)),
            Err(report) => self.reject(&report),
        }
    }

    fn generation(&self) -> u64 {
        *self.shared.generation.borrow()
    }

    /// Keeps the last good world, and says what is wrong with the file: once, not at every look.
    fn reject(&self, report: &str) -> Result<u64, String> {
        let known =
            self.status.snapshot().last_error.as_ref().is_some_and(|it| it.report == report);
        if !known {
            self.shared.metrics.reload_rejected();
            tracing::error!(file = %self.file.path().display(), "the file is not taken up:\n{report}");
            let error = LoadError { at: SystemTime::now(), report: report.to_owned() };
            self.show(|it| it.last_error = Some(error));
        }
        Err(report.to_owned())
    }

    /// Makes what the file says count, from the next request on.
    fn apply(&self, parsed: Parsed) -> u64 {
        let Parsed { mut config, quarantined } = parsed;
        let old = self.shared.world.snapshot();
        config.keep_quarantined(&quarantined, &old.config);
        for it in &quarantined {
            tracing::error!(entry = %it.entry, "left out, the rest is taken up:\n{}", it.report);
        }
        let restart = Config::needs_restart(&self.started, &config);
        if !restart.is_empty() {
            tracing::warn!(keys = restart.join(", "), "these keys count after a restart only");
        }
        self.shared.access_log.configure(config.log.access.enabled, config.log.access.sample);
        if let Some(level) = &self.level
            && let Err(error) = level.set(&config.log.level)
        {
            tracing::warn!(%error, "the log level stays as it was");
        }
        self.shared.metrics.reload_applied(quarantined.len(), SystemTime::now());
        let mut generation = old.generation;
        if config != *old.config {
            let catalog: Catalog = config.instances.iter().cloned().collect();
            let next = old.next(Arc::new(config), Arc::new(catalog));
            generation = next.generation;
            self.shared.world.publish(next);
            self.shared.metrics.set_generation(generation);
            self.shared.generation.send_replace(generation);
            tracing::info!(generation, "the file is taken up");
        }
        self.show(|it| {
            it.loaded = SystemTime::now();
            it.last_error = None;
            it.quarantined = quarantined.iter().map(Into::into).collect();
            it.restart_needed = restart;
        });
        generation
    }
}

/// Waits until the application takes a connection.
async fn wait_for(application: SocketAddr) {
    while net::dial(application, APPLICATION_TIMEOUT).await.is_err() {
        tokio::time::sleep(ASK_APPLICATION).await;
    }
}

/// Waits for a task, if there is one; else for ever.
async fn join(task: &mut Option<tokio::task::JoinHandle<()>>) -> Option<()> {
    match task {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
    }
}
