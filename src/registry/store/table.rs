//! The records by id, in the buckets of the digest.
//!
//! A thousand small maps instead of a large one: a bucket is listed without a look at the others,
//! and no growth moves more than a thousandth of the records at once.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::registry::record::{Id, Record};
use crate::registry::store::digest::{BUCKETS, bucket_of};

/// A record, and what this node alone knows of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Arc<Record>,
    /// The hash of its id and version.
    pub(super) content: u128,
    /// When it was last heard of; for what is gone, when that came to be known. By the clock of
    /// [`LeaseTime`](crate::registry::store::lease::LeaseTime).
    pub(super) heard: Duration,
    /// When the instance itself last spoke to this node, since its start.
    pub(super) spoke: Option<Duration>,
    /// [`Registration::said`](crate::registry::record::Registration::said) of what the instance last
    /// registered at this node; none: it has not.
    pub(super) said: Option<NonZeroU64>,
    /// Whether what we have may not be what the instance last registered.
    pub(super) doubted: bool,
    /// When it was last heard of, in unix nanoseconds.
    pub(super) renewed: u64,
    /// The index of its last change.
    pub(super) index: u64,
    /// Its zone and lane, in [`Groups`](crate::registry::store::protect::Groups).
    pub(super) group: usize,
}

impl Entry {
    /// Whether the instance of a live record is to register again at its next renewal: what we have
    /// may not be what it last said.
    pub(super) fn is_in_doubt(&self) -> bool {
        let said = self.record.live().and_then(|it| NonZeroU64::new(it.said));
        self.doubted || self.said.zip(said).is_some_and(|(here, now)| here != now)
    }
}

/// All entries.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Vec<HashMap<Id, Entry>>,
    len: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| HashMap::new()).collect(), len: 0 }
    }

    pub(super) fn get(&self, id: Id) -> Option<&Entry> {
        self.buckets.get(bucket_of(id))?.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Entry> {
        self.buckets.get_mut(bucket_of(id))?.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: Id, entry: Entry) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(id))
            && bucket.insert(id, entry).is_none()
        {
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Entry> {
        let entry = self.buckets.get_mut(bucket_of(id))?.remove(&id)?;
        self.len -= 1;
        Some(entry)
    }

    /// Returns how many there are, gone ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bucket(&self, number: usize) -> impl Iterator<Item = (Id, &Entry)> {
        self.buckets.get(number).into_iter().flatten().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Entry)> {
        self.buckets.iter().flatten().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut Entry)> {
        self.buckets.iter_mut().flatten().map(|(id, entry)| (*id, entry))
    }
}
