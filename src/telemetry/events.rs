//! What happened, as methods of [`Metrics`]: typed arguments, no label lists.

use std::hash::BuildHasher;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, IntCounter};

use crate::model::ServiceName;
use crate::telemetry::declare::Active;
use crate::telemetry::labels::{Correlated, Direction, Protocol, Retry, Source, Way};
use crate::telemetry::metrics::{APPLIED, Discovery, Metrics, REJECTED, Upstreams};
use crate::telemetry::record::{OTHER, Record};

/// Series of `dyelane_requests_total` that tell tenants and lanes apart; beyond, both are `other`.
const REQUEST_SERIES: usize = 10_000;

/// How the requests for the baseline of a service are shared out.
#[derive(Debug, Clone)]
pub struct Spread<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// Instances that we send to.
    pub used: usize,
    /// Those that are left to other clients.
    pub left: usize,
    /// Those of clusters that the service does not name.
    pub elsewhere: usize,
    /// Zones with their parts of the requests, 0.0 to 1.0; empty if zones make no difference.
    pub zones: Vec<(String, f32)>,
}

impl Metrics {
    /// A request began. It is under way until the value is dropped.
    pub fn stream_began(&self, direction: Direction) -> Active {
        Active::new(self.requests.streams.get(direction).clone())
    }

    /// A connection was accepted. It is open until the value is dropped.
    pub fn connection_opened(&self, direction: Direction, protocol: Protocol) -> Active {
        let labels = [direction.label(), protocol.label()];
        self.connections.accepted.with_label_values(&labels).inc();
        Active::new(self.connections.active.with_label_values(&labels))
    }

    /// A connection to an instance came about. It is open until the value is dropped.
    pub fn upstream_connection_opened(&self, service: &ServiceName) -> Active {
        Active::new(self.upstreams.connections.with_label_values(&[service]))
    }

    /// A connection to an instance did not come about. `cause` is one of a few words.
    pub fn upstream_connect_failed(&self, service: &ServiceName, cause: &'static str) {
        self.upstreams.connect_failures.with_label_values(&[service.as_str(), cause]).inc();
    }

    /// A request was to be tried again.
    pub fn retried(&self, service: &ServiceName, outcome: Retry) {
        self.upstreams.retries.with_label_values(&[service.as_str(), outcome.label()]).inc();
    }

    /// An instance was ejected.
    pub fn ejected(&self, service: &ServiceName) {
        self.upstreams.ejections.with_label_values(&[service]).inc();
    }

    /// So many instances of a service are ejected now.
    pub fn set_endpoints_ejected(&self, service: &ServiceName, count: usize) {
        self.upstreams.endpoints_ejected.with_label_values(&[service]).set(whole(count));
    }

    /// An attempt goes to an instance of another zone than ours.
    pub fn crossed_zone(&self, service: &ServiceName) {
        self.upstreams.cross_zone.with_label_values(&[service]).inc();
    }

