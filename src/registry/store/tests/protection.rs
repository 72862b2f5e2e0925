//! When silence is taken for a fault of ours.

use fastrand::Rng;

use super::{alive, at, at_millis, keys, register_all, registration, run, store};
use crate::registry::record::Key;
use crate::registry::record::NodeId;
use crate::registry::store::{Pass, Settings, Store};

fn evicted(passes: &[Pass]) -> usize {
    passes.iter().map(|it| it.evicted).sum()
}

#[test]
fn ten_of_a_hundred_go_and_then_ten_more_of_the_ninety() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all, 30, 61);

    let first = run(&mut store, &all[10..], 90, 181);
    let second = run(&mut store, &all[20..], 210, 361);

    assert_eq!((evicted(&first), evicted(&second)), (10, 10));
    assert_eq!((alive(&store, &all), store.is_protected()), (80, false));
}

#[test]
fn every_last_one_goes_if_they_go_by_tens() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));

    for step in 1..=4 {
        run(&mut store, &all[10 * step..], step as u64 * 240, (step as u64 + 1) * 240);
    }

    assert_eq!((alive(&store, &all), store.is_protected()), (60, false));
}

#[test]
fn fifteen_of_a_hundred_go_and_sixteen_stay() {
    let all = keys("z1", 100);
    let after = |silent: usize| {
        let mut store = store(1);
        register_all(&mut store, &all, at(0));
        let passes = run(&mut store, &all[silent..], 0, 601);
        (evicted(&passes), store.counts().held, store.is_protected())
    };

    assert_eq!(after(15), (15, 0, false));
    assert_eq!(after(16), (0, 16, true));
}

#[test]
fn protection_ends_when_they_are_heard_of_again() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all[50..], 0, 1201);
    let during = (store.is_protected(), store.counts().held);

    let after = run(&mut store, &all, 1230, 1261);

    assert_eq!(during, (true, 50));
    assert_eq!((store.is_protected(), store.counts().held, evicted(&after)), (false, 0, 0));
    assert_eq!(alive(&store, &all), 100);
}

#[test]
fn those_who_return_leave_so_few_lost_that_the_others_go() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all[50..], 0, 601);

    let after = run(&mut store, &all[10..], 630, 661);

    assert_eq!((evicted(&after), store.is_protected()), (10, false));
}

#[test]
fn those_who_cancel_are_lost_no_more() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all[50..], 0, 601);

    for key in &all[..50] {
        store.cancel(key, at(610)).unwrap();
    }
    run(&mut store, &all[50..], 630, 661);

    assert_eq!((store.is_protected(), store.counts().held, store.len()), (false, 0, 50));
}

#[test]
fn ninety_of_a_hundred_that_cancel_are_no_loss() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));
    run(&mut store, &all, 0, 61);

    for key in &all[..90] {
        store.cancel(key, at(70)).unwrap();
    }
    run(&mut store, &all[90..], 90, 601);
    let planned = store.is_protected();
    let after = run(&mut store, &all[91..], 630, 901);

    assert!(!planned);
    assert_eq!((evicted(&after), store.is_protected()), (1, false));
}

#[test]
fn a_zone_that_is_cut_off_freezes_nobody_else() {
    let mut store = store(1);
    let zones = ["z1", "z2", "z3"].map(|zone| keys(zone, 30));
    register_all(&mut store, &zones.concat(), at(0));
    let beating: Vec<Key> = zones[1..].iter().flat_map(|it| &it[2..]).cloned().collect();

    run(&mut store, &beating, 0, 601);

    assert_eq!(zones.each_ref().map(|it| alive(&store, it)), [30, 28, 28]);
    let protected: Vec<_> = store.protected().map(|(zone, _)| zone.to_string()).collect();
    assert_eq!(protected, ["z1"]);
}

#[test]
fn a_zone_of_many_small_lanes_is_one_loss_and_freezes_nobody_else() {
    let mut store = store(1);
    let (cut, other) = (keys("z1", 40), keys("z2", 60));
    for (number, key) in cut.iter().enumerate() {
        let lane = format!("lane-{}", number / 2);
        store.register(key.clone(), registration(&lane, "grpc://10.0.0.1:9000"), at(0)).unwrap();
    }
    register_all(&mut store, &other, at(0));

    run(&mut store, &other[3..], 0, 601);

    assert_eq!((alive(&store, &cut), alive(&store, &other)), (40, 57));
}

#[test]
fn a_loss_spread_thinly_over_all_zones_is_seen_as_one() {
    let mut store = store(1);
    let zones: Vec<_> = (0..20).map(|zone| keys(&format!("z{zone}"), 10)).collect();
    register_all(&mut store, &zones.concat(), at(0));
    let beating: Vec<Key> = zones.iter().flat_map(|it| &it[2..]).cloned().collect();

    run(&mut store, &beating, 0, 601);

    assert_eq!((store.len(), store.counts().held), (200, 40));
}

#[test]
fn three_of_three_stay_and_two_of_two_go() {
    let after = |count: usize| {
        let mut store = store(1);
        let all = keys("z1", count);
        register_all(&mut store, &all, at(0));
        run(&mut store, &[], 0, 601);
        (alive(&store, &all), store.is_protected())
    };

    assert_eq!(after(3), (3, true));
    assert_eq!(after(2), (0, false));
}

#[test]
fn a_ceiling_ends_even_a_protected_lease() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));

    let below = run(&mut store, &all[50..], 0, 3600);
    let above = run(&mut store, &all[50..], 3600, 3901);

    assert_eq!((evicted(&below), evicted(&above)), (0, 50));
    assert_eq!(alive(&store, &all[50..]), 50);
}

#[test]
fn nobody_goes_while_the_node_hears_no_one_else() {
    let mut store = store(1);
    let all = keys("z1", 100);
    register_all(&mut store, &all, at(0));
    store.set_isolated(true);

    let isolated = run(&mut store, &all[1..], 0, 601);
    let is_protected = store.is_protected();
    store.set_isolated(false);
    let after = run(&mut store, &all[1..], 630, 661);

    assert_eq!((evicted(&isolated), is_protected), (0, true));
    assert_eq!((evicted(&after), store.is_protected()), (1, false));
}

#[test]
fn an_outage_whose_leases_run_out_one_by_one_is_seen_whole() {
    let settings = Settings { pass: std::time::Duration::from_secs(5), ..Settings::default() };
    let mut store = Store::new(NodeId(1), settings);
    let all = keys("z1", 100);
    let mut random = Rng::with_seed(1);

    // Each beats every 30 s in its turn; at 300 s the even ones fall silent.
    for tenth in 0..6000 {
        for (number, key) in all.iter().enumerate() {
            let is_its_turn = tenth % 300 == 3 * number as u64;
            if is_its_turn && tenth < 300 {
                store.register(key.clone(), super::up(), at_millis(tenth * 100)).unwrap();
            } else if is_its_turn && (tenth < 3000 || number % 2 == 1) {
                store.renew(key, at_millis(tenth * 100));
            }
        }
        if tenth % 50 == 0 {
            store.pass(at_millis(tenth * 100), &mut random);
        }
    }

    assert!(store.len() >= 85, "{} are left", store.len());
    assert!(store.is_protected());
}
