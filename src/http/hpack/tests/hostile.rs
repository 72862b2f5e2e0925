//! Blocks that no honest peer sends, and blocks at the edge of what one may.

use std::ops::ControlFlow;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};

use super::{decode, owned, table};
use crate::http::hpack::{DecodeError, Decoder, Known};

fn refusal(block: &[u8]) -> DecodeError {
    decode(&mut Decoder::new(4096), block).unwrap_err()
}

#[test]
fn a_block_cut_anywhere_inside_its_field_is_truncated() {
    let block = b"\x40\x0acustom-key\x0dcustom-header";

    for end in 1..block.len() {
        assert_eq!(refusal(&block[..end]), DecodeError::Truncated, "{end}");
    }
}

#[test]
fn an_integer_ends_below_2_to_the_28() {
    // RFC 7541 section 5.1: excessively large values and long encodings are errors.
    let largest = [0x00, 0x01, b'a', 0x7f, 0x80, 0xff, 0xff, 0x7f];
    let beyond = [0x00, 0x01, b'a', 0x7f, 0x81, 0xff, 0xff, 0x7f];

    assert_eq!(refusal(&largest), DecodeError::Truncated);
    assert_eq!(refusal(&beyond), DecodeError::Integer);
    assert_eq!(refusal(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00]), DecodeError::Integer);
    assert_eq!(refusal(&[0xff; 64]), DecodeError::Integer);
}

#[test]
fn an_index_outside_of_both_tables_is_refused() {
    // Sections 6.1 and 2.3.3: 0 is of no field, and the dynamic table is empty.
    assert_eq!(refusal(&[0x80]), DecodeError::Index(0));
    assert_eq!(refusal(&[0xbe]), DecodeError::Index(62));
    assert_eq!(refusal(b"\x7f\x00\x01v"), DecodeError::Index(63));
}

#[test]
fn a_huffman_string_is_checked_in_name_and_value() {
    for block in [&b"\x00\x81\x00\x01v"[..], b"\x00\x01n\x81\x00", b"\x04\x84\xff\xff\xff\xff"] {
        assert_eq!(refusal(block), DecodeError::Huffman, "{block:x?}");
    }
}

#[test]
fn the_table_size_changes_only_at_the_start_and_within_our_setting() {
    // Sections 4.2 and 6.3.
    assert_eq!(refusal(&[0x82, 0x20]), DecodeError::LateResize);
    assert_eq!(refusal(&[0x3f, 0xe2, 0x1f]), DecodeError::Oversize(4097));
    assert_eq!(decode(&mut Decoder::new(4096), &[0x3f, 0xe1, 0x1f]), Ok(Vec::new()));
    assert_eq!(decode(&mut Decoder::new(4097), &[0x3f, 0xe2, 0x1f]), Ok(Vec::new()));
}

#[test]
fn the_table_goes_to_nothing_and_back_in_one_block() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, b"\x40\x01a\x011\x40\x01b\x012").unwrap();

    let fields = decode(&mut decoder, b"\x20\x3f\xe1\x1f\x40\x01c\x013\xbe").unwrap();

    assert_eq!(fields, [owned("c", "3"), owned("c", "3")]);
    assert_eq!(table(&decoder), [("c".to_owned(), "3".to_owned())]);
    assert_eq!(decoder.table().limit(), 4096);
}

#[test]
fn a_sink_that_has_enough_does_not_stop_the_table() {
    let mut decoder = Decoder::new(4096);
    let mut calls = 0;

    let done = decoder.decode(b"\x40\x01a\x011\x40\x01b\x012\xbe", |_| {
        calls += 1;
        ControlFlow::Break(())
    });

    assert_eq!((done, calls), (Ok(()), 1));
    assert_eq!(decode(&mut decoder, &[0xbe, 0xbf]), Ok(vec![owned("b", "2"), owned("a", "1")]));
}

#[test]
fn errors_count_also_behind_the_point_where_the_sink_had_enough() {
    let mut decoder = Decoder::new(4096);

    let done = decoder.decode(&[0x82, 0xbe], |_| ControlFlow::Break(()));

    assert_eq!(done, Err(DecodeError::Index(62)));
}

#[test]
fn what_a_field_is_stays_with_it_in_the_table() {
    let blocks: [&[u8]; 5] = [
        // A known name, and the same spelled out; a value with a line end; a name with a capital,
        // and a good value under that name.
        b"\x41\x01h\xbe",
        b"\x40\x0a:authority\x01h\xbe",
        b"\x40\x01a\x02\r\n\xbe",
        b"\x40\x02aB\x01v\xbe",
        b"\x40\x02aB\x01v\x7e\x01w\xbe",
    ];
    let expected = [
        vec![(Known::AUTHORITY, true); 2],
        vec![(Known::AUTHORITY, true); 2],
        vec![(Known::OTHER, false); 2],
        vec![(Known::OTHER, false); 2],
        vec![(Known::OTHER, false); 3],
    ];

    for (block, expected) in blocks.iter().zip(expected) {
        let mut seen = Vec::new();
        let mut decoder = Decoder::new(4096);
        let done = decoder.decode(block, |field| {
            seen.push((field.known, field.well_formed));
            ControlFlow::Continue(())
        });

        assert_eq!((done, seen), (Ok(()), expected), "{block:x?}");
    }
}

#[test]
fn a_good_value_under_the_name_of_a_bad_field_is_good() {
    let mut seen = Vec::new();

    let done = Decoder::new(4096).decode(b"\x40\x01a\x01\n\x7e\x01v", |field| {
        seen.push(field.well_formed);
        ControlFlow::Continue(())
    });

    assert_eq!((done, seen), (Ok(()), vec![false, true]));
}

proptest! {
    #[test]
    fn no_bytes_whatever_upset_the_decoder(blocks in vec(vec(any::<u8>(), 0..200), 0..8)) {
        let mut decoder = Decoder::new(4096);

        for block in blocks {
            let _ = decode(&mut decoder, &block);

            assert!(decoder.table().size() <= decoder.table().limit());
        }
    }

    #[test]
    fn no_sequence_of_representations_upsets_the_decoder(pieces in vec(piece(), 0..64)) {
        let mut decoder = Decoder::new(4096);

        for block in pieces.chunks(8) {
            let _ = decode(&mut decoder, &block.concat());

            let size: usize = table(&decoder).iter().map(|(n, v)| n.len() + v.len() + 32).sum();
            assert_eq!(size, decoder.table().size());
            assert!(size <= decoder.table().limit());
        }
    }
}

/// A representation that makes sense more often than not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = |lead: &'static [u8]| {
        vec(b'a'..=b'z', 0..60).prop_map(move |text| {
            let length = u8::try_from(text.len()).unwrap();
            [lead, &[length], &text].concat()
        })
    };
    proptest::prop_oneof![
        (0x80..=0xc8_u8).prop_map(|it| vec![it]),
        (0x41..=0x7e_u8, text(b"")).prop_map(|(lead, value)| [&[lead], &*value].concat()),
        (text(b"\x40"), text(b"")).prop_map(|(name, value)| [name, value].concat()),
        (0x20..=0x3e_u8).prop_map(|it| vec![it]),
        proptest::prelude::Just(vec![0x3f, 0xe1, 0x01]),
    ]
}