    /// The baselines of these services are shared out so; of others nothing is known.
    pub fn set_spreads(&self, spreads: &[Spread<'_>]) {
        let Upstreams { endpoints, zone_shares, .. } = &self.upstreams;
        endpoints.reset();
        zone_shares.reset();
        for Spread { service, used, left, elsewhere, zones } in spreads {
            for (state, count) in [("used", used), ("left", left), ("other_cluster", elsewhere)] {
                endpoints.with_label_values(&[service.as_str(), state]).set(whole(*count));
            }
            for (zone, share) in zones {
                zone_shares.with_label_values(&[service.as_str(), zone]).set(percent(*share));
            }
        }
    }

    /// An outbound request without a tenant was looked up by its correlation ids.
    pub fn correlated(&self, outcome: Correlated) {
        self.requests.correlated.get(outcome).inc();
    }

    /// A claim was malformed or in conflict. `cause` is one of a few words.
    pub fn claim_rejected(&self, cause: &'static str) {
        self.requests.claims_rejected.with_label_values(&[cause]).inc();
    }

    /// A request's baggage was too full for the tenant.
    pub fn baggage_had_no_room(&self) {
        self.requests.baggage_no_room.inc();
    }

    /// So many bytes went over a relayed connection.
    pub fn tcp_moved(&self, direction: Direction, way: Way, bytes: u64) {
        self.connections
            .tcp_bytes
            .with_label_values(&[direction.label(), way.label()])
            .inc_by(bytes);
    }

    /// A peer broke the rules of HTTP. `kind` is one of a few words.
    pub fn protocol_error(&self, direction: Direction, kind: &'static str) {
        self.connections.protocol_errors.with_label_values(&[direction.label(), kind]).inc();
    }

    /// A configuration was applied at `now`, with so many tenants and lanes left out as faulty.
    pub fn reload_applied(&self, quarantined: usize, now: SystemTime) {
        self.config.reloads.with_label_values(&[APPLIED]).inc();
        self.config.reload_successful.set(1);
        self.config.quarantined.set(whole(quarantined));
        self.config.reload_timestamp.set(seconds(now));
    }

    /// A configuration was refused; the last good one stays.
    pub fn reload_rejected(&self) {
        self.config.reloads.with_label_values(&[REJECTED]).inc();
        self.config.reload_successful.set(0);
    }

    /// A world of that generation is in force, whatever it was built for.
    pub fn set_generation(&self, generation: u64) {
        self.config.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// A source answered at `now`.
    pub fn source_answered(&self, source: Source, now: SystemTime) {
        let by = [source.label()];
        self.discovery.up.with_label_values(&by).set(1);
        self.discovery.answered.with_label_values(&by).set(seconds(now));
    }

    /// A node of a source did not answer as it should; `up` is whether the source as a whole still
    /// counts as answering.
    pub fn source_failed(&self, source: Source, up: bool) {
        let by = [source.label()];
        self.discovery.failures.with_label_values(&by).inc();
        self.discovery.up.with_label_values(&by).set(i64::from(up));
    }

    /// So many services' answers were doubted.
    pub fn source_refused(&self, source: Source, services: usize) {
        let refused = self.discovery.refused.with_label_values(&[source.label()]);
        refused.inc_by(u64::try_from(services).unwrap_or(u64::MAX));
    }

    /// So many instances count because a source says so, of which so many it no longer names; so
    /// many more it names that nobody could send a request to.
    pub fn set_source(&self, source: Source, instances: usize, held: usize, left_out: usize) {
        let by = [source.label()];
        self.discovery.instances.with_label_values(&by).set(whole(instances));
        self.discovery.held.with_label_values(&by).set(whole(held));
        self.discovery.left_out.with_label_values(&by).set(whole(left_out));
    }

    /// A source is asked from now on: its series appear.
    pub fn source_began(&self, source: Source) {
        let by = [source.label()];
        self.discovery.up.with_label_values(&by).set(0);
        self.discovery.failures.with_label_values(&by);
        self.discovery.refused.with_label_values(&by);
        self.set_source(source, 0, 0, 0);
    }

    /// A source is no longer asked: its gauges go.
    pub fn source_ended(&self, source: Source) {
        let Discovery { up, answered, instances, held, left_out, .. } = &self.discovery;
        for gauges in [up, answered, instances, held, left_out] {
            // One that never was is as good as gone.
            let _ = gauges.remove_label_values(&[source.label()]);
        }
    }

    /// So many tenants and lanes count as a registry has them.
    pub fn set_remote_rules(&self, count: usize) {
        self.discovery.rules.set(whole(count));
    }

    /// The catalog in force has so many services and instances.
    pub fn set_catalog(&self, services: usize, instances: usize) {
        self.discovery.services.set(whole(services));
        self.discovery.catalog.set(whole(instances));
    }

    /// Our application is well, or is not.
    pub fn set_application_healthy(&self, is_well: bool) {
        self.presence.application.set(i64::from(is_well));
    }

    /// A registry took our registration and its last renewal, or did not.
    pub fn set_registered(&self, is_registered: bool) {
        self.presence.registered.set(i64::from(is_registered));
    }

    /// A registry was told of our instance as a whole.
    pub fn registration_told(&self) {
        self.presence.registrations.inc();
    }

    /// No node of a registry did as it was asked.
    pub fn registration_failed(&self) {
        self.presence.failures.inc();
    }

    /// A probe of an instance failed.
    pub fn probe_failed(&self, service: &ServiceName) {
        self.presence.probe_failures.with_label_values(&[service]).inc();
    }

    /// Probes find one more instance unhealthy, or one less.
    pub fn unhealthy_changed(&self, service: &ServiceName, is_unhealthy: bool) {
        let gauge = self.presence.unhealthy.with_label_values(&[service]);
        gauge.add(if is_unhealthy { 1 } else { -1 });
    }

    /// Probes find so many instances unhealthy, by service; of others nothing is known.
    pub fn set_unhealthy<'a>(&self, services: impl IntoIterator<Item = (&'a ServiceName, i64)>) {
        self.presence.unhealthy.reset();
        for (service, count) in services {
            self.presence.unhealthy.with_label_values(&[service]).set(count);
        }
    }

