//! What a frame's payload says, kind by kind (RFC 9113 section 6).

use super::{ErrorCode, FrameError, FrameHeader, STREAM_MASK, Settings, flag, kind};

/// What is behind a frame's header. Borrows the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A piece of a body. Its padding counts for flow control as well, so that what is taken from
    /// the windows is the frame's whole length.
    Data {
        /// The piece, without its padding.
        data: &'a [u8],
        /// Whether it is the last.
        end_stream: bool,
    },
    /// The first piece of a header block.
    Headers(Headers<'a>),
    /// A priority; to be ignored (section 5.3.2).
    Priority,
    /// The end of a stream.
    ResetStream {
        /// Why, as [`ErrorCode`] or any other number.
        code: u32,
    },
    /// What the peer wants of us.
    Settings(Settings),
    /// The peer keeps to our SETTINGS from here on.
    SettingsAck,
    /// The first piece of the header block of a stream the peer wants to open.
    PushPromise {
        /// The stream; below 2^31.
        promised: u32,
        /// The piece.
        block: &'a [u8],
        /// Whether it is the last too.
        end_headers: bool,
    },
    /// Are you there?
    Ping {
        /// Whether it is an answer.
        ack: bool,
        /// To be sent back as it is.
        opaque: [u8; 8],
    },
    /// The peer takes no more streams.
    GoAway {
        /// The last stream it may have done something with; below 2^31.
        last_stream: u32,
        /// Why, as [`ErrorCode`] or any other number.
        code: u32,
        /// Anything, for a log.
        debug: &'a [u8],
    },
    /// More room in the window of the stream, or of the connection if it is of stream 0.
    WindowUpdate {
        /// How much, in bytes; from 1 to 2^31 - 1.
        increment: u32,
    },
    /// A further piece of a header block.
    Continuation {
        /// The piece.
        block: &'a [u8],
        /// Whether it is the last.
        end_headers: bool,
    },
    /// Of a kind we do not know; to be ignored (section 4.1).
    Unknown,
}

/// What a HEADERS frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    /// The first piece of the block, without padding and priority.
    pub block: &'a [u8],
    /// Whether nothing follows on the stream.
    pub end_stream: bool,
    /// Whether the piece is the last too.
    pub end_headers: bool,
    /// An error to end the stream with, after its block has been decoded all the same: later blocks
    /// build on it.
    pub fault: Option<FrameError>,
}

pub(super) fn parse(header: FrameHeader, bytes: &[u8]) -> Result<Payload<'_>, FrameError> {
    let end_stream = header.has(flag::END_STREAM);
    let end_headers = header.has(flag::END_HEADERS);
    let ack = header.has(flag::ACK);
    match header.kind {
        kind::DATA => Ok(Payload::Data { data: without_padding(header, bytes)?, end_stream }),
        kind::HEADERS => headers(header, bytes).map(Payload::Headers),
        kind::PRIORITY => priority(header, bytes),
        kind::RST_STREAM => match bytes.try_into() {
            Ok(code) => Ok(Payload::ResetStream { code: u32::from_be_bytes(code) }),
            Err(_) => Err(FrameError::size("RST_STREAM is not of 4 bytes")),
        },
        kind::SETTINGS if !ack => Settings::parse(bytes).map(Payload::Settings),
        // Section 6.5.
        kind::SETTINGS if bytes.is_empty() => Ok(Payload::SettingsAck),
        kind::SETTINGS => Err(FrameError::size("SETTINGS is both an answer and a question")),
        kind::PUSH_PROMISE => {
            let bytes = without_padding(header, bytes)?;
            let (promised, block) = number(bytes, "PUSH_PROMISE is too short")?;
            Ok(Payload::PushPromise { promised: promised & STREAM_MASK, block, end_headers })
        }
        kind::PING => match bytes.try_into() {
            Ok(opaque) => Ok(Payload::Ping { ack, opaque }),
            Err(_) => Err(FrameError::size("PING is not of 8 bytes")),
        },
        kind::GOAWAY => {
            let (last, rest) = number(bytes, "GOAWAY is too short")?;
            let (code, debug) = number(rest, "GOAWAY is too short")?;
            Ok(Payload::GoAway { last_stream: last & STREAM_MASK, code, debug })
        }
        kind::WINDOW_UPDATE => window_update(header, bytes),
        kind::CONTINUATION => Ok(Payload::Continuation { block: bytes, end_headers }),
        _ => Ok(Payload::Unknown),
    }
}

/// Takes the padding away, and its length, if there is any (section 6.1).
#[inline]
fn without_padding(header: FrameHeader, bytes: &[u8]) -> Result<&[u8], FrameError> {
    if !header.has(flag::PADDED) {
        return Ok(bytes);
    }
    let (length, rest) = bytes.split_first().ok_or(FrameError::size("no length of padding"))?;
    let kept = rest.len().checked_sub(usize::from(*length)).and_then(|kept| rest.get(..kept));
    kept.ok_or(FrameError::protocol("padding is longer than its frame"))
}

/// Section 6.2.
fn headers(header: FrameHeader, bytes: &[u8]) -> Result<Headers<'_>, FrameError> {
    let mut block = without_padding(header, bytes)?;
    let mut fault = None;
    if header.has(flag::PRIORITY) {
        let (dependency, rest) = number(block, "HEADERS has no room for its priority")?;
        let (_weight, rest) =
            rest.split_first().ok_or(FrameError::size("HEADERS has no room for its priority"))?;
        fault = check_dependency(header, dependency).err();
        block = rest;
    }
    let end_stream = header.has(flag::END_STREAM);
    Ok(Headers { block, end_stream, end_headers: header.has(flag::END_HEADERS), fault })
}

/// Section 6.3.
fn priority<'a>(header: FrameHeader, bytes: &[u8]) -> Result<Payload<'a>, FrameError> {
    let &[d0, d1, d2, d3, _weight] = bytes else {
        let what = "PRIORITY is not of 5 bytes";
        return Err(FrameError::stream(ErrorCode::FrameSizeError, what));
    };
    check_dependency(header, u32::from_be_bytes([d0, d1, d2, d3]))?;
    Ok(Payload::Priority)
}

/// Refuses a stream that depends on itself (RFC 7540 section 5.3.1; RFC 9113 no longer says, and
/// peers still check).
fn check_dependency(header: FrameHeader, dependency: u32) -> Result<(), FrameError> {
    if dependency & STREAM_MASK == header.stream {
        let what = "a stream depends on itself";
        return Err(FrameError::stream(ErrorCode::ProtocolError, what));
    }
    Ok(())
}

/// Section 6.9.
fn window_update<'a>(header: FrameHeader, bytes: &[u8]) -> Result<Payload<'a>, FrameError> {
    let &[i0, i1, i2, i3] = bytes else {
        return Err(FrameError::size("WINDOW_UPDATE is not of 4 bytes"));
    };
    let increment = u32::from_be_bytes([i0, i1, i2, i3]) & STREAM_MASK;
    let what = "WINDOW_UPDATE by nothing";
    match (increment, header.stream) {
        (0, 0) => Err(FrameError::protocol(what)),
        (0, _) => Err(FrameError::stream(ErrorCode::ProtocolError, what)),
        _ => Ok(Payload::WindowUpdate { increment }),
    }
}

/// Takes a number of four bytes off the front.
fn number<'a>(bytes: &'a [u8], what: &'static str) -> Result<(u32, &'a [u8]), FrameError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(FrameError::size(what))?;
    Ok((u32::from_be_bytes(*number), rest))
}
