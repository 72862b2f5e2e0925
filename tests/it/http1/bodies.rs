//! Bodies and what comes with them: expectations, trailers, ends and breaks.

use super::line::{Line, ONCE};
use super::wire::{Upstream, Wire, field, much, unchunked};
use crate::harness::side::{Side, table};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn much_goes_both_ways_byte_for_byte() {
    let line = Line::new().await;
    let much = much();
    let length = much.len();
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");

    let (mut caller, mut upstream, _) = line.request(&head).await;
    let there = tokio::join!(caller.send(&much), upstream.bytes(length)).1;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let size = format!("{length:x}\r\n");
    let answer = async {
        upstream.send(size).await;
        upstream.send(&much).await;
        upstream.send("\r\n0\r\n\r\n").await;
    };
    let back = tokio::join!(answer, caller.until("\r\n0\r\n\r\n")).1;

    assert!(there == much);
    let (_, chunks) = back.split_once("\r\n\r\n").unwrap();
    assert!(unchunked(chunks) == much);
}

#[tokio::test]
async fn a_get_may_have_a_body() {
    let line = Line::new().await;

    let (mut caller, mut upstream, head) = line
        .request(
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        )
        .await;
    let body = upstream.bytes(12).await;
    upstream.send(OK).await;
    caller.until("hi").await;

    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(body, "2\r\nhi\r\n0\r\n\r\n");
}

