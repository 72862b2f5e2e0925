//! The control thread: takes up the file as it changes, watches for the application, answers
//! operators.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::admin::{LoadError, State, Status};
use crate::app::presence::{Beginning, Presence};
use crate::app::{Command, StartError};
use crate::config::Config;
use crate::config::Parsed;
use crate::live::Live;
use crate::model::Catalog;
use crate::presence::Wellness;
use crate::proxy::Shared;
use crate::telemetry::LogLevel;

/// Why we are not ready before the application is.
pub(super) const NO_APPLICATION: &str = "the application does not answer yet";
/// What stands before why it is not well.
const UNWELL: &str = "the application is not well: ";
/// Why we are not ready once we end.
pub(super) const DRAINING: &str = "draining";
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
    /// What our presence begins with.
    pub(super) presence: Beginning,
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
        let inbound = std::mem::take(&mut self.presence.inbound);
        let (standing, leave) = (self.presence.standing.clone(), self.presence.leave.clone());
        let begin = Beginning { inbound, standing, leave };
        let mut presence = Presence::start(begin, self.shared.clone());
        let end = self.end.clone();
        loop {
            let poll = self.shared.world.snapshot().config.runtime.poll;
            tokio::select! {
                () = end.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(Command::Reload(answer)) => {
                        let taken = self.take_up(true);
                        presence.follow(&self.shared.world.snapshot().config);
                        let _ = answer.send(taken);
                    }
                    Some(Command::Unready(why, said)) => {
                        self.show(|it| it.not_ready = vec![why.to_owned()]);
                        let _ = said.send(());
                    }
                    None => break,
                },
                () = tokio::time::sleep(poll) => {
                    let _ = self.take_up(false);
                    presence.follow(&self.shared.world.snapshot().config);
                }
                wellness = presence.changed() => self.application_is(&wellness),
            }
        }
        if let Some(serving) = serving {
            let _ = serving.await;
        }
    }

    /// Shows how the application is, unless we end anyway.
    fn application_is(&self, wellness: &Wellness) {
        let is_well = wellness.is_well();
        self.shared.metrics.set_application_healthy(is_well);
        let before = self.status.snapshot();
        if before.not_ready.iter().any(|why| why == DRAINING) {
            return;
        }
        let of_application = |why: &str| why == NO_APPLICATION || why.starts_with(UNWELL);
        let was_well = !before.not_ready.iter().any(|why| of_application(why));
        self.show(|it| {
            it.not_ready.retain(|why| !of_application(why));
            match wellness {
                Wellness::Well => {}
                Wellness::Unknown => it.not_ready.push(NO_APPLICATION.to_owned()),
                Wellness::Unwell(why) => it.not_ready.push(format!("{UNWELL}{why}")),
            }
        });
        match wellness {
            Wellness::Well if !was_well => tracing::info!("ready: the application answers"),
            Wellness::Unwell(why) if was_well => {
                tracing::warn!(%why, "the application is not well");
            }
            _ => {}
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
