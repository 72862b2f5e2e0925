//! What a store of 100,000 instances costs in time and memory: `cargo bench --bench store`.

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyelane::registry::record::{Key, Moment, NodeId, Record, Registration};
use dyelane::registry::store::{Merge, Settings, Store};
use fastrand::Rng;

const INSTANCES: usize = 100_000;
const SERVICES: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let keys: Vec<Key> = (0..INSTANCES).map(key).collect();
    let registrations: Vec<Registration> = (0..INSTANCES).map(registration).collect();
    let before = resident()?;

    let mut store = Store::new(NodeId(1), Settings::default());
    let began = Instant::now();
    for (key, registration) in keys.iter().zip(&registrations) {
        store.register(apart(key), apart_from(registration), at(0))?;
        black_box(store.drain());
    }
    say("register a new one", began.elapsed(), INSTANCES);
    let bytes = resident()?.saturating_sub(before) * 1024 / INSTANCES;
    println!("{:24} {bytes:9} B each", "memory");

    let began = Instant::now();
    for key in &keys {
        black_box(store.renew(black_box(key), at(30)));
    }
    say("renew", began.elapsed(), INSTANCES);

    let began = Instant::now();
    for (key, registration) in keys.iter().zip(&registrations) {
        store.register(apart(key), apart_from(registration), at(40))?;
        black_box(store.drain());
    }
    say("register once more", began.elapsed(), INSTANCES);

    let records: Vec<Arc<Record>> = store.records().map(|it| Arc::clone(it.1)).collect();
    let mut peer = Store::new(NodeId(2), Settings::default());
    let began = Instant::now();
    for record in &records {
        assert_eq!(peer.merge(Record::clone(record), at(41)), Merge::Taken);
        black_box(peer.drain());
    }
    say("merge", began.elapsed(), INSTANCES);
    assert_eq!(peer.root(), store.root());

    let began = Instant::now();
    for record in &records {
        black_box(peer.hear(record.key.id(), record.version, at(42)));
    }
    say("hear", began.elapsed(), INSTANCES);

    let began = Instant::now();
    for number in 0..peer.buckets().len() {
        black_box(peer.bucket(number));
    }
    say("list all buckets", began.elapsed(), 1);

    let mut random = Rng::with_seed(1);
    let began = Instant::now();
    black_box(store.pass(at(60), &mut random));
    say("a pass, all alive", began.elapsed(), 1);

    let began = Instant::now();
    let pass = store.pass(at(140), &mut random);
    say("a pass, all silent", began.elapsed(), 1);
    println!("{pass:?}");
    Ok(())
}

fn say(what: &str, passed: Duration, times: usize) {
    let each = passed.as_nanos() / times as u128;
    println!("{what:24} {each:9} ns");
}

fn at(seconds: u64) -> Moment {
    let since_start = Duration::from_secs(seconds);
    Moment { since_start, unix: 1_795_000_000_000_000_000 + seconds * 1_000_000_000 }
}

/// Ten services of ten instances in each of three zones, as deep as names are in practice.
fn key(number: usize) -> Key {
    Key {
        env: "prod".into(),
        appid: format!("business.service-{}.grpc", number % SERVICES).into(),
        zone: format!("sh00{}", number % 3).into(),
        hostname: format!("service-{}-7d9c5b8f6-{number:05x}", number % SERVICES).into(),
    }
}

fn registration(number: usize) -> Registration {
    let addr = |scheme: &str, port: u16| {
        Arc::from(format!("{scheme}://10.{}.{}.7:{port}", number >> 8 & 255, number & 255))
    };
    let metadata = [("color", ""), ("cluster", "c1"), ("weight", "10")];
    Registration {
        region: "sh".into(),
        version: "1.14.2".into(),
        addrs: vec![addr("grpc", 9000), addr("http", 8000)],
        metadata: metadata.map(|(name, value)| (name.into(), value.into())).into(),
        ..Registration::default()
    }
}

/// A key as it comes off a wire: sharing nothing.
fn apart(key: &Key) -> Key {
    let [env, appid, zone, hostname] =
        [&key.env, &key.appid, &key.zone, &key.hostname].map(|it| Arc::from(&**it));
    Key { env, appid, zone, hostname }
}

fn apart_from(registration: &Registration) -> Registration {
    let metadata = registration.metadata.iter();
    Registration {
        region: Arc::from(&*registration.region),
        version: Arc::from(&*registration.version),
        addrs: registration.addrs.iter().map(|it| Arc::from(&**it)).collect(),
        metadata: metadata.map(|(name, value)| (Arc::from(&**name), Arc::from(&**value))).collect(),
        ..registration.clone()
    }
}

/// Returns the memory this process has, in KiB.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
