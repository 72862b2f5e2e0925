//! Each rule of RFC 9113 on a frame alone, by its section.

use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::{Just, any, proptest};

use super::{
    ErrorCode, FrameError, FrameHeader, Headers, Payload, Scope, Settings, flag, kind, write,
};
use crate::http::hpack::{Decoder, Encoder};

/// Reads the payload of a frame on stream 1.
fn read(kind: u8, flags: u8, bytes: &[u8]) -> Result<Payload<'_>, FrameError> {
    read_on(1, kind, flags, bytes)
}

fn read_on(stream: u32, kind: u8, flags: u8, bytes: &[u8]) -> Result<Payload<'_>, FrameError> {
    let length = u32::try_from(bytes.len()).unwrap();
    FrameHeader { length, kind, flags, stream }.payload(bytes)
}

/// Returns the code and the scope of an error.
fn fault(result: Result<Payload<'_>, FrameError>) -> (ErrorCode, Scope) {
    let error = result.unwrap_err();
    (error.code, error.scope)
}

const SIZE: (ErrorCode, Scope) = (ErrorCode::FrameSizeError, Scope::Connection);
const PROTOCOL: (ErrorCode, Scope) = (ErrorCode::ProtocolError, Scope::Connection);
const STREAM_PROTOCOL: (ErrorCode, Scope) = (ErrorCode::ProtocolError, Scope::Stream);

