//! What Eureka's callers see: each instance once, and changes that add up to what there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{DAWN, at, cases, key, registration, store, up, waiting};
use crate::registry::eureka::{EurekaPart, Said, Status};
use crate::registry::record::{
    Key, Moment, NodeId, OWN_SERVICE, Record, Registration, State, Version,
};
use crate::registry::store::{Action, EnvApps, Store};

/// What a client has: by application and id, what is registered.
type Seen = BTreeMap<(Arc<str>, Arc<str>), Arc<Record>>;

/// The same, by where it is reached too.
type SeenByReach = BTreeMap<(Arc<str>, Arc<str>, String), Arc<Record>>;

/// An instance that registered by Eureka's API.
fn said(status: Status) -> Registration {
    let said = Some(Box::new(Said { vip: "cart, basket".into(), ..Said::default() }));
    let eureka = Some(Box::new(EurekaPart { status, overridden: None, said }));
    Registration { status: status.standing(), eureka, ..up() }
}

fn full(store: &Store) -> Seen {
    let apps = store.apps("prod").into_iter().flat_map(EnvApps::all);
    let instances = apps.flat_map(|app| {
        app.instances().map(|(id, it)| ((app.name().clone(), id), it.record.clone()))
    });
    instances.collect()
}

fn ids(store: &Store) -> Vec<String> {
    full(store).keys().map(|(_, id)| id.to_string()).collect()
}

/// Takes what changed lately, as the least careful client does: what it is told to add and has it
/// does not look at.
fn merge(client: &mut Seen, store: &Store, now: Moment) {
    for it in store.apps("prod").into_iter().flat_map(|env| env.recent(now)) {
        let place = (it.app.clone(), it.name.clone());
        match it.action {
            Action::Added => drop(client.entry(place).or_insert(it.member.record.clone())),
            Action::Modified => drop(client.insert(place, it.member.record.clone())),
            Action::Deleted => drop(client.remove(&place)),
        }
    }
}

/// Takes what changed lately, as a client does to which an instance that is reached elsewhere is
/// another one.
fn merge_by_reach(client: &mut SeenByReach, store: &Store, now: Moment) {
    for it in store.apps("prod").into_iter().flat_map(|env| env.recent(now)) {
        let place = by_reach(&it.app, &it.name, &it.member.record);
        match it.action {
            Action::Added => drop(client.entry(place).or_insert(it.member.record.clone())),
            Action::Modified => drop(client.insert(place, it.member.record.clone())),
            Action::Deleted => drop(client.remove(&place)),
        }
    }
}

fn by_reach(app: &Arc<str>, id: &Arc<str>, record: &Record) -> (Arc<str>, Arc<str>, String) {
    (app.clone(), id.clone(), record.live().unwrap().reach())
}

fn full_by_reach(all: &Seen) -> SeenByReach {
    all.iter().map(|((app, id), it)| (by_reach(app, id, it), it.clone())).collect()
}

/// Counts what a client has, without the store's help.
fn hash(client: &Seen) -> String {
    let mut names: Vec<_> =
        client.values().map(|it| it.live().unwrap().eureka_status().name()).collect();
    names.sort_unstable();
    let counted = names.chunk_by(|one, other| one == other);
    let counted: Vec<_> = counted.map(|it| format!("{}_{}_", it[0], it.len())).collect();
    counted.concat()
}

