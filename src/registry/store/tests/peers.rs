//! Two nodes and what they make of each other's words.

use fastrand::Rng;

use super::{DAWN, at, key, keys, live, register_all, registration, run, store, up, with_state};
use crate::registry::record::{Moment, Record, State, Version};
use crate::registry::store::{Heard, LATEST, Merge, Store};

/// Ten minutes, in nanoseconds.
const SKEW: u64 = 600_000_000_000;

/// Gives each store what the other has, what is answered included, until nothing is new.
fn exchange(one: (&mut Store, Moment), other: (&mut Store, Moment)) {
    let ((one, one_now), (other, other_now)) = (one, other);
    for _ in 0..2 {
        offer(one, other, other_now, one_now);
        offer(other, one, one_now, other_now);
    }
    one.drain();
    other.drain();
}

fn offer(from: &mut Store, to: &mut Store, to_now: Moment, from_now: Moment) {
    let all: Vec<Record> = from.records().map(|(_, it)| Record::clone(it)).collect();
    for record in all {
        if let Merge::Stale(newer) | Merge::Refuted(newer) = to.merge(record, to_now) {
            from.merge(Record::clone(&newer), from_now);
        }
    }
}

fn addr(store: &Store, host: &str) -> String {
    store.get(&key("z1", host)).unwrap().record.live().unwrap().addrs[0].to_string()
}

#[test]
fn an_eviction_of_what_speaks_to_us_is_refuted_and_ends_the_same_everywhere() {
    let (mut near, mut far) = (store(1), store(2));
    let all = keys("z1", 2);
    register_all(&mut near, &all, at(0));
    exchange((&mut near, at(0)), (&mut far, at(0)));
    run(&mut near, &all, 30, 301);
    run(&mut far, &[], 30, 301);

    exchange((&mut near, at(301)), (&mut far, at(301)));

    assert_eq!((near.len(), far.len(), near.root() == far.root()), (2, 2, true));
    assert!(near.renew(&all[0], at(302)).is_some());
}

#[test]
fn an_eviction_of_what_is_silent_here_too_is_taken_and_refuted_by_nobody() {
    let (mut near, mut far) = (store(1), store(2));
    let all = keys("z1", 1);
    register_all(&mut near, &all, at(0));
    exchange((&mut near, at(0)), (&mut far, at(0)));

    far.pass(at(100), &mut Rng::with_seed(1));
    exchange((&mut near, at(100)), (&mut far, at(100)));

    assert_eq!((near.len(), far.len(), near.root() == far.root()), (0, 0, true));
}

#[test]
fn a_node_that_refutes_what_it_does_not_fully_know_asks_to_register_again() {
    let (mut near, mut far) = (store(1), store(2));
    let one = key("z1", "pod");
    near.register(one.clone(), up(), at(0)).unwrap();
    exchange((&mut near, at(0)), (&mut far, at(0)));

    far.alter(&one, at(1), |it| it.version = "2".into()).unwrap();
    far.pass(at(100), &mut Rng::with_seed(1));
    near.renew(&one, at(99)).unwrap();
    exchange((&mut near, at(101)), (&mut far, at(101)));

    assert_eq!((near.len(), far.len()), (1, 1));
    assert_eq!(near.renew(&one, at(102)), None);
    near.register(one.clone(), up(), at(102)).unwrap();
    assert!(near.renew(&one, at(103)).is_some());
}

#[test]
fn a_cancelling_is_not_undone_by_a_node_that_missed_it() {
    let (mut near, mut far) = (store(1), store(2));
    let one = key("z1", "pod");
    near.register(one.clone(), up(), at(0)).unwrap();
    exchange((&mut near, at(0)), (&mut far, at(0)));

    near.cancel(&one, at(10)).unwrap();
    let version = far.renew(&one, at(11)).unwrap().version;
    let heard = near.hear(one.id(), version, at(11));
    exchange((&mut far, at(12)), (&mut near, at(12)));

    assert!(matches!(heard, Heard::Ahead(it) if it.state == State::Cancelled));
    assert_eq!((near.len(), far.len(), near.root() == far.root()), (0, 0, true));
}

#[test]
fn a_cancelling_that_overtakes_its_registration_holds() {
    let (mut near, mut far) = (store(1), store(2));
    let one = key("z1", "pod");
    let registered = near.register(one.clone(), up(), at(0)).unwrap();

    let answer = far.cancel(&one, at(1));
    let merge = far.merge(Record::clone(&registered), at(2));

    assert_eq!(answer, None);
    assert!(matches!(merge, Merge::Stale(_)));
    assert_eq!(far.len(), 0);
}

#[test]
fn an_old_cancelling_is_not_taken_again() {
    let mut store = store(1);
    let gone = with_state(live(&key("z1", "pod"), DAWN, 2), State::Cancelled);

    assert_eq!(store.merge(gone.clone(), at(7201)), Merge::Same);
    assert_eq!(store.merge(gone, at(7199)), Merge::Taken);
}