/// Walks over all frames in `bytes`.
fn walk(mut bytes: &[u8]) -> Vec<(FrameHeader, Payload<'_>)> {
    let mut frames = Vec::new();
    while let Some(header) = FrameHeader::parse(bytes) {
        header.check(1 << 14).unwrap();
        let (frame, rest) = bytes.split_at(header.frame_bytes());
        frames.push((header, header.payload(&frame[9..]).unwrap()));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

#[test]
fn the_reserved_bit_of_a_stream_is_ignored() {
    // Section 4.1.
    let bytes = [0, 1, 2, 0x8, 0xff, 0x80, 0, 0, 7];

    let header = FrameHeader::parse(&bytes).unwrap();

    assert_eq!(header, FrameHeader { length: 258, kind: 8, flags: 0xff, stream: 7 });
    assert_eq!(FrameHeader::parse(&bytes[..8]), None);
}

#[test]
fn a_frame_longer_than_allowed_is_refused_by_its_header() {
    // Section 4.2.
    let header = FrameHeader { length: 16_385, kind: kind::DATA, flags: 0, stream: 1 };

    let error = header.check(16_384).unwrap_err();

    assert_eq!((error.code, error.scope), SIZE);
    assert_eq!(header.check(16_385), Ok(()));
}

#[test]
fn each_kind_belongs_to_a_stream_or_to_the_connection() {
    // Sections 6.1 to 6.10.
    let check = |kind, stream| {
        let done = FrameHeader { length: 0, kind, flags: 0, stream }.check(1 << 14);
        done.map_err(|error| (error.code, error.scope))
    };

    for kind in [
        kind::DATA,
        kind::HEADERS,
        kind::PRIORITY,
        kind::RST_STREAM,
        kind::PUSH_PROMISE,
        kind::CONTINUATION,
    ] {
        assert_eq!((check(kind, 0), check(kind, 1)), (Err(PROTOCOL), Ok(())), "{kind}");
    }
    for kind in [kind::SETTINGS, kind::PING, kind::GOAWAY] {
        assert_eq!((check(kind, 0), check(kind, 1)), (Ok(()), Err(PROTOCOL)), "{kind}");
    }
    for kind in [kind::WINDOW_UPDATE, 0xa, 0xff] {
        assert_eq!((check(kind, 0), check(kind, 1)), (Ok(()), Ok(())), "{kind}");
    }
}

#[test]
fn padding_is_taken_away_and_must_fit() {
    // Sections 6.1, 6.2 and 6.6.
    let padded = |kind, bytes: &'static [u8]| read(kind, flag::PADDED, bytes);

    let data = Payload::Data { data: b"ab", end_stream: false };
    assert_eq!(padded(kind::DATA, b"\x03ab\0\0\0"), Ok(data));
    let all = Payload::Data { data: b"", end_stream: false };
    assert_eq!(padded(kind::DATA, b"\x02\0\0"), Ok(all));
    for kind in [kind::DATA, kind::HEADERS, kind::PUSH_PROMISE] {
        assert_eq!(fault(padded(kind, b"\x03\0\0")), PROTOCOL, "{kind}");
        assert_eq!(fault(padded(kind, b"")), SIZE, "{kind}");
    }
}

#[test]
fn a_priority_in_headers_is_skipped() {
    // Section 6.2.
    let flags = flag::PRIORITY | flag::PADDED | flag::END_HEADERS;

    let payload = read(kind::HEADERS, flags, b"\x01\0\0\0\x03\x10block\0");

    let (end_stream, end_headers) = (false, true);
    let headers = Headers { block: b"block", end_stream, end_headers, fault: None };
    assert_eq!(payload, Ok(Payload::Headers(headers)));
    assert_eq!(fault(read(kind::HEADERS, flag::PRIORITY, b"\0\0\0\x03")), SIZE);
}

#[test]
fn a_stream_that_depends_on_itself_fails_and_its_block_is_kept() {
    // RFC 7540 section 5.3.1.
    let Ok(Payload::Headers(headers)) =
        read(kind::HEADERS, flag::PRIORITY, b"\x80\0\0\x01\x10block")
    else {
        panic!("not headers")
    };

    let error = headers.fault.unwrap();
    assert_eq!(headers.block, b"block");
    assert_eq!((error.code, error.scope), STREAM_PROTOCOL);
    assert_eq!(fault(read(kind::PRIORITY, 0, b"\0\0\0\x01\x10")), STREAM_PROTOCOL);
    assert_eq!(read(kind::PRIORITY, 0, b"\0\0\0\x03\x10"), Ok(Payload::Priority));
}

#[test]
fn frames_of_fixed_length_have_that_length() {
    // Sections 6.3, 6.4, 6.7, 6.8 and 6.9.
    let stream_size = (ErrorCode::FrameSizeError, Scope::Stream);
    for (kind, lengths, expected) in [
        (kind::PRIORITY, [0, 4, 6], stream_size),
        (kind::RST_STREAM, [0, 3, 5], SIZE),
        (kind::PING, [0, 7, 9], SIZE),
        (kind::WINDOW_UPDATE, [0, 3, 5], SIZE),
        (kind::GOAWAY, [0, 3, 7], SIZE),
        (kind::PUSH_PROMISE, [0, 1, 3], SIZE),
    ] {
        for length in lengths {
            assert_eq!(fault(read(kind, 0, &vec![1; length])), expected, "{kind} {length}");
        }
    }
}

#[test]
fn a_window_grows_by_something() {
    // Section 6.9: the stream's error on a stream, the connection's on the connection.
    let bytes = [0x80, 0, 0, 0];

    assert_eq!(fault(read_on(0, kind::WINDOW_UPDATE, 0, &bytes)), PROTOCOL);
    assert_eq!(fault(read_on(1, kind::WINDOW_UPDATE, 0, &bytes)), STREAM_PROTOCOL);
    let all = Payload::WindowUpdate { increment: (1 << 31) - 1 };
    assert_eq!(read(kind::WINDOW_UPDATE, 0, &[0xff; 4]), Ok(all));
}

#[test]
fn settings_are_whole_and_an_answer_is_empty() {
    // Section 6.5.
    assert_eq!(fault(read_on(0, kind::SETTINGS, 0, &[0; 7])), SIZE);
    assert_eq!(fault(read_on(0, kind::SETTINGS, flag::ACK, &[0; 6])), SIZE);
    assert_eq!(read_on(0, kind::SETTINGS, flag::ACK, &[]), Ok(Payload::SettingsAck));
    let nothing = Payload::Settings(Settings::default());
    assert_eq!(read_on(0, kind::SETTINGS, 0, &[]), Ok(nothing));
}

fn setting(number: u8, value: u32) -> Vec<u8> {
    [&[0, number][..], &value.to_be_bytes()].concat()
}

#[test]
fn each_setting_keeps_to_its_bounds() {
    // Section 6.5.2, and RFC 8441 section 3 for the last.
    let flow = (ErrorCode::FlowControlError, Scope::Connection);
    for (number, good, bad, expected) in [
        (0x2, vec![0, 1], vec![2, u32::MAX], PROTOCOL),
        (0x4, vec![0, (1 << 31) - 1], vec![1 << 31, u32::MAX], flow),
        (0x5, vec![1 << 14, (1 << 24) - 1], vec![0, (1 << 14) - 1, 1 << 24], PROTOCOL),
        (0x8, vec![0, 1], vec![2], PROTOCOL),
        (0x1, vec![0, u32::MAX], vec![], PROTOCOL),
        (0x3, vec![0, u32::MAX], vec![], PROTOCOL),
        (0x6, vec![0, u32::MAX], vec![], PROTOCOL),
        (0x7, vec![0, u32::MAX], vec![], PROTOCOL),
    ] {
        for value in good {
            assert!(Settings::parse(&setting(number, value)).is_ok(), "{number} {value}");
        }
        for value in bad {
            let error = Settings::parse(&setting(number, value)).unwrap_err();
            assert_eq!((error.code, error.scope), expected, "{number} {value}");
        }
    }
}

#[test]
fn the_last_of_repeated_settings_counts_and_the_smallest_table_is_kept() {
    let bytes = [setting(1, 4096), setting(1, 0), setting(3, 7), setting(1, 200), setting(3, 9)];

    let settings = Settings::parse(&bytes.concat()).unwrap();

    assert_eq!(settings.header_table_size, Some(200));
    assert_eq!(settings.least_header_table_size, Some(0));
    assert_eq!(settings.max_concurrent_streams, Some(9));
    assert_eq!(settings.max_frame_size, None);
}

#[test]
fn codes_have_their_numbers_and_names() {
    // Section 7.
    for number in 0..=0xd {
        assert_eq!(ErrorCode::from_wire(number).to_wire(), number);
    }
    assert_eq!(ErrorCode::from_wire(0xe), ErrorCode::InternalError);
    assert_eq!(ErrorCode::from_wire(0x7).name(), "REFUSED_STREAM");
    let error = FrameError::size("PING is not of 8 bytes");
    assert_eq!(error.to_string(), "PING is not of 8 bytes: FRAME_SIZE_ERROR");
}

#[test]
fn what_is_written_is_read_back() {
    let settings = Settings {
        header_table_size: Some(4096),
        least_header_table_size: Some(4096),
        enable_push: Some(false),
        max_concurrent_streams: Some(100),
        initial_window_size: Some(65_536),
        max_frame_size: Some(16_384),
        max_header_list_size: Some(65_536),
        enable_connect_protocol: None,
    };
    let mut out = Vec::new();

    write::settings(&mut out, &settings);
    write::settings_ack(&mut out);
    write::ping(&mut out, true, *b"01234567");
    write::window_update(&mut out, 3, 77);
    write::reset_stream(&mut out, 5, ErrorCode::Cancel);
    write::go_away(&mut out, 9, ErrorCode::EnhanceYourCalm, "too many");
    write::data_header(&mut out, 7, 4, true);
    out.extend_from_slice(b"body");

    let read = walk(&out);
    let streams: Vec<_> = read.iter().map(|(header, _)| header.stream).collect();
    let payloads: Vec<_> = read.into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(streams, [0, 0, 0, 3, 5, 0, 7]);
    assert_eq!(
        payloads,
        [
            Payload::Settings(settings),
            Payload::SettingsAck,
            Payload::Ping { ack: true, opaque: *b"01234567" },
            Payload::WindowUpdate { increment: 77 },
            Payload::ResetStream { code: 8 },
            Payload::GoAway { last_stream: 9, code: 11, debug: b"too many" },
            Payload::Data { data: b"body", end_stream: true },
        ]
    );
}

/// Puts the pieces of the one header block in `bytes` together.
fn reassembled(bytes: &[u8]) -> Vec<u8> {
    let frames = walk(bytes);
    let last = frames.len() - 1;
    let pieces = frames.into_iter().enumerate().map(|(at, (header, payload))| {
        assert_eq!(header.stream, 11);
        let (block, end) = match payload {
            Payload::Headers(Headers { block, end_headers, end_stream: true, .. }) if at == 0 => {
                (block, end_headers)
            }
            Payload::Continuation { block, end_headers } if at > 0 => (block, end_headers),
            other => panic!("{other:?}"),
        };
        assert_eq!(end, at == last);
        block.to_vec()
    });
    pieces.collect::<Vec<_>>().concat()
}

#[test]
fn a_block_split_into_frames_and_put_together_leaves_the_same_table() {
    let (mut encoder, mut whole, mut pieces) =
        (Encoder::new(), Decoder::new(4096), Decoder::new(4096));
    let values: Vec<_> = (0..60).map(|it| "v".repeat(it)).collect();
    let mut out = Vec::new();
    let mut expected = Vec::new();

    write::headers(&mut out, 11, true, 100, |out| {
        let start = out.len();
        let mut block = encoder.block(out);
        for value in &values {
            block.field(b"x-field", value.as_bytes(), false);
        }
        expected = out[start..].to_vec();
    });

    let block = reassembled(&out);
    assert!(out.len() > 1000 && block == expected);
    let read = |decoder: &mut Decoder, block: &[u8]| {
        let mut count = 0;
        let done = decoder.decode(block, |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        (done, count)
    };
    assert_eq!(read(&mut pieces, &block), (Ok(()), 60));
    assert_eq!(read(&mut whole, &expected), (Ok(()), 60));
    let next: Vec<u8> = (0xbe..=0xc5).collect();
    assert_eq!(read(&mut pieces, &next), read(&mut whole, &next));
}

proptest! {
    #[test]
    fn a_block_of_any_length_is_split_at_the_limit(
        block in vec(any::<u8>(), 0..1000),
        limit in 1..300_u32,
        before in vec(any::<u8>(), 0..20),
    ) {
        let mut out = before.clone();

        write::headers(&mut out, 11, true, limit, |out| out.extend_from_slice(&block));

        assert_eq!(out[..before.len()], before);
        assert_eq!(reassembled(&out[before.len()..]), block);
        let longest = walk(&out[before.len()..]).iter().map(|(header, _)| header.length).max();
        assert!(longest <= Some(limit));
    }

    #[test]
    fn any_header_is_read_as_it_was_written(
        length in 0..1_u32 << 24, kind in any::<u8>(), flags in any::<u8>(), stream in 0..1_u32 << 31,
    ) {
        let header = FrameHeader { length, kind, flags, stream };
        let mut out = Vec::new();

        header.write(&mut out);

        assert_eq!(FrameHeader::parse(&out), Some(header));
    }

    #[test]
    fn no_bytes_whatever_upset_the_reader(
        kind in 0..12_u8, flags in any::<u8>(), stream in proptest::prop_oneof![Just(0), any::<u32>()],
        bytes in vec(any::<u8>(), 0..64),
    ) {
        let header = FrameHeader { length: 64, kind, flags, stream };

        let _ = (header.check(1 << 14), header.payload(&bytes));
    }
}
