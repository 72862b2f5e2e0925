//! Small rungs, and what to do to them.

mod ejection;
mod picks;
mod probed;
mod properties;
mod starts;
mod subsets;
mod zones;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::ProptestConfig;

use crate::balance::{End, Endpoint, Endpoints, View};
use crate::config::{Balance, Config, Outlier, Service};
use crate::model::{Instance, ServiceName};

pub(super) const T0: Duration = Duration::from_secs(1_000);
pub(super) const FAST: Duration = Duration::from_millis(5);

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Three failures in a row, 10 s at first, 60 s at most, half of a rung.
pub(super) fn settings(balance: Balance) -> Service {
    let text = "[workload]\nservice = \"here\"\n[outbound]\n";
    let defaults = Config::check("sidecar.toml", text, &|_| None).unwrap().defaults;
    let outlier = Outlier {
        failures: Some(3),
        ejection: seconds(10),
        max_ejection: seconds(60),
        max_percent: 50,
    };
    Service { balance, outlier, ..defaults }
}

pub(super) fn instances(weights: &[u32]) -> Vec<Arc<Instance>> {
    let instance = |(weight, port): (&u32, u16)| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let service = ServiceName::new("user").unwrap();
        Arc::new(Instance { weight: *weight, ..Instance::new(service, address) })
    };
    weights.iter().zip(1..).map(instance).collect()
}

pub(super) fn rung(weights: &[u32], balance: Balance) -> Arc<Endpoints> {
    Endpoints::new(&instances(weights), &settings(balance), &View::default())
}

pub(super) fn port(endpoint: &Endpoint) -> u16 {
    endpoint.instance().address.port()
}

pub(super) fn ends(endpoint: &Arc<Endpoint>, end: End, times: u32, now: Duration) {
    for _ in 0..times {
        endpoint.begin().end(end, FAST, now);
    }
}

/// How often each port is picked in ten thousand picks of requests that end at once.
pub(super) fn shares(rung: &Endpoints, now: Duration) -> BTreeMap<u16, u32> {
    let mut random = Rng::with_seed(42);
    let mut shares: BTreeMap<_, _> = rung.all().iter().map(|it| (port(it), 0)).collect();
    for _ in 0..10_000 {
        *shares.get_mut(&port(rung.pick(now, &mut random, |_| false).unwrap())).unwrap() += 1;
    }
    shares
}

pub(super) fn is_about(count: u32, expected: u32) -> bool {
    count.abs_diff(expected) < 300
}

pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