    /// We began to stop, or did not after all.
    pub fn set_draining(&self, draining: bool) {
        self.draining.set(i64::from(draining));
    }

    /// The counter of lines of the access log that nobody took in time.
    pub(super) fn access_log_dropped(&self) -> IntCounter {
        self.access_log_dropped.clone()
    }

    /// The counter of `record`'s series, to be kept: looking it up costs a microsecond.
    pub(super) fn requests(&self, record: &Record<'_>) -> IntCounter {
        let code = record.code().label();
        let labels = |tenant, lane| {
            let service = record.service_label();
            [record.direction.label(), service, tenant, lane, record.reason_label(), &code]
        };
        let wanted = labels(record.tenant_label(), record.lane_label());
        let mut known = self.requests.series.lock().unwrap_or_else(PoisonError::into_inner);
        let series = self.requests.hasher.hash_one(wanted);
        if known.contains(&series) || known.len() < REQUEST_SERIES {
            known.insert(series);
            self.requests.ended.with_label_values(&wanted)
        } else {
            self.requests.ended.with_label_values(&labels(OTHER, OTHER))
        }
    }

    /// The durations of `record`'s service, to be kept.
    pub(super) fn durations(&self, record: &Record<'_>) -> Histogram {
        let labels = [record.direction.label(), record.service_label()];
        self.requests.durations.with_label_values(&labels)
    }

    /// The fallbacks of `record`'s service for its reason, to be kept.
    pub(super) fn fallbacks(&self, record: &Record<'_>) -> IntCounter {
        self.requests.fallbacks.with_label_values(&[record.service_label(), record.decision])
    }

    /// The requests of which the application `service` dropped the tenant, to be kept.
    pub(super) fn propagation_missing(&self, service: &ServiceName) -> IntCounter {
        self.requests.propagation_missing.with_label_values(&[service])
    }
}

/// A count as a gauge takes it.
fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A part as a gauge takes it.
#[expect(clippy::cast_possible_truncation, reason = "it is 0 to 100")]
fn percent(part: f32) -> i64 {
    (part * 100.0).round() as i64
}

