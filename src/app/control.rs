//! The control thread: takes up the file as it changes, and what sources say; watches for the
//! application; answers operators.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::admin::{LoadError, State, Status};
use crate::app::Command;
use crate::app::file;
use crate::app::file::File;
use crate::app::presence::{Beginning, Presence};
use crate::app::readiness::Readiness;
use crate::app::worlds::Worlds;
use crate::config::Config;
use crate::config::Parsed;
use crate::discovery::Sources;
use crate::live::Live;
use crate::presence::Wellness;
use crate::proxy::Shared;
use crate::telemetry::LogLevel;

/// Why we are not ready once we end.
pub(super) const DRAINING: &str = "draining";

/// What the control thread works with.
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) status: Arc<Live<Status>>,
    pub(super) file: File,
    pub(super) readiness: Readiness,
    pub(super) worlds: Worlds,
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
        let serving = self.serve(listener);
        let inbound = std::mem::take(&mut self.presence.inbound);
        let (standing, leave) = (self.presence.standing.clone(), self.presence.leave.clone());
        let begin = Beginning { inbound, standing, leave };
        let mut presence = Presence::start(begin, self.shared.clone());
        let metrics = self.shared.metrics.clone();
        let mut sources = Sources::start(self.worlds.file(), self.worlds.known(), metrics);
        self.show_sources(&sources);
        let end = self.end.clone();
        loop {
            let poll = self.worlds.file().runtime.poll;
            tokio::select! {
                () = end.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(Command::Reload(answer)) => {
                        let taken = self.take_up(true, &mut sources);
                        presence.follow(self.worlds.file());
                        let _ = answer.send(taken);
                    }
                    Some(Command::Unready(why, said)) => {
                        self.readiness.end(why);
                        self.show_readiness();
                        let _ = said.send(());
                    }
                    None => break,
                },
                () = tokio::time::sleep(poll) => {
                    let _ = self.take_up(false, &mut sources);
                    presence.follow(self.worlds.file());
                    self.worlds.sweep();
                }
                wellness = presence.changed() => self.application_is(&wellness),
                () = sources.changed() => self.hear(&mut sources),
                () = self.worlds.due() => {
                    self.worlds.make();
                    self.show_sources(&sources);
                }
            }
        }
        sources.finish().await;
        if let Some(serving) = serving {
            let _ = serving.await;
        }
    }

    /// Answers operators, if they are to be answered.
    fn serve(
        &self,
        listener: Option<std::net::TcpListener>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let listener = listener.and_then(|it| tokio::net::TcpListener::from_std(it).ok())?;
        let origin = self.shared.origin;
        let state = State {
            metrics: self.shared.metrics.clone(),
            world: self.shared.world.clone(),
            status: self.status.clone(),
            now: Box::new(move || origin.elapsed()),
        };
        Some(tokio::spawn(admin::serve(listener, Arc::new(state), self.end.clone())))
    }

    /// Takes in what sources say.
    fn hear(&mut self, sources: &mut Sources) {
        self.worlds.take_known(sources.known());
        self.readiness.unknown(&self.worlds.known().unknown(self.worlds.file()));
        self.show_sources(sources);
        self.show_readiness();
    }

    /// Takes in how the application is.
    fn application_is(&mut self, wellness: &Wellness) {
        self.shared.metrics.set_application_healthy(wellness.is_well());
        if let Wellness::Unwell(why) = wellness
            && self.readiness.is_application_well()
        {
            tracing::warn!(%why, "the application is not well");
        }
        self.readiness.application_is(wellness);
        self.show_readiness();
    }

    /// Shows whether we are ready, and has the log tell when that changes.
    fn show_readiness(&self) {
        let reasons = self.readiness.reasons();
        let before = self.status.snapshot();
        if before.not_ready == reasons {
            return;
        }
        if reasons.is_empty() {
            tracing::info!("ready");
        }
        self.show(|it| it.not_ready = reasons);
    }

    /// Shows how the sources are.
    fn show_sources(&self, sources: &Sources) {
        let views = sources.views();
        let rules = admin::RulesView::new(self.worlds.underlay(), self.worlds.known().bad_rules());
        self.show(|it| (it.sources, it.rules) = (views, rules));
    }

    /// Changes what operators are shown.
    fn show(&self, change: impl FnOnce(&mut Status)) {
        let mut status = Status::clone(&self.status.snapshot());
        change(&mut status);
        self.status.publish(status);
    }

    /// Takes the file up if it changed, all or nothing; returns the generation in force.
    fn take_up(&mut self, force: bool, sources: &mut Sources) -> Result<u64, String> {
        let bytes = match self.file.changed(force) {
            Ok(None) => return Ok(self.generation()),
            Ok(Some(bytes)) => bytes,
            Err(error) => return self.reject(&format!("cannot read the file: {error}")),
        };
        let parsed = match file::text(&bytes) {
            Ok(text) => file::parse(self.file.path(), text).map_err(|report| report.to_string()),
            Err(error) => Err(format!("the file is no text: {error}")),
        };
        match parsed {
            Ok(parsed) => Ok(self.apply(parsed, sources)),
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
    fn apply(&mut self, parsed: Parsed, sources: &mut Sources) -> u64 {
        let Parsed { mut config, quarantined } = parsed;
        config.keep_quarantined(&quarantined, self.worlds.file());
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
        sources.follow(&config);
        let before = self.generation();
        let generation = self.worlds.take_file(config, sources.known());
        if generation != before {
            tracing::info!(generation, "the file is taken up");
        }
        self.readiness.unknown(&self.worlds.known().unknown(self.worlds.file()));
        self.show_readiness();
        self.show_sources(sources);
        self.show(|it| {
            it.loaded = SystemTime::now();
            it.last_error = None;
            it.quarantined = quarantined.iter().map(Into::into).collect();
            it.restart_needed = restart;
        });
        generation
    }
}
