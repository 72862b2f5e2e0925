//! Every metric of a registry's node, declared in one place.
//!
//! What each means is in `docs/metrics.md`; a test holds the two together.

use std::time::Duration;

use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result, TextEncoder,
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
    /// What is known of other nodes.
    pub peers: PeerMetrics,
    /// Requests of nodes without our token.
    pub strangers: IntCounter,
}

/// What is known of other nodes, as of the moment it is asked for.
#[derive(Debug)]
pub struct PeerMetrics {
    up: IntGaugeVec,
    waiting: IntGaugeVec,
    silence: IntGaugeVec,
    counts: [IntCounter; 6],
}

/// What is known of one other node.
#[derive(Debug, Clone, Copy)]
pub struct PeerSample<'a> {
    /// Where it is reached.
    pub at: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// Whether it answers.
    pub is_up: bool,
    /// What waits to be sent to it.
    pub waiting: usize,
    /// How long ago it last answered; none: never.
    pub silence: Option<Duration>,
}

/// How often things happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerCounts {
    /// Records sent to others.
    pub records_sent: u64,
    /// Renewals sent to others.
    pub renewals_sent: u64,
    /// Records of others that were later than ours.
    pub records_taken: u64,
    /// Comparings of everything.
    pub compared: u64,
    /// Those that found a difference.
    pub differed: u64,
    /// Nodes lost.
    pub lost: u64,
}

impl PeerMetrics {
    fn new(declare: &Declare<'_>) -> Result<Self> {
        let by = &["peer", "zone"];
        let counter = |name: &str, help: &str| declare.counter(name, help);
        Ok(Self {
            up: declare.gauges("dyelane_registry_peer_up", "Whether a node answers.", by)?,
            waiting: declare.gauges(
                "dyelane_registry_peer_queue",
                "Records and renewals that wait to be sent to a node.",
                by,
            )?,
            silence: declare.gauges(
                "dyelane_registry_peer_silence_seconds",
                "How long ago a node last answered.",
                by,
            )?,
            counts: [
                counter("dyelane_registry_records_sent_total", "Records sent to other nodes.")?,
                counter("dyelane_registry_renewals_sent_total", "Renewals sent to other nodes.")?,
                counter(
                    "dyelane_registry_records_taken_total",
                    "Records of other nodes that were later than this one's.",
                )?,
                counter("dyelane_registry_compared_total", "Comparings of all there is.")?,
                counter(
                    "dyelane_registry_repaired_total",
                    "Comparings that found a difference and mended it.",
                )?,
                counter("dyelane_registry_peer_lost_total", "Times a node no longer answered.")?,
            ],
        })
    }

    /// Takes how things stand now; nodes that are no longer known are known no more.
    pub fn set<'a>(&self, peers: impl Iterator<Item = PeerSample<'a>>, counts: PeerCounts) {
        [&self.up, &self.waiting, &self.silence].into_iter().for_each(IntGaugeVec::reset);
        let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        for peer in peers {
            let by = &[peer.at, peer.zone];
            self.up.with_label_values(by).set(i64::from(peer.is_up));
            self.waiting.with_label_values(by).set(number(peer.waiting));
            if let Some(silence) = peer.silence {
                let seconds = i64::try_from(silence.as_secs()).unwrap_or(i64::MAX);
                self.silence.with_label_values(by).set(seconds);
            }
        }
        let PeerCounts { records_sent, renewals_sent, records_taken, compared, differed, lost } =
            counts;
        let now = [records_sent, renewals_sent, records_taken, compared, differed, lost];
        for (counter, now) in self.counts.iter().zip(now) {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
    }
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
            peers: PeerMetrics::new(&declare)?,
            strangers: declare.counter(
                "dyelane_registry_peer_refused_total",
                "Requests of nodes that did not show our token.",
            )?,
        })
    }

    /// Counts a request: how it was answered, and how long that took if that means anything.
    pub fn answered(&self, call: &str, code: &str, took: Option<Duration>) {
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
