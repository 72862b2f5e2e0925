//! Reads header blocks.

use std::ops::{ControlFlow, Range};

use super::huffman;
use super::names::{self, Known, STATIC};
use super::table::{Name, Table};
use crate::http::field;

/// No integer may be this large or larger: no table and no string is.
const INTEGER_LIMIT: usize = 1 << 28;
/// Room that is kept for strings between blocks, in bytes.
const SCRATCH_KEPT: usize = 4096;

/// A field of a message, as its header block tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, in any bytes the peer sent.
    pub name: &'a [u8],
    /// The value, in any bytes the peer sent.
    pub value: &'a [u8],
    /// Which name it is, however the peer wrote it.
    pub known: Known,
    /// Whether the bytes are those of a field: [`field::is_name`] and [`field::is_value`].
    pub well_formed: bool,
    /// Whether no table may ever hold the field, here or further on (RFC 7541 section 7.1.3).
    pub sensitive: bool,
}

/// Why a header block cannot be read. The connection is of no use after any of these: a
/// `COMPRESSION_ERROR` (RFC 9113 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The block ends inside a field.
    #[error("the header block ends in the middle of a field")]
    Truncated,
    /// An integer of 2^28 or more, or written in more bytes than that takes.
    #[error("an integer in the header block is too large")]
    Integer,
    /// A reference to a field that is in neither table.
    #[error("the header block refers to field {0}, which is not in the table")]
    Index(usize),
    /// A string that is not of the Huffman code.
    #[error("a string in the header block is not Huffman-coded as it says")]
    Huffman,
    /// A change of the table size after the first field.
    #[error("the table size changes after the start of the header block")]
    LateResize,
    /// A table size above what we allow, in bytes.
    #[error("the peer wants a table of {0} bytes, more than we allow")]
    Oversize(usize),
}

/// Reads the header blocks of one connection, in their order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The largest table the peer may want.
    allowed: usize,
    /// The Huffman-coded strings of the field at hand, decoded.
    scratch: Vec<u8>,
}

/// A string of a block: as it is there, or decoded in the scratch.
enum Text<'b> {
    Plain(&'b [u8]),
    Decoded(Range<usize>),
}

impl<'b> Text<'b> {
    fn bytes<'s>(&self, scratch: &'s [u8]) -> &'s [u8]
    where
        'b: 's,
    {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Decoded(range) => scratch.get(range.clone()).unwrap_or_default(),
        }
    }
}

impl Decoder {
    /// A decoder for a peer that is told `max_table_size` in our SETTINGS, in bytes.
    ///
    /// A peer may use [`DEFAULT_TABLE_SIZE`](super::DEFAULT_TABLE_SIZE) until it has seen them, so
    /// that much is allowed always.
    pub fn new(max_table_size: usize) -> Self {
        let start = super::DEFAULT_TABLE_SIZE;
        let allowed = max_table_size.clamp(start, INTEGER_LIMIT - 1);
        Self { table: Table::new(start), allowed, scratch: Vec::new() }
    }

    /// Reads a whole block and gives its fields to `sink`, in order.
    ///
    /// A sink that has enough breaks: it is called no more, but the block is read to its end, since
    /// later blocks build on it. The time taken is in proportion to the block, and to what the
    /// fields it refers to have in bytes for a sink that looks at them.
    pub fn decode(
        &mut self,
        block: &[u8],
        mut sink: impl FnMut(Field<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        let mut rest = self.resizes(block)?;
        let mut more = ControlFlow::Continue(());
        while let Some((&first, after)) = rest.split_first() {
            // Section 6: the upper bits say of what kind the field is.
            if first & 0x80 != 0 {
                let (index, after) = integer(first, 0x7f, after)?;
                let field = self.indexed(index)?;
                rest = after;
                if more.is_continue() {
                    more = sink(field);
                }
                continue;
            }
            let (mask, keep, sensitive) = match first >> 4 {
                0b0100..=0b0111 => (0x3f, true, false),
                0b0010 | 0b0011 => return Err(DecodeError::LateResize),
                0b0001 => (0x0f, false, true),
                _ => (0x0f, false, false),
            };
            rest = self.literal(first, mask, keep, after, |mut field| {
                field.sensitive = sensitive;
                if more.is_continue() {
                    more = sink(field);
                }
            })?;
        }
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch.clear();
            self.scratch.shrink_to(SCRATCH_KEPT);
        }
        Ok(())
    }

