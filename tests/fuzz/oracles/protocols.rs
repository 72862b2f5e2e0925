//! The first bytes of a connection, and the frames and header blocks of HTTP/2.

use std::ops::ControlFlow;

use dyelane::http::frame::{FrameHeader, HEADER_BYTES, Payload, write};
use dyelane::http::hpack::{Decoder, Encoder};
use dyelane::net::{DETECT_BYTES, Detected};

/// A protocol that was told once stays the same with every further byte, and is told in time.
pub fn detect(bytes: &[u8]) {
    let mut decided = Detected::More;
    for end in 0..=bytes.len() {
        let now = dyelane::net::detect(&bytes[..end]);
        assert!(decided == Detected::More || decided == now, "{decided:?}, then {now:?} at {end}");
        assert!(end < DETECT_BYTES || now != Detected::More, "undecided at {end}");
        decided = now;
    }
}

/// The bytes are what a peer sends behind its preface: every frame is read or refused, and lies in
/// its payload.
pub fn frame(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(header) = FrameHeader::parse(rest) {
        let mut again = Vec::new();
        header.write(&mut again);
        assert_eq!(FrameHeader::parse(&again), Some(header));
        let payload = rest.get(HEADER_BYTES..header.frame_bytes());
        let (Ok(()), Some(payload)) = (header.check(1 << 14), payload) else { return };
        if let Ok(read) = header.payload(payload) {
            frame_holds(&header, payload, &read);
        }
        rest = &rest[header.frame_bytes()..];
    }
}

fn frame_holds(header: &FrameHeader, payload: &[u8], read: &Payload<'_>) {
    match read {
        Payload::Data { data: piece, .. }
        | Payload::Continuation { block: piece, .. }
        | Payload::PushPromise { block: piece, .. }
        | Payload::GoAway { debug: piece, .. } => assert!(within(piece, payload)),
        Payload::Headers(headers) => assert!(within(headers.block, payload)),
        Payload::Settings(settings) => {
            let mut out = Vec::new();
            write::settings(&mut out, settings);
            let header = FrameHeader::parse(&out).unwrap();
            let Ok(Payload::Settings(again)) = header.payload(&out[HEADER_BYTES..]) else {
                panic!("{settings:?} cannot be read again")
            };
            let said = |it: &dyelane::http::frame::Settings| {
                let least_header_table_size = None;
                dyelane::http::frame::Settings { least_header_table_size, ..*it }
            };
            assert_eq!(said(settings), said(&again));
        }
        Payload::Ping { ack, opaque } => {
            let mut out = Vec::new();
            write::ping(&mut out, *ack, *opaque);
            assert_eq!(&out[HEADER_BYTES..], payload);
        }
        Payload::WindowUpdate { increment } => assert!((1..1 << 31).contains(increment)),
        Payload::ResetStream { .. } => assert!(header.stream != 0),
        Payload::Priority | Payload::SettingsAck | Payload::Unknown => {}
    }
}

fn within(piece: &[u8], payload: &[u8]) -> bool {
    piece.is_empty() || payload.as_ptr_range().contains(&piece.as_ptr())
}

/// A field as it is handed on: name, value, whether it is sensitive.
type Owned = (Vec<u8>, Vec<u8>, bool);

/// Fields that are kept of a block, in bytes: a few bytes can stand for millions.
const KEPT: usize = 1 << 16;

/// The bytes are header blocks, each behind its length in one byte: what can be read of them is the
/// same after it was written and read again.
pub fn hpack(bytes: &[u8]) {
    let mut reader = Decoder::new(4096);
    let (mut writer, mut again) = (Encoder::new(), Decoder::new(4096));
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first() {
        let (block, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let Some(fields) = decoded(&mut reader, block) else { return };
        let mut out = Vec::new();
        let mut written = writer.block(&mut out);
        for (name, value, sensitive) in &fields {
            written.field(name, value, *sensitive);
        }
        assert_eq!(decoded(&mut again, &out).as_ref(), Some(&fields));
    }
}

/// The fields of a block, as far as they are kept; none if it cannot be read.
fn decoded(decoder: &mut Decoder, block: &[u8]) -> Option<Vec<Owned>> {
    let mut fields: Vec<Owned> = Vec::new();
    let mut bytes = 0;
    let end = decoder.decode(block, |field| {
        bytes += field.name.len() + field.value.len() + 32;
        if bytes > KEPT {
            return ControlFlow::Break(());
        }
        fields.push((field.name.to_vec(), field.value.to_vec(), field.sensitive));
        ControlFlow::Continue(())
    });
    end.ok().map(|()| fields)
}
