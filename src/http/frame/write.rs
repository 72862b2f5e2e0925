//! Appends frames to the bytes a connection is about to send.

use super::{ErrorCode, FrameHeader, HEADER_BYTES, Settings, flag, kind};

fn header(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    // What is longer than a frame can say never gets here: bodies and blocks are split before.
    let length = u32::try_from(length).unwrap_or_default();
    FrameHeader { length, kind, flags, stream }.write(out);
}

/// Writes the header of a DATA frame; `length` bytes of the body follow it.
#[inline]
pub fn data_header(out: &mut Vec<u8>, stream: u32, length: u32, end_stream: bool) {
    let flags = if end_stream { flag::END_STREAM } else { 0 };
    FrameHeader { length, kind: kind::DATA, flags, stream }.write(out);
}

/// Writes a header block as HEADERS, and CONTINUATION for what is more than `max_frame_size` bytes.
///
/// `block` appends the block to what it is given, and leaves alone what is there already. So the
/// block is written once and in its place; only one that must be split is moved.
pub fn headers(
    out: &mut Vec<u8>,
    stream: u32,
    end_stream: bool,
    max_frame_size: u32,
    block: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    block(out);
    let length = out.len().saturating_sub(start + HEADER_BYTES);
    let most = (max_frame_size as usize).max(1);
    let mut flags = if end_stream { flag::END_STREAM } else { 0 };
    if length <= most {
        flags |= flag::END_HEADERS;
    } else {
        split(out, start + HEADER_BYTES, stream, most);
    }
    let first = u32::try_from(length.min(most)).unwrap_or_default();
    let header = FrameHeader { length: first, kind: kind::HEADERS, flags, stream };
    if let Some(place) = out.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
        *place = header.bytes();
    }
}

/// Puts the header of a CONTINUATION before every piece but the first of the block at `start`.
#[cold]
fn split(out: &mut Vec<u8>, start: usize, stream: u32, most: usize) {
    let block = out.split_off(start);
    for (at, piece) in block.chunks(most).enumerate() {
        if at > 0 {
            let last = (at + 1) * most >= block.len();
            let flags = if last { flag::END_HEADERS } else { 0 };
            header(out, piece.len(), kind::CONTINUATION, flags, stream);
        }
        out.extend_from_slice(piece);
    }
}

/// Writes `RST_STREAM`.
pub fn reset_stream(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    header(out, 4, kind::RST_STREAM, 0, stream);
    out.extend_from_slice(&code.to_wire().to_be_bytes());
}

/// Writes SETTINGS with what is said of them.
pub fn settings(out: &mut Vec<u8>, settings: &Settings) {
    header(out, 6 * settings.said().count(), kind::SETTINGS, 0, 0);
    for (setting, value) in settings.said() {
        out.extend_from_slice(&setting.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes the answer to SETTINGS.
pub fn settings_ack(out: &mut Vec<u8>) {
    header(out, 0, kind::SETTINGS, flag::ACK, 0);
}

/// Writes PING, or the answer to one.
pub fn ping(out: &mut Vec<u8>, ack: bool, opaque: [u8; 8]) {
    header(out, 8, kind::PING, if ack { flag::ACK } else { 0 }, 0);
    out.extend_from_slice(&opaque);
}

/// Writes GOAWAY with at most 128 bytes of `debug`, which the peer may log.
pub fn go_away(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, debug: &str) {
    let debug = debug.as_bytes().get(..128).unwrap_or(debug.as_bytes());
    header(out, 8 + debug.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&code.to_wire().to_be_bytes());
    out.extend_from_slice(debug);
}

/// Writes `WINDOW_UPDATE`; `increment` is from 1 to 2^31 - 1.
#[inline]
pub fn window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    header(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&increment.to_be_bytes());
}