    /// Applies the changes of the table size at the start of a block (section 6.3).
    fn resizes<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], DecodeError> {
        let mut rest = block;
        while let Some((&first, after)) = rest.split_first()
            && first >> 5 == 0b001
        {
            let (size, after) = integer(first, 0x1f, after)?;
            if size > self.allowed {
                return Err(DecodeError::Oversize(size));
            }
            self.table.resize(size);
            rest = after;
        }
        Ok(rest)
    }

    /// Returns the field of that index (section 2.3.3).
    #[inline]
    fn indexed(&self, index: usize) -> Result<Field<'_>, DecodeError> {
        if let Some(age) = index.checked_sub(STATIC + 1) {
            let entry = self.table.get(age).ok_or(DecodeError::Index(index))?;
            let (name, value) = self.table.text(entry);
            let (known, well_formed) = (entry.known, entry.well_formed);
            return Ok(Field { name, value, known, well_formed, sensitive: false });
        }
        let (name, value) = names::field(index).ok_or(DecodeError::Index(index))?;
        Ok(Field { name, value, known: Known::at(index), well_formed: true, sensitive: false })
    }

    /// Reads a field that is written out, at least its value (section 6.2), and inserts it into the
    /// table if it is to be kept.
    fn literal<'b>(
        &mut self,
        first: u8,
        mask: u8,
        keep: bool,
        rest: &'b [u8],
        mut sink: impl FnMut(Field<'_>),
    ) -> Result<&'b [u8], DecodeError> {
        self.scratch.clear();
        let (index, rest) = integer(first, mask, rest)?;
        if index == 0 {
            let (name, rest) = self.string(rest)?;
            let (value, rest) = self.string(rest)?;
            let (name, value) = (name.bytes(&self.scratch), value.bytes(&self.scratch));
            let known = Known::of(name);
            let good_name = known != Known::OTHER || field::is_name(name);
            let well_formed = good_name && field::is_value(value);
            sink(Field { name, value, known, well_formed, sensitive: false });
            if keep {
                self.table.insert(Name::Text(name), value, known, well_formed);
            }
            return Ok(rest);
        }
        let (value, rest) = self.string(rest)?;
        let value = value.bytes(&self.scratch);
        let named = self.indexed(index)?;
        let Field { name, known, .. } = named;
        let age = index.checked_sub(STATIC + 1);
        // A field of the table may have been refused for its value only.
        let good_name = named.well_formed || field::is_name(name);
        let well_formed = good_name && field::is_value(value);
        sink(Field { name, value, known, well_formed, sensitive: false });
        if keep {
            let name = match (age, names::field(index)) {
                (Some(age), _) => Name::Entry(age),
                (None, Some((name, _))) => Name::Text(name),
                (None, None) => return Err(DecodeError::Index(index)),
            };
            self.table.insert(name, value, known, well_formed);
        }
        Ok(rest)
    }

    /// Reads a string (section 5.2).
    fn string<'b>(&mut self, rest: &'b [u8]) -> Result<(Text<'b>, &'b [u8]), DecodeError> {
        let (&first, rest) = rest.split_first().ok_or(DecodeError::Truncated)?;
        let (length, rest) = integer(first, 0x7f, rest)?;
        let (text, rest) = rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        if first & 0x80 == 0 {
            return Ok((Text::Plain(text), rest));
        }
        let start = self.scratch.len();
        huffman::decode(text, &mut self.scratch).map_err(|_| DecodeError::Huffman)?;
        Ok((Text::Decoded(start..self.scratch.len()), rest))
    }

    /// Returns the fields of the dynamic table, the newest first.
    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }
}

/// Reads an integer whose first bits are those of `first` under `mask` (section 5.1).
#[inline]
fn integer(first: u8, mask: u8, rest: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let prefix = first & mask;
    if prefix < mask { Ok((prefix.into(), rest)) } else { long_integer(mask, rest) }
}

/// Reads the bytes of an integer behind a prefix of ones.
fn long_integer(mask: u8, mut rest: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let mut value = usize::from(mask);
    for shift in [0, 7, 14, 21] {
        let (&byte, after) = rest.split_first().ok_or(DecodeError::Truncated)?;
        value += usize::from(byte & 0x7f) << shift;
        rest = after;
        if byte & 0x80 == 0 {
            return if value < INTEGER_LIMIT {
                Ok((value, rest))
            } else {
                Err(DecodeError::Integer)
            };
        }
    }
    Err(DecodeError::Integer)
}
