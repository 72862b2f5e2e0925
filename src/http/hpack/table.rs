//! The dynamic table (RFC 7541 section 2.3.2): the newest fields, up to a size.

use std::collections::VecDeque;

use super::names::Known;

/// What a field counts beside its bytes (RFC 7541 section 4.1).
const OVERHEAD: usize = 32;
/// Bytes of evicted fields that are kept, at least, before the text is moved together.
const SLACK: usize = 1024;

/// The dynamic table.
///
/// The text of all fields lies in one run, the newest last. An evicted field leaves its bytes where
/// they are until they are as many as those in use; then what is in use moves to the front. So a
/// field costs two copies at most, no allocation, and its name and value are each in one piece.
#[derive(Debug)]
pub(super) struct Table {
    text: Vec<u8>,
    /// How many bytes have left the text at its front, modulo 2^32.
    moved: u32,
    /// The newest last.
    entries: VecDeque<Entry>,
    /// How many fields were ever inserted, modulo 2^32.
    inserted: u32,
    size: usize,
    limit: usize,
}

/// A field of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Where the name starts, as if no byte had ever left the text, modulo 2^32.
    start: u32,
    name: u32,
    value: u32,
    pub(super) known: Known,
    pub(super) well_formed: bool,
}

/// Where the name of a new field comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    Text(&'a [u8]),
    /// The field of that age.
    Entry(usize),
}

impl Table {
    /// An empty table of up to `limit` bytes, as section 4.1 counts them. Below 2^28.
    pub(super) fn new(limit: usize) -> Self {
        let (text, entries) = (Vec::new(), VecDeque::new());
        Self { text, moved: 0, entries, inserted: 0, size: 0, limit }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Changes the limit, and evicts what is above it.
    pub(super) fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.evict(limit);
        self.tidy();
    }

