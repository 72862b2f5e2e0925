//! A bounded table that forgets: identifiers and the tenant each came in with.
//!
//! The table is split into shards, each with a lock and two generations. What is seen goes to the
//! current one; when that is full, or as old as `max_age`, it becomes the previous one and what was
//! there before is forgotten, all at once. So there is no timer, no order to keep, no search for
//! the oldest, and never more entries than `capacity`. A table that is too small forgets too early
//! that an identifier had a tenant, or several: it says how often, so that this can be seen.

use std::hash::BuildHasher;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::model::TenantId;

/// Shards of a table that is large enough to be split.
const SHARDS: usize = 16;
/// Fewest entries a shard is worth having for.
const SHARD_CAPACITY: usize = 64;

/// An identifier: two of different kinds are never the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) kind: u8,
    pub(super) number: u128,
}

/// What seeing an identifier did to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seen {
    /// Whether it was known with another tenant, and with one only until now.
    pub(super) poisoned: bool,
    /// How many entries were forgotten before their age, for want of room.
    pub(super) forgotten: usize,
}

/// With whom an identifier came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    One(TenantId),
    Several,
}

/// Which tenant each identifier came in with.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    bounds: Bounds,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Entries of the current generation of a shard, at most.
    current: usize,
    /// Entries of the previous one, at most.
    previous: usize,
    /// How long an entry counts after its identifier was last seen.
    max_age: Duration,
}

#[derive(Debug, Default)]
struct Shard {
    current: HashTable<Entry>,
    previous: HashTable<Entry>,
    /// When the current generation began.
    since: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    id: Id,
    owner: Owner,
    /// When it last came in.
    seen: Duration,
}

impl Table {
    /// An empty table of at most `capacity` entries; at least of one.
    pub(super) fn new(capacity: usize, max_age: Duration) -> Self {
        let shards = if capacity < SHARDS * SHARD_CAPACITY { 1 } else { SHARDS };
        let each = (capacity / shards).max(1);
        let current = (each / 2).max(1);
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            bounds: Bounds { current, previous: each - current, max_age },
            hasher: RandomState::default(),
        }
    }

    /// Notes that an identifier came in with a tenant.
    pub(super) fn see(&self, id: Id, tenant: TenantId, now: Duration) -> Seen {
        let hash = self.hash(id);
        self.shard(hash).map(|mut it| it.see(self, hash, id, tenant, now)).unwrap_or_default()
    }

    /// Returns with whom an identifier came in, if it is known.
    pub(super) fn get(&self, id: Id, now: Duration) -> Option<Owner> {
        let hash = self.hash(id);
        let shard = self.shard(hash)?;
        let entry = shard.current.find(hash, |it| it.id == id);
        let entry = entry.or_else(|| shard.previous.find(hash, |it| it.id == id))?;
        entry.counts(self.bounds.max_age, now).then_some(entry.owner)
    }

    /// Returns how many entries there are, the outdated included.
    pub(super) fn len(&self) -> usize {
        let lengths = self.shards.iter().map(|it| {
            let shard = lock(it);
            shard.current.len() + shard.previous.len()
        });
        lengths.sum()
    }

    fn hash(&self, id: Id) -> u64 {
        self.hasher.hash_one(id)
    }

    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        // A table takes the place from the lowest bits and its tag from the highest.
        let index = usize::try_from(hash >> 32).unwrap_or_default() % self.shards.len().max(1);
        self.shards.get(index).map(lock)
    }
}

