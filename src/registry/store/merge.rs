//! What peers write: whatever the order in which nodes hear of things, they end alike.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::registry::record::{Id, Moment, Record, State, Version};
use crate::registry::store::clock::LATEST;
use crate::registry::store::lease::{is_old, lease_of};
use crate::registry::store::order::order;
use crate::registry::store::table::Entry;
use crate::registry::store::{Origin, Store};

/// What became of a peer's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// It is ours now.
    Taken,
    /// We had it, or had long forgotten it.
    Same,
    /// Ours is newer, and the peer should have it: this one.
    Stale(Arc<Record>),
    /// The peer evicted what speaks to us. We wrote it anew, and the peer should have it: this one.
    Refuted(Arc<Record>),
    /// There is no room for it, or its version is of no time that will be.
    Refused,
}

/// What became of a renewal that a peer told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The lease is renewed.
    Renewed,
    /// We do not know the record: ask for it.
    Unknown,
    /// Ours is older: ask for it. Its lease, if it is alive, is renewed.
    Behind,
    /// Ours is newer, and the peer should have it: this one. Its lease, if it is alive, is renewed.
    Ahead(Arc<Record>),
}

impl Store {
    /// Merges a peer's record: the later writing wins.
    ///
    /// Commutative, associative and idempotent, but for an eviction of an instance that speaks to
    /// this node: that is refuted by a version of our own, which every node then takes.
    ///
    /// Where what we then have may not be what the instance itself last said, it is asked to
    /// register again at its next renewal: where a peer evicted a later registration than we know,
    /// and where the instance said something else to us than what it now is. So a clock that is
    /// wrong wins until the next heartbeat, and no longer.
    pub fn merge(&mut self, record: Record, now: Moment) -> Merge {
        self.merge_from(Origin::Peer, record, now)
    }

    /// Merges what a registry of another kind passes on, as [`merge`](Self::merge) does: no other
    /// node is told by it, so ours are told by this one.
    pub fn import(&mut self, record: Record, now: Moment) -> Merge {
        self.merge_from(Origin::Here, record, now)
    }

    fn merge_from(&mut self, origin: Origin, record: Record, now: Moment) -> Merge {
        if record.version.at > LATEST {
            return Merge::Refused;
        }
        self.clock.hear(record.version.at, now.unix);
        let id = record.key.id();
        let Some(entry) = self.table.get(id) else {
            return self.merge_unknown(origin, id, record, now);
        };
        match order(&record, &entry.record) {
            Ordering::Equal => Merge::Same,
            Ordering::Less => Merge::Stale(entry.record.clone()),
            Ordering::Greater if record.state == State::Evicted && self.speaks(entry, now) => {
                let is_other = record.version != entry.record.version;
                Merge::Refuted(self.refute(id, record, is_other, now))
            }
            Ordering::Greater => {
                self.put(id, record, origin, now);
                Merge::Taken
            }
        }
    }

    fn merge_unknown(&mut self, origin: Origin, id: Id, record: Record, now: Moment) -> Merge {
        if record.state == State::Cancelled && is_old(record.version.at, now, &self.settings) {
            return Merge::Same;
        }
        if self.make_room().is_err() {
            return Merge::Refused;
        }
        self.put(id, record, origin, now);
        Merge::Taken
    }

    /// Whether the instance of a live record has spoken to this node within its lease: by the clock
    /// on the wall, for after a standstill of ours it is the peers who know.
    fn speaks(&self, entry: &Entry, now: Moment) -> bool {
        let Some(live) = entry.record.live() else { return false };
        let lease = lease_of(live.lease, &self.settings);
        entry.spoke.is_some_and(|it| now.since_start.saturating_sub(it) < lease)
    }

    /// Writes what we have above a peer's eviction. Its lease goes on as it was.
    fn refute(&mut self, id: Id, eviction: Record, is_doubted: bool, now: Moment) -> Arc<Record> {
        let ours = self.table.get(id).map(|it| (it.record.state.clone(), it.heard, it.renewed));
        let Some((state, heard, renewed)) = ours else {
            return self.put(id, eviction, Origin::Peer, now);
        };
        let version = self.clock.over(eviction.version);
        let record = Record { key: eviction.key, version, state };
        let record = self.put(id, record, Origin::Here, now);
        if let Some(entry) = self.table.get_mut(id) {
            (entry.heard, entry.renewed, entry.doubted) = (heard, renewed, is_doubted);
        }
        record
    }

    /// Hears of a renewal from a peer: of which record, and which version of it the peer has.
    pub fn hear(&mut self, id: Id, version: Version, now: Moment) -> Heard {
        let heard = self.time.at(now);
        let Some(entry) = self.table.get_mut(id) else { return Heard::Unknown };
        let is_live = entry.record.live().is_some();
        if is_live {
            entry.heard = heard;
            entry.renewed = now.unix;
        }
        match entry.record.version.cmp(&version) {
            Ordering::Less => Heard::Behind,
            Ordering::Equal if is_live => Heard::Renewed,
            Ordering::Equal | Ordering::Greater => Heard::Ahead(entry.record.clone()),
        }
    }
}
