//! What a node tells of all it has in few words: hashes that are equal when the contents are.
//!
//! Records fall into 1,024 buckets by the first bits of their id. A bucket's hash is the exclusive
//! or of its records' hashes, so a change costs two operations whatever the size, and the order of
//! changes does not matter. Two nodes compare roots, then buckets, then the lists of those that
//! differ.
//!
//! In it are the living and the cancelled. The evicted are not: whether a node still remembers what
//! it once evicted says nothing of what it serves, every node forgets in its own time, and what one
//! forgot and another remembers would be a difference for ever. A node that still has such a
//! record alive shows it in its list, offers it, and is answered that it is gone.

use sha1::{Digest as _, Sha1};

use crate::registry::record::{Id, Record, State, Version, first_128_bits};

/// How many buckets there are.
pub const BUCKETS: usize = 1024;

/// The hashes of all buckets, and of everything.
#[derive(Debug)]
pub(super) struct Digest {
    root: u128,
    buckets: Vec<u128>,
}

impl Digest {
    pub(super) fn new() -> Self {
        Self { root: 0, buckets: vec![0; BUCKETS] }
    }

    /// Adds a record that was not in it, or takes out one that was.
    pub(super) fn toggle(&mut self, id: Id, record: &Record, content: u128) {
        if !is_told(record) {
            return;
        }
        self.root ^= content;
        if let Some(bucket) = self.buckets.get_mut(bucket_of(id)) {
            *bucket ^= content;
        }
    }

    pub(super) fn root(&self) -> u128 {
        self.root
    }

    pub(super) fn buckets(&self) -> &[u128] {
        &self.buckets
    }
}

/// Whether a record is part of the digest.
pub(super) fn is_told(record: &Record) -> bool {
    !matches!(record.state, State::Evicted)
}

/// Returns the bucket of an id: its first ten bits.
pub fn bucket_of(id: Id) -> usize {
    usize::try_from(id.0 >> 118).unwrap_or_default()
}

/// Returns the hash of an id and a version, which no two contents have in common: what
/// [`SeenInstance::content_hash`](crate::registry::wire::SeenInstance::content_hash) returns.
pub(super) fn content_hash(id: Id, version: Version) -> u128 {
    let mut hash = Sha1::new();
    hash.update(id.0.to_be_bytes());
    hash.update(version.at.to_be_bytes());
    hash.update(version.node.0.to_be_bytes());
    first_128_bits(&hash.finalize())
}
