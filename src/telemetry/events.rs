//! What happened, as methods of [`Metrics`]: typed arguments, no label lists.

use std::hash::BuildHasher;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, IntCounter};

use crate::model::ServiceName;
use crate::telemetry::declare::Active;
use crate::telemetry::labels::{Correlated, Direction, Protocol, Retry, Way};
use crate::telemetry::metrics::{APPLIED, Metrics, REJECTED};
use crate::telemetry::record::{OTHER, Record};

/// Series of `dyelane_requests_total` that tell tenants and lanes apart; beyond, both are `other`.
const REQUEST_SERIES: usize = 10_000;

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
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.config.reload_timestamp.set(i64::try_from(seconds).unwrap_or(i64::MAX));
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
