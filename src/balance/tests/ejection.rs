//! Who is left alone, for how long, and how they come back.

use std::time::Duration;

use fastrand::Rng;

use super::{T0, ends, instances, is_about, rung, seconds, settings, shares};
use crate::balance::{End, Endpoints, View};
use crate::config::{Balance, Service};

#[test]
fn failures_in_a_row_eject_and_an_answer_between_them_does_not() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];

    ends(one, End::Failed, 2, T0);
    ends(one, End::Answered, 1, T0);
    ends(one, End::Failed, 2, T0);
    assert!(one.is_available(T0));

    ends(one, End::Failed, 1, T0);
    assert!(one.is_ejected(T0) && one.is_reachable(T0));
    assert_eq!(shares(&rung, T0)[&1], 0);
}

#[test]
fn who_gives_up_counts_as_neither() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];

    ends(one, End::Failed, 2, T0);
    ends(one, End::Abandoned, 9, T0);
    assert!(one.is_available(T0));

    ends(one, End::Failed, 1, T0);
    assert!(one.is_ejected(T0));
}

#[test]
fn ejection_can_be_turned_off() {
    let mut settings = settings(Balance::LeastLoad);
    settings.outlier.failures = None;
    let rung = Endpoints::new(&instances(&[1, 1]), &settings, &View::default());

    ends(&rung.all()[0], End::Unreachable, 100, T0);

    assert!(rung.all()[0].is_available(T0));
}

#[test]
fn ejections_double_up_to_a_bound_and_are_forgotten_in_the_end() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];
    let mut now = T0;

    for expected in [10, 20, 40, 60, 60] {
        ends(one, End::Failed, 3, now);
        let last = now + Duration::from_millis(expected * 1_000 - 1);
        assert!(one.is_ejected(last), "{expected}");
        now += seconds(expected);
        assert!(!one.is_ejected(now), "{expected}");
    }

    now += seconds(61);
    ends(one, End::Failed, 3, now);
    assert!(!one.is_ejected(now + seconds(10)));
}

#[test]
fn the_first_failure_after_an_ejection_is_one_in_a_row() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];
    ends(one, End::Failed, 3, T0);
    let back = T0 + seconds(10);

    ends(one, End::Failed, 1, back);

    assert!(one.is_ejected(back));
}

#[test]
fn requests_that_were_under_way_do_not_lengthen_an_ejection() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let one = &rung.all()[0];

    ends(one, End::Failed, 30, T0);

    assert!(!one.is_ejected(T0 + seconds(10)));
}

#[test]
fn the_last_endpoint_of_a_rung_is_never_ejected() {
    let rung = rung(&[100], Balance::LeastLoad);

    ends(&rung.all()[0], End::Failed, 100, T0);

    assert!(rung.all()[0].is_available(T0));
}

#[test]
fn no_more_than_their_share_is_ejected() {
    let rung = rung(&[100; 5], Balance::LeastLoad);

    for one in rung.all() {
        ends(one, End::Failed, 3, T0);
    }

    let out = rung.all().iter().filter(|it| it.is_ejected(T0)).count();
    assert_eq!(out, 2, "half of five");
}

#[test]
fn one_stays_even_if_all_may_be_ejected() {
    let mut settings = settings(Balance::LeastLoad);
    settings.outlier.max_percent = 100;
    let rung = Endpoints::new(&instances(&[100; 3]), &settings, &View::default());
    ends(&rung.all()[0], End::Unreachable, 3, T0);

    for one in rung.all() {
        ends(one, End::Failed, 3, T0);
    }

    let well = rung.all().iter().filter(|it| it.is_available(T0)).count();
    assert_eq!(well, 1);
}

#[test]
fn who_cannot_be_reached_is_left_alone_without_a_bound() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    let [one, two] = [0, 1].map(|at| rung.all()[at].clone());

    ends(&one, End::Unreachable, 3, T0);
    assert!(!one.is_reachable(T0) && rung.is_healthy(T0, &[]));

    ends(&two, End::Unreachable, 3, T0);
    assert!(!two.is_reachable(T0) && !rung.is_healthy(T0, &[]), "the rung is unhealthy");
    assert!(rung.pick(T0, &mut Rng::with_seed(1), |_| false).is_some(), "a pick tries anyhow");
    assert!(rung.is_healthy(T0 + seconds(10), &[]), "and so do all when the time is over");
}

#[test]
fn whoever_says_anything_can_be_reached() {
    let rung = rung(&[100], Balance::LeastLoad);
    let one = &rung.all()[0];
    ends(one, End::Unreachable, 3, T0);

    ends(one, End::Failed, 1, T0 + seconds(1));

    assert!(rung.is_healthy(T0 + seconds(1), &[]));
}

#[test]
fn in_a_panic_who_answers_badly_comes_before_who_cannot_be_reached() {
    let rung = rung(&[100, 100], Balance::LeastLoad);
    ends(&rung.all()[0], End::Failed, 3, T0);
    ends(&rung.all()[1], End::Unreachable, 3, T0);

    assert_eq!(shares(&rung, T0)[&1], 10_000);
}

#[test]
fn an_endpoint_comes_back_slowly() {
    let rung = rung(&[100, 100], Balance::Random);
    let one = &rung.all()[0];
    ends(one, End::Failed, 3, T0);

    let back = T0 + seconds(10);
    let seen = [0, 15, 30].map(|after| shares(&rung, back + seconds(after))[&1]);

    assert!(is_about(seen[0], 900), "one to ten: {seen:?}");
    assert!(is_about(seen[1], 3_333), "one to two: {seen:?}");
    assert!(is_about(seen[2], 5_000), "as before: {seen:?}");
}

#[test]
fn a_slow_return_can_be_turned_off() {
    let settings = Service { slow_start: None, ..settings(Balance::Random) };
    let rung = Endpoints::new(&instances(&[100, 100]), &settings, &View::default());
    ends(&rung.all()[0], End::Failed, 3, T0);

    let shares = shares(&rung, T0 + seconds(10));

    assert!(is_about(shares[&1], 5_000), "{shares:?}");
}

#[test]
fn whoever_comes_back_is_not_avoided_for_what_was_before() {
    for end in [End::Failed, End::Unreachable] {
        let rung = rung(&[100, 100], Balance::LeastLoad);
        ends(&rung.all()[1], End::Answered, 1, T0);

        ends(&rung.all()[0], end, 4, T0);
        let shares = shares(&rung, T0 + seconds(11));

        assert!(shares[&1] > 300, "{end:?}: {shares:?}");
    }
}
