//! The frames of HTTP/2 (RFC 9113 sections 4 and 6).
//!
//! Reading is a walk over the bytes a connection has received, in one piece, and copies nothing:
//!
//! ```text
//! FrameHeader::parse   nine bytes           ─► length, kind, flags, stream
//! FrameHeader::check   may it come at all?  ─► before its payload is waited for
//! FrameHeader::payload the bytes behind it  ─► Payload, which borrows them
//! ```
//!
//! Writing appends to the bytes a connection is about to send: [`mod@write`]. What a frame means to its
//! stream, and whether it may come now, is not known here.

mod error;
mod payload;
mod settings;
pub mod write;

pub use error::{ErrorCode, FrameError, Scope};
pub use payload::{Headers, Payload};
pub use settings::Settings;

/// What a client sends before its first frame (section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's header, in bytes.
pub const HEADER_BYTES: usize = 9;
/// The least that may be set for the longest payload, and what holds before it is set, in bytes.
pub const DEFAULT_MAX_FRAME_SIZE: u32 = 1 << 14;
/// The most that may be set for the longest payload, in bytes.
pub const LARGEST_MAX_FRAME_SIZE: u32 = (1 << 24) - 1;
/// A flow-control window before anything is said, in bytes.
pub const DEFAULT_WINDOW: u32 = (1 << 16) - 1;
/// The largest flow-control window, in bytes.
pub const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// The bits of a stream's number; the one above is reserved and ignored (section 4.1).
const STREAM_MASK: u32 = (1 << 31) - 1;

/// What a frame is (section 11.2 of RFC 7540, section 6).
#[expect(missing_docs, reason = "each is the name of the section that defines it")]
pub mod kind {
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
}

/// The flags of frames; which of them a kind has is in its section.
pub mod flag {
    /// The last frame of its sender on the stream: DATA, HEADERS.
    pub const END_STREAM: u8 = 0x1;
    /// The answer to the frame of the same kind: SETTINGS, PING.
    pub const ACK: u8 = 0x1;
    /// The last frame of a header block: HEADERS, `PUSH_PROMISE`, CONTINUATION.
    pub const END_HEADERS: u8 = 0x4;
    /// There is padding: DATA, HEADERS, `PUSH_PROMISE`.
    pub const PADDED: u8 = 0x8;
    /// There is a priority: HEADERS.
    pub const PRIORITY: u8 = 0x20;
}

/// The nine bytes before a payload (section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the payload in bytes; below 2^24.
    pub length: u32,
    /// One of [`kind`], or a kind that is to be ignored.
    pub kind: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// The number of the stream; 0 for the connection. Below 2^31.
    pub stream: u32,
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`; `None` if they are fewer than nine.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk()?;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_MASK;
        Some(Self { length, kind, flags, stream })
    }

    /// Appends the header.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }

    fn bytes(self) -> [u8; HEADER_BYTES] {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = (self.stream & STREAM_MASK).to_be_bytes();
        [l0, l1, l2, self.kind, self.flags, s0, s1, s2, s3]
    }

    /// Returns whether the frame has this flag, if frames of its kind can have it.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Returns the length of the frame with its header, in bytes.
    #[inline]
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.length as usize
    }

    /// Refuses a frame whose payload is longer than we allow, or that has no business on its stream.
    ///
    /// A frame that is too long is the connection's error always, though section 4.2 would let some
    /// be the stream's: whoever ignores our SETTINGS once will do so again.
    pub fn check(&self, max_frame_size: u32) -> Result<(), FrameError> {
        if self.length > max_frame_size {
            return Err(FrameError::size("a frame is longer than allowed"));
        }
        // Sections 6.1 to 6.10, the paragraph of each on the stream identifier.
        let what = match (self.kind, self.stream) {
            (kind::DATA, 0) => "DATA on stream 0",
            (kind::HEADERS, 0) => "HEADERS on stream 0",
            (kind::PRIORITY, 0) => "PRIORITY on stream 0",
            (kind::RST_STREAM, 0) => "RST_STREAM on stream 0",
            (kind::PUSH_PROMISE, 0) => "PUSH_PROMISE on stream 0",
            (kind::CONTINUATION, 0) => "CONTINUATION on stream 0",
            (kind::SETTINGS, 1..) => "SETTINGS on a stream other than 0",
            (kind::PING, 1..) => "PING on a stream other than 0",
            (kind::GOAWAY, 1..) => "GOAWAY on a stream other than 0",
            _ => return Ok(()),
        };
        Err(FrameError::protocol(what))
    }

    /// Reads the payload: the bytes behind the header, [`length`](Self::length) of them.
    #[inline]
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Result<Payload<'a>, FrameError> {
        payload::parse(*self, bytes)
    }
}

#[cfg(test)]
mod tests;
