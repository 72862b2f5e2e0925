//! The examples of RFC 7541 appendix C.

use super::{decode, owned, table};
use crate::http::hpack::Decoder;

/// A block in hexadecimal, the fields it has, and the table and its size after it.
struct Example {
    block: &'static str,
    fields: &'static [(&'static str, &'static str)],
    table: &'static [(&'static str, &'static str)],
    size: usize,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|it| it.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

fn check(decoder: &mut Decoder, examples: &[Example]) {
    for example in examples {
        let fields = decode(decoder, &bytes(example.block)).unwrap();

        let expected: Vec<_> = example.fields.iter().map(|(name, it)| owned(name, it)).collect();
        assert_eq!(fields, expected, "{}", example.block);
        let seen = table(decoder);
        let seen: Vec<_> = seen.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(seen, example.table, "{}", example.block);
        assert_eq!(decoder.table().size(), example.size, "{}", example.block);
    }
}

#[test]
fn c_2_single_fields() {
    for (block, name, value, sensitive, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key",
            "custom-header",
            false,
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path", "/sample/path", false, 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password", "secret", true, 0),
        ("82", ":method", "GET", false, 0),
    ] {
        let mut decoder = Decoder::new(4096);

        let fields = decode(&mut decoder, &bytes(block)).unwrap();

        assert_eq!(fields, [(name.into(), value.into(), sensitive)]);
        assert_eq!(decoder.table().size(), size);
    }
}

/// The three requests of C.3, which C.4 has again.
fn requests(blocks: [&'static str; 3]) -> [Example; 3] {
    let [first, second, third] = blocks;
    [
        Example {
            block: first,
            fields: &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "www.example.com"),
            ],
            table: &[(":authority", "www.example.com")],
            size: 57,
        },
        Example {
            block: second,
            fields: &[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "www.example.com"),
                ("cache-control", "no-cache"),
            ],
            table: &[("cache-control", "no-cache"), (":authority", "www.example.com")],
            size: 110,
        },
        Example {
            block: third,
            fields: &[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ],
            table: &[
                ("custom-key", "custom-value"),
                ("cache-control", "no-cache"),
                (":authority", "www.example.com"),
            ],
            size: 164,
        },
    ]
}

#[test]
fn c_3_requests_without_huffman_coding() {
    let examples = requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);

    check(&mut Decoder::new(4096), &examples);
}

#[test]
fn c_4_requests_with_huffman_coding() {
    let examples = requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);

    check(&mut Decoder::new(4096), &examples);
}

const FIRST_DATE: &str = "Mon, 21 Oct 2013 20:13:21 GMT";
const LATER_DATE: &str = "Mon, 21 Oct 2013 20:13:22 GMT";
const PLACE: &str = "https://www.example.com";
const COOKIE: &str = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";

/// The three responses of C.5, which C.6 has again.
fn responses(blocks: [&'static str; 3]) -> [Example; 3] {
    let [first, second, third] = blocks;
    [
        Example {
            block: first,
            fields: &[
                (":status", "302"),
                ("cache-control", "private"),
                ("date", FIRST_DATE),
                ("location", PLACE),
            ],
            table: &[
                ("location", PLACE),
                ("date", FIRST_DATE),
                ("cache-control", "private"),
                (":status", "302"),
            ],
            size: 222,
        },
        Example {
            block: second,
            fields: &[
                (":status", "307"),
                ("cache-control", "private"),
                ("date", FIRST_DATE),
                ("location", PLACE),
            ],
            table: &[
                (":status", "307"),
                ("location", PLACE),
                ("date", FIRST_DATE),
                ("cache-control", "private"),
            ],
            size: 222,
        },
        Example {
            block: third,
            fields: &[
                (":status", "200"),
                ("cache-control", "private"),
                ("date", LATER_DATE),
                ("location", PLACE),
                ("content-encoding", "gzip"),
                ("set-cookie", COOKIE),
            ],
            table: &[("set-cookie", COOKIE), ("content-encoding", "gzip"), ("date", LATER_DATE)],
            size: 215,
        },
    ]
}

/// A decoder whose table is of 256 bytes, as in C.5 and C.6.
fn small() -> Decoder {
    let mut decoder = Decoder::new(4096);
    // A change to 256: 31 in the prefix and 225 behind it.
    decode(&mut decoder, &[0x3f, 0xe1, 0x01]).unwrap();
    decoder
}

#[test]
fn c_5_responses_without_huffman_coding() {
    let examples = responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ]);

    check(&mut small(), &examples);
}

#[test]
fn c_6_responses_with_huffman_coding() {
    let examples = responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed
         4ee5 b106 3d50 07",
    ]);

    check(&mut small(), &examples);
}
