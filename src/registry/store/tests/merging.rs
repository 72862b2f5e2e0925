//! The order of arrival does not matter: laws of the merge, for whatever records.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{DAWN, at, cases, key, registration, store, with_state};
use crate::registry::record::{NodeId, Record, State, Version};
use crate::registry::store::{Merge, ServiceView, Store};

/// Records of few keys, few versions and few contents: most of them collide.
fn record() -> impl Strategy<Value = Record> {
    let state = prop_oneof![
        3 => (0_u8..3).prop_map(|it| {
            let addr = format!("grpc://10.0.0.{it}:9000");
            State::Live(Arc::new(registration("", &addr)))
        }),
        1 => Just(State::Evicted),
        1 => Just(State::Cancelled),
    ];
    (0_u8..6, 0_u64..5, 1_u64..4, state).prop_map(|(host, at, node, state)| {
        let version = Version { at: DAWN + at, node: NodeId(node) };
        let key = key("z1", &format!("pod-{host}"));
        with_state(Record { key, version, state: State::Evicted }, state)
    })
}

fn merged<'a>(records: impl IntoIterator<Item = &'a Record>) -> Store {
    let mut store = store(1);
    for record in records {
        store.merge(record.clone(), at(1));
    }
    store
}

/// All that peers and callers can see.
fn seen(store: &Store) -> (Vec<Record>, u128, Vec<u128>, Option<u128>, usize) {
    let mut records: Vec<Record> = store.records().map(|it| Record::clone(it.1)).collect();
    records.sort_by(|one, other| one.key.cmp(&other.key));
    let hash = store.service("prod", "shop.cart").map(ServiceView::hash);
    (records, store.root(), store.buckets().to_vec(), hash, store.len())
}

/// Gives `to` what is in the lists of `from`, and `from` what is answered.
fn offer(from: &mut Store, to: &mut Store) {
    let listed: Vec<_> = (0..from.buckets().len()).flat_map(|it| from.bucket(it)).collect();
    for (id, _) in listed {
        let record = Record::clone(from.by_id(id).unwrap());
        if let Merge::Stale(newer) = to.merge(record, at(2)) {
            from.merge(Record::clone(&newer), at(2));
        }
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_merge_is_commutative(records in vec(record(), 0..40), seed in any::<u64>()) {
        let mut shuffled = records.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);

        prop_assert_eq!(seen(&merged(&records)), seen(&merged(&shuffled)));
    }

    #[test]
    fn a_merge_is_associative(
        one in vec(record(), 0..15),
        two in vec(record(), 0..15),
        three in vec(record(), 0..15),
    ) {
        let all = |store: &Store| -> Vec<Record> {
            store.records().map(|it| Record::clone(it.1)).collect()
        };
        let early = all(&merged(one.iter().chain(&two)));
        let late = all(&merged(two.iter().chain(&three)));

        let left = merged(early.iter().chain(&three));
        let right = merged(one.iter().chain(&late));

        prop_assert_eq!(seen(&left), seen(&right));
    }

    #[test]
    fn a_merge_is_idempotent(records in vec(record(), 0..40)) {
        let mut store = merged(&records);
        let before = (seen(&store), store.index());

        for record in &records {
            let merge = store.merge(record.clone(), at(2));
            prop_assert!(matches!(merge, Merge::Same | Merge::Stale(_)));
        }

        prop_assert_eq!((seen(&store), store.index()), before);
    }

    #[test]
    fn those_who_exchanged_everything_are_alike(
        one in vec(record(), 0..30),
        other in vec(record(), 0..30),
    ) {
        let (mut one, mut other) = (merged(&one), merged(&other));

        offer(&mut one, &mut other);
        offer(&mut other, &mut one);

        prop_assert_eq!((one.root(), one.buckets()), (other.root(), other.buckets()));
        prop_assert_eq!(one.len(), other.len());
    }

    #[test]
    fn what_is_written_here_after_any_merge_wins(
        before in vec(record(), 0..40),
        is_cancelled in any::<bool>(),
    ) {
        let mut store = merged(&before);
        let one = key("z1", "pod-0");
        let written = if is_cancelled {
            store.cancel(&one, at(1));
            store.by_id(one.id()).unwrap().clone()
        } else {
            store.register(one.clone(), registration("red", "grpc://10.9.9.9:9000"), at(1)).unwrap()
        };

        for record in &before {
            store.merge(record.clone(), at(2));
        }

        prop_assert_eq!(store.by_id(one.id()).unwrap(), &written);
    }
}
