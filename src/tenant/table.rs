//! A bounded table that forgets: identifiers and the tenant each came in with.
//!
//! The table is split into shards, each with a lock and two generations. What is seen goes to the
//! current one; when that is full, or as old as `max_age`, it becomes the previous one and what was
//! there before is forgotten, all at once. So there is no timer, no order to keep, no search for
//! the oldest, and never more entries than `capacity`.

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
        let age = now.saturating_sub(self.since);
        if age < table.bounds.max_age {
            return;
        }
        self.turn(table, now);
        if age >= table.bounds.max_age.saturating_mul(2) {
            self.previous.clear();
        }
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
