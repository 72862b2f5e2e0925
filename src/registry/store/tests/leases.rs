//! Who stays and who goes when nothing is the matter with this node.

use fastrand::Rng;

use super::{alive, at, key, keys, register_all, renew_all, run, store, up, waiting};
use crate::registry::record::NodeId;
use crate::registry::record::{Registration, State};
use crate::registry::store::{Full, Settings, Store};

#[test]
fn an_instance_goes_when_its_lease_has_run_out_and_not_before() {
    let mut store = store(1);
    let all = keys("z1", 2);
    register_all(&mut store, &all, at(0));

    let before = store.pass(at(89), &mut Rng::with_seed(1));
    let after = store.pass(at(149), &mut Rng::with_seed(1));

    assert_eq!((before.evicted, after.evicted, after.left), (0, 1, 1));
    assert_eq!(alive(&store, &all), 1);
}

#[test]
fn an_instance_may_have_a_lease_of_its_own_up_to_the_ceiling() {
    let mut store = store(1);
    for (host, lease) in [("short", 10), ("long", 600), ("endless", u32::MAX)] {
        let own = Registration { lease: Some(lease), ..up() };
        store.register(key("z1", host), own, at(0)).unwrap();
    }
    let is_there = |store: &Store| {
        ["short", "long", "endless"].map(|host| store.get(&key("z1", host)).is_some())
    };

    run(&mut store, &[], 0, 61);
    let after_a_minute = is_there(&store);
    run(&mut store, &[], 90, 721);
    let after_twelve = is_there(&store);
    run(&mut store, &[], 750, 3601);

    assert_eq!(after_a_minute, [false, true, true]);
    assert_eq!(after_twelve, [false, false, true]);
    assert_eq!(is_there(&store), [false, false, false]);
}

#[test]
fn a_renewal_of_what_is_unknown_or_gone_asks_to_register_again() {
    let mut store = store(1);
    let [silent, cancelled] = ["silent", "cancelled"].map(|it| key("z1", it));
    register_all(&mut store, &[silent.clone(), cancelled.clone()], at(0));
    store.cancel(&cancelled, at(1)).unwrap();
    store.pass(at(100), &mut Rng::with_seed(1));

    assert_eq!(store.renew(&key("z1", "never"), at(101)), None);
    assert_eq!(store.renew(&silent, at(101)), None);
    assert_eq!(store.renew(&cancelled, at(101)), None);
    assert!(store.register(silent.clone(), up(), at(102)).is_ok());
    assert!(store.renew(&silent, at(103)).is_some());
}

#[test]
fn a_pass_evicts_at_most_its_share_and_draws_it_at_random() {
    let settings = Settings { protect_least: usize::MAX, ..Settings::default() };
    let all = keys("z1", 100);
    let draw = |seed| {
        let mut store = Store::new(NodeId(1), settings.clone());
        register_all(&mut store, &all, at(0));
        let pass = store.pass(at(100), &mut Rng::with_seed(seed));
        let gone: Vec<_> = all.iter().filter(|it| store.get(it).is_none()).cloned().collect();
        (pass, gone)
    };

    let ((one, one_gone), (_, other_gone)) = (draw(1), draw(2));

    assert_eq!((one.evicted, one.left, one_gone.len()), (15, 85, 15));
    assert_ne!(one_gone, other_gone);
}

#[test]
fn a_standstill_of_our_own_lengthens_every_lease() {
    let mut store = store(1);
    let all = keys("z1", 10);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all, 30, 301);

    // Stopped at 301, and woken ten minutes later: the first thing to run is the pass.
    let woken = store.pass(at(900), &mut Rng::with_seed(1));
    renew_all(&mut store, &all[1..], at(910));
    let later = run(&mut store, &all[1..], 930, 1021);

    assert_eq!((woken.evicted, woken.held, woken.late.as_secs()), (0, 0, 540));
    assert_eq!(later.iter().map(|it| it.evicted).sum::<usize>(), 1);
    assert_eq!(alive(&store, &all), 9);
}

#[test]
fn whoever_renews_as_we_wake_has_no_longer_lease_than_others() {
    let mut store = store(1);
    let all = keys("z1", 2);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all, 30, 301);

    renew_all(&mut store, &all, at(3000));
    store.pass(at(3000), &mut Rng::with_seed(1));
    let later = run(&mut store, &all[1..], 3030, 3121);

    assert_eq!(later.iter().map(|it| it.evicted).sum::<usize>(), 1);
}

#[test]
fn what_is_gone_is_forgotten_after_its_time_and_its_service_with_it() {
    let mut store = store(1);
    let [silent, cancelled] = ["silent", "cancelled"].map(|it| key("z1", it));
    register_all(&mut store, &[silent.clone(), cancelled.clone()], at(0));
    store.cancel(&cancelled, at(60)).unwrap();
    run(&mut store, &[], 60, 241);
    let remembered = store.counts();

    run(&mut store, &[], 270, 7500);

    assert_eq!((remembered.live, remembered.gone, remembered.services), (0, 2, 1));
    let now = store.counts();
    assert_eq!((now.live, now.gone, now.services), (0, 0, 0));
    assert_eq!((store.root(), store.by_id(silent.id())), (0, None));
}

#[test]
fn a_full_store_forgets_the_gone_first_and_then_refuses() {
    let settings = Settings { capacity: 3, ..Settings::default() };
    let mut store = Store::new(NodeId(1), settings);
    let all = keys("z1", 5);
    register_all(&mut store, &all[..3], at(0));
    store.cancel(&all[1], at(1)).unwrap();
    store.cancel(&all[0], at(2)).unwrap();

    store.register(all[3].clone(), up(), at(3)).unwrap();
    let earliest_gone = store.by_id(all[1].id()).is_none() && store.by_id(all[0].id()).is_some();
    store.register(all[4].clone(), up(), at(4)).unwrap();

    assert!(earliest_gone);
    let another = store.register(key("z2", "one-more"), up(), at(5));
    assert_eq!(another.unwrap_err(), Full { capacity: 3 });
    assert!(store.register(all[4].clone(), waiting(), at(6)).is_ok());
    assert_eq!(store.counts().live, 3);
}

#[test]
fn a_restart_that_comes_and_goes_leaves_no_trail() {
    let mut store = store(1);
    let one = key("z1", "pod");

    for second in 0..5000 {
        store.register(one.clone(), up(), at(second)).unwrap();
        store.cancel(&one, at(second)).unwrap();
        store.drain();
    }

    assert!(store.graves.len() < 1100);
}

#[test]
fn an_alteration_is_no_sign_of_life() {
    let mut store = store(1);
    let one = key("z1", "pod");
    store.register(one.clone(), up(), at(0)).unwrap();

    let before = store.get(&one).unwrap().record.version;
    store.alter(&one, at(80), |it| it.version = "2".into()).unwrap();
    let altered = store.get(&one).unwrap().record.clone();
    let same = store.alter(&one, at(81), |it| it.version = "2".into()).unwrap();
    store.pass(at(95), &mut Rng::with_seed(1));

    assert!(altered.version > before);
    assert_eq!(same.version, altered.version);
    assert_eq!(store.by_id(one.id()).unwrap().state, State::Evicted);
    assert_eq!(store.alter(&one, at(96), |_| ()), None);
}
