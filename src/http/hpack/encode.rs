//! Writes header blocks.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use super::DEFAULT_TABLE_SIZE;
use super::names::{self, Known, STATIC};
use super::table::{Name, Table};

/// Of the patterns of section 6, the one of an indexed field, and the bits of its integer.
const INDEXED: Pattern = Pattern { bits: 0x80, mask: 0x7f };
/// A literal field that goes into the table.
const KEPT: Pattern = Pattern { bits: 0x40, mask: 0x3f };
/// A change of the table size.
const RESIZE: Pattern = Pattern { bits: 0x20, mask: 0x1f };
/// A literal field that goes into no table ever.
const SENSITIVE: Pattern = Pattern { bits: 0x10, mask: 0x0f };
/// A literal field that does not go into the table.
const PASSED: Pattern = Pattern { bits: 0x00, mask: 0x0f };
/// A string as it is.
const PLAIN: Pattern = Pattern { bits: 0x00, mask: 0x7f };

/// The first bits of a byte, and which of the others are for an integer.
#[derive(Clone, Copy)]
struct Pattern {
    bits: u8,
    mask: u8,
}

/// Writes the header blocks of one connection, in their order.
///
/// Strings are written as they are: between two processes of a cluster the Huffman code costs more
/// than the bytes it saves, and what repeats is in the table anyway.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    places: Places,
    habits: Habits,
    /// The smallest and the last size that the peer asked for since the last block.
    resize: Option<(usize, usize)>,
}

/// One header block while it is written.
#[derive(Debug)]
pub struct Block<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder for a peer of which we have seen no SETTINGS yet.
    pub fn new() -> Self {
        let table = Table::new(DEFAULT_TABLE_SIZE);
        Self { table, places: Places::default(), habits: Habits::default(), resize: None }
    }

    /// Keeps to the table size that the peer's SETTINGS allow, in bytes, from the next block on. We
    /// use [`DEFAULT_TABLE_SIZE`] at most.
    pub fn set_max_table_size(&mut self, allowed: u32) {
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        let last = allowed.min(DEFAULT_TABLE_SIZE);
        let least = self.resize.map_or(self.table.limit(), |(least, _)| least).min(last);
        let same = least == last && last == self.table.limit();
        self.resize = (!same).then_some((least, last));
    }

    /// Begins a block at the end of `out`.
    pub fn block<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Block<'a> {
        if let Some((least, last)) = self.resize.take() {
            // Section 4.2: a table that was smaller in between has lost what did not fit.
            if least < last {
                integer(out, RESIZE, least);
                self.table.resize(least);
            }
            integer(out, RESIZE, last);
            self.table.resize(last);
        }
        Block { encoder: self, out }
    }

    /// Returns the fields of the dynamic table, the newest first.
    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }
}

impl Block<'_> {
    /// Writes a field. A sensitive one goes into no table, here or further on.
    pub fn field(&mut self, name: &[u8], value: &[u8], sensitive: bool) {
        let known = Known::of(name);
        if sensitive {
            return self.literal(SENSITIVE, known, name, value);
        }
        if let Some(index) = known.with_value(value) {
            return integer(self.out, INDEXED, index);
        }
        if known.is_poor() {
            return self.literal(PASSED, known, name, value);
        }
        self.repeating(known, name, value);
    }

    /// Writes `:method`.
    pub fn method(&mut self, method: &[u8]) {
        match method {
            b"GET" => self.out.push(INDEXED.bits | 2),
            b"POST" => self.out.push(INDEXED.bits | 3),
            _ => self.repeating(Known::METHOD, b":method", method),
        }
    }

    /// Writes `:scheme`.
    pub fn scheme(&mut self, scheme: &[u8]) {
        match scheme {
            b"http" => self.out.push(INDEXED.bits | 6),
            b"https" => self.out.push(INDEXED.bits | 7),
            _ => self.repeating(Known::SCHEME, b":scheme", scheme),
        }
    }

    /// Writes `:authority`.
    pub fn authority(&mut self, authority: &[u8]) {
        self.repeating(Known::AUTHORITY, b":authority", authority);
    }

    /// Writes `:path`.
    pub fn path(&mut self, path: &[u8]) {
        if path == b"/" {
            return self.out.push(INDEXED.bits | 4);
        }
        self.literal(PASSED, Known::PATH, b":path", path);
    }

    /// Writes `:status`, of three digits.
    pub fn status(&mut self, status: u16) {
        let index = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                let digit = |unit: u16| b'0' + (status / unit % 10).to_le_bytes()[0];
                let digits = [digit(100), digit(10), digit(1)];
                return self.repeating(Known::STATUS, b":status", &digits);
            }
        };
        self.out.push(INDEXED.bits | index);
    }

    /// Writes a field by its place in the table, or puts it there if it is likely to come again.
    fn repeating(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let Encoder { table, places, habits, .. } = &mut *self.encoder;
        let hash = hash(name, value);
        if let Some(age) = places.find(hash, table, name, value) {
            habits.repeated(name);
            return integer(self.out, INDEXED, STATIC + 1 + age);
        }
        // A quarter of the table at most: one long value must not evict all others.
        let fits = value.len() <= table.limit() / 4;
        if !fits || !habits.is_new_kept(name) {
            return self.literal(PASSED, known, name, value);
        }
        // That a field is well-formed is of interest to readers only.
        if table.insert(Name::Text(name), value, known, true) {
            places.put(hash, table);
        }
        self.literal(KEPT, known, name, value);
    }

    /// Writes a field out, its name by its place in the static table if it has one.
    fn literal(&mut self, pattern: Pattern, known: Known, name: &[u8], value: &[u8]) {
        if let Some(index) = known.in_static_table() {
            integer(self.out, pattern, index);
        } else {
            self.out.push(pattern.bits);
            string(self.out, name);
        }
        string(self.out, value);
    }
}