#[test]
fn a_renewal_told_by_a_peer_says_who_is_behind() {
    let mut store = store(1);
    let one = key("z1", "pod");
    let ours = store.register(one.clone(), up(), at(0)).unwrap().version;
    let newer = Version { at: ours.at + 1, ..ours };
    let older = Version { at: ours.at - 1, ..ours };

    assert_eq!(store.hear(key("z1", "other").id(), ours, at(1)), Heard::Unknown);
    assert_eq!(store.hear(one.id(), ours, at(2)), Heard::Renewed);
    assert_eq!(store.hear(one.id(), newer, at(3)), Heard::Behind);
    assert!(matches!(store.hear(one.id(), older, at(4)), Heard::Ahead(it) if it.version == ours));
    store.pass(at(93), &mut Rng::with_seed(1));
    assert!(store.get(&one).is_some());
    store.pass(at(95), &mut Rng::with_seed(1));
    assert!(
        matches!(store.hear(one.id(), ours, at(96)), Heard::Ahead(it) if it.state == State::Evicted)
    );
}

#[test]
fn a_version_of_no_time_that_will_be_is_refused() {
    let mut store = store(1);

    for (version, expected) in [(u64::MAX, Merge::Refused), (LATEST, Merge::Taken)] {
        assert_eq!(store.merge(live(&key("z1", "pod"), version, 2), at(0)), expected);
    }
    let above = store.register(key("z1", "pod"), up(), at(0)).unwrap().version.at;
    assert!((LATEST + 1..LATEST + 2000).contains(&above));
    assert_eq!(store.register(key("z1", "else"), up(), at(1)).unwrap().version.at, at(1).unix);
}

#[test]
fn what_is_written_here_after_a_merge_wins_whatever_the_clock_of_the_peer() {
    for skew in [0, SKEW] {
        for (is_ahead, first_at) in [(true, DAWN + skew), (false, DAWN - skew)] {
            let (mut skewed, mut right) = (store(9), store(1));
            let now = Moment { unix: first_at, ..at(0) };
            let one = key("z1", "pod");
            skewed.register(one.clone(), registration("", "grpc://first"), now).unwrap();
            exchange((&mut skewed, now), (&mut right, at(0)));

            right.register(one.clone(), registration("", "grpc://second"), at(1)).unwrap();
            exchange((&mut skewed, now), (&mut right, at(1)));
            assert_eq!([addr(&skewed, "pod"), addr(&right, "pod")], ["grpc://second"; 2]);

            skewed.register(one.clone(), registration("", "grpc://third"), now).unwrap();
            exchange((&mut skewed, now), (&mut right, at(2)));
            assert_eq!(
                [addr(&skewed, "pod"), addr(&right, "pod")],
                ["grpc://third"; 2],
                "{is_ahead}"
            );
        }
    }
}

#[test]
fn a_newer_registration_that_lost_to_a_fast_clock_is_asked_for_again() {
    let (mut fast, mut right) = (store(9), store(1));
    let ahead = |second| Moment { unix: at(second).unix + SKEW, ..at(second) };
    let one = key("z1", "pod");
    fast.register(one.clone(), registration("", "grpc://old"), ahead(0)).unwrap();
    right.register(one.clone(), registration("", "grpc://new"), at(20)).unwrap();

    exchange((&mut fast, ahead(40)), (&mut right, at(40)));
    let renewal = right.renew(&one, at(50));
    right.register(one.clone(), registration("", "grpc://new"), at(51)).unwrap();
    exchange((&mut fast, ahead(60)), (&mut right, at(60)));

    assert_eq!(renewal, None);
    assert_eq!([addr(&fast, "pod"), addr(&right, "pod")], ["grpc://new"; 2]);
    assert!(right.renew(&one, at(70)).is_some());
}

#[test]
fn a_clock_that_cannot_be_believed_does_not_move_ours_and_is_counted() {
    let mut store = store(1);

    store.merge(live(&key("z1", "far"), DAWN + SKEW, 2), at(0));
    let own = store.register(key("z1", "own"), up(), at(1)).unwrap();

    assert_eq!(own.version.at, at(1).unix);
    assert_eq!(store.counts().ahead, 1);
}

#[test]
fn what_is_forgotten_by_one_and_remembered_by_another_is_no_difference() {
    let (mut near, mut far) = (store(1), store(2));
    let all = keys("z1", 20);
    register_all(&mut near, &all, at(0));
    exchange((&mut near, at(0)), (&mut far, at(0)));
    near.pass(at(80), &mut Rng::with_seed(1));
    run(&mut near, &all[1..], 90, 211);

    // A third node, which comes later, takes what is in the lists of the first.
    let mut late = store(3);
    for id in (0..near.buckets().len()).flat_map(|it| near.bucket(it)) {
        late.merge(Record::clone(near.by_id(id.0).unwrap()), at(211));
    }

    assert_eq!((near.len(), late.len(), late.counts().gone), (19, 19, 0));
    assert_eq!((near.root(), near.buckets()), (late.root(), late.buckets()));
}
