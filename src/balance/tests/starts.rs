//! How those start that are new.

use std::sync::Arc;

use super::{T0, instances, is_about, rung, seconds, settings, shares};
use crate::balance::{Endpoints, View};
use crate::config::Balance;

/// A rung of two, of which the second came later.
fn grown(balance: Balance) -> Arc<Endpoints> {
    Endpoints::succeed(
        &rung(&[100], balance),
        &instances(&[100, 100]),
        &settings(balance),
        &View::default(),
    )
}

#[test]
fn whoever_comes_to_others_starts_slowly() {
    let rung = grown(Balance::Random);

    let seen = [0, 15, 30].map(|after| shares(&rung, T0 + seconds(after))[&2]);

    assert!(is_about(seen[0], 900), "one to ten: {seen:?}");
    assert!(is_about(seen[1], 3_333), "one to two: {seen:?}");
    assert!(is_about(seen[2], 5_000), "as everybody: {seen:?}");
}

#[test]
fn the_only_rival_starts_slowly_too() {
    let rung = grown(Balance::LeastLoad);

    let seen = shares(&rung, T0)[&2];

    assert!((500..2_500).contains(&seen), "{seen}");
}

#[test]
fn a_start_begins_with_the_first_look() {
    let rung = grown(Balance::Random);

    let late = shares(&rung, T0 + seconds(3_600))[&2];

    assert!(is_about(late, 900), "{late}");
}

#[test]
fn where_all_are_new_nobody_is_spared() {
    let first = rung(&[100, 100], Balance::Random);
    let other = [instances(&[1, 1, 100, 100])[2].clone(), instances(&[1, 1, 100, 100])[3].clone()];

    let replaced = Endpoints::succeed(&first, &other, &settings(Balance::Random), &View::default());

    for rung in [first, replaced] {
        assert!(rung.all().iter().all(|it| it.share(T0) >= 1.0));
    }
}

#[test]
fn a_start_goes_on_over_a_reload() {
    let rung = grown(Balance::Random);
    shares(&rung, T0);

    let next = Endpoints::succeed(
        &rung,
        &instances(&[100, 100, 100]),
        &settings(Balance::Random),
        &View::default(),
    );

    let half = T0 + seconds(15);
    let (before, after) = (rung.all()[1].share(half), next.all()[1].share(half));
    assert!((after - before).abs() < f32::EPSILON, "{before} and {after}");
    assert!(next.all()[0].share(half) >= 1.0);
}
