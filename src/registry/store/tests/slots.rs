//! The numbers of the copies of a service.

use fastrand::Rng;

use super::{at, keys, register_all, store, up};
use crate::registry::record::{Key, Record};
use crate::registry::store::Store;

fn slots(store: &Store, keys: &[Key]) -> Vec<u32> {
    keys.iter().map(|it| store.get(it).unwrap().record.live().unwrap().slot).collect()
}

#[test]
fn slots_are_dense_kept_and_used_again_from_the_lowest() {
    let mut store = store(1);
    let all = keys("z1", 6);
    register_all(&mut store, &all[..4], at(0));
    let first = slots(&store, &all[..4]);

    store.register(all[2].clone(), up(), at(1)).unwrap();
    store.cancel(&all[3], at(2)).unwrap();
    store.cancel(&all[1], at(2)).unwrap();
    register_all(&mut store, &all[4..], at(3));

    assert_eq!(first, [0, 1, 2, 3]);
    assert_eq!(slots(&store, &[all[2].clone(), all[4].clone(), all[5].clone()]), [2, 1, 3]);
}

#[test]
fn slots_given_out_twice_are_mended_the_same_everywhere() {
    let mut stores = [store(1), store(2)];
    let (all, mut random) = (keys("z1", 20), Rng::with_seed(1));
    for (number, key) in all.iter().enumerate() {
        stores[number % 2].register(key.clone(), up(), at(number as u64)).unwrap();
    }

    for round in 0..4 {
        let all: Vec<Record> =
            stores.iter().flat_map(Store::records).map(|it| Record::clone(it.1)).collect();
        for store in &mut stores {
            for record in &all {
                store.merge(record.clone(), at(30 + round));
            }
            store.pass(at(30 + round), &mut random);
        }
    }

    let mut given = slots(&stores[0], &all);
    assert_eq!(given, slots(&stores[1], &all));
    given.sort_unstable();
    assert_eq!(given, (0..20).collect::<Vec<_>>());
}
