//! What can be asked of a store.

use std::sync::Arc;

use super::{at, key, registration, store, up, waiting};
use crate::registry::record::{Id, Key, Registration, State};
use crate::registry::store::Origin;
use crate::registry::wire::SeenInstance;

#[test]
fn a_service_shows_its_instances_in_order_with_a_hash_of_all() {
    let mut store = store(1);
    for (zone, host) in [("z2", "a"), ("z1", "b"), ("z1", "a")] {
        store.register(key(zone, host), up(), at(0)).unwrap();
    }
    store.register(key("z1", "gone"), up(), at(0)).unwrap();
    store.cancel(&key("z1", "gone"), at(1)).unwrap();

    let service = store.service("prod", "shop.cart").unwrap();

    let names: Vec<_> =
        service.instances().map(|it| format!("{}/{}", it.key.zone, it.key.hostname)).collect();
    assert_eq!(names, ["z1/a", "z1/b", "z2/a"]);
    let hashes = service.instances().map(|it| SeenInstance::content_hash(it));
    assert_eq!(hashes.fold(Id(0), |sum, it| Id(sum.0 ^ it.0)), Id(service.hash()));
    assert!(store.service("uat", "shop.cart").is_none());
}

#[test]
fn a_service_whose_last_instance_goes_is_there_empty_and_its_index_rises() {
    let mut store = store(1);
    let one = key("z1", "pod");
    store.register(one.clone(), up(), at(0)).unwrap();
    let before = store.service("prod", "shop.cart").unwrap().index();

    store.cancel(&one, at(0)).unwrap();

    let service = store.service("prod", "shop.cart").unwrap();
    assert!(service.is_empty() && service.index() > before);
    assert_eq!((service.hash(), store.get(&one).is_none()), (0, true));
    assert_eq!(store.by_id(one.id()).unwrap().state, State::Cancelled);
}

#[test]
fn a_renewal_is_seen_and_moves_no_index() {
    let mut store = store(1);
    let one = key("z1", "pod");
    store.register(one.clone(), up(), at(0)).unwrap();
    let before = store.index();

    store.renew(&one, at(30)).unwrap();

    let seen = store.get(&one).unwrap();
    assert_eq!((seen.renewed, seen.changed), (at(30).unix, before));
    assert_eq!((store.index(), store.drain().len()), (before, 1));
}

#[test]
fn changes_are_told_once_each_in_order_and_with_who_wrote_them() {
    let (mut store, mut peer) = (store(1), super::store(2));
    let [ours, theirs] = ["ours", "theirs"].map(|it| key("z1", it));
    store.register(ours.clone(), up(), at(0)).unwrap();
    let record = peer.register(theirs.clone(), up(), at(0)).unwrap();
    store.merge((*record).clone(), at(1));
    store.cancel(&ours, at(1)).unwrap();

    let changes = store.drain();

    let told: Vec<_> = changes.iter().map(|it| (&it.record.key, it.origin)).collect();
    assert_eq!(told, [(&ours, Origin::Here), (&theirs, Origin::Peer), (&ours, Origin::Here)]);
    assert!(changes.is_sorted_by(|one, next| one.index < next.index));
    assert!(store.drain().is_empty());
}

#[test]
fn when_an_instance_came_up_survives_its_registering_again() {
    let mut store = store(1);
    let one = key("z1", "pod");
    let mut register = |what: Registration, second| {
        let record = store.register(one.clone(), what, at(second)).unwrap();
        let live = record.live().unwrap();
        [live.registered, live.up_since].map(|it| it.saturating_sub(at(0).unix) / 1_000_000_000)
    };

    assert_eq!(register(waiting(), 1), [1, 0]);
    assert_eq!(register(up(), 2), [1, 2]);
    assert_eq!(register(up(), 3), [1, 2]);
    assert_eq!(register(waiting(), 4), [1, 2]);
    assert_eq!(register(up(), 5), [1, 5]);
}

#[test]
fn an_instance_is_found_by_what_eureka_calls_it() {
    let mut store = store(1);
    store.register(key("z1", "host:cart:80"), up(), at(0)).unwrap();
    store.register(key("z2", "host:cart:80"), up(), at(1)).unwrap();

    let zone = |id: &str| {
        let found = store.find_eureka("prod", "SHOP.CART", id);
        found.map(|it| it.record.key.zone.to_string())
    };
    assert_eq!(zone("host:cart:80").as_deref(), Some("z1"));
    assert_eq!(zone("host:cart:80:shop.cart:z2").as_deref(), Some("z2"));

    store.cancel(&key("z1", "host:cart:80"), at(2)).unwrap();
    let found = store.find_eureka("prod", "SHOP.CART", "host:cart:80").unwrap();
    assert_eq!(&*found.record.key.zone, "z2");
    for (env, app, host) in [
        ("uat", "SHOP.CART", "host:cart:80"),
        ("prod", "SHOP", "host:cart:80"),
        ("prod", "SHOP.CART", "x"),
    ] {
        assert!(store.find_eureka(env, app, host).is_none());
    }
}

#[test]
fn an_instance_is_found_by_each_of_its_addresses() {
    let mut store = store(1);
    let one = key("z1", "pod");
    let [grpc, http]: [Arc<str>; 2] = ["grpc://10.0.0.1:9000", "http://10.0.0.1:80"].map(Arc::from);
    let addrs = vec![grpc.clone(), http.clone(), grpc.clone()];
    store.register(one.clone(), Registration { addrs, ..up() }, at(0)).unwrap();

    assert_eq!(store.find_addr("prod", "shop.cart", &http).unwrap().id, one.id());
    assert_eq!(store.find_addr("prod", "shop.cart", &grpc).unwrap().id, one.id());

    store.register(one.clone(), registration("", "http://10.0.0.2:80"), at(1)).unwrap();
    assert!(store.find_addr("prod", "shop.cart", &http).is_none());
    assert!(store.find_addr("prod", "shop.cart", "http://10.0.0.2:80").is_some());
    store.cancel(&one, at(2)).unwrap();
    assert!(store.find_addr("prod", "shop.cart", "http://10.0.0.2:80").is_none());
}

#[test]
fn names_that_records_share_are_kept_once() {
    let mut store = store(1);
    let keys = ["a", "b"].map(|host| key("z1", host));
    super::register_all(&mut store, &keys, at(0));

    let [one, other]: [&Key; 2] = keys.each_ref().map(|it| &store.get(it).unwrap().record.key);

    assert!(Arc::ptr_eq(&one.env, &other.env) && Arc::ptr_eq(&one.appid, &other.appid));
    assert!(Arc::ptr_eq(&one.zone, &other.zone));
}
