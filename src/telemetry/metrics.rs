//! Every metric there is, declared in one place.
//!
//! How they are counted is in `events.rs`: each is a method with typed arguments, so a label can
//! neither be forgotten nor put in the wrong position. What each means is in `docs/metrics.md`; a
//! test holds the two together.

use std::collections::HashSet;
use std::sync::Mutex;

use prometheus::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, Result, TextEncoder,
};

use crate::telemetry::declare::{Correlations, Declare, Directed};
use crate::telemetry::labels::{Direction, Protocol, Way};

/// Every metric there is. Shared by all threads.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(super) requests: Requests,
    pub(super) connections: Connections,
    pub(super) upstreams: Upstreams,
    pub(super) config: Config,
    pub(super) discovery: Discovery,
    pub(super) presence: Presence,
    pub(super) access_log_dropped: IntCounter,
    pub(super) draining: IntGauge,
}

impl Metrics {
    /// The `content-type` of what [`Metrics::render`] returns.
    pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

    /// Declares every metric in `registry`, which must have none of them yet.
    pub fn new(registry: &Registry) -> Result<Self> {
        let declare = Declare(registry);
        declare.about_process()?;
        let build = declare.gauges("dyelane_build_info", "This build; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            registry: registry.clone(),
            requests: Requests::declare(&declare)?,
            connections: Connections::declare(&declare)?,
            upstreams: Upstreams::declare(&declare)?,
            config: Config::declare(&declare)?,
            discovery: Discovery::declare(&declare)?,
            presence: Presence::declare(&declare)?,
            access_log_dropped: declare.counter(
                "dyelane_access_log_dropped_total",
                "Lines of the access log that nobody took in time.",
            )?,
            draining: declare.gauge("dyelane_draining", "Whether we are about to stop.")?,
        })
    }

    /// Returns every metric in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot render the metrics whole");
        }
        text
    }
}

/// What becomes of requests.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) ended: IntCounterVec,
    /// The series of `ended` there are, as hashes of their labels.
    pub(super) series: Mutex<HashSet<u64>>,
    pub(super) hasher: foldhash::fast::RandomState,
    pub(super) durations: HistogramVec,
    pub(super) streams: Directed,
    pub(super) fallbacks: IntCounterVec,
    pub(super) propagation_missing: IntCounterVec,
    pub(super) correlated: Correlations,
    pub(super) claims_rejected: IntCounterVec,
    pub(super) baggage_no_room: IntCounter,
}

impl Requests {
    fn declare(declare: &Declare<'_>) -> Result<Self> {
        let streams =
            declare.gauges("dyelane_streams_active", "Requests under way.", &["direction"])?;
        let correlated = declare.counters(
            "dyelane_correlation_total",
            "Outbound requests without a tenant that were looked up by their correlation ids.",
            &["outcome"],
        )?;
        Ok(Self {
            ended: declare.counters(
                "dyelane_requests_total",
                "Requests that ended, by where they went and how.",
                &["direction", "service", "tenant", "lane", "reason", "code"],
            )?,
            series: Mutex::default(),
            hasher: foldhash::fast::RandomState::default(),
            durations: declare.seconds(
                "dyelane_request_duration_seconds",
                "From a request's head read to its answer's end.",
                &["direction", "service"],
            )?,
            streams: Directed::new(&streams),
            fallbacks: declare.counters(
                "dyelane_fallback_total",
                "Requests of a tenant that went to another lane than its own, by why.",
                &["service", "reason"],
            )?,
            propagation_missing: declare.counters(
                "dyelane_propagation_missing_total",
                "Outbound requests of which this application dropped the tenant.",
                &["service"],
            )?,
            correlated: Correlations::new(&correlated),
            claims_rejected: declare.counters(
                "dyelane_claims_rejected_total",
                "Tenant claims that were malformed or in conflict, by what was wrong.",
                &["cause"],
            )?,
            baggage_no_room: declare.counter(
                "dyelane_baggage_no_room_total",
                "Requests whose baggage was too full for the tenant.",
            )?,
        })
    }
}

/// What becomes of the connections we accept.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) accepted: IntCounterVec,
    pub(super) active: IntGaugeVec,
    pub(super) tcp_bytes: IntCounterVec,
    pub(super) protocol_errors: IntCounterVec,
}

