//! Writes header blocks.

use super::DEFAULT_TABLE_SIZE;
use super::names::{Known, STATIC};
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
        let wanted = allowed.min(DEFAULT_TABLE_SIZE);
        let now = self.table.limit();
        let smallest = self.resize.map_or(now, |(smallest, _)| smallest).min(wanted);
        self.resize = (smallest != wanted || wanted != now).then_some((smallest, wanted));
    }

    /// Begins a block at the end of `out`.
    pub fn block<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Block<'a> {
        if let Some((smallest, wanted)) = self.resize.take() {
            // Section 4.2: a table that was smaller in between has lost what did not fit.
            if smallest < wanted.min(self.table.limit()) {
                integer(out, RESIZE, smallest);
                self.table.resize(smallest);
            }
            integer(out, RESIZE, wanted);
            self.table.resize(wanted);
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
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8], sensitive: bool) {
        let hash = Hash::of(name, value);
        if !sensitive && self.repeated(hash, name, value) {
            return;
        }
        self.unrepeated(hash, name, value, sensitive);
    }

    /// Writes `:method`.
    pub fn method(&mut self, method: &[u8]) {
        match method {
            b"GET" => self.out.push(INDEXED.bits | 2),
            b"POST" => self.out.push(INDEXED.bits | 3),
            _ => self.field(b":method", method, false),
        }
    }

    /// Writes `:scheme`.
    pub fn scheme(&mut self, scheme: &[u8]) {
        match scheme {
            b"http" => self.out.push(INDEXED.bits | 6),
            b"https" => self.out.push(INDEXED.bits | 7),
            _ => self.field(b":scheme", scheme, false),
        }
    }

    /// Writes `:authority`.
    pub fn authority(&mut self, authority: &[u8]) {
        self.field(b":authority", authority, false);
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
                return self.field(b":status", &digits, false);
            }
        };
        self.out.push(INDEXED.bits | index);
    }

    /// Writes a field by its place in the table, if it has one there.
    fn repeated(&mut self, hash: Hash, name: &[u8], value: &[u8]) -> bool {
        let Encoder { table, places, habits, .. } = &mut *self.encoder;
        let Some(age) = places.find(hash, table, name, value) else { return false };
        habits.repeated(hash);
        integer(self.out, INDEXED, STATIC + 1 + age);
        true
    }

    /// Writes a field that has no place in the table.
    fn unrepeated(&mut self, hash: Hash, name: &[u8], value: &[u8], sensitive: bool) {
        let known = Known::of(name);
        if sensitive {
            return self.literal(SENSITIVE, known, name, value);
        }
        if let Some(index) = known.with_value(value) {
            return integer(self.out, INDEXED, index);
        }
        let Encoder { table, places, habits, .. } = &mut *self.encoder;
        // A quarter of the table at most: one long value must not evict all others.
        let fits = value.len() <= table.limit() / 4;
        if !fits || known.is_poor() || !habits.is_new_kept(hash) {
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
    #[inline]
    fn find(&self, hash: Hash, table: &Table, name: &[u8], value: &[u8]) -> Option<usize> {
        let places = self.0.get(hash.bucket())?;
        // Whoever chooses values can choose them to have one hash, so it proves nothing.
        places.iter().filter(|place| place.tag == hash.tag()).find_map(|place| {
            let age = table.age(place.number)?;
            table.is_at(age, name, value).then_some(age)
        })
    }

    /// Notes the newest field of the table.
    fn put(&mut self, hash: Hash, table: &Table) {
        if self.0.is_empty() {
            self.0.resize(BUCKETS, [Place::default(); WAYS]);
        }
        let places = self.0.get_mut(hash.bucket()).map(|places| places.iter_mut());
        let age = |place: &Place| table.newest().wrapping_sub(place.number);
        if let Some(oldest) = places.into_iter().flatten().max_by_key(|place| age(place)) {
            *oldest = Place { tag: hash.tag(), number: table.newest() };
        }
    }
}

/// A hash of the ends of a name and of a field: their first and last eight bytes, and lengths.
///
/// Values that differ in the middle only have one hash. They share a bucket then, no more.
#[derive(Debug, Clone, Copy)]
struct Hash {
    name: u64,
    field: u64,
}

impl Hash {
    #[inline]
    fn of(name: &[u8], value: &[u8]) -> Self {
        let name = mix_ends(0x9e37_79b9_7f4a_7c15, name);
        Self { name, field: mix_ends(name, value) }
    }

    fn bucket(self) -> usize {
        usize::from(self.field.to_le_bytes()[0]) % BUCKETS
    }

    fn tag(self) -> u32 {
        let [.., a, b, c, d] = self.field.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn habit(self) -> usize {
        usize::from(self.name.to_le_bytes()[0]) % HABITS
    }
}

#[inline]
fn mix_ends(seed: u64, bytes: &[u8]) -> u64 {
    let (first, last) = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => {
                (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
            }
            _ => (bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0),
        },
    };
    // Numbers without a pattern, so that short texts do not multiply to 0.
    let length = bytes.len() as u64;
    let left = u128::from(first ^ seed);
    let right = u128::from(last.rotate_left(32) ^ length ^ 0xd6e8_feb8_6659_fd93);
    let [l0, l1, l2, l3, l4, l5, l6, l7, high @ ..] = (left * right).to_le_bytes();
    u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]) ^ u64::from_le_bytes(high)
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
    /// Notes that a value of the name was in the table.
    fn repeated(&mut self, hash: Hash) {
        if let Some(count) = self.0.get_mut(hash.habit()) {
            *count = count.saturating_sub(1);
        }
    }

    /// Notes that a value of the name was not, and returns whether it should be put there.
    fn is_new_kept(&mut self, hash: Hash) -> bool {
        let Some(count) = self.0.get_mut(hash.habit()) else { return false };
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
