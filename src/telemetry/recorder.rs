//! Recording a request that ended, without looking any label up.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use prometheus::{Histogram, IntCounter};

use crate::model::ServiceName;
use crate::telemetry::labels::{Code, Direction};
use crate::telemetry::{AccessLog, Metrics, Record};

/// Counters one worker keeps for one generation, at most.
const KEPT: usize = 4096;

/// Records requests for one worker thread: counts them and writes their access-log lines.
///
/// The counters are the process's, shared as atomics; what is the worker's own is the table by
/// which it finds them. Recording waits for nobody.
#[derive(Debug)]
pub struct Recorder {
    metrics: Arc<Metrics>,
    log: AccessLog,
    propagation_missing: IntCounter,
    own: RefCell<Own>,
}

/// What belongs to the worker alone.
#[derive(Debug)]
struct Own {
    /// The counters of the newest generation seen.
    newest: Kept,
    /// Those of the one before: its requests end for a while yet.
    before: Kept,
    hasher: foldhash::fast::RandomState,
    random: fastrand::Rng,
}

impl Recorder {
    /// A recorder that counts in `metrics` and writes to `log`, for a sidecar beside `workload`.
    pub fn new(metrics: Arc<Metrics>, log: AccessLog, workload: &ServiceName) -> Self {
        let propagation_missing = metrics.propagation_missing(workload);
        let own = RefCell::new(Own {
            newest: Kept::default(),
            before: Kept::default(),
            hasher: foldhash::fast::RandomState::default(),
            random: fastrand::Rng::new(),
        });
        Self { metrics, log, propagation_missing, own }
    }

    /// Returns the metrics it counts in.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns whether requests are written down at all.
    pub fn wants_lines(&self) -> bool {
        self.log.is_on()
    }

    /// Records a request that ended.
    pub fn record(&self, record: &Record<'_>) {
        let own = &mut *self.own.borrow_mut();
        if record.propagation_missing {
            self.propagation_missing.inc();
        }
        own.count(record, &self.metrics);
        if self.log.wants(record.is_failure(), &mut own.random) {
            self.log.write(record);
        }
    }
}

impl Own {
    fn count(&mut self, record: &Record<'_>, metrics: &Metrics) {
        if record.generation > self.newest.generation {
            self.before = std::mem::take(&mut self.newest);
            self.newest.generation = record.generation;
        }
        let kept = match record.generation {
            it if it == self.newest.generation => &mut self.newest,
            it if it == self.before.generation => &mut self.before,
            // Rare: the numbers of its services mean nothing any more, but their names do.
            _ => return Handles::new(record, metrics).count(record, metrics),
        };
        kept.get(record, metrics, &self.hasher).count(record, metrics);
    }
}

/// The counters of one generation that one worker has used.
#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    table: HashTable<(Key, Handles)>,
}

impl Kept {
    /// Returns the counters of `record`, looking them up if it is the first of its kind.
    fn get(
        &mut self,
        record: &Record<'_>,
        metrics: &Metrics,
        hasher: &foldhash::fast::RandomState,
    ) -> &mut Handles {
        if self.table.len() >= KEPT {
            self.table.clear();
        }
        let wanted = Kind::of(record);
        let entry = self.table.entry(
            hasher.hash_one(wanted),
            |(key, _)| key.kind() == wanted,
            |(key, _)| hasher.hash_one(key.kind()),
        );
        let new = || (Key::from(wanted), Handles::new(record, metrics));
        &mut entry.or_insert_with(new).into_mut().1
    }
}

/// What records have in common that count in the same places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind<'a> {
    direction: Direction,
    service: Option<u32>,
    tenant: &'a str,
    lane: &'a str,
    decision: &'static str,
    failure: Option<&'static str>,
    code: Code,
}

impl<'a> Kind<'a> {
    fn of(record: &'a Record<'_>) -> Self {
        Self {
            direction: record.direction,
            service: record.service.map(|(number, _)| number),
            tenant: record.tenant_label(),
            lane: record.lane_label(),
            decision: record.decision,
            failure: record.failure,
            code: record.code(),
        }
    }
}

/// A [`Kind`] that is kept.
#[derive(Debug)]
struct Key {
    texts: [Box<str>; 2],
    /// All but the texts.
    rest: Kind<'static>,
}

impl From<Kind<'_>> for Key {
    fn from(kind: Kind<'_>) -> Self {
        let Kind { direction, service, tenant, lane, decision, failure, code } = kind;
        let rest = Kind { direction, service, tenant: "", lane: "", decision, failure, code };
        Self { texts: [tenant.into(), lane.into()], rest }
    }
}

impl Key {
    fn kind(&self) -> Kind<'_> {
        let [tenant, lane] = &self.texts;
        Kind { tenant, lane, ..self.rest }
    }
}