impl Connections {
    /// Every series of fixed labels appears at once, so that its first event is an increase.
    fn declare(declare: &Declare<'_>) -> Result<Self> {
        let connections = Self {
            accepted: declare.counters(
                "dyelane_connections_total",
                "Connections accepted.",
                &["direction", "protocol"],
            )?,
            active: declare.gauges(
                "dyelane_connections_active",
                "Connections accepted that are open.",
                &["direction", "protocol"],
            )?,
            tcp_bytes: declare.counters(
                "dyelane_tcp_bytes_total",
                "Bytes of relayed connections that ended.",
                &["direction", "way"],
            )?,
            protocol_errors: declare.counters(
                "dyelane_protocol_errors_total",
                "Peers' breaches of HTTP, by kind.",
                &["direction", "kind"],
            )?,
        };
        for direction in Direction::ALL.iter().map(|it| it.label()) {
            for protocol in Protocol::ALL.iter().map(|it| it.label()) {
                connections.accepted.with_label_values(&[direction, protocol]);
                connections.active.with_label_values(&[direction, protocol]);
            }
            for way in Way::ALL.iter().map(|it| it.label()) {
                connections.tcp_bytes.with_label_values(&[direction, way]);
            }
        }
        Ok(connections)
    }
}

/// What becomes of the instances we send to.
#[derive(Debug)]
pub(super) struct Upstreams {
    pub(super) connections: IntGaugeVec,
    pub(super) connect_failures: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) ejections: IntCounterVec,
    pub(super) endpoints_ejected: IntGaugeVec,
    pub(super) endpoints: IntGaugeVec,
    pub(super) zone_shares: IntGaugeVec,
    pub(super) cross_zone: IntCounterVec,
}

impl Upstreams {
    fn declare(declare: &Declare<'_>) -> Result<Self> {
        Ok(Self {
            connections: declare.gauges(
                "dyelane_upstream_connections_active",
                "Connections to instances that are open.",
                &["service"],
            )?,
            connect_failures: declare.counters(
                "dyelane_upstream_connect_failures_total",
                "Connections to instances that did not come about, by why.",
                &["service", "cause"],
            )?,
            retries: declare.counters(
                "dyelane_retries_total",
                "Requests that were to be tried again, by what came of it.",
                &["service", "outcome"],
            )?,
            ejections: declare.counters(
                "dyelane_ejections_total",
                "Times an instance was left alone for failing.",
                &["service"],
            )?,
            endpoints_ejected: declare.gauges(
                "dyelane_endpoints_ejected",
                "Instances that are left alone for failing.",
                &["service"],
            )?,
            endpoints: declare.gauges(
                "dyelane_endpoints",
                "Instances of the baseline that are up, by whether we send to them.",
                &["service", "state"],
            )?,
            zone_shares: declare.gauges(
                "dyelane_zone_share_percent",
                "The part of the requests for the baseline that a zone gets.",
                &["service", "zone"],
            )?,
            cross_zone: declare.counters(
                "dyelane_cross_zone_requests_total",
                "Attempts that went to an instance of another zone than ours.",
                &["service"],
            )?,
        })
    }
}

/// What becomes of `sidecar.toml`.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) reloads: IntCounterVec,
    pub(super) reload_successful: IntGauge,
    pub(super) reload_timestamp: IntGauge,
    pub(super) generation: IntGauge,
    pub(super) quarantined: IntGauge,
}

/// The outcome of a reload that is in force.
pub(super) const APPLIED: &str = "applied";
/// The outcome of a reload that changed nothing.
pub(super) const REJECTED: &str = "rejected";

impl Config {
    fn declare(declare: &Declare<'_>) -> Result<Self> {
        let reloads = declare.counters(
            "dyelane_config_reloads_total",
            "Configuration files read, by what became of them.",
            &["outcome"],
        )?;
        for outcome in [APPLIED, REJECTED] {
            reloads.with_label_values(&[outcome]);
        }
        Ok(Self {
            reloads,
            reload_successful: declare.gauge(
                "dyelane_config_last_reload_successful",
                "Whether the last configuration file read was applied.",
            )?,
            reload_timestamp: declare.gauge(
                "dyelane_config_last_reload_timestamp_seconds",
                "When the configuration in force was applied.",
            )?,
            generation: declare
                .gauge("dyelane_config_generation", "The generation of the world in force.")?,
            quarantined: declare.gauge(
                "dyelane_config_quarantined",
                "Tenants and lanes of the configuration in force that are left out as faulty.",
            )?,
        })
    }
}

