//! What waits to be said to a peer: bounded, and of each record only the latest.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::registry::peers::protocol::parcel::{MOST_RENEWED, Mark, Parcel, Room};
use crate::registry::record::{Id, Record, Version};

/// Records that wait at most. A peer so far behind catches up by comparing digests.
const MOST_WAITING_RECORDS: usize = 20_000;
/// Renewals that wait at most. Those left out come again with the next of their provider.
const MOST_WAITING_RENEWALS: usize = 200_000;
/// How long a renewal waits for company.
const COMPANY: Duration = Duration::from_millis(500);

/// Records and renewals on their way to a peer, or to a zone.
///
/// Records leave at once. Renewals leave with them, or when there are as many as a parcel holds, or
/// when the first has waited for half a second.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    records: BTreeMap<Id, Arc<Record>>,
    renewals: BTreeMap<Id, Version>,
    /// When the oldest renewal came, by the time since the start.
    first_renewal: Option<Duration>,
    /// The last record sent, after which the next is looked for: under load no id waits for ever.
    cursor: Id,
    /// The last renewal sent, likewise.
    renewed: Id,
}

impl Outbox {
    /// Puts in a record. False: there was no room, all records are dropped, and the peer is to catch
    /// up by digests.
    #[must_use]
    pub(super) fn put(&mut self, id: Id, record: Arc<Record>) -> bool {
        self.renewals.remove(&id);
        if self.records.len() >= MOST_WAITING_RECORDS && !self.records.contains_key(&id) {
            self.records.clear();
            return false;
        }
        match self.records.get_mut(&id) {
            Some(waiting) if waiting.version > record.version => {}
            Some(waiting) => *waiting = record,
            None => drop(self.records.insert(id, record)),
        }
        true
    }

    /// Puts in a renewal. One that finds no room is dropped, and so is one of a record that waits
    /// itself, which says as much.
    pub(super) fn renew(&mut self, renewal: Mark, now: Duration) {
        let Mark { id, version } = renewal;
        let is_full = self.renewals.len() >= MOST_WAITING_RENEWALS;
        if self.records.contains_key(&id) || is_full && !self.renewals.contains_key(&id) {
            return;
        }
        let waiting = self.renewals.entry(id).or_default();
        *waiting = version.max(*waiting);
        self.first_renewal.get_or_insert(now);
    }

    /// Returns when there is something to send; none: there is nothing.
    pub(super) fn due(&self, now: Duration) -> Option<Duration> {
        if !self.records.is_empty() || self.renewals.len() >= MOST_RENEWED {
            return Some(now);
        }
        self.first_renewal.map(|it| it + COMPANY)
    }

    /// Moves into `parcel` what fits.
    pub(super) fn pack(&mut self, parcel: &mut Parcel, room: &mut Room, now: Duration) {
        while let Some((id, record)) = after(&self.records, self.cursor)
            && room.admits(record)
        {
            self.cursor = id;
            parcel.records.extend(self.records.remove(&id));
        }
        while parcel.renewed.len() < MOST_RENEWED
            && let Some((id, version)) = after(&self.renewals, self.renewed)
        {
            parcel.renewed.push(Mark { id, version: *version });
            self.renewed = id;
            self.renewals.remove(&id);
        }
        self.first_renewal = (!self.renewals.is_empty()).then_some(now);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        let Self { cursor, renewed, .. } = *self;
        *self = Self { cursor, renewed, ..Self::default() };
    }

    /// Whether the last renewal put in made a difference to when there is something to send.
    pub(super) fn is_news(&self) -> bool {
        matches!(self.renewals.len(), 1 | MOST_RENEWED)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many records and renewals wait.
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.renewals.len()
    }
}

/// Returns the entry after `cursor`, in a circle.
fn after<V>(map: &BTreeMap<Id, V>, cursor: Id) -> Option<(Id, &V)> {
    let later = map.range((Bound::Excluded(cursor), Bound::Unbounded)).next();
    later.or_else(|| map.first_key_value()).map(|(id, value)| (*id, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::peers::protocol::parcel::Speaker;
    use crate::registry::record::{Key, NodeId, State};

    const NOW: Duration = Duration::from_secs(10);

    fn record(number: usize, at: u64) -> (Id, Arc<Record>) {
        let [env, appid, zone] = ["prod", "a.b.c", "z"].map(Arc::from);
        let key = Key { env, appid, zone, hostname: format!("h{number}").into() };
        let version = Version { at, node: NodeId(1) };
        (key.id(), Arc::new(Record { key, version, state: State::Cancelled }))
    }

    fn pack(outbox: &mut Outbox) -> Parcel {
        let mut parcel = Parcel::new(Speaker::default());
        outbox.pack(&mut parcel, &mut Room::new(), NOW);
        parcel
    }

    #[test]
    fn of_one_record_only_the_latest_writing_waits() {
        let mut outbox = Outbox::default();
        let (id, old) = record(1, 1);
        let (_, new) = record(1, 2);

        outbox.renew(Mark { id, version: old.version }, NOW);
        let has_room = outbox.put(id, new.clone()) && outbox.put(id, old);
        outbox.renew(Mark { id, version: new.version }, NOW);
        let parcel = pack(&mut outbox);

        assert!(has_room);
        assert_eq!((parcel.records, parcel.renewed), (vec![new], vec![]));
    }

    #[test]
    fn renewals_wait_for_company_and_records_do_not() {
        let mut outbox = Outbox::default();
        let (id, record) = record(1, 1);

        let empty = outbox.due(NOW);
        outbox.renew(Mark { id, version: record.version }, NOW);
        let renewed = outbox.due(NOW + COMPANY / 2);
        let has_room = outbox.put(id, record);

        assert!(has_room);
        assert_eq!([empty, renewed, outbox.due(NOW)], [None, Some(NOW + COMPANY), Some(NOW)]);
    }

    #[test]
    fn a_full_outbox_says_so_and_starts_anew() {
        let mut outbox = Outbox::default();

        let first_without_room = (0..=MOST_WAITING_RECORDS)
            .map(|it| record(it, 1))
            .position(|(id, it)| !outbox.put(id, it));

        assert_eq!((first_without_room, outbox.len()), (Some(MOST_WAITING_RECORDS), 0));
    }

    #[test]
    fn everything_that_waits_leaves_in_its_turn() {
        let mut outbox = Outbox::default();
        let put = (0..2500).map(|it| record(it, 1)).all(|(id, it)| outbox.put(id, it));
        for number in 3000..5500 {
            let (id, record) = record(number, 1);
            outbox.renew(Mark { id, version: record.version }, NOW);
        }

        let parcels: Vec<_> = (0..3).map(|_| pack(&mut outbox)).collect();

        assert!(put);
        let lengths: Vec<_> =
            parcels.iter().map(|it| (it.records.len(), it.renewed.len())).collect();
        assert_eq!(lengths, [(1000, 1000), (1000, 1000), (500, 500)]);
        assert_eq!((outbox.len(), outbox.due(NOW)), (0, None));
    }
}
