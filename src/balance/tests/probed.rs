//! What probes find: who counts as unreachable, and how they come back.

use fastrand::Rng;

use super::{T0, ends, instances, is_about, rung, seconds, settings, shares};
use crate::balance::{End, Endpoints, View};
use crate::config::Balance;

#[test]
fn whoever_is_unhealthy_is_given_no_requests_while_another_is_well() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];

    one.set_healthy(false, T0);

    assert!(one.is_unhealthy() && !one.is_reachable(T0) && !one.is_available(T0));
    assert_eq!(shares(&rung, T0 + seconds(3_600))[&1], 0);
    assert!(rung.is_healthy(T0, &[]));
}

#[test]
fn a_rung_of_the_unhealthy_is_unhealthy_and_a_pick_tries_all_the_same() {
    let rung = rung(&[100, 100], Balance::LeastLoad);

    rung.all().iter().for_each(|it| it.set_healthy(false, T0));

    assert!(!rung.is_healthy(T0, &[]));
    assert!(rung.pick(T0, &mut Rng::with_seed(1), |_| false).is_some());
}

#[test]
fn an_answer_does_not_overrule_a_probe() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];
    one.set_healthy(false, T0);

    ends(one, End::Answered, 9, T0);

    assert!(one.is_unhealthy());
}

#[test]
fn whoever_is_healthy_again_comes_back_slowly() {
    let rung = rung(&[100, 100], Balance::Random);
    let one = &rung.all()[0];
    one.set_healthy(false, T0);

    one.set_healthy(true, T0 + seconds(10));
    let seen = [10, 25, 40].map(|after| shares(&rung, T0 + seconds(after))[&1]);

    assert!(is_about(seen[0], 900), "one to ten: {seen:?}");
    assert!(is_about(seen[1], 3_333), "one to two: {seen:?}");
    assert!(is_about(seen[2], 5_000), "as before: {seen:?}");
}

#[test]
fn a_probe_that_finds_what_was_known_changes_nothing() {
    let rung = rung(&[100, 100], Balance::Random);

    rung.all()[0].set_healthy(true, T0);

    assert!(is_about(shares(&rung, T0)[&1], 5_000));
}

#[test]
fn what_probes_found_outlives_a_reload() {
    let before = rung(&[100, 100], Balance::LeastLoad);
    before.all()[0].set_healthy(false, T0);

    let after = Endpoints::succeed(
        &before,
        &instances(&[100, 50]),
        &settings(Balance::LeastLoad),
        &View::default(),
    );

    assert!(after.all()[0].is_unhealthy() && !after.all()[1].is_unhealthy());
}
