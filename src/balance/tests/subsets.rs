//! Subsets: even, steady, the same for everyone who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{cases, instances, port, settings};
use crate::balance::{Endpoints, Place, Site, View, subset};
use crate::config::{Balance, Service};
use crate::model::Instance;

/// Instances numbered from 0, or known by their names only.
fn ring(count: u32, is_numbered: bool) -> Vec<(Place, u32)> {
    let place = |it: u32| {
        if is_numbered { Place::numbered(it) } else { Place::named(&it.to_be_bytes()) }
    };
    (0..count).map(|it| (place(it), it)).collect()
}

/// The subset of a client, by the names of the instances.
fn chosen(client: Place, ring: &[(Place, u32)], size: usize) -> BTreeSet<u32> {
    subset(client, ring, size).into_iter().map(|it| ring[it].1).collect()
}

/// How many of so many clients send to each instance.
fn loads(
    clients: impl Iterator<Item = u32>,
    ring: &[(Place, u32)],
    size: usize,
) -> BTreeMap<u32, i64> {
    let mut loads: BTreeMap<_, _> = ring.iter().map(|it| (it.1, 0)).collect();
    for client in clients {
        for instance in chosen(Place::numbered(client), ring, size) {
            *loads.get_mut(&instance).unwrap() += 1;
        }
    }
    loads
}

/// The most clients of an instance, less the least.
fn spread(loads: &BTreeMap<u32, i64>) -> i64 {
    loads.values().max().unwrap() - loads.values().min().unwrap()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn every_client_has_its_number_of_instances_whoever_it_is(
        client in any::<u32>(),
        name in ".*",
        count in 1_u32..300,
        size in 0_usize..300,
        is_numbered in any::<bool>(),
    ) {
        let ring = ring(count, is_numbered);

        for place in [Place::numbered(client), Place::named(name.as_bytes())] {
            let subset = chosen(place, &ring, size);

            prop_assert_eq!(subset.len(), size.max(1).min(count as usize));
        }
    }

    #[test]
    fn a_subset_does_not_go_by_the_order_of_the_list(
        client in any::<u32>(),
        count in 1_u32..300,
        size in 1_usize..100,
        seed in any::<u64>(),
    ) {
        let ring = ring(count, false);
        let mut shuffled = ring.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);

        let place = Place::numbered(client);

        prop_assert_eq!(chosen(place, &ring, size), chosen(place, &shuffled, size));
    }

    #[test]
    fn numbered_clients_load_instances_evenly(
        clients in 1_u32..600,
        count in 2_u32..300,
        size in 1_usize..100,
        step in 1_u32..5,
        is_numbered in any::<bool>(),
    ) {
        let ring = ring(count, is_numbered);

        // Every n-th number is what one of n zones has.
        let loads = loads((0..clients).map(|it| it * step), &ring, size);

        // Bounds of experience, not of a proof: multiples of five are as uneven as 2 + 2·log₂.
        let log = i64::from(clients.ilog2());
        let bound = if step == 1 { 2 + log } else { 2 + 2 * log };
        prop_assert!(spread(&loads) <= bound, "{} of {:?}", spread(&loads), loads);
    }

    #[test]
    fn an_instance_that_comes_or_goes_changes_two_places_at_most(
        client in any::<u32>(),
        count in 2_u32..300,
        size in 1_usize..100,
        gone in any::<prop::sample::Index>(),
        is_numbered in any::<bool>(),
    ) {
        let all = ring(count, is_numbered);
        let mut rest = all.clone();
        rest.remove(gone.index(all.len()));
        let place = Place::numbered(client);

        let (before, after) = (chosen(place, &all, size), chosen(place, &rest, size));

        prop_assert!(after.difference(&before).count() <= 2);
        prop_assert!(before.difference(&after).count() <= 2);
    }

    #[test]
    fn an_instance_that_restarts_into_its_slot_changes_its_own_place_only(
        client in any::<u32>(),
        count in 2_u32..300,
        size in 1_usize..100,
        again in any::<prop::sample::Index>(),
    ) {
        let before = ring(count, true);
        let mut after = before.clone();
        after[again.index(before.len())].1 = u32::MAX;

        let place = Place::numbered(client);
        let (before, after) = (chosen(place, &before, size), chosen(place, &after, size));

        prop_assert!(after.difference(&before).all(|it| *it == u32::MAX));
    }
}

/// A rung of so many instances, in slots of their own.
fn many(count: u32) -> Vec<Arc<Instance>> {
    let slotted = |(slot, it): (u32, Arc<Instance>)| {
        Arc::new(Instance { slot: Some(slot), ..Instance::clone(&it) })
    };
    (0..count).zip(instances(&vec![100; count as usize])).map(slotted).collect()
}

fn view(client: u32) -> View {
    let site = Site::default().at(Place::numbered(client));
    View { site: Arc::new(site), ..View::default() }
}

fn few(size: u16) -> Service {
    Service { subset: Some(size), ..settings(Balance::LeastLoad) }
}

#[test]
fn a_rung_sends_to_its_subset_and_knows_who_is_left() {
    let rung = Endpoints::new(&many(50), &few(20), &view(3));

    let used: BTreeSet<_> = rung.all().iter().map(|it| port(it)).collect();
    let left: BTreeSet<_> = rung.left_out().iter().map(|it| it.address.port()).collect();

    assert_eq!((used.len(), left.len()), (20, 30));
    assert!(used.is_disjoint(&left));
}

#[test]
fn a_rung_no_larger_than_a_subset_is_used_whole() {
    let whole = Endpoints::new(&many(20), &few(20), &view(3));
    let off = Service { subset: None, ..few(1) };
    let unlimited = Endpoints::new(&many(50), &off, &view(3));

    assert_eq!((whole.all().len(), whole.left_out().len()), (20, 0));
    assert_eq!(unlimited.all().len(), 50);
}

#[test]
fn a_world_that_changes_nothing_of_it_keeps_the_subset() {
    let old = Endpoints::new(&many(50), &few(20), &view(3));

    let same = Endpoints::succeed(&old, &many(50), &few(20), &view(3));
    let moved = Endpoints::succeed(&old, &many(50), &few(20), &view(4));
    let larger = Endpoints::succeed(&old, &many(50), &few(21), &view(3));

    assert!(Arc::ptr_eq(&old, &same));
    assert!(!Arc::ptr_eq(&old, &moved));
    assert_eq!(larger.all().len(), 21);
}