    /// Returns the field of that age; the newest is of age 0.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<&Entry> {
        let newest_first = self.entries.len().checked_sub(age)?.checked_sub(1)?;
        self.entries.get(newest_first)
    }

    /// Returns the name and the value of a field.
    #[inline]
    pub(super) fn text(&self, entry: &Entry) -> (&[u8], &[u8]) {
        let start = entry.start.wrapping_sub(self.moved) as usize;
        let (name, value) = (entry.name as usize, entry.value as usize);
        let both = self.text.get(start..start + name + value).unwrap_or_default();
        both.split_at_checked(name).unwrap_or_default()
    }

    /// Returns whether the field of that age is this one.
    #[inline]
    pub(super) fn is_at(&self, age: usize, name: &[u8], value: &[u8]) -> bool {
        let same = |entry: &Entry| {
            let lengths = (entry.name as usize, entry.value as usize);
            lengths == (name.len(), value.len()) && self.text(entry) == (name, value)
        };
        self.get(age).is_some_and(same)
    }

    /// Returns the number of the field inserted last, which [`age`](Self::age) takes.
    pub(super) fn newest(&self) -> u32 {
        self.inserted
    }

    /// Returns the age of the field of that number, if it is in the table still.
    pub(super) fn age(&self, number: u32) -> Option<usize> {
        let age = self.inserted.wrapping_sub(number) as usize;
        (age < self.entries.len()).then_some(age)
    }

    /// Inserts a field, and evicts the oldest ones to make room. One that is larger than the table
    /// empties it (section 4.4). Returns whether the field is in the table.
    pub(super) fn insert(
        &mut self,
        name: Name<'_>,
        value: &[u8],
        known: Known,
        well_formed: bool,
    ) -> bool {
        let named = match name {
            Name::Text(text) => text.len(),
            Name::Entry(age) => self.get(age).map_or(0, |entry| entry.name as usize),
        };
        let size = named + value.len() + OVERHEAD;
        if size > self.limit {
            self.evict(0);
            self.tidy();
            return false;
        }
        let start = self.text.len();
        match name {
            Name::Text(text) => self.text.extend_from_slice(text),
            Name::Entry(age) => {
                let from = self.get(age).map_or(0, |entry| entry.start.wrapping_sub(self.moved));
                let from = (from as usize).min(start);
                self.text.extend_from_within(from..(from + named).min(start));
            }
        }
        self.text.extend_from_slice(value);
        self.evict(self.limit - size);
        // No length is above the limit, which is below 2^28.
        let narrow = |length: usize| u32::try_from(length).unwrap_or_default();
        let start = narrow(start).wrapping_add(self.moved);
        let (name, value) = (narrow(named), narrow(value.len()));
        self.entries.push_back(Entry { start, name, value, known, well_formed });
        self.inserted = self.inserted.wrapping_add(1);
        self.size += size;
        self.tidy();
        true
    }

    /// Evicts the oldest fields until the rest is of at most `size`.
    fn evict(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.size -= oldest.name as usize + oldest.value as usize + OVERHEAD;
        }
    }

    /// Moves the text together if more than half of it is of evicted fields.
    fn tidy(&mut self) {
        let Some(oldest) = self.entries.front() else { return self.text.clear() };
        let evicted = oldest.start.wrapping_sub(self.moved);
        let unused = evicted as usize;
        if unused >= SLACK.max(self.text.len() - unused.min(self.text.len())) {
            self.text.drain(..unused.min(self.text.len()));
            self.moved = self.moved.wrapping_add(evicted);
        }
    }

    /// Returns the size as section 4.1 counts it.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Returns all fields, the newest first.
    #[cfg(test)]
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().rev().map(|entry| self.text(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table, name: &[u8], value: &[u8]) -> bool {
        table.insert(Name::Text(name), value, Known::OTHER, true)
    }

    #[test]
    fn the_oldest_field_goes_when_there_is_no_room() {
        let mut table = Table::new(3 * 34);

        for name in [b"a", b"b", b"c", b"d"] {
            insert(&mut table, name, b"1");
        }

        let names: Vec<_> = table.fields().map(|(name, _)| name).collect();
        assert_eq!(names, [b"d", b"c", b"b"]);
        assert_eq!(table.size(), table.limit());
    }

    #[test]
    fn a_field_larger_than_the_table_empties_it() {
        let mut table = Table::new(64);
        insert(&mut table, b"a", b"1");

        assert!(!insert(&mut table, b"b", &[b'x'; 32]));
        assert_eq!((table.size(), table.fields().count()), (0, 0));
        assert!(insert(&mut table, b"b", &[b'x'; 31]));
        assert_eq!(table.size(), 64);
    }

    #[test]
    fn the_name_of_a_field_may_be_that_of_the_one_it_evicts() {
        // RFC 7541 section 4.4 warns of it.
        let mut table = Table::new(40);
        insert(&mut table, b"name", b"1234");

        assert!(table.insert(Name::Entry(0), b"5678", Known::OTHER, true));
        assert_eq!(table.fields().collect::<Vec<_>>(), [(&b"name"[..], &b"5678"[..])]);
    }

    #[test]
    fn the_text_stays_bounded_and_whole_however_much_is_inserted() {
        let mut table = Table::new(4096);

        for round in 0..50_000_u32 {
            let value = vec![b'v'; round as usize * 7 % 300];
            insert(&mut table, round.to_string().as_bytes(), &value);

            let newest = table.get(0).unwrap();
            assert_eq!(table.text(newest), (round.to_string().as_bytes(), &value[..]));
            assert!(table.size() <= 4096 && table.text.capacity() <= 4 * 4096);
        }
        let oldest: u32 = 50_000 - u32::try_from(table.entries.len()).unwrap();
        let name = table.fields().last().unwrap().0;
        assert_eq!(name, oldest.to_string().as_bytes());
    }

    #[test]
    fn places_survive_the_wrap_of_their_counters() {
        let mut table = Table::new(200);
        table.moved = u32::MAX - 100;
        table.inserted = u32::MAX - 3;

        for round in 0..200_u32 {
            insert(&mut table, b"name", round.to_string().as_bytes());
            let number = table.newest();

            assert_eq!(table.age(number), Some(0));
            let expected = round.to_string();
            assert_eq!(table.text(table.get(0).unwrap()), (&b"name"[..], expected.as_bytes()));
        }
        assert_eq!(table.age(table.newest().wrapping_sub(10)), None);
    }
}
