//! Where two stores differ, found by digests, and what each lacks of the other.
//!
//! ```text
//! A ─ root ──────────────────────────► B     equal: nothing more is said
//! A ◄──────────── 1,024 bucket digests ─ B
//! A ─ what I have in those that differ ► B
//! A ◄─────── what you lack, what I want ─ B
//! A ─ what you wanted ───────────────► B     and so on until the roots are equal
//! ```

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use crate::registry::peers::protocol::parcel::{
    BUCKETS, Listing, MOST_LISTED, MOST_WANTED, Mark, Parcel, Room, Span,
};
use crate::registry::record::{Id, State};
use crate::registry::store::Store;

/// Returns the digests of our buckets.
pub(super) fn digests(store: &Store) -> Vec<Id> {
    store.buckets().iter().map(|it| Id(*it)).collect()
}

/// Returns the buckets whose digests are other than ours.
pub(super) fn differing(store: &Store, theirs: &[Id]) -> VecDeque<u16> {
    let pairs = store.buckets().iter().zip(theirs);
    (0..BUCKETS)
        .zip(pairs)
        .filter(|(_, (ours, theirs))| **ours != theirs.0)
        .map(|it| it.0)
        .collect()
}

/// Lists what we have in as many of `buckets` as there is room for, the first in any case, and
/// takes those off.
pub(super) fn list(store: &Store, buckets: &mut VecDeque<u16>, parcel: &mut Parcel) {
    let mut count = 0;
    while count < MOST_LISTED
        && let Some(bucket) = buckets.pop_front()
    {
        let entries = entries(store, bucket);
        count += entries.len();
        parcel.listed.push(Listing { bucket, entries });
    }
}

/// Answers a listing: what the other lacks goes into `answer` as far as there is room, what we lack
/// is asked for.
///
/// Listings name the living and the cancelled. What we evicted we do not list, and yet tell a node
/// that lists it alive.
pub(super) fn answer(store: &Store, listing: &Listing, answer: &mut Parcel, room: &mut Room) {
    if room.is_full() {
        answer.again.push(listing.bucket);
        return;
    }
    let mut unlisted: BTreeSet<Id> =
        entries(store, listing.bucket).into_iter().map(|it| it.id).collect();
    let mut is_whole = true;
    let mut lacking = Vec::new();
    for theirs in &listing.entries {
        unlisted.remove(&theirs.id);
        let ours = store.by_id(theirs.id);
        match ours.map(|it| (it.version.cmp(&theirs.version), &it.state)) {
            Some((Ordering::Equal, State::Live(_) | State::Cancelled)) => {}
            Some((Ordering::Greater | Ordering::Equal, _)) => lacking.push(theirs.id),
            _ if answer.wanted.len() < MOST_WANTED => answer.wanted.push(theirs.id),
            _ => is_whole = false,
        }
    }
    for id in lacking.into_iter().chain(unlisted) {
        is_whole &= send(store, id, answer, room);
    }
    if !is_whole {
        answer.again.push(listing.bucket);
    }
}

/// Puts the record `id` into `parcel`. False: there is no room.
pub(super) fn send(store: &Store, id: Id, parcel: &mut Parcel, room: &mut Room) -> bool {
    let Some(record) = store.by_id(id) else { return true };
    let fits = room.admits(record);
    if fits {
        parcel.records.push(record.clone());
    }
    fits
}

/// Answers a request for a part of a copy with a page of records, and what is left of the part.
pub(super) fn page(store: &Store, span: Span, answer: &mut Parcel, room: &mut Room) {
    let mut after = span.after;
    for bucket in span.from..span.to {
        let mut ids: Vec<_> = store.bucket(bucket.into()).into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.retain(|id| after.is_none_or(|after| *id > after));
        for id in ids {
            if !send(store, id, answer, room) {
                answer.rest = Some(Span { from: bucket, after, ..span });
                return;
            }
            after = Some(id);
        }
        after = None;
    }
}

fn entries(store: &Store, bucket: u16) -> Vec<Mark> {
    let entries = store.bucket(bucket.into()).into_iter();
    entries.map(|(id, version)| Mark { id, version }).collect()
}
