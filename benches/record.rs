//! What telling of one request costs: `cargo bench --bench record`.

use std::error::Error;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use dyelane::model::{LaneName, ServiceName, TenantId};
use dyelane::telemetry::{AccessLog, Direction, Metrics, Record, Recorder};
use prometheus::Registry;

const RECORDS: u32 = 3_000_000;
/// Few enough that the access log need not drop a line.
const LINES: u32 = 4_000;

fn main() -> Result<(), Box<dyn Error>> {
    let names = Names::new()?;
    let metrics = Arc::new(Metrics::new(&Registry::new())?);
    for threads in [1, 2] {
        let (log, _writer) = AccessLog::start(std::io::sink(), &metrics)?;
        let passed = measure(&names, &metrics, &log, RECORDS, threads);
        println!("metrics, {threads} threads at the same series: {} ns", per(passed, RECORDS));
    }
    let mut passed = Duration::ZERO;
    let rounds = 100;
    for _ in 0..rounds {
        let (log, writer) = AccessLog::start(std::io::sink(), &metrics)?;
        log.configure(true, 1.0);
        passed += measure(&names, &metrics, &log, LINES, 1);
        writer.finish(Duration::from_secs(1));
    }
    println!("metrics and access log, 1 thread: {} ns", per(passed, rounds * LINES));
    Ok(())
}

fn per(passed: Duration, records: u32) -> u128 {
    passed.as_nanos() / u128::from(records)
}

/// Returns how long each of `threads` threads takes for its records, on average.
fn measure(
    names: &Names,
    metrics: &Arc<Metrics>,
    log: &AccessLog,
    records: u32,
    threads: u32,
) -> Duration {
    let start = Barrier::new(threads as usize);
    let one = || {
        let recorder = Recorder::new(Arc::clone(metrics), log.clone(), &names.service);
        start.wait();
        let began = Instant::now();
        for number in 0..records {
            recorder.record(black_box(&names.record(number)));
        }
        began.elapsed()
    };
    let passed: Duration = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().filter_map(|it| it.join().ok()).sum()
    });
    passed / threads
}

/// Names of requests like those of a busy sidecar: eight services, four tenants.
struct Names {
    service: ServiceName,
    services: Vec<ServiceName>,
    tenants: Vec<TenantId>,
    lane: LaneName,
}

impl Names {
    fn new() -> Result<Self, Box<dyn Error>> {
        let service = |number| ServiceName::new(&format!("backend-{number}.shop.service"));
        let tenant = |number| TenantId::new(&format!("dev.project.feature-{number}"));
        Ok(Self {
            service: service(0)?,
            services: (0..8).map(service).collect::<Result<_, _>>()?,
            tenants: (0..4).map(tenant).collect::<Result<_, _>>()?,
            lane: LaneName::new("dev.project.feature-1")?,
        })
    }

    fn record(&self, number: u32) -> Record<'_> {
        let service = number % 8;
        let tenant = self.tenants.get(number as usize % 5);
        Record {
            generation: 1,
            service: self.services.get(service as usize).map(|name| (service, name)),
            tenant,
            tenant_known: true,
            carrier: "baggage",
            lane: tenant.map(|_| &self.lane),
            decision: if tenant.is_some() { "exact" } else { "baseline" },
            method: "POST",
            path: "/shop.service.v1.Backend/GetOrder",
            authority: "backend.shop.svc.cluster.local:8080",
            status: 200,
            grpc_status: Some(0),
            upstream: Some(([10, 0, 0, 7], 8080).into()),
            attempts: 1,
            request_bytes: 120,
            response_bytes: 860,
            duration: Duration::from_micros(800 + u64::from(number % 64) * 100),
            time_to_head: Some(Duration::from_micros(700)),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            peer: Some(([127, 0, 0, 1], 40_000).into()),
            ..Record::new(Direction::Outbound)
        }
    }
}
