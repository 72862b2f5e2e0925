//! Which protocol a connection speaks, by its first bytes.

/// The most bytes a decision takes: after that many it is never [`Detected::More`].
pub const DETECT_BYTES: usize = 64;

/// What the first line of an HTTP/2 connection's preface is (RFC 9113 section 3.4).
///
/// The rest of the preface is for the engine to check: a client that says this much and then
/// something else gets a GOAWAY from it, and HTTP/1.1 has no method of that name.
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// Longest HTTP/1.1 method we believe in.
const METHOD_BYTES: usize = 32;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detected {
    /// HTTP/2 with prior knowledge.
    Http2,
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// TLS.
    Tls,
    /// None of these.
    Opaque,
    /// Could still be any of them: read on. At the end of the input, or of our patience, it is
    /// none of them.
    More,
}

/// Tells what the connection speaks that begins with `input`.
///
/// Once it is decided, further bytes never change the answer.
pub fn detect(input: &[u8]) -> Detected {
    match input {
        [] | [0x16] => Detected::More,
        // A record of type handshake, version 3.x (RFC 8446 section 5.1).
        [0x16, 0x03, ..] => Detected::Tls,
        _ if input.starts_with(PREFACE_LINE) => Detected::Http2,
        _ if PREFACE_LINE.starts_with(input) => Detected::More,
        // One empty line before the request is to be ignored (RFC 9112 section 2.2).
        [b'\r'] => Detected::More,
        _ => request_line(input.strip_prefix(b"\r\n").unwrap_or(input)),
    }
}

/// Tells whether `line` is the beginning of an HTTP/1.1 request line.
fn request_line(line: &[u8]) -> Detected {
    let window = line.get(..=METHOD_BYTES).unwrap_or(line);
    let Some(end) = window.iter().position(|byte| !is_token(*byte)) else {
        return if line.len() > METHOD_BYTES { Detected::Opaque } else { Detected::More };
    };
    match line.split_at_checked(end) {
        Some((method @ [_, ..], [b' ', target @ ..])) => request_target(method, target),
        _ => Detected::Opaque,
    }
}

/// Tells whether `target` is the beginning of a request target (RFC 9112 section 3.2).
///
/// Other protocols write lines of words too (`get key`, `NICK me`), so a method alone is no proof.
fn request_target(method: &[u8], target: &[u8]) -> Detected {
    match target {
        [] | [b'*'] => Detected::More,
        [b'/', ..] | [b'*', b' ', ..] => Detected::Http1,
        [b'[' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z', ..] if method == b"CONNECT" => {
            Detected::Http1
        }
        _ => absolute_form(target),
    }
}

/// Tells whether `target` is the beginning of an absolute URI of our schemes.
fn absolute_form(target: &[u8]) -> Detected {
    let begins = |whole: &[u8], part: &[u8]| {
        whole.get(..part.len()).is_some_and(|it| it.eq_ignore_ascii_case(part))
    };
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    if schemes.iter().any(|scheme| begins(target, scheme)) {
        Detected::Http1
    } else if schemes.iter().any(|scheme| begins(scheme, target)) {
        Detected::More
    } else {
        Detected::Opaque
    }
}

/// Whether `byte` can be part of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_protocol_is_known_by_its_first_bytes() {
        let long_target = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
        let cases: &[(&[u8], Detected)] = &[
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::Http2),
            (b"PRI * HTTP/2.0\r\nnonsense", Detected::Http2),
            (b"GET / HTTP/1.1\r\n", Detected::Http1),
            (b"\r\nGET / HTTP/1.1\r\n", Detected::Http1),
            (b"PRI / HTTP/1.1\r\n", Detected::Http1),
            (b"PRI * HTTP/1.1\r\n", Detected::Http1),
            (b"OPTIONS * HTTP/1.1\r\n", Detected::Http1),
            (b"M-SEARCH * HTTP/1.1\r\n", Detected::Http1),
            (b"GET HTTP://example.com/ HTTP/1.1\r\n", Detected::Http1),
            (b"CONNECT example.com:443 HTTP/1.1\r\n", Detected::Http1),
            (b"CONNECT [::1]:443 HTTP/1.1\r\n", Detected::Http1),
            (long_target.as_bytes(), Detected::Http1),
            (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], Detected::Tls),
            (b"*1\r\n$4\r\nPING\r\n", Detected::Opaque),
            (b"get some-key\r\n", Detected::Opaque),
            (b"PING\r\n", Detected::Opaque),
            (b"NICK dyelane\r\n", Detected::Opaque),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", Detected::Opaque),
            (b" GET / HTTP/1.1\r\n", Detected::Opaque),
            (&[0x16, 0x04], Detected::Opaque),
            (&[0, 0, 0, 8, 4, 210, 22, 47], Detected::Opaque),
            ("é / HTTP/1.1".as_bytes(), Detected::Opaque),
        ];

        for (input, expected) in cases {
            assert_eq!(detect(input), *expected, "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn an_unfinished_beginning_asks_for_more() {
        let beginnings: &[&[u8]] = &[
            b"",
            b"\r",
            b"\r\n",
            b"P",
            b"PRI * HTTP/2.0\r",
            b"GET",
            b"GET ",
            b"OPTIONS *",
            b"GET hTtPs:/",
            &[0x16],
        ];

        for input in beginnings {
            assert_eq!(detect(input), Detected::More, "{}", String::from_utf8_lossy(input));
        }
    }

    /// Bytes that look like something, and bytes that do not.
    fn inputs() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            "PRI",
            " ",
            "*",
            "HTTP/2.0",
            "\r",
            "\n",
            "GET",
            "/",
            "http",
            "s",
            "://",
            "CONNECT",
            "x",
            "\u{16}",
            "\u{3}",
            "\r\n",
            "METHODMETHODMETHOD",
        ]);
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            prop::collection::vec(pieces, 0..12).prop_map(|it| it.concat().into_bytes()),
        ]
    }

    proptest! {
        #[test]
        fn however_the_input_is_split_the_answer_is_the_same(input in inputs()) {
            let first = (0..=input.len())
                .map(|length| detect(&input[..length]))
                .find(|it| *it != Detected::More);

            prop_assert_eq!(detect(&input), first.unwrap_or(Detected::More));
        }

        #[test]
        fn a_decision_takes_a_bounded_number_of_bytes(input in inputs()) {
            if detect(&input) == Detected::More {
                prop_assert!(input.len() < DETECT_BYTES);
            }
        }

        #[test]
        fn every_request_line_is_http1(method in "[A-Z]{1,32}", path in "/[!-~]{0,80}") {
            prop_assume!(method != "PRI");

            let line = format!("{method} {path} HTTP/1.1\r\n");

            prop_assert_eq!(detect(line.as_bytes()), Detected::Http1);
        }
    }
}