/// A time as a gauge takes it, in seconds since 1970.
fn seconds(time: SystemTime) -> i64 {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::Registry;

    use super::*;

    #[test]
    fn every_event_counts_where_it_should() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let user = ServiceName::new("user.shop").unwrap();

        let stream = metrics.stream_began(Direction::Inbound);
        let connection = metrics.connection_opened(Direction::Outbound, Protocol::H2);
        let upstream = metrics.upstream_connection_opened(&user);
        metrics.upstream_connect_failed(&user, "refused");
        metrics.retried(&user, Retry::NoBudget);
        metrics.ejected(&user);
        metrics.set_endpoints_ejected(&user, 2);
        metrics.correlated(Correlated::Poisoned);
        metrics.claim_rejected("repeated");
        metrics.baggage_had_no_room();
        metrics.tcp_moved(Direction::Outbound, Way::ToClient, 70);
        metrics.protocol_error(Direction::Inbound, "flood");
        metrics.reload_rejected();
        metrics.reload_applied(1, UNIX_EPOCH + Duration::from_secs(90));
        metrics.reload_rejected();
        metrics.set_generation(4);
        metrics.set_draining(true);
        metrics.source_began(Source::Registry);
        metrics.source_answered(Source::Registry, UNIX_EPOCH + Duration::from_secs(70));
        metrics.source_refused(Source::Registry, 2);
        metrics.set_source(Source::Registry, 5, 3, 1);
        metrics.source_began(Source::Eureka);
        metrics.source_failed(Source::Eureka, false);
        metrics.set_remote_rules(8);
        metrics.set_catalog(6, 9);
        metrics.crossed_zone(&user);
        let zones = vec![("zone-a".to_owned(), 0.84), ("zone-b".to_owned(), 0.16)];
        metrics.set_spreads(&[Spread { service: &user, used: 7, left: 3, elsewhere: 0, zones }]);
        let text = metrics.render();
        drop((stream, connection, upstream));
        let later = metrics.render();

        for line in [
            "streams_active{direction=\"inbound\"} 1",
            "connections_total{direction=\"outbound\",protocol=\"h2\"} 1",
            "connections_active{direction=\"outbound\",protocol=\"h2\"} 1",
            "connections_active{direction=\"inbound\",protocol=\"tcp\"} 0",
            "upstream_connections_active{service=\"user.shop\"} 1",
            "upstream_connect_failures_total{cause=\"refused\",service=\"user.shop\"} 1",
            "retries_total{outcome=\"no_budget\",service=\"user.shop\"} 1",
            "ejections_total{service=\"user.shop\"} 1",
            "endpoints_ejected{service=\"user.shop\"} 2",
            "correlation_total{outcome=\"poisoned\"} 1",
            "correlation_total{outcome=\"tenant\"} 0",
            "claims_rejected_total{cause=\"repeated\"} 1",
            "baggage_no_room_total 1",
            "tcp_bytes_total{direction=\"outbound\",way=\"to_client\"} 70",
            "protocol_errors_total{direction=\"inbound\",kind=\"flood\"} 1",
            "config_reloads_total{outcome=\"applied\"} 1",
            "config_reloads_total{outcome=\"rejected\"} 2",
            "config_last_reload_successful 0",
            "config_last_reload_timestamp_seconds 90",
            "config_quarantined 1",
            "config_generation 4",
            "draining 1",
            "discovery_source_up{source=\"registry\"} 1",
            "discovery_source_up{source=\"eureka\"} 0",
            "discovery_last_answer_timestamp_seconds{source=\"registry\"} 70",
            "discovery_failures_total{source=\"eureka\"} 1",
            "discovery_refused_total{source=\"registry\"} 2",
            "discovery_instances{source=\"registry\"} 5",
            "discovery_held_instances{source=\"registry\"} 3",
            "discovery_left_out_instances{source=\"registry\"} 1",
            "cross_zone_requests_total{service=\"user.shop\"} 1",
            "endpoints{service=\"user.shop\",state=\"left\"} 3",
            "zone_share_percent{service=\"user.shop\",zone=\"zone-a\"} 84",
            "discovery_rules 8",
            "catalog_services 6",
            "catalog_instances 9",
            concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            let line = format!("dyelane_{line}");
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
        for line in [
            "streams_active{direction=\"inbound\"} 0",
            "connections_active{direction=\"outbound\",protocol=\"h2\"} 0",
            "upstream_connections_active{service=\"user.shop\"} 0",
        ] {
            let line = format!("dyelane_{line}");
            assert!(later.lines().any(|it| it == line), "no {line} in\n{later}");
        }
    }
}