/// Takes a lock. A thread that panicked under it left a table that is whole: at worst an entry is
/// missing.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn see(&mut self, table: &Table, hash: u64, id: Id, tenant: TenantId, now: Duration) -> Seen {
        self.age(table, now);
        let max_age = table.bounds.max_age;
        if let Some(known) = self.current.find_mut(hash, |it| it.id == id) {
            return Seen { poisoned: known.see(tenant, now, max_age), forgotten: 0 };
        }
        let mut entry = Entry { id, owner: Owner::One(tenant), seen: now };
        let mut poisoned = false;
        if let Ok(known) = self.previous.find_entry(hash, |it| it.id == id) {
            (entry, _) = known.remove();
            poisoned = entry.see(tenant, now, max_age);
        }
        let full = self.current.len() >= table.bounds.current;
        let forgotten = if full { self.turn(table, now) } else { 0 };
        self.current.insert_unique(hash, entry, |it| table.hash(it.id));
        Seen { poisoned, forgotten }
    }

    /// Begins a new generation if it is time.
    ///
    /// An entry is seen before its generation is `max_age` old, and forgotten when the next one is
    /// at least that old too: it is there for as long as it counts.
    fn age(&mut self, table: &Table, now: Duration) {
        if now.saturating_sub(self.since) < table.bounds.max_age {
            return;
        }
        self.turn(table, now);
        // What a busy hour took is given back as soon as a generation did without it.
        self.current.shrink_to(self.previous.len(), |it| table.hash(it.id));
    }

    /// Begins a new generation; returns how many entries are forgotten that would still count.
    fn turn(&mut self, table: &Table, now: Duration) -> usize {
        let counts = |entry: &&Entry| entry.counts(table.bounds.max_age, now);
        mem::swap(&mut self.current, &mut self.previous);
        let mut forgotten = self.current.iter().filter(counts).count();
        self.current.clear();
        if self.previous.len() > table.bounds.previous {
            forgotten += self.previous.iter().filter(counts).count();
            self.previous.clear();
        }
        self.since = now;
        forgotten
    }
}

impl Entry {
    /// Notes that it came in again; returns whether that made it ambiguous.
    fn see(&mut self, tenant: TenantId, now: Duration, max_age: Duration) -> bool {
        let before = if self.counts(max_age, now) { self.owner } else { Owner::One(tenant) };
        self.owner = if before == Owner::One(tenant) { before } else { Owner::Several };
        self.seen = now.max(self.seen);
        before != self.owner
    }

