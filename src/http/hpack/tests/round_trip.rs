//! What the encoder writes, the decoder reads; and how small it gets.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::prop_oneof;
use proptest::sample::select;

use super::{Owned, decode, encode, owned, table};
use crate::http::hpack::{Decoder, Encoder};

/// What is done to an encoder.
#[derive(Debug, Clone)]
enum Step {
    Block(Vec<Owned>),
    Resize(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let names = [":path", ":status", ":authority", "content-type", "x-tenant", "cookie"];
    let name = select(names.to_vec()).prop_map(|name| name.as_bytes().to_vec());
    let name = prop_oneof![name, vec(any::<u8>(), 0..40)];
    let value = prop_oneof![
        Just(b"200".to_vec()),
        Just(Vec::new()),
        vec(b'a'..=b'c', 0..3),
        vec(any::<u8>(), 0..1100),
    ];
    let field = (name, value, proptest::bool::weighted(0.1));
    prop_oneof![
        8 => vec(field, 0..20).prop_map(Step::Block),
        1 => prop_oneof![Just(0), Just(4096), 0..9000_u32].prop_map(Step::Resize),
    ]
}

proptest! {
    #[test]
    fn any_fields_come_out_as_they_went_in(steps in vec(step(), 0..12)) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(9000));

        for step in steps {
            match step {
                Step::Resize(size) => encoder.set_max_table_size(size),
                Step::Block(fields) => {
                    let block = encode(&mut encoder, &fields);

                    assert_eq!(decode(&mut decoder, &block), Ok(fields));
                    assert!(decoder.table().fields().eq(encoder.table().fields()));
                    assert_eq!(decoder.table().limit(), encoder.table().limit());
                }
            }
        }
    }
}

fn request() -> Vec<Owned> {
    [(":authority", "shop.orders.api:80"), ("content-type", "application/grpc"), ("te", "trailers")]
        .map(|(name, value)| owned(name, value))
        .to_vec()
}

#[test]
fn a_field_that_repeats_is_one_byte() {
    let mut encoder = Encoder::new();

    let first = encode(&mut encoder, &request());
    let second = encode(&mut encoder, &request());

    assert!(first.len() > 40);
    assert_eq!(second, [0xc0, 0xbf, 0xbe]);
}

#[test]
fn a_field_of_the_static_table_is_one_byte_from_the_start() {
    let mut out = Vec::new();
    let mut encoder = Encoder::new();
    let mut block = encoder.block(&mut out);

    block.method(b"POST");
    block.scheme(b"http");
    block.path(b"/");
    block.status(404);
    block.field(b":method", b"GET", false);
    block.field(b"accept-encoding", b"gzip, deflate", false);

    assert_eq!(out, [0x83, 0x86, 0x84, 0x8d, 0x82, 0x90]);
}

#[test]
fn pseudo_fields_that_the_static_table_lacks_are_read_back() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut out = Vec::new();
    let mut block = encoder.block(&mut out);

    block.method(b"PUT");
    block.scheme(b"ftp");
    block.authority(b"a.b");
    block.path(b"/x?y");
    block.status(503);

    let pairs = [
        (":method", "PUT"),
        (":scheme", "ftp"),
        (":authority", "a.b"),
        (":path", "/x?y"),
        (":status", "503"),
    ];
    let expected = pairs.map(|(name, value)| owned(name, value)).to_vec();
    assert_eq!(decode(&mut decoder, &out), Ok(expected));
}

#[test]
fn sensitive_fields_are_marked_and_in_no_table() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let fields = vec![(b"x-key".to_vec(), b"secret".to_vec(), true)];

    for _ in 0..2 {
        let block = encode(&mut encoder, &fields);

        assert_eq!(block[0], 0x10);
        assert_eq!(decode(&mut decoder, &block), Ok(fields.clone()));
        assert_eq!(decoder.table().size(), 0);
    }
}

#[test]
fn fields_that_seldom_repeat_and_long_ones_are_in_no_table() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let names = [":path", "content-length", "traceparent", "x-request-id", "date", "authorization"];
    let mut fields = names.map(|name| owned(name, "1")).to_vec();
    fields.push(owned("x-long", &"v".repeat(1025)));

    let block = encode(&mut encoder, &fields);

    assert_eq!(decode(&mut decoder, &block), Ok(fields));
    assert_eq!(decoder.table().size(), 0);
}

#[test]
fn a_name_whose_values_keep_changing_leaves_the_table_to_others() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    decode(&mut decoder, &encode(&mut encoder, &request())).unwrap();

    for round in 0..1000 {
        let mut fields = request();
        fields.push(owned("x-nonce", &round.to_string()));
        decode(&mut decoder, &encode(&mut encoder, &fields)).unwrap();
    }

    let kept = table(&decoder);
    assert!(kept.iter().filter(|(name, _)| name == "x-nonce").count() < 30);
    assert!(kept.iter().any(|(name, _)| name == "te"));
}

#[test]
fn a_name_that_was_fickle_is_kept_again_once_its_value_repeats() {
    let mut encoder = Encoder::new();
    for round in 0..100 {
        encode(&mut encoder, &[owned("x-shard", &round.to_string())]);
    }

    let settled = [owned("x-shard", "settled")];
    let sizes: Vec<_> = (0..100).map(|_| encode(&mut encoder, &settled).len()).collect();

    assert_eq!(sizes.last(), Some(&1));
}

#[test]
fn the_smallest_table_size_of_an_interval_is_said_before_the_last() {
    // RFC 7541 section 4.2.
    let mut encoder = Encoder::new();
    encode(&mut encoder, &request());
    encoder.set_max_table_size(0);
    encoder.set_max_table_size(65_536);

    let block = encode(&mut encoder, &[]);

    assert_eq!(block, [0x20, 0x3f, 0xe1, 0x1f]);
    assert_eq!(encoder.table().size(), 0);
}

#[test]
fn a_table_size_is_said_once_and_only_if_it_changes() {
    let mut encoder = Encoder::new();

    encoder.set_max_table_size(65_536);
    assert_eq!(encode(&mut encoder, &[]), [0_u8; 0]);
    encoder.set_max_table_size(100);
    assert_eq!(encode(&mut encoder, &[]), [0x3f, 69]);
    assert_eq!(encode(&mut encoder, &[]), [0_u8; 0]);
    encoder.set_max_table_size(4096);
    assert_eq!(encode(&mut encoder, &[]), [0x3f, 0xe1, 0x1f]);
}
