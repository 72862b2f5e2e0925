//! HPACK, the header compression of HTTP/2 (RFC 7541).
//!
//! A connection has one [`Decoder`] for what it reads and one [`Encoder`] for what it writes. Both
//! keep a table of fields they have seen, as one run of bytes and one queue of places, so that a
//! field costs no allocation. What a message may contain is not decided here; but whether the bytes
//! of a field are allowed at all, and which [`Known`] name it has, is found once for a field and
//! kept with it in the table, for the many messages that refer to it.

mod decode;
mod encode;
mod huffman;
mod names;
mod table;

pub use decode::{DecodeError, Decoder, Field};
pub use encode::{Block, Encoder};
pub use names::Known;

/// Size of the dynamic table before a peer says otherwise, in bytes (RFC 9113 section 6.5.2).
pub const DEFAULT_TABLE_SIZE: usize = 4096;

#[cfg(test)]
mod tests;