    fn counts(&self, max_age: Duration, now: Duration) -> bool {
        now.saturating_sub(self.seen) < max_age
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn id(number: u128) -> Id {
        Id { kind: 0, number }
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn one(name: &str) -> Owner {
        Owner::One(tenant(name))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_entry_counts_for_its_age_and_no_longer() {
        let table = Table::new(100, MINUTE);
        table.see(id(1), tenant("alice"), at(1000));

        let (in_time, late) = (table.get(id(1), at(1059)), table.get(id(1), at(1060)));

        assert_eq!((in_time, late), (Some(one("alice")), None));
    }

    #[test]
    fn an_entry_counts_for_its_age_whatever_the_generation_it_fell_into() {
        for offset in 0..120 {
            let table = Table::new(100, MINUTE);
            for second in 0..offset {
                table.see(id(2), tenant("bob"), at(second));
            }
            table.see(id(1), tenant("alice"), at(offset));
            for second in offset..offset + 60 {
                table.see(id(2), tenant("bob"), at(second));
                assert_eq!(table.get(id(1), at(second)), Some(one("alice")), "{offset} {second}");
            }
            assert_eq!(table.get(id(1), at(offset + 60)), None, "{offset}");
        }
    }

    #[test]
    fn being_seen_again_keeps_an_entry() {
        let table = Table::new(100, MINUTE);

        for second in (0..600).step_by(50) {
            table.see(id(1), tenant("alice"), at(second));
        }

        assert_eq!(table.get(id(1), at(600)), Some(one("alice")));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn being_looked_up_does_not_keep_an_entry() {
        let table = Table::new(100, MINUTE);
        table.see(id(1), tenant("alice"), at(0));

        let looked_up = table.get(id(1), at(59));

        assert_eq!((looked_up, table.get(id(1), at(60))), (Some(one("alice")), None));
    }

    #[test]
    fn two_tenants_poison_an_entry_until_it_is_outdated() {
        let table = Table::new(100, MINUTE);

        let poisoned: Vec<_> = [("alice", 0), ("bob", 10), ("alice", 20), ("bob", 30)]
            .map(|(name, second)| table.see(id(1), tenant(name), at(second)).poisoned)
            .into();

        assert_eq!(poisoned, [false, true, false, false]);
        assert_eq!(table.get(id(1), at(89)), Some(Owner::Several));
        assert!(!table.see(id(1), tenant("carol"), at(90)).poisoned);
        assert_eq!(table.get(id(1), at(90)), Some(one("carol")));
    }

    #[test]
    fn an_entry_of_the_previous_generation_is_poisoned_too() {
        let table = Table::new(4, MINUTE);
        for number in 1..=3 {
            table.see(id(number), tenant("alice"), at(0));
        }

        let seen = table.see(id(1), tenant("bob"), at(1));

        assert!(seen.poisoned);
        assert_eq!(table.get(id(1), at(1)), Some(Owner::Several));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_generation_and_says_so() {
        let table = Table::new(4, MINUTE);

        let forgotten: Vec<_> =
            (1..=5).map(|it| table.see(id(it), tenant("alice"), at(0)).forgotten).collect();

        assert_eq!(forgotten, [0, 0, 0, 0, 2]);
        let known: Vec<_> = (1..=5).map(|it| table.get(id(it), at(0)).is_some()).collect();
        assert_eq!(known, [false, false, true, true, true]);
    }

    #[test]
    fn what_is_outdated_is_not_counted_as_forgotten() {
        let table = Table::new(4, MINUTE);
        for number in 1..=4 {
            table.see(id(number), tenant("alice"), at(0));
        }

        let seen = table.see(id(5), tenant("alice"), at(60));

        assert_eq!(seen.forgotten, 0);
    }

    #[test]
    fn a_quiet_generation_gives_back_what_a_busy_one_took() {
        let table = Table::new(1000, MINUTE);
        for number in 0..500 {
            table.see(id(number), tenant("alice"), at(0));
        }

        for second in [60, 120, 180] {
            table.see(id(0), tenant("alice"), at(second));
        }

        let shard = lock(&table.shards[0]);
        assert!(shard.current.capacity() + shard.previous.capacity() < 20);
    }

    #[test]
    fn a_clock_read_a_little_earlier_by_another_thread_does_no_harm() {
        let table = Table::new(100, MINUTE);
        table.see(id(1), tenant("alice"), at(100));

        table.see(id(1), tenant("alice"), at(99));

        assert_eq!(table.get(id(1), at(159)), Some(one("alice")));
        assert_eq!(table.get(id(1), at(98)), Some(one("alice")));
    }

    #[test]
    fn workers_share_one_table() {
        let table = Table::new(100_000, MINUTE);

        std::thread::scope(|scope| {
            for worker in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for number in (0..1000).map(|it| it * 4 + worker) {
                        table.see(id(number), tenant("alice"), at(1));
                    }
                });
            }
        });

        assert_eq!(table.len(), 4000);
        assert!((0..4000).all(|it| table.get(id(it), at(1)) == Some(one("alice"))));
    }

    proptest! {
        #[test]
        fn the_table_is_never_larger_than_its_bound(
            capacity in 1_usize..1500, ids in vec(0_u128..3000, 0..3000), step in 0_u64..200,
        ) {
            let table = Table::new(capacity, MINUTE);

            for (moment, number) in (0..).zip(ids) {
                table.see(id(number), tenant("alice"), Duration::from_millis(moment * step));
                if moment % 64 == 0 {
                    prop_assert!(table.len() <= capacity);
                }
            }

            prop_assert!(table.len() <= capacity);
        }

        #[test]
        fn only_what_was_seen_is_told(
            capacity in 1_usize..100,
            events in vec((0_u128..20, 0_usize..3, 0_u64..40), 1..200),
        ) {
            let table = Table::new(capacity, MINUTE);
            let small = capacity < 40;
            let names = ["alice", "bob", "carol"];
            let mut seen: Vec<(u128, &str, Duration)> = Vec::new();
            let mut now = Duration::ZERO;

            for (number, name, pause) in events {
                now += at(pause);
                let known = table.get(id(number), now);
                let recent = seen.iter().filter(|it| it.0 == number && now < it.2 + MINUTE);
                let recent: Vec<_> = recent.map(|it| it.1).collect();
                match known {
                    Some(Owner::One(owner)) => {
                        let last = recent.last().map(|it| tenant(it));
                        prop_assert_eq!(Some(owner), last);
                        prop_assert!(recent.iter().all(|it| owner == tenant(it)) || small);
                    }
                    Some(Owner::Several) => prop_assert!(!recent.is_empty()),
                    None => prop_assert!(recent.is_empty() || small),
                }
                table.see(id(number), tenant(names[name]), now);
                seen.push((number, names[name], now));
            }
        }
    }
}
