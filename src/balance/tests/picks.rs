//! Who is picked, how often, and what a reload keeps.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{FAST, T0, ends, instances, is_about, port, rung, seconds, settings, shares};
use crate::balance::{End, Endpoints, View};
use crate::config::Balance;

#[test]
fn an_empty_rung_has_nobody() {
    let rung = rung(&[], Balance::LeastLoad);

    assert!(rung.pick(T0, &mut Rng::with_seed(1), |_| false).is_none());
    assert!(!rung.is_healthy(T0, &[]));
}

#[test]
fn random_picks_are_shared_by_weight() {
    let shares = shares(&rung(&[100, 200, 700], Balance::Random), T0);

    assert!(is_about(shares[&1], 1_000), "{shares:?}");
    assert!(is_about(shares[&2], 2_000), "{shares:?}");
    assert!(is_about(shares[&3], 7_000), "{shares:?}");
}

#[test]
fn equally_loaded_endpoints_are_picked_by_weight() {
    let shares = shares(&rung(&[100, 300], Balance::LeastLoad), T0);

    assert!(is_about(shares[&1], 2_500), "{shares:?}");
}

#[test]
fn held_requests_are_shared_by_weight() {
    let rung = rung(&[100, 300, 600], Balance::LeastLoad);
    let mut random = Rng::with_seed(3);

    let flights: Vec<_> =
        (0..1_000).map(|_| rung.pick(T0, &mut random, |_| false).unwrap().begin()).collect();

    let held: Vec<_> = rung.all().iter().map(|it| it.in_flight()).collect();
    assert_eq!(held.iter().sum::<u32>(), 1_000);
    assert!(held.iter().zip([100, 300, 600]).all(|(it, by)| it.abs_diff(by) < 30), "{held:?}");
    drop(flights);
    assert!(rung.all().iter().all(|it| it.in_flight() == 0));
}

#[test]
fn the_less_loaded_of_two_is_picked() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let [one, two] = [0, 1].map(|at| rung.all()[at].clone());
    one.begin().end(End::Answered, FAST * 20, T0);
    two.begin().end(End::Answered, FAST, T0);

    assert_eq!(shares(&rung, T0)[&1], 0, "it is twenty times slower");

    let busy: Vec<_> = (0..40).map(|_| two.begin()).collect();
    assert_eq!(shares(&rung, T0)[&2], 0, "it has forty requests");
    drop(busy);
}

#[test]
fn a_heavy_endpoint_keeps_a_share_even_if_it_is_slower() {
    let rung = rung(&[9_900, 100], Balance::LeastLoad);
    rung.all()[0].begin().end(End::Answered, FAST * 2, T0);
    rung.all()[1].begin().end(End::Answered, FAST, T0);

    let shares = shares(&rung, T0);

    assert!(shares[&2] <= 300, "at most about twice its weight: {shares:?}");
}

#[test]
fn an_endpoint_nobody_knows_is_tried_and_not_flooded() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    ends(&rung.all()[0], End::Answered, 1, T0);

    let flights: Vec<_> = (0..20)
        .map(|_| rung.pick(T0, &mut Rng::with_seed(5), |_| false).unwrap().begin())
        .collect();

    assert_eq!(rung.all()[1].in_flight(), 10);
    drop(flights);
}

#[test]
fn an_endpoint_that_was_slow_is_tried_again_some_day() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    rung.all()[0].begin().end(End::Answered, FAST * 20, T0);
    rung.all()[1].begin().end(End::Answered, FAST, T0);

    let later = T0 + seconds(40);
    rung.all()[1].begin().end(End::Answered, FAST, later);

    assert!(shares(&rung, later)[&1] > 0);
}

#[test]
fn who_is_excluded_is_not_picked() {
    let rung = rung(&[10_000, 1, 1], Balance::LeastLoad);
    let mut random = Rng::with_seed(6);

    let picked = |without: &[u16], random: &mut Rng| {
        rung.pick(T0, random, |it| without.contains(&port(it))).map(|it| port(it))
    };

    for _ in 0..1_000 {
        assert_eq!(picked(&[1, 2], &mut random), Some(3));
    }
    assert_eq!(picked(&[1, 2, 3], &mut random), None);
}

#[test]
fn knowledge_outlives_the_world_it_was_learned_in() {
    let old = rung(&[100, 100, 100], Balance::LeastLoad);
    let flight = old.all()[1].begin();
    ends(&old.all()[0], End::Failed, 3, T0);

    let mut list = instances(&[200, 100, 100]);
    list.pop();
    let new = Endpoints::succeed(&old, &list, &settings(Balance::LeastLoad), &View::default());

    assert!(new.all()[0].is_ejected(T0));
    assert_eq!((new.all()[0].instance().weight, new.all()[1].in_flight()), (200, 1));
    flight.end(End::Answered, FAST, T0);
    assert_eq!((new.all()[1].in_flight(), new.all()[1].latency(T0)), (0, Some(FAST)));
}

#[test]
fn endpoints_of_which_nothing_changed_are_the_same() {
    let old = rung(&[100, 100], Balance::LeastLoad);

    let same = Endpoints::succeed(
        &old,
        &instances(&[100, 100]),
        &settings(Balance::LeastLoad),
        &View::default(),
    );
    let other = Endpoints::succeed(
        &old,
        &instances(&[100, 100]),
        &settings(Balance::Random),
        &View::default(),
    );

    assert!(Arc::ptr_eq(&old, &same));
    assert!(!Arc::ptr_eq(&old, &other));
}

#[test]
fn a_pick_allocates_nothing() {
    let rung = rung(&[1, 2, 3], Balance::LeastLoad);
    ends(&rung.all()[0], End::Failed, 3, T0);
    let mut random = Rng::with_seed(1);

    let measured = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let picked = rung.pick(T0, &mut random, |it| port(it) == 2).unwrap();
            picked.begin().end(End::Answered, FAST, T0);
        }
    });

    assert_eq!(measured.count_total, 0);
}

#[test]
fn counts_hold_while_many_threads_use_a_rung() {
    let rung = rung(&[100; 4], Balance::LeastLoad);

    std::thread::scope(|scope| {
        for seed in 0..4 {
            let rung = &rung;
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed);
                for at in 0..5_000 {
                    let now = T0 + Duration::from_millis(at);
                    let flight = rung.pick(now, &mut random, |_| false).unwrap().begin();
                    let end = if random.u8(..) < 128 { End::Failed } else { End::Answered };
                    flight.end(end, FAST, now);
                    let out = rung.all().iter().filter(|it| it.is_ejected(T0)).count();
                    assert!(out <= 2, "{out} of 4");
                }
            });
        }
    });

    assert!(rung.all().iter().all(|it| it.in_flight() == 0));
}
