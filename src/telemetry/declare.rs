//! Declaring metrics, and holding those that are resolved once and for all.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

use crate::telemetry::labels::{Correlated, Direction};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Declares metrics in a registry.
pub(super) struct Declare<'a>(pub(super) &'a Registry);

impl Declare<'_> {
    /// Puts a metric, or a family of them, into the registry.
    fn register<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// What is known of any process: CPU time, memory, descriptors, threads, start.
    pub(super) fn about_process(&self) -> Result<()> {
        self.0.register(Box::new(ProcessCollector::for_self()))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, by: &[&str]) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), by)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, by: &[&str]) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), by)?)
    }

    /// Distributions of durations.
    pub(super) fn seconds(&self, name: &str, help: &str, by: &[&str]) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.register(HistogramVec::new(options, by)?)
    }
}

/// Something that is counted for as long as it is held.
#[derive(Debug)]
#[must_use = "it is over when this is dropped"]
pub struct Active(IntGauge);

impl Active {
    pub(super) fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A gauge for each direction.
#[derive(Debug)]
pub(super) struct Directed {
    inbound: IntGauge,
    outbound: IntGauge,
}

impl Directed {
    /// Resolves the series of `family`, whose one label is the direction.
    pub(super) fn new(family: &IntGaugeVec) -> Self {
        let of = |direction: Direction| family.with_label_values(&[direction.label()]);
        Self { inbound: of(Direction::Inbound), outbound: of(Direction::Outbound) }
    }

    pub(super) fn get(&self, direction: Direction) -> &IntGauge {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// A counter for each outcome of a correlation.
#[derive(Debug)]
pub(super) struct Correlations {
    tenant: IntCounter,
    unknown: IntCounter,
    no_id: IntCounter,
    poisoned: IntCounter,
}

impl Correlations {
    /// Resolves the series of `family`, whose one label is the outcome.
    pub(super) fn new(family: &IntCounterVec) -> Self {
        let of = |outcome: Correlated| family.with_label_values(&[outcome.label()]);
        Self {
            tenant: of(Correlated::Tenant),
            unknown: of(Correlated::Unknown),
            no_id: of(Correlated::NoId),
            poisoned: of(Correlated::Poisoned),
        }
    }

    pub(super) fn get(&self, outcome: Correlated) -> &IntCounter {
        match outcome {
            Correlated::Tenant => &self.tenant,
            Correlated::Unknown => &self.unknown,
            Correlated::NoId => &self.no_id,
            Correlated::Poisoned => &self.poisoned,
        }
    }
}