/// The counters of one kind of record.
#[derive(Debug)]
struct Handles {
    requests: IntCounter,
    durations: Histogram,
    /// Looked up when first needed, so that no series appears that never counts.
    fallbacks: Option<IntCounter>,
}

impl Handles {
    fn new(record: &Record<'_>, metrics: &Metrics) -> Self {
        let (requests, durations) = (metrics.requests(record), metrics.durations(record));
        Self { requests, durations, fallbacks: None }
    }

    fn count(&mut self, record: &Record<'_>, metrics: &Metrics) {
        self.requests.inc();
        self.durations.observe(record.duration.as_secs_f64());
        if record.fell_back {
            self.fallbacks.get_or_insert_with(|| metrics.fallbacks(record)).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus::Registry;

    use super::*;
    use crate::model::{LaneName, TenantId};

    fn recorder() -> Recorder {
        let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
        let (log, _) = AccessLog::start(std::io::sink(), &metrics).unwrap();
        Recorder::new(metrics, log, &service("web.shop"))
    }

    fn service(name: &str) -> ServiceName {
        ServiceName::new(name).unwrap()
    }

    fn assert_rendered(recorder: &Recorder, line: &str) {
        let text = recorder.metrics().render();
        assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
    }

    #[test]
    fn a_request_is_counted_by_where_it_went_and_how() {
        let recorder = recorder();
        let (user, alice) = (service("user.shop"), TenantId::new("alice").unwrap());
        let record = Record {
            generation: 3,
            service: Some((0, &user)),
            tenant: Some(&alice),
            tenant_known: true,
            decision: "absent",
            fell_back: true,
            status: 200,
            grpc_status: Some(14),
            upstream: Some("127.0.0.1:9001".parse().unwrap()),
            duration: Duration::from_millis(3),
            ..Record::new(Direction::Outbound)
        };

        recorder.record(&record);
        recorder.record(&record);

        assert_rendered(
            &recorder,
            "dyelane_requests_total{code=\"grpc:14\",direction=\"outbound\",lane=\"baseline\",\
             reason=\"absent\",service=\"user.shop\",tenant=\"alice\"} 2",
        );
        assert_rendered(
            &recorder,
            "dyelane_request_duration_seconds_bucket\
             {direction=\"outbound\",service=\"user.shop\",le=\"0.005\"} 2",
        );
        assert_rendered(
            &recorder,
            "dyelane_fallback_total{reason=\"absent\",service=\"user.shop\"} 2",
        );
    }

    #[test]
    fn a_number_means_another_service_in_another_generation() {
        let recorder = recorder();
        let (old, new) = (service("old.shop"), service("new.shop"));
        let of = |generation, service| Record {
            generation,
            service: Some((0, service)),
            decision: "baseline",
            status: 200,
            ..Record::new(Direction::Outbound)
        };

        for (generation, name) in [(1, &old), (2, &new), (1, &old), (3, &new), (1, &old)] {
            recorder.record(&of(generation, name));
        }

        for (name, count) in [("old.shop", 3), ("new.shop", 2)] {
            assert_rendered(
                &recorder,
                &format!(
                    "dyelane_requests_total{{code=\"200\",direction=\"outbound\",lane=\"\",\
                     reason=\"baseline\",service=\"{name}\",tenant=\"\"}} {count}"
                ),
            );
        }
    }

    #[test]
    fn strangers_tenants_share_one_series() {
        let recorder = recorder();

        for number in 0..100 {
            let tenant = TenantId::new(&format!("guess-{number}")).unwrap();
            let record = Record { tenant: Some(&tenant), ..Record::new(Direction::Inbound) };
            recorder.record(&record);
        }

        assert_rendered(
            &recorder,
            "dyelane_requests_total{code=\"none\",direction=\"inbound\",lane=\"\",reason=\"\",\
             service=\"\",tenant=\"other\"} 100",
        );
    }

    #[test]
    fn tenants_and_lanes_without_end_do_not_take_memory_without_end() {
        let recorder = recorder();
        for number in 0..12_000 {
            let lane = LaneName::new(&format!("branch-{number}")).unwrap();
            let record = Record { lane: Some(&lane), ..Record::new(Direction::Outbound) };
            recorder.record(&record);
        }

        let text = recorder.metrics().render();

        let series = text.lines().filter(|line| line.starts_with("dyelane_requests_total{"));
        assert_eq!(series.count(), 10_001);
        assert_rendered(
            &recorder,
            "dyelane_requests_total{code=\"none\",direction=\"outbound\",lane=\"other\",\
             reason=\"\",service=\"\",tenant=\"other\"} 2000",
        );
    }

    #[test]
    fn an_application_that_drops_tenants_is_named() {
        let recorder = recorder();
        let record = Record { propagation_missing: true, ..Record::new(Direction::Outbound) };

        recorder.record(&record);

        assert_rendered(&recorder, "dyelane_propagation_missing_total{service=\"web.shop\"} 1");
    }
}
