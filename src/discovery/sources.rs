//! Every source there is, started and ended as the file has it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Config, Discovery, RegistrySource, RemoteRules};
use crate::discovery::feed::Feed;
use crate::discovery::merge::merge;
use crate::discovery::registry;
use crate::discovery::report::{Report, SourceView};
use crate::discovery::rules::Rules;
use crate::discovery::said::{Said, Services};
use crate::model::{Catalog, Instance, Origin};
use crate::telemetry::{Metrics, Source};

/// A source that is followed. Dropped, it is not.
#[derive(Debug)]
struct Running<S> {
    settings: S,
    report: watch::Receiver<Report>,
    _task: AbortOnDropHandle<()>,
}

/// Every source the file names, and what each says.
#[derive(Debug)]
pub struct Sources {
    consumer: Arc<str>,
    metrics: Arc<Metrics>,
    section: Discovery,
    registry: Option<Running<RegistrySource>>,
}

/// What all sources say at one moment. Equal to another if it is the same.
#[derive(Debug, Clone, Default)]
pub struct Known {
    registry: Option<Arc<Said>>,
    rules: Option<Arc<Rules>>,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
        }
        same(self.registry.as_ref(), other.registry.as_ref())
            && same(self.rules.as_ref(), other.rules.as_ref())
    }
}

impl Known {
    /// Returns everybody there is, with those that the file names.
    pub fn catalog(&self, file: &[Instance]) -> Catalog {
        merge(file, self.registry.as_deref(), None)
    }

    /// Returns the tenants and lanes that are written in a registry.
    pub fn rules(&self) -> Option<&RemoteRules> {
        self.rules.as_ref().map(|it| &it.good)
    }

    /// Returns those that are left out, each with why.
    pub fn bad_rules(&self) -> &[(crate::config::Entry, Arc<str>)] {
        self.rules.as_ref().map_or(&[], |it| &it.bad)
    }
}

impl Sources {
    /// Follows the sources that a file names. Must be called in a tokio runtime.
    pub fn start(config: &Config, metrics: Arc<Metrics>) -> Self {
        let section = Discovery { registry: None, eureka: None, ..config.discovery.clone() };
        let consumer = consumer(config);
        let mut sources = Self { consumer, metrics, section, registry: None };
        sources.follow(config);
        sources
    }

    /// Goes by what a file says from now on. A source that is as it was is not disturbed; one that is
    /// asked otherwise keeps what it knew until it is told better.
    pub fn follow(&mut self, config: &Config) {
        let next = &config.discovery;
        if self.section == *next {
            return;
        }
        let keeps_confirm = self.section.confirm == next.confirm;
        let running = self.registry.take();
        self.registry = match (running, &next.registry) {
            (Some(it), Some(wanted)) if it.settings == *wanted && keeps_confirm => Some(it),
            (before, Some(wanted)) => Some(self.start_registry(before, wanted, next)),
            (Some(_), None) => {
                self.metrics.source_ended(Source::Registry);
                None
            }
            (None, None) => None,
        };
        self.section = next.clone();
    }

    fn start_registry(
        &self,
        before: Option<Running<RegistrySource>>,
        wanted: &RegistrySource,
        section: &Discovery,
    ) -> Running<RegistrySource> {
        // Another environment is another world.
        let before = before.filter(|it| it.settings.env == wanted.env);
        let mut report = before.map(|it| it.report.borrow().clone()).unwrap_or_default();
        let is_wanted = |service: &str| wanted.services.iter().any(|it| it.matches(service));
        if report.said.services.keys().any(|it| !is_wanted(it.as_str())) {
            let services = report.said.services.iter();
            let services: Services = services
                .filter(|(it, _)| is_wanted(it.as_str()))
                .map(|(name, it)| (name.clone(), Arc::clone(it)))
                .collect();
            report.said = Arc::new(Said { services, ..Said::clone(&report.said) });
        }
        if !wanted.rules {
            report.rules = Arc::default();
        }
        report.view.source = Origin::Registry;
        let (out, report) = watch::channel(report);
        let feed = Feed::new(Source::Registry, section.confirm, out, Arc::clone(&self.metrics));
        let following = registry::follow(wanted.clone(), Arc::clone(&self.consumer), feed);
        let task = AbortOnDropHandle::new(tokio::spawn(following));
        Running { settings: wanted.clone(), report, _task: task }
    }

    /// Waits until a source has something to say, or is otherwise than before.
    ///
    /// Cancel safe.
    pub async fn changed(&mut self) {
        if let Some(it) = &mut self.registry
            && it.report.changed().await.is_ok()
        {
            return;
        }
        // One that is followed never ends.
        std::future::pending().await
    }

    /// Returns what all of them say now.
    pub fn known(&mut self) -> Known {
        let registry = self.registry.as_mut().map(|it| it.report.borrow_and_update().clone());
        let (registry, rules) = registry.map(|it| (it.said, it.rules)).unzip();
        Known { registry, rules }
    }

    /// Returns how each source is.
    pub fn views(&self) -> Vec<SourceView> {
        self.registry.iter().map(|it| it.report.borrow().view.clone()).collect()
    }

    /// Returns the sources of which nothing is known yet.
    pub fn unknown(&self) -> Vec<Source> {
        let registry = self.registry.as_ref().filter(|it| !it.report.borrow().is_known);
        registry.map(|_| Source::Registry).into_iter().collect()
    }
}

/// Returns the sources that `config` names and of which nothing is known.
pub fn unknown(config: &Config, known: &Known) -> Vec<Source> {
    let registry = config.discovery.registry.is_some() && known.registry.is_none();
    registry.then_some(Source::Registry).into_iter().collect()
}

/// What we tell a registry that we are: our copy's name, or our service.
fn consumer(config: &Config) -> Arc<str> {
    let service = || config.workload.service.as_str().into();
    config.workload.name.clone().unwrap_or_else(service)
}