/// How many fields with one remainder of their hash are found.
const WAYS: usize = 4;
/// How many remainders there are; with [`WAYS`], twice what a table of 4096 bytes holds.
const BUCKETS: usize = 64;

/// Finds a field of the table by its hash.
///
/// A place whose field has been evicted is not emptied: its number is no longer in the table. A
/// bucket that is full forgets its oldest field, which is then inserted once more if it comes again.
#[derive(Debug, Default)]
struct Places(Vec<[Place; WAYS]>);

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    tag: u32,
    number: u32,
}

impl Places {
    /// Returns the age of the field in the table.
    fn find(&self, hash: u64, table: &Table, name: &[u8], value: &[u8]) -> Option<usize> {
        let (bucket, tag) = bucket_and_tag(hash);
        let same = self.0.get(bucket)?.iter().filter(|place| place.tag == tag);
        // Whoever chooses values can choose them to have one hash, so it proves nothing.
        same.filter_map(|place| table.age(place.number))
            .find(|age| table.get(*age).is_some_and(|entry| table.text(entry) == (name, value)))
    }

    /// Notes the newest field of the table.
    fn put(&mut self, hash: u64, table: &Table) {
        if self.0.is_empty() {
            self.0.resize(BUCKETS, [Place::default(); WAYS]);
        }
        let (bucket, tag) = bucket_and_tag(hash);
        let places = self.0.get_mut(bucket).map(|places| places.iter_mut());
        let age = |place: &Place| table.newest().wrapping_sub(place.number);
        if let Some(oldest) = places.into_iter().flatten().max_by_key(|place| age(place)) {
            *oldest = Place { tag, number: table.newest() };
        }
    }
}

fn bucket_and_tag(hash: u64) -> (usize, u32) {
    let [low, .., a, b, c, d] = hash.to_le_bytes();
    (usize::from(low) % BUCKETS, u32::from_le_bytes([a, b, c, d]))
}

fn hash(name: &[u8], value: &[u8]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(name);
    hasher.write(value);
    hasher.finish()
}

/// Names whose values keep changing, which are then no longer put into the table.
///
/// A new value makes its name worse and a repeated one better. Names that share a slot share its
/// count; that costs bytes, never more.
#[derive(Debug)]
struct Habits([u8; HABITS]);

const HABITS: usize = 64;
/// New values in excess of repeated ones from which on the next is not kept.
const FICKLE: u8 = 8;
/// New values after which one is kept again, to see if it repeats.
const SECOND_CHANCE: u8 = 64;

impl Default for Habits {
    fn default() -> Self {
        Self([0; HABITS])
    }
}

impl Habits {
    fn slot(&mut self, name: &[u8]) -> Option<&mut u8> {
        self.0.get_mut(usize::from(names::hash(name)) % HABITS)
    }

    /// Notes that a value of the name was in the table.
    fn repeated(&mut self, name: &[u8]) {
        if let Some(count) = self.slot(name) {
            *count = count.saturating_sub(1);
        }
    }

    /// Notes that a value of the name was not, and returns whether it should be put there.
    fn is_new_kept(&mut self, name: &[u8]) -> bool {
        let Some(count) = self.slot(name) else { return false };
        *count += 1;
        if *count >= SECOND_CHANCE {
            *count = FICKLE;
            return true;
        }
        *count <= FICKLE
    }
}

/// Writes a string as it is (section 5.2).
#[inline]
fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, PLAIN, text.len());
    out.extend_from_slice(text);
}

/// Writes an integer into the free bits of a pattern, and what does not fit behind it (section 5.1).
#[inline]
fn integer(out: &mut Vec<u8>, pattern: Pattern, value: usize) {
    match u8::try_from(value) {
        Ok(small) if small < pattern.mask => out.push(pattern.bits | small),
        _ => long_integer(out, pattern, value),
    }
}

fn long_integer(out: &mut Vec<u8>, pattern: Pattern, value: usize) {
    out.push(pattern.bits | pattern.mask);
    let mut rest = value.saturating_sub(pattern.mask.into());
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}
