//! Zones: where requests go while ours is well, fails, and is well again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::{T0, ends, instances, seconds, settings};
use crate::balance::{End, Endpoints, Site, View};
use crate::config::{Balance, Service, Zones};
use crate::model::Instance;

/// So many instances in each of these zones.
fn in_zones(zones: &[&str], each: usize) -> Vec<Arc<Instance>> {
    let all = instances(&vec![100; zones.len() * each]);
    let place_in = |(place, it): (usize, Arc<Instance>)| {
        Arc::new(Instance { zone: Some(zones[place / each].into()), ..Instance::clone(&it) })
    };
    all.into_iter().enumerate().map(place_in).collect()
}

fn from(zone: &str) -> View {
    View { site: Arc::new(Site::default().in_zone(zone)), ..View::default() }
}

fn at_once() -> Service {
    Service { slow_start: None, ..settings(Balance::LeastLoad) }
}

/// The part of ten thousand picks that each zone gets, in percent.
fn parts(rung: &Endpoints, now: Duration) -> BTreeMap<String, u32> {
    let mut random = Rng::with_seed(7);
    let mut parts: BTreeMap<_, u32> = BTreeMap::new();
    for _ in 0..10_000 {
        let picked = rung.pick(now, &mut random, |_| false).unwrap();
        let zone = picked.instance().zone.as_deref().unwrap_or_default();
        *parts.entry(zone.to_owned()).or_default() += 1;
    }
    parts.into_iter().map(|(zone, count)| (zone, (count + 50) / 100)).collect()
}

fn map(parts: &[(&str, u32)]) -> BTreeMap<String, u32> {
    parts.iter().map(|(zone, part)| ((*zone).to_owned(), *part)).collect()
}

#[track_caller]
fn is_about(parts: &BTreeMap<String, u32>, expected: &[(&str, u32)]) {
    let near = expected.iter().all(|(zone, part)| parts[*zone].abs_diff(*part) <= 2);
    assert!(near && parts.len() == expected.len(), "{parts:?}");
}

/// Has the first instances of a zone fail to connect.
fn fail(rung: &Endpoints, zone: &str, count: usize, now: Duration) {
    let there = rung.all().iter().filter(|it| it.instance().zone.as_deref() == Some(zone));
    there.take(count).for_each(|it| ends(it, End::Unreachable, 3, now));
}

#[test]
fn requests_stay_in_their_zone_while_it_is_well() {
    let rung = Endpoints::new(&in_zones(&["a", "b", "c"], 4), &at_once(), &from("b"));

    assert_eq!(parts(&rung, T0), map(&[("b", 100)]));
}

#[test]
fn requests_overflow_when_a_zone_fails_and_return() {
    let rung = Endpoints::new(&in_zones(&["a", "b", "c"], 4), &at_once(), &from("b"));
    parts(&rung, T0);

    fail(&rung, "b", 1, T0);
    assert_eq!(parts(&rung, T0 + seconds(1)), map(&[("b", 100)]), "it has room for as much");
    fail(&rung, "b", 2, T0);
    is_about(&parts(&rung, T0 + seconds(2)), &[("a", 8), ("b", 84), ("c", 8)]);
    fail(&rung, "b", 4, T0);
    is_about(&parts(&rung, T0 + seconds(3)), &[("a", 50), ("c", 50)]);

    let back = T0 + seconds(60);
    assert_eq!(parts(&rung, back), map(&[("b", 100)]));
}

#[test]
fn a_zone_that_fails_between_two_looks_costs_no_request() {
    let rung = Endpoints::new(&in_zones(&["a", "b"], 2), &at_once(), &from("a"));
    parts(&rung, T0);

    fail(&rung, "a", 2, T0);

    // The shares are those of before: picks find their way nevertheless.
    assert_eq!(parts(&rung, T0), map(&[("b", 100)]));
}

#[test]
fn a_zone_comes_back_slowly() {
    let rung = Endpoints::new(&in_zones(&["a", "b"], 2), &settings(Balance::LeastLoad), &from("a"));
    fail(&rung, "a", 2, T0);

    let soon = parts(&rung, T0 + seconds(11));
    let late = parts(&rung, T0 + seconds(60));

    assert!(soon["a"] < 40, "{soon:?}");
    assert_eq!(late, map(&[("a", 100)]));
}

#[test]
fn zones_make_no_difference_where_none_is_preferred() {
    let zones = Zones { prefer: false, ..Zones::default() };
    let indifferent = Service { zones, ..at_once() };

    for (settings, view) in
        [(&indifferent, from("a")), (&at_once(), View::default()), (&at_once(), from("elsewhere"))]
    {
        let rung = Endpoints::new(&in_zones(&["a", "b"], 3), settings, &view);

        is_about(&parts(&rung, T0), &[("a", 50), ("b", 50)]);
        assert_eq!(rung.zones(T0).len(), 1);
    }
}

#[test]
fn a_scheduler_says_where_requests_go() {
    let weights = [("a".into(), 1), ("b".into(), 3), ("c".into(), 0)].into();
    let view = View { weights, ..from("a") };
    let rung = Endpoints::new(&in_zones(&["a", "b", "c"], 4), &at_once(), &view);

    is_about(&parts(&rung, T0), &[("a", 25), ("b", 75)]);
    fail(&rung, "a", 4, T0);
    assert_eq!(parts(&rung, T0 + seconds(1)), map(&[("b", 100)]));
    fail(&rung, "b", 4, T0);
    assert_eq!(parts(&rung, T0 + seconds(2)), map(&[("c", 100)]), "nobody else is left");
}

#[test]
fn a_subset_has_its_part_of_every_zone() {
    let few = Service { subset: Some(10), ..at_once() };

    let rung = Endpoints::new(&in_zones(&["a", "b", "c"], 30), &few, &from("b"));

    let zones = rung.zones(T0).into_iter().map(|it| (it.name.unwrap().to_string(), it.endpoints));
    let expected = [("b", 10), ("a", 5), ("c", 5)].map(|(zone, count)| (zone.to_owned(), count));
    assert_eq!(zones.collect::<Vec<_>>(), expected);
    assert_eq!(rung.left_out().len(), 70);
}

#[test]
fn the_state_of_zones_adds_up() {
    let rung = Endpoints::new(&in_zones(&["a", "b"], 4), &at_once(), &from("a"));
    fail(&rung, "a", 2, T0);

    let zones = rung.zones(T0);

    let total: f32 = zones.iter().map(|it| it.share).sum();
    assert!((total - 1.0).abs() < 1e-3 && zones[0].share > zones[1].share, "{zones:?}");
    assert!((zones[0].health - 0.5).abs() < 1e-3 && zones[1].health > 0.99, "{zones:?}");
}

#[test]
fn a_pick_over_zones_allocates_nothing() {
    let rung = Endpoints::new(&in_zones(&["a", "b", "c"], 4), &at_once(), &from("b"));
    fail(&rung, "b", 3, T0);
    let mut random = Rng::with_seed(1);

    let measured = allocation_counter::measure(|| {
        for at in 0..1_000 {
            let now = T0 + Duration::from_millis(at * 10);
            assert!(rung.pick(now, &mut random, |_| false).is_some());
        }
    });

    assert_eq!(measured.count_total, 0);
}