/// What becomes of those who tell us of instances.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) up: IntGaugeVec,
    pub(super) answered: IntGaugeVec,
    pub(super) failures: IntCounterVec,
    pub(super) refused: IntCounterVec,
    pub(super) instances: IntGaugeVec,
    pub(super) held: IntGaugeVec,
    pub(super) left_out: IntGaugeVec,
    pub(super) rules: IntGauge,
    pub(super) services: IntGauge,
    pub(super) catalog: IntGauge,
}

impl Discovery {
    fn declare(declare: &Declare<'_>) -> Result<Self> {
        Ok(Self {
            up: declare.gauges(
                "dyelane_discovery_source_up",
                "Whether a source of instances answers.",
                &["source"],
            )?,
            answered: declare.gauges(
                "dyelane_discovery_last_answer_timestamp_seconds",
                "When a source of instances last answered.",
                &["source"],
            )?,
            failures: declare.counters(
                "dyelane_discovery_failures_total",
                "Times a node of a source did not answer as it should.",
                &["source"],
            )?,
            refused: declare.counters(
                "dyelane_discovery_refused_total",
                "Times a service's answer was doubted, and not believed before it was confirmed.",
                &["source"],
            )?,
            instances: declare.gauges(
                "dyelane_discovery_instances",
                "Instances that count because a source says so.",
                &["source"],
            )?,
            held: declare.gauges(
                "dyelane_discovery_held_instances",
                "Instances that still count though a source no longer names them.",
                &["source"],
            )?,
            left_out: declare.gauges(
                "dyelane_discovery_left_out_instances",
                "Instances a source names that nobody could send a request to.",
                &["source"],
            )?,
            rules: declare.gauge(
                "dyelane_discovery_rules",
                "Tenants and lanes that count as a registry has them.",
            )?,
            services: declare
                .gauge("dyelane_catalog_services", "Services of the catalog in force.")?,
            catalog: declare
                .gauge("dyelane_catalog_instances", "Instances of the catalog in force.")?,
        })
    }
}

/// Who is well, and who is told of us.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) application: IntGauge,
    pub(super) registered: IntGauge,
    pub(super) registrations: IntCounter,
    pub(super) failures: IntCounter,
    pub(super) unhealthy: IntGaugeVec,
    pub(super) probe_failures: IntCounterVec,
}

impl Presence {
    fn declare(declare: &Declare<'_>) -> Result<Self> {
        Ok(Self {
            application: declare
                .gauge("dyelane_application_healthy", "Whether our application is well.")?,
            registered: declare.gauge(
                "dyelane_registered",
                "Whether a registry took our registration and its last renewal.",
            )?,
            registrations: declare.counter(
                "dyelane_registrations_total",
                "Times a registry was told of our instance as a whole.",
            )?,
            failures: declare.counter(
                "dyelane_registration_failures_total",
                "Times no node of a registry did as it was asked.",
            )?,
            unhealthy: declare.gauges(
                "dyelane_endpoints_unhealthy",
                "Instances that probes find unhealthy.",
                &["service"],
            )?,
            probe_failures: declare.counters(
                "dyelane_probe_failures_total",
                "Probes of instances that failed.",
                &["service"],
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words of `text` that begin with `prefix`.
    fn names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with(prefix))
            .collect()
    }

    #[test]
    fn every_metric_is_explained_and_nothing_else() {
        let mut declared = names(include_str!("metrics.rs"), "dyelane_");
        declared.extend(names(include_str!("registry.rs"), "dyelane_"));
        let explained = names(include_str!("../../docs/metrics.md"), "dyelane_");

        assert_eq!(declared, explained);
    }

    #[test]
    fn what_is_known_of_the_process_is_explained() {
        let text = Metrics::new(&Registry::new()).unwrap().render();
        let declared = names(&text, "process_");
        let explained = names(include_str!("../../docs/metrics.md"), "process_");

        assert_eq!(declared, explained);
        assert_eq!(declared.len(), 7);
    }

    #[test]
    fn a_registry_takes_the_metrics_once() {
        let registry = Registry::new();

        let first = Metrics::new(&registry);
        let second = Metrics::new(&registry);

        assert!(first.is_ok() && second.is_err());
    }
}
