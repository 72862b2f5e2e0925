//! Requests over HTTP/2 that would be two requests, or others, at the next hop.

use super::frames::{End, Raw};
use super::{answer, caller, send};
use crate::http1::{Upstream, Wire, before};

type Fields<'a> = Vec<(&'a [u8], &'a [u8])>;

const PLAIN: [(&[u8], &[u8]); 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")];

/// A plain request with one pseudo-header field as given.
fn with<'a>(name: &'static [u8], value: &'a [u8]) -> Fields<'a> {
    PLAIN.iter().map(|(it, plain)| (*it, if *it == name { value } else { *plain })).collect()
}

/// A plain request with more fields.
fn and<'a>(more: &[(&'a [u8], &'a [u8])]) -> Fields<'a> {
    PLAIN.iter().chain(more).copied().collect()
}

fn odd_requests() -> Vec<Fields<'static>> {
    let paths: [&[u8]; 14] = [
        b"",
        b"x",
        b"*",
        b"/ HTTP/1.1\r\nhost: b\r\n\r\nGET /smuggled",
        b"/ HTTP/1.1",
        b"/\r\nx: y",
        b"/\n",
        b"/\0",
        b"/\t",
        b"/\x7f",
        b"/\xc3\xa9",
        b"/#fragment",
        b"http://b.test/",
        b" /",
    ];
    let authorities: [&[u8]; 7] = [b"a\r\nx: y", b"a b", b"a@b", b"a/b", b"a#b", b"a\0", b"a, b\n"];
    let methods: [&[u8]; 6] =
        [b"", b"GET / HTTP/1.1\r\nx: y\r\n\r\nGET", b"G T", b"GET\n", b"GET:", b"G\xc3\xa9T"];
    let schemes: [&[u8]; 3] = [b"ftp", b"http://b.test/?", b""];
    let names: [&[u8]; 12] = [
        b"",
        b"X-Upper",
        b"a b",
        b"a:b",
        b"a\r\nb",
        b"a\0",
        b"a: 1\r\nb",
        b"transfer-encoding\n",
        b"a(b)",
        b"\xc3\xa9",
        b":unknown",
        b"content-length ",
    ];
    let values: [&[u8]; 7] = [
        b"1\r\nb: 2",
        b"1\nb: 2",
        b"1\r",
        b"\0",
        b" 1",
        b"1\t",
        b"1\r\n\r\nGET /smuggled HTTP/1.1",
    ];
    let fields: [(&[u8], &[u8]); 18] = [
        (b"connection", b"x-tenant"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"transfer-encoding", b"identity"),
        (b"upgrade", b"websocket"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"te", b"gzip"),
        (b"te", b"trailers, chunked"),
        (b"host", b"b.test"),
        (b"content-length", b"+5"),
        (b"content-length", b"5, 5"),
        (b"content-length", b"-5"),
        (b"content-length", b""),
        (b"content-length", b"4"),
        (b"content-length", b"6"),
        (b"content-length", b"99999999999999999999"),
        (b":path", b"/late"),
    ];
    let mut odd: Vec<Fields<'static>> = Vec::new();
    odd.extend(paths.map(|it| with(b":path", it)));
    odd.extend(authorities.map(|it| with(b":authority", it)));
    odd.extend(methods.map(|it| with(b":method", it)));
    odd.extend(schemes.map(|it| with(b":scheme", it)));
    odd.extend(names.map(|it| and(&[(it, b"1")])));
    odd.extend(values.map(|it| and(&[(b"x-a", it)])));
    odd.extend(fields.map(|it| and(&[it])));
    odd.push(and(&[(b"content-length", b"5"), (b"content-length", b"5")]));
    odd.push(and(&[(b"host", b"a.test"), (b"host", b"a.test")]));
    odd.push(and(&[(b":path", b"/twice")]));
    odd.push(and(&[(b":protocol", b"websocket")]));
    odd
}

#[tokio::test]
async fn no_odd_request_reaches_an_upstream_of_either_protocol() {
    for protocol in ["http/1.1", "h2"] {
        let upstream = Upstream::new().await;
        let side = before(&upstream, protocol, "limits.resets = 10000").await;
        let mut caller = Raw::to(side.inbound()).await;
        for fields in odd_requests() {
            let shown: Vec<_> = fields
                .iter()
                .map(|(name, value)| {
                    (String::from_utf8_lossy(name), String::from_utf8_lossy(value))
                })
                .collect();
            let seen = tokio::select! {
                biased;
                end = caller.request(&fields, Some(b"hello")) => (end == End::Reset).then_some(()),
                _ = upstream.accept() => None,
            };

            assert_eq!(seen, Some(()), "{protocol}: {shown:?}");
        }
        // Nobody was called meanwhile but by ourselves.
        let mut mark = Wire::to(upstream.address()).await;
        mark.send("mark").await;
        assert_eq!(upstream.accept().await.bytes(4).await, "mark");
    }
}

#[tokio::test]
async fn a_length_without_a_body_is_refused() {
    for protocol in ["http/1.1", "h2"] {
        let upstream = Upstream::new().await;
        let side = before(&upstream, protocol, "").await;
        let mut caller = Raw::to(side.inbound()).await;
        for method in [&b"GET"[..], b"POST", b"HEAD"] {
            let mut fields = with(b":method", method);
            fields.push((b"content-length", b"44"));

            assert_eq!(caller.request(&fields, None).await, End::Reset);
        }
        let mut mark = Wire::to(upstream.address()).await;
        mark.send("mark").await;
        assert_eq!(upstream.accept().await.bytes(4).await, "mark");
    }
}

#[tokio::test]
async fn what_http1_cannot_say_is_refused() {
    let upstream = Upstream::new().await;
    let side = before(&upstream, "http/1.1", "").await;
    let mut caller = caller(side.inbound()).await;
    // The `http` crate would not take such a path for a caller either.
    let mut raw = Raw::to(side.inbound()).await;

    for path in [&b"/a<b"[..], b"/a`b", b"/a>b"] {
        assert_eq!(raw.request(&with(b":path", path), None).await, End::Answered);
    }
    let request = http::Request::get("http://a.test/").body(()).unwrap();
    let (response, _) = send(&mut caller, request, true);
    let mut wire = upstream.accept().await;
    let head = wire.head().await;
    wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;

    // The first that reached the upstream.
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert_eq!(answer(response).await.status(), 204);
}
