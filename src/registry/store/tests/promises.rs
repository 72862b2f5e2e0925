//! What holds whatever is done to a store, and in whatever order.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{DAWN, cases, key, registration, waiting};
use crate::registry::record::{Id, Key, Moment, NodeId, Record, Standing, State, Version};
use crate::registry::store::{Settings, Store, bucket_of};
use crate::registry::wire::SeenInstance;

#[derive(Debug, Clone)]
enum Event {
    Register { who: u8, lane: u8, is_up: bool },
    Renew { who: u8 },
    Cancel { who: u8 },
    Alter { who: u8, version: u8 },
    Merge { who: u8, ahead: i64, node: u64, what: u8 },
    Hear { who: u8 },
    Isolate(bool),
    Pass,
    Wait { seconds: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0_u8..24;
    prop_oneof![
        6 => (who.clone(), 0_u8..3, any::<bool>())
            .prop_map(|(who, lane, is_up)| Event::Register { who, lane, is_up }),
        6 => who.clone().prop_map(|who| Event::Renew { who }),
        2 => who.clone().prop_map(|who| Event::Cancel { who }),
        2 => (who.clone(), 0_u8..3).prop_map(|(who, version)| Event::Alter { who, version }),
        6 => (who.clone(), -900_i64..900, 1_u64..4, 0_u8..4)
            .prop_map(|(who, ahead, node, what)| Event::Merge { who, ahead, node, what }),
        2 => who.prop_map(|who| Event::Hear { who }),
        1 => any::<bool>().prop_map(Event::Isolate),
        4 => Just(Event::Pass),
        4 => (0_u64..120).prop_map(|seconds| Event::Wait { seconds }),
        1 => (0_u64..8000).prop_map(|seconds| Event::Wait { seconds }),
    ]
}

/// Three zones, two services, four hosts.
fn who(number: u8) -> Key {
    let mut key = key(&format!("z{}", number % 3), &format!("pod-{}", number / 6));
    key.appid = if number % 6 < 3 { "shop.cart".into() } else { "Shop.Pay".into() };
    key
}

fn apply(store: &mut Store, event: &Event, now: &mut Moment, random: &mut Rng) {
    match event {
        Event::Register { who: number, lane, is_up } => {
            let mut what = registration(&format!("l{lane}"), &format!("grpc://10.0.0.{lane}:1"));
            what.status = if *is_up { Standing::Up } else { Standing::Waiting };
            let _ = store.register(who(*number), what, *now);
        }
        Event::Renew { who: number } => drop(store.renew(&who(*number), *now)),
        Event::Cancel { who: number } => drop(store.cancel(&who(*number), *now)),
        Event::Alter { who: number, version } => {
            store.alter(&who(*number), *now, |it| it.version = version.to_string().into());
        }
        Event::Merge { who: number, ahead, node, what } => {
            let at = now.unix.saturating_add_signed(ahead * 1_000_000_000);
            let version = Version { at, node: NodeId(*node) };
            let state = match what {
                0 => State::Evicted,
                1 => State::Cancelled,
                _ => State::Live(std::sync::Arc::new(waiting())),
            };
            store.merge(Record { key: who(*number), version, state }, *now);
        }
        Event::Hear { who: number } => {
            let version = Version { at: now.unix, node: NodeId(2) };
            store.hear(who(*number).id(), version, *now);
        }
        Event::Isolate(isolated) => store.set_isolated(*isolated),
        Event::Pass => drop(store.pass(*now, random)),
        Event::Wait { seconds } => {
            now.since_start += Duration::from_secs(*seconds);
            now.unix += seconds * 1_000_000_000;
        }
    }
}

/// Whether all that is kept beside the records says the same as they do. Returns how many there are.
fn check(store: &Store) -> usize {
    let mut buckets = vec![0; store.buckets().len()];
    let (mut alive, mut told, mut all) = (BTreeSet::new(), BTreeSet::new(), 0);
    for (id, record) in store.records() {
        assert_eq!(record.key.id(), id);
        if record.state != State::Evicted {
            buckets[bucket_of(id)] ^= SeenInstance::content_hash(record).0;
            told.insert((bucket_of(id), id, record.version));
        }
        if record.live().is_some() {
            alive.insert(record.key.clone());
        }
        all += 1;
    }
    assert_eq!(store.buckets(), buckets);
    assert_eq!(store.root(), buckets.iter().fold(0, |sum, it| sum ^ it));
    assert_eq!(store.len(), alive.len());
    let used: BTreeSet<_> = told.iter().map(|(bucket, ..)| *bucket).collect();
    assert_eq!(listed(store, used), told);
    check_services(store, &alive);
    all
}

/// Returns what buckets hold.
fn listed(
    store: &Store,
    buckets: impl IntoIterator<Item = usize>,
) -> BTreeSet<(usize, Id, Version)> {
    let of = |bucket| store.bucket(bucket).into_iter().map(move |(id, at)| (bucket, id, at));
    buckets.into_iter().flat_map(of).collect()
}

fn check_services(store: &Store, alive: &BTreeSet<Key>) {
    let mut shown = BTreeSet::new();
    for (name, service) in store.services() {
        let mut hash = Id(0);
        assert!(service.index() <= store.index());
        for record in service.instances() {
            assert_eq!((&record.key.env, &record.key.appid), (&name.env, &name.appid));
            hash = Id(hash.0 ^ SeenInstance::content_hash(record).0);
            shown.insert(record.key.clone());
            let upper = record.key.appid.to_uppercase();
            assert!(store.find_eureka("prod", &upper, &record.key.hostname).is_some());
            for addr in &record.live().unwrap().addrs {
                assert!(store.find_addr("prod", &name.appid, addr).is_some());
            }
        }
        assert_eq!(hash.0, service.hash());
    }
    assert_eq!(&shown, alive);
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_store_keeps_its_promises(events in vec(event(), 1..150), capacity in 4_usize..40) {
        let settings = Settings { capacity, ..Settings::default() };
        let mut store = Store::new(NodeId(1), settings);
        let mut now = Moment { since_start: Duration::ZERO, unix: DAWN };
        let (mut random, mut last) = (Rng::with_seed(7), 0);

        for event in &events {
            apply(&mut store, event, &mut now, &mut random);

            prop_assert!(check(&store) <= capacity);
            for change in store.drain() {
                prop_assert!(change.index > last);
                last = change.index;
            }
            prop_assert_eq!(last, store.index());
        }
        let told = store.records().filter(|(_, it)| it.state != State::Evicted).count();
        prop_assert_eq!(listed(&store, 0..store.buckets().len()).len(), told);
    }
}
