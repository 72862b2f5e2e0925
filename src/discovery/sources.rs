//! Every source there is, started and ended as the file has it.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, Discovery, EurekaSource, RegistrySource};
use crate::discovery::feed::Feed;
use crate::discovery::keeper::Keeper;
use crate::discovery::known::Known;
use crate::discovery::report::{Report, SourceView};
use crate::discovery::said::{Said, count};
use crate::discovery::{eureka, registry};
use crate::model::Origin;
use crate::telemetry::{Metrics, Source};

/// A source that is followed. Dropped, it is not.
#[derive(Debug)]
struct Running {
    report: watch::Receiver<Report>,
    _task: AbortOnDropHandle<()>,
}

/// Every source the file names, and what each says.
#[derive(Debug)]
pub struct Sources {
    consumer: Arc<str>,
    metrics: Arc<Metrics>,
    /// What the file says of them.
    section: Discovery,
    registry: Option<Running>,
    eureka: Option<Running>,
    keeper: Option<Keeper>,
}

impl Running {
    /// Starts what `follow` does, from what is known.
    fn start<F>(report: Report, follow: impl FnOnce(watch::Sender<Report>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (out, report) = watch::channel(report);
        let task = AbortOnDropHandle::new(tokio::spawn(follow(out)));
        Self { report, _task: task }
    }
}

impl Sources {
    /// Follows the sources that a file names; `known` counts until they answer. Must be called in a
    /// tokio runtime.
    pub fn start(config: &Config, known: &Known, metrics: Arc<Metrics>) -> Self {
        let mut sources = Self {
            consumer: consumer(config),
            metrics,
            section: Discovery::default(),
            registry: None,
            eureka: None,
            keeper: None,
        };
        sources.turn_to(&config.discovery, known);
        sources
    }

    /// Goes by what a file says from now on. A source that is as it was is not disturbed; one that is
    /// asked otherwise keeps what it knew until it is told better.
    pub fn follow(&mut self, config: &Config) {
        if self.section != config.discovery {
            let mut known = self.known();
            let env = |it: &Discovery| it.registry.as_ref().map(|it| Arc::clone(&it.env));
            if env(&self.section) != env(&config.discovery) {
                // Another environment is another world.
                (known.registry, known.rules) = (None, None);
            }
            self.turn_to(&config.discovery, &known.limited(&config.discovery));
        }
    }

    fn turn_to(&mut self, next: &Discovery, known: &Known) {
        let same_confirm = self.section.confirm == next.confirm;
        if !same_confirm || self.section.registry != next.registry {
            let was_there = self.registry.take().is_some();
            self.registry = next.registry.as_ref().map(|it| self.start_registry(it, next, known));
            if was_there && self.registry.is_none() {
                self.metrics.source_ended(Source::Registry);
            }
        }
        if !same_confirm || self.section.eureka != next.eureka {
            let was_there = self.eureka.take().is_some();
            self.eureka = next.eureka.as_ref().map(|it| self.start_eureka(it, next, known));
            if was_there && self.eureka.is_none() {
                self.metrics.source_ended(Source::Eureka);
            }
        }
        self.section = next.clone();
        let env = next.registry.as_ref().map(|it| Arc::clone(&it.env)).unwrap_or_default();
        self.keeper = match (self.keeper.take(), &next.cache) {
            (Some(keeper), Some(path)) if keeper.keeps(path, &env) => Some(keeper),
            (_, Some(path)) => Some(Keeper::start(path.clone(), env, Known::default())),
            (_, None) => None,
        };
    }

    fn start_registry(
        &self,
        source: &RegistrySource,
        section: &Discovery,
        known: &Known,
    ) -> Running {
        let mut report = kept(Origin::Registry, known.registry.as_ref());
        report.rules = known.rules.clone().unwrap_or_default();
        let (source, consumer) = (source.clone(), Arc::clone(&self.consumer));
        let (confirm, metrics) = (section.confirm, Arc::clone(&self.metrics));
        Running::start(report, |out| {
            registry::follow(source, consumer, Feed::new(Source::Registry, confirm, out, metrics))
        })
    }

    fn start_eureka(&self, source: &EurekaSource, section: &Discovery, known: &Known) -> Running {
        let report = kept(Origin::Eureka, known.eureka.as_ref());
        let (source, confirm) = (source.clone(), section.confirm);
        let metrics = Arc::clone(&self.metrics);
        Running::start(report, |out| {
            eureka::follow(source, Feed::new(Source::Eureka, confirm, out, metrics))
        })
    }

    /// Waits until a source has something to say, or is otherwise than before.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) {
        async fn changed(running: Option<&mut Running>) {
            if let Some(running) = running
                && running.report.changed().await.is_ok()
            {
                return;
            }
            // One that is followed never ends.
            std::future::pending::<()>().await;
        }
        tokio::select! {
            () = changed(self.registry.as_mut()) => {}
            () = changed(self.eureka.as_mut()) => {}
        }
    }

    /// Returns what all of them say now, and has it kept for the next start.
    pub fn known(&mut self) -> Known {
        let report = |running: &mut Running| running.report.borrow_and_update().clone();
        let registry = self.registry.as_mut().map(report).filter(|it| it.is_known);
        let eureka = self.eureka.as_mut().map(report).filter(|it| it.is_known);
        let (registry, rules) = registry.map(|it| (it.said, it.rules)).unzip();
        let known = Known { registry, rules, eureka: eureka.map(|it| it.said) };
        if let Some(keeper) = &self.keeper {
            keeper.keep(&known);
        }
        known
    }

    /// Returns how each source is.
    pub fn views(&self) -> Vec<SourceView> {
        let all = [&self.registry, &self.eureka].into_iter().flatten();
        all.map(|it| it.report.borrow().view.clone()).collect()
    }

    /// Ends following, once what is known is kept.
    pub async fn finish(self) {
        if let Some(keeper) = self.keeper {
            keeper.finish().await;
        }
    }
}

/// What is known of a source to begin with.
fn kept(origin: Origin, said: Option<&Arc<Said>>) -> Report {
    let instances = said.map_or(0, |it| count(&it.services));
    let is_known = said.is_some();
    let view =
        SourceView { source: origin, from_cache: is_known, instances, ..SourceView::default() };
    Report { said: said.cloned().unwrap_or_default(), is_known, view, ..Report::default() }
}

/// What we tell a registry that we are: our copy's name, or else our service and something that tells
/// us from its other copies.
fn consumer(config: &Config) -> Arc<str> {
    let alike = || format!("{}/{:08x}", config.workload.service, fastrand::u32(..)).into();
    config.workload.name.clone().unwrap_or_else(alike)
}
