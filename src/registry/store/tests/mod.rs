//! What a store promises: leases, protection, the order of writings, and what others rely on.

mod apps;
mod leases;
mod merging;
mod peers;
mod promises;
mod protection;
mod reads;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::ProptestConfig;

use super::{Pass, Settings, Store};
use crate::registry::record::{
    Key, Moment, NodeId, Record, Registration, Standing, State, Version,
};

/// When every test begins, in unix nanoseconds.
const DAWN: u64 = 1_795_000_000_000_000_000;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Seconds after the beginning.
fn at(seconds: u64) -> Moment {
    at_millis(seconds * 1000)
}

fn at_millis(millis: u64) -> Moment {
    let since_start = Duration::from_millis(millis);
    Moment { since_start, unix: DAWN + millis * 1_000_000 }
}

fn store(node: u64) -> Store {
    Store::new(NodeId(node), Settings::default())
}

fn key(zone: &str, hostname: &str) -> Key {
    let [env, appid, zone, hostname] = ["prod", "shop.cart", zone, hostname].map(Arc::from);
    Key { env, appid, zone, hostname }
}

/// The keys of `count` instances of a zone.
fn keys(zone: &str, count: usize) -> Vec<Key> {
    (0..count).map(|number| key(zone, &format!("pod-{number}"))).collect()
}

/// An instance of a lane, at an address.
fn registration(lane: &str, addr: &str) -> Registration {
    let mut metadata: std::collections::BTreeMap<Arc<str>, Arc<str>> =
        [("weight".into(), "10".into())].into();
    if !lane.is_empty() {
        metadata.insert("color".into(), lane.into());
    }
    Registration { addrs: vec![addr.into()], metadata, ..Registration::default() }
}

fn up() -> Registration {
    registration("", "grpc://10.0.0.1:9000")
}

fn waiting() -> Registration {
    Registration { status: Standing::Waiting, ..up() }
}

fn live(key: &Key, version: u64, node: u64) -> Record {
    let version = Version { at: version, node: NodeId(node) };
    Record { key: key.clone(), version, state: State::Live(Arc::new(up())) }
}

fn with_state(record: Record, state: State) -> Record {
    Record { state, ..record }
}

fn register_all(store: &mut Store, keys: &[Key], now: Moment) {
    for key in keys {
        store.register(key.clone(), up(), now).unwrap();
    }
}

fn renew_all(store: &mut Store, keys: &[Key], now: Moment) {
    for key in keys {
        store.renew(key, now);
    }
}

/// Whoever is in `beating` renews every 30 s, and every 60 s there is a pass: from one second to
/// another. Returns what each pass did.
fn run(store: &mut Store, beating: &[Key], from: u64, to: u64) -> Vec<Pass> {
    let mut random = Rng::with_seed(from);
    let mut passes = Vec::new();
    for second in (from..to).filter(|it| it % 30 == 0) {
        renew_all(store, beating, at(second));
        if second % 60 == 0 {
            passes.push(store.pass(at(second), &mut random));
        }
    }
    passes
}

fn alive(store: &Store, keys: &[Key]) -> usize {
    keys.iter().filter(|key| store.get(key).is_some()).count()
}
