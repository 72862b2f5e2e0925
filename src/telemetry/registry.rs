//! Every metric of a registry's node, declared in one place.
//!
//! What each means is in `docs/metrics.md`; a test holds the two together.

use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, Result, TextEncoder,
};

use crate::telemetry::declare::Declare;

/// Every metric of a node. Shared by all its tasks.
#[derive(Debug)]
pub struct RegistryMetrics {
    registry: Registry,
    /// Requests answered: `call`, `code`.
    requests: IntCounterVec,
    durations: HistogramVec,
    /// Requests turned away: `class`.
    shed: IntCounterVec,
    /// Instances evicted.
    pub evictions: IntCounter,
    /// Answers held back as repetitions.
    pub damped: IntCounter,
    /// Connections open.
    pub connections: IntGauge,
    /// Live instances.
    pub instances: IntGauge,
    /// Instances that went and are remembered.
    pub gone: IntGauge,
    /// Services.
    pub services: IntGauge,
    /// Requests that wait for news.
    pub watchers: IntGauge,
    /// Zones and lanes protected.
    pub protected: IntGauge,
    /// Instances kept by protection alone.
    pub held: IntGauge,
    /// Versions of peers that were too far ahead.
    pub ahead: IntGauge,
    /// Tenant rules, removed ones included.
    pub rules: IntGauge,
    /// Whether there is something worth reading.
    pub readable: IntGauge,
}

impl RegistryMetrics {
    /// The `content-type` of what [`RegistryMetrics::render`] returns.
    pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

    /// Declares every metric in `registry`, which must have none of them yet.
    pub fn new(registry: &Registry) -> Result<Self> {
        let declare = Declare(registry);
        declare.about_process()?;
        let build = declare.gauges("dyelane_build_info", "This build; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let gauge = |name: &str, help: &str| declare.gauge(name, help);
        Ok(Self {
            registry: registry.clone(),
            requests: declare.counters(
                "dyelane_registry_requests_total",
                "Requests answered, by call and code.",
                &["call", "code"],
            )?,
            durations: declare.seconds(
                "dyelane_registry_request_duration_seconds",
                "From a request read to its answer, by call; polls are not among them.",
                &["call"],
            )?,
            shed: declare.counters(
                "dyelane_registry_shed_total",
                "Requests turned away, by class.",
                &["class"],
            )?,
            evictions: declare
                .counter("dyelane_registry_evictions_total", "Instances evicted for silence.")?,
            damped: declare.counter(
                "dyelane_registry_damped_total",
                "Answers held back because they were asked for and given again and again.",
            )?,
            connections: gauge("dyelane_registry_connections_active", "Connections open.")?,
            instances: gauge("dyelane_registry_instances", "Live instances.")?,
            gone: gauge("dyelane_registry_tombstones", "Instances that went and are remembered.")?,
            services: gauge("dyelane_registry_services", "Services with an instance remembered.")?,
            watchers: gauge("dyelane_registry_watchers", "Requests that wait for news.")?,
            protected: gauge("dyelane_registry_protected", "Zones and lanes that are protected.")?,
            held: gauge("dyelane_registry_held", "Instances kept by protection alone.")?,
            ahead: gauge(
                "dyelane_registry_clock_ahead",
                "Versions of other nodes that were too far ahead of this one's clock.",
            )?,
            rules: gauge("dyelane_registry_rules", "Tenant rules, removed ones included.")?,
            readable: gauge("dyelane_registry_readable", "Whether reads are answered.")?,
        })
    }

    /// Counts a request: how it was answered, and how long that took if that means anything.
    pub fn answered(&self, call: &str, code: &str, took: Option<std::time::Duration>) {
        self.requests.with_label_values(&[call, code]).inc();
        if let Some(took) = took {
            self.durations.with_label_values(&[call]).observe(took.as_secs_f64());
        }
    }

    /// Counts a request that was turned away.
    pub fn shed(&self, class: &str) {
        self.shed.with_label_values(&[class]).inc();
    }

    /// Returns every metric in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot render the metrics whole");
        }
        text
    }

    /// Returns where others may declare metrics of theirs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