#[derive(Debug, Clone)]
enum Event {
    Register { who: u8, what: u8 },
    Cancel { who: u8 },
    Alter { who: u8, what: u8 },
    Merge { who: u8, what: u8 },
    Pass,
    Wait { seconds: u64 },
    Ask { client: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0_u8..12;
    prop_oneof![
        6 => (who.clone(), 0_u8..6).prop_map(|(who, what)| Event::Register { who, what }),
        3 => who.clone().prop_map(|who| Event::Cancel { who }),
        3 => (who.clone(), 0_u8..6).prop_map(|(who, what)| Event::Alter { who, what }),
        3 => (who, 0_u8..7).prop_map(|(who, what)| Event::Merge { who, what }),
        1 => Just(Event::Pass),
        4 => (0_u64..40).prop_map(|seconds| Event::Wait { seconds }),
        4 => (0_usize..2).prop_map(|client| Event::Ask { client }),
    ]
}

/// Two zones, two spellings of one service and another one, two hosts.
fn who(number: u8) -> Key {
    let mut key = key(&format!("z{}", number % 2), &format!("h{}", number / 6));
    key.appid = ["shop.cart", "Shop.Cart", "pay"][usize::from(number / 2 % 3)].into();
    key
}

fn what(number: u8) -> Registration {
    match number {
        0 => up(),
        1 => waiting(),
        2 => said(Status::Up),
        3 => said(Status::Starting),
        4 => said(Status::Down),
        _ => registration("", "grpc://10.0.0.2:9000"),
    }
}

fn apply(store: &mut Store, event: &Event, now: &mut Moment, random: &mut Rng) {
    match *event {
        Event::Register { who: number, what: content } => {
            drop(store.register(who(number), what(content), *now));
        }
        Event::Cancel { who: number } => drop(store.cancel(&who(number), *now)),
        Event::Alter { who: number, what: content } => {
            store.alter(&who(number), *now, |it| *it = what(content));
        }
        Event::Merge { who: number, what: content } => {
            let version = Version { at: now.unix, node: NodeId(9) };
            let state = match content {
                6 => State::Cancelled,
                content => State::Live(Arc::new(what(content))),
            };
            store.merge(Record { key: who(number), version, state }, *now);
        }
        Event::Pass => drop(store.pass(*now, random)),
        Event::Wait { seconds } => {
            now.since_start += std::time::Duration::from_secs(seconds);
            now.unix += seconds * 1_000_000_000;
        }
        Event::Ask { .. } => {}
    }
    store.drain();
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn what_changed_adds_up_to_what_there_is(events in vec(event(), 1..120)) {
        let mut store = store(1);
        let mut now = Moment { since_start: std::time::Duration::ZERO, unix: DAWN };
        let mut random = Rng::with_seed(7);
        let mut clients = [(Seen::new(), SeenByReach::new(), now), (Seen::new(), SeenByReach::new(), now)];
        let mut version = 0;

        for event in &events {
            let before = (store.apps_version("prod"), full(&store));
            apply(&mut store, event, &mut now, &mut random);

            let all = full(&store);
            prop_assert!(store.apps_version("prod") >= version);
            version = store.apps_version("prod");
            prop_assert!(version > before.0 || all == before.1);
            let told = store.apps("prod").map(EnvApps::hash).unwrap_or_default();
            prop_assert_eq!(&told, &hash(&all));
            for ((app, id), record) in &all {
                let found = store.find_eureka("prod", app, id).unwrap();
                prop_assert!(Arc::ptr_eq(found.record, record));
            }
            let Event::Ask { client } = *event else { continue };
            let (has, by_reach, asked) = &mut clients[client];
            if now.since_start > asked.since_start + std::time::Duration::from_secs(180) {
                // It has missed something, and its hash need not show it.
                *has = all.clone();
                *by_reach = full_by_reach(&all);
            }
            merge(has, &store, now);
            merge_by_reach(by_reach, &store, now);
            *asked = now;
            prop_assert_eq!(&*has, &all);
            prop_assert_eq!(&*by_reach, &full_by_reach(&all));
        }
    }

    #[test]
    fn names_lead_to_those_who_have_them(events in vec(event(), 1..60)) {
        let mut store = store(1);
        let mut now = Moment { since_start: std::time::Duration::ZERO, unix: DAWN };
        let mut random = Rng::with_seed(7);

        for event in &events {
            apply(&mut store, event, &mut now, &mut random);
        }

        let apps = |vip: &str| -> Vec<_> {
            let env = store.apps("prod").into_iter();
            env.flat_map(|it| it.by_vip(vip, false)).map(|it| it.name().to_string()).collect()
        };
        for vip in ["shop.cart", "PAY", "basket"] {
            let mut with: Vec<_> = full(&store)
                .into_iter()
                .filter(|(_, it)| {
                    let [list, _] = it.live().unwrap().vips(&it.key);
                    list.to_uppercase().split(", ").any(|it| it == vip.to_uppercase())
                })
                .map(|((app, _), _)| app.to_string())
                .collect();
            with.dedup();
            prop_assert_eq!(apps(vip), with);
        }
    }
}

#[test]
fn hosts_of_one_name_in_several_zones_are_told_apart() {
    let mut store = store(1);

    for zone in ["z2", "z1"] {
        store.register(key(zone, "web-0"), up(), at(0)).unwrap();
    }
    let two = ids(&store);
    store.register(key("z3", "web-0"), said(Status::Up), at(1)).unwrap();
    let three = ids(&store);

    assert_eq!(two, ["web-0", "web-0:shop.cart:z2"]);
    // Who speaks Eureka's language goes by the name it gave.
    assert_eq!(three, ["web-0", "web-0:shop.cart:z1", "web-0:shop.cart:z2"]);
    let plain = store.find_eureka("prod", "SHOP.CART", "web-0").unwrap();
    assert_eq!(&*plain.record.key.zone, "z3");
}

#[test]
fn of_one_that_registered_twice_by_eureka_the_later_is_seen() {
    let mut store = store(1);

    store.register(key("z1", "h:cart:80"), said(Status::Up), at(0)).unwrap();
    store.register(key("z2", "h:cart:80"), said(Status::Starting), at(1)).unwrap();

    assert_eq!(ids(&store), ["h:cart:80"]);
    assert_eq!(store.apps("prod").unwrap().hash(), "STARTING_1_");
    store.cancel(&key("z2", "h:cart:80"), at(2)).unwrap();
    assert_eq!(store.apps("prod").unwrap().hash(), "UP_1_");
}

#[test]
fn changes_are_told_for_three_minutes() {
    let mut store = store(1);
    let told = |store: &Store, second| {
        let env = store.apps("prod").into_iter();
        let all = env.flat_map(|it| it.recent(at(second)));
        all.map(|it| format!("{} {}", it.action.name(), it.name)).collect::<Vec<_>>()
    };

    store.register(key("z", "a"), up(), at(0)).unwrap();
    store.register(key("z", "b"), up(), at(60)).unwrap();
    store.register(key("z", "a"), waiting(), at(100)).unwrap();
    store.cancel(&key("z", "b"), at(120)).unwrap();
    store.register(key("z", "a"), registration("", "http://10.0.0.9:80"), at(130)).unwrap();

    assert_eq!(told(&store, 180), ["DELETED b", "DELETED a", "ADDED a"]);
    assert_eq!(told(&store, 301), ["DELETED a", "ADDED a"]);
    assert_eq!(told(&store, 311), [""; 0]);
}

#[test]
fn the_registry_itself_is_no_application_and_environments_do_not_mix() {
    let mut store = store(1);
    let itself = Key { appid: OWN_SERVICE.into(), ..key("z", "node") };
    let elsewhere = Key { env: "uat".into(), ..key("z", "h") };

    store.register(itself, up(), at(0)).unwrap();
    store.register(elsewhere, up(), at(0)).unwrap();

    assert!(store.apps("prod").is_none());
    assert_eq!(store.apps("uat").unwrap().len(), 1);
}

#[test]
fn an_environment_of_which_nothing_is_left_is_forgotten_and_its_version_rises() {
    let mut store = store(1);
    store.register(key("z", "h"), up(), at(0)).unwrap();
    store.cancel(&key("z", "h"), at(1)).unwrap();
    let version = store.apps_version("prod");

    store.pass(at(300), &mut Rng::with_seed(7));

    assert!(store.apps("prod").is_none());
    assert!(store.apps_version("prod") >= version);
}