#[tokio::test]
async fn whoever_expects_100_is_told_to_go_on_once() {
    let line = Line::new().await;
    let mut caller = line.caller().await;

    caller
        .send("PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    let go_on = caller.head().await;
    caller.send("hi").await;
    let mut upstream = line.upstream.accept().await;
    let head = upstream.head().await;
    upstream.bytes(2).await;
    upstream.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n").await;
    let hints = caller.head().await;
    upstream.send(OK).await;
    let answer = caller.until("hi").await;

    assert_eq!(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert_eq!(field(&head, "expect"), None);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn announced_trailers_go_both_ways() {
    let line = Line::new().await;

    let (mut caller, mut upstream, head) = line
        .request(
            "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\nx-not: 2\r\n\
             content-length: 3\r\nhost: b\r\n\r\n",
        )
        .await;
    let body = upstream.until("\r\n\r\n").await;
    upstream
        .send(
            "HTTP/1.1 200 OK\r\ntrailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nho\r\n0\r\nx-end: 3\r\nx-not: 4\r\n\r\n",
        )
        .await;
    caller.head().await;
    let answer = caller.until("\r\n\r\n").await;

    assert_eq!((field(&head, "te"), field(&head, "connection")), (Some("trailers"), Some("te")));
    assert_eq!(body, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(answer, "2\r\nho\r\n0\r\nx-end: 3\r\n\r\n");
}

#[tokio::test]
async fn answers_without_a_body_have_none_whatever_they_say() {
    let line = Line::new().await;
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\ncontent-length: 5\r\n\r\n", Some("5")),
        ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n", None),
        ("GET", "204 No Content\r\n\r\n", None),
        ("GET", "204 No Content\r\nx-a: 1\r\n\r\n", None),
        ("GET", "304 Not Modified\r\netag: x\r\n\r\n", None),
    ] {
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n");
        let (mut caller, mut upstream, _) = line.request(&request).await;
        upstream.send(format!("HTTP/1.1 {answer}")).await;
        let head = caller.head().await;
        // The very next bytes are those of the next answer, on the same two connections.
        caller.send(GET).await;
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await;
        let next = caller.until("hi").await;

        assert_eq!(field(&head, "content-length"), length, "{method} {head}");
        assert!(next.starts_with("HTTP/1.1 200"), "{next}");
    }
}

#[tokio::test]
async fn our_own_answers_to_head_are_whole() {
    let side = Side::start(table("log.access.enabled = false")).await;
    let mut caller = Wire::to(side.outbound()).await;

    caller.send("HEAD / HTTP/1.1\r\nhost: nobody.test\r\n\r\n").await;
    let head = caller.head().await;
    caller.send("GET / HTTP/1.1\r\nhost: nobody.test\r\n\r\n").await;
    let next = caller.head().await;

    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    assert_eq!(field(&head, "content-length"), field(&next, "content-length"));
    assert_eq!(field(&head, "x-dyelane-reason"), Some("unroutable"));
    assert!(next.starts_with("HTTP/1.1 404"), "{next}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let line = Line::with(ONCE).await;
    for version in ["1.1", "1.0"] {
        for begun in [
            "content-length: 10\r\n\r\nhalf",
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "transfer-encoding: chunked\r\n\r\n9\r\nhalf",
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
        ] {
            let request = format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n");
            let (mut caller, mut upstream, _) = line.request(&request).await;
            upstream.send(format!("HTTP/1.1 200 OK\r\n{begun}")).await;
            let head = caller.head().await;
            drop(upstream);
            let (rest, clean) = caller.rest().await;

            assert!(!rest.ends_with("0\r\n\r\n"), "{begun:?}: {rest:?}");
            let framed = head.contains("content-length: 10") || head.contains("chunked");
            assert!(framed || !clean, "HTTP/{version}, {begun:?}: {rest:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let line = Line::new().await;

    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    caller.until("to the end").await;
    drop(upstream);
    let end = caller.until("0\r\n\r\n").await;

    assert_eq!(end, "\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_answer_without_a_length_that_breaks_off_never_looks_whole() {
    let line = Line::with(ONCE).await;

    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send("HTTP/1.0 200 OK\r\n\r\nhalf").await;
    caller.until("half").await;
    upstream.reset();
    let (rest, _) = caller.rest().await;

    assert_eq!(rest, "\r\n");
}

#[tokio::test]
async fn a_request_that_breaks_off_never_looks_whole() {
    let line = Line::with(ONCE).await;
    for begun in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\n{begun}");
        let (caller, mut upstream, _) = line.request(&request).await;
        upstream.until("half").await;
        drop(caller);
        let (rest, _) = upstream.rest().await;

        assert!(rest.is_empty() || rest == "\r\n", "{begun:?}: {rest:?}");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_whole() {
    let line = Line::new().await;
    let begun = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello";

    let (mut caller, mut upstream, _) = line.request(begun).await;
    upstream.bytes(5).await;
    upstream.send(OK).await;
    caller.until("hi").await;
    caller.send("world").await;
    let rest = upstream.bytes(5).await;
    caller.send(GET).await;
    upstream.head().await;
    upstream.send(OK).await;
    caller.until("hi").await;

    assert_eq!(rest, "world");
}

#[tokio::test]
async fn an_upstream_that_answers_early_and_leaves_ends_the_request() {
    let line = Line::with(ONCE).await;
    let begun = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";

    let (mut caller, mut upstream, _) = line.request(begun).await;
    upstream.until("hello").await;
    upstream
        .send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        .await;
    caller.until("hi").await;
    drop(upstream);
    let (rest, _) = caller.rest().await;

    assert_eq!(rest, "");
}

#[tokio::test]
async fn both_bodies_may_be_under_way_at_once() {
    let line = Line::new().await;
    let begun = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

    let (mut caller, mut upstream, _) = line.request(begun).await;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    caller.head().await;
    for _ in 0..3 {
        caller.send("4\r\nping\r\n").await;
        upstream.until("4\r\nping\r\n").await;
        upstream.send("4\r\npong\r\n").await;
        caller.until("4\r\npong\r\n").await;
    }
    caller.send("0\r\n\r\n").await;
    upstream.until("0\r\n\r\n").await;
    upstream.send("0\r\n\r\n").await;
    caller.until("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_retry_sends_the_whole_body_again_and_to_one_reader_only() {
    let (one, other) = (Upstream::new().await, Upstream::new().await);
    let side = Side::start(table(&format!(
        "services.s = {{ protocol = 'http/1.1', retries = {{ on = ['503'] }},
         instances = [{{ address = '{}' }}, {{ address = '{}' }}] }}",
        one.address(),
        other.address()
    )))
    .await;
    let mut caller = Wire::to(side.outbound()).await;

    // The first to get it says no before it has all of it.
    caller.send("PUT / HTTP/1.1\r\nhost: s\r\ncontent-length: 10\r\n\r\nhello").await;
    let (mut first, second) = tokio::select! {
        wire = one.accept() => (wire, &other),
        wire = other.accept() => (wire, &one),
    };
    first.until("hello").await;
    first.send("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
    let mut second = second.accept().await;
    caller.send("world").await;
    let body = second.until("world").await;
    second.send(OK).await;
    let answer = caller.until("hi").await;

    assert!(body.ends_with("\r\n\r\nhelloworld"), "{body}");
    first.ended().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
