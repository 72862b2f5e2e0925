//! Connections that go on in another protocol.

use super::line::{Line, ONCE};
use super::wire::{Wire, field, much};

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    sec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\n\r\n";
/// The answer to the key above (RFC 6455 section 1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const OTHER: &str =
    "POST /exec HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
    upgrade: SPDY/3.1\r\n\r\n";

/// The proof that a key was understood.
pub(crate) fn proof(key: &str) -> String {
    use base64::Engine as _;
    use sha1::{Digest as _, Sha1};
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Agrees to a WebSocket.
async fn agree(upstream: &mut Wire, head: &str) {
    let proof = proof(field(head, "sec-websocket-key").unwrap());
    let agreement = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
    upstream.send(agreement).await;
}

/// A caller and an upstream that went on in another protocol.
async fn tunnel(line: &Line) -> (Wire, Wire) {
    let (mut caller, mut upstream, _) = line.request(OTHER).await;
    upstream.send(AGREED).await;
    caller.head().await;
    (caller, upstream)
}

#[tokio::test]
async fn a_websocket_is_agreed_on_hop_by_hop_and_carries_bytes_both_ways() {
    let line = Line::new().await;

    let (mut caller, mut upstream, head) = line.request(WEBSOCKET).await;
    agree(&mut upstream, &head).await;
    let answer = caller.head().await;
    upstream.send("server first").await;
    let first = caller.bytes(12).await;
    caller.send("then the caller").await;
    let second = upstream.bytes(15).await;

    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
    assert_eq!(field(&head, "sec-websocket-protocol"), Some("chat"));
    // The key is ours, so that the proof is to us.
    assert_ne!(field(&head, "sec-websocket-key"), field(WEBSOCKET, "sec-websocket-key"));
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(field(&answer, "upgrade"), Some("websocket"));
    assert_eq!(field(&answer, "connection"), Some("upgrade"));
    assert_eq!(field(&answer, "sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(field(&answer, "sec-websocket-protocol"), Some("chat"));
    assert_eq!((&*first, &*second), ("server first", "then the caller"));
}

#[tokio::test]
async fn nothing_goes_ahead_of_the_agreement() {
    let line = Line::new().await;
    let request = format!("{OTHER}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");

    let (mut caller, mut upstream, head) = line.request(&request).await;
    // The very next bytes after ours are what came ahead: it waited here.
    upstream.send(format!("{AGREED}first")).await;
    caller.until("first").await;
    let ahead = upstream.head().await;

    assert_eq!(
        head,
        "POST /exec HTTP/1.1\r\nhost: a\r\nupgrade: SPDY/3.1\r\nconnection: upgrade\r\n\
         content-length: 0\r\n\r\n"
    );
    assert!(ahead.starts_with("GET /smuggled"), "{ahead}");
}

#[tokio::test]
async fn a_refusal_is_an_answer_like_any_other() {
    let line = Line::new().await;
    for status in ["200 OK", "403 Forbidden", "426 Upgrade Required", "503 Service Unavailable"] {
        let request = format!("{OTHER}GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        let (mut caller, mut upstream, _) = line.request(&request).await;
        upstream.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno")).await;
        let answer = caller.until("no").await;
        // What was sent ahead is a request, on the same connections.
        let next = upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await;
        caller.until("hi").await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(field(&answer, "upgrade"), None);
        assert!(next.starts_with("GET /next"), "{next}");
    }
}

#[tokio::test]
async fn what_asks_for_no_other_protocol_properly_is_a_request_like_any_other() {
    let line = Line::new().await;
    for (request, body) in [
        ("GET / HTTP/1.1\r\nupgrade: websocket", ""),
        ("GET / HTTP/1.0\r\nconnection: upgrade\r\nupgrade: x", ""),
        ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c", ""),
        ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: HTTP/2.0", ""),
        ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: TLS/1.2", ""),
        ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x, y", ""),
        ("GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\nupgrade: y", ""),
        ("GET / HTTP/1.1\r\nconnection: upgrade", ""),
        ("POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket", ""),
        ("POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 2", "hi"),
    ] {
        let request = format!("{request}\r\nhost: a\r\n\r\n{body}");
        let (mut caller, mut upstream, head) = line.request(&request).await;
        let got = upstream.bytes(body.len()).await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await;
        let answer = caller.until("hi").await;

        assert!(head.starts_with(&request[..request.find("HTTP").unwrap()]), "{head}");
        assert_eq!((field(&head, "upgrade"), field(&head, "connection")), (None, None), "{head}");
        assert_eq!(got, body);
        assert!(answer.contains(" 200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn a_websocket_without_a_proper_key_is_refused() {
    let line = Line::new().await;
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for odd in ["", "sec-websocket-key: short\r\n", &format!("{key}{key}")] {
        line.refuses("400", WEBSOCKET.replace(key, odd)).await;
    }
}

#[tokio::test]
async fn an_agreement_to_something_else_is_none() {
    let line = Line::with(ONCE).await;
    for agreement in [
        "connection: upgrade\r\nupgrade: other",
        "connection: upgrade",
        "connection: upgrade\r\nupgrade: websocket",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: odd",
        "connection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ] {
        let (mut caller, mut upstream, _) = line.request(WEBSOCKET).await;
        upstream.try_send(format!("HTTP/1.1 101 Switching\r\n{agreement}\r\n\r\nleak")).await;
        let answer = caller.head().await;
        let (seen, _) = upstream.rest().await;

        assert!(answer.starts_with("HTTP/1.1 502"), "{agreement}: {answer}");
        assert_eq!(seen, "");
    }
}

#[tokio::test]
async fn an_end_leaves_the_other_way_open() {
    let line = Line::new().await;

    let (mut caller, mut upstream) = tunnel(&line).await;
    caller.send("all I say").await;
    caller.end().await;
    let heard = upstream.rest().await;
    upstream.send("and what I say to it").await;
    upstream.end().await;
    let answered = caller.rest().await;

    assert_eq!(heard, ("all I say".to_owned(), true));
    assert_eq!(answered, ("and what I say to it".to_owned(), true));
}

#[tokio::test]
async fn whoever_breaks_off_breaks_the_other_side_off() {
    let line = Line::new().await;

    let (caller, mut upstream) = tunnel(&line).await;
    caller.reset();
    let (_, clean) = upstream.rest().await;
    assert!(!clean);

    let (mut caller, upstream) = tunnel(&line).await;
    upstream.reset();
    let (_, clean) = caller.rest().await;
    assert!(!clean);
}

#[tokio::test]
async fn a_caller_that_leaves_while_the_answer_is_awaited_ends_the_request() {
    let line = Line::new().await;

    let (caller, mut upstream, _) = line.request(OTHER).await;
    drop(caller);

    upstream.ended().await;
}

#[tokio::test]
async fn much_goes_both_ways_at_once() {
    let line = Line::new().await;
    let (mut caller, mut upstream) = tunnel(&line).await;
    let much = much();

    let there = async {
        caller.send(&much).await;
        caller.end().await;
    };
    let (heard, ()) = tokio::join!(upstream.rest(), there);
    let back = async {
        upstream.send(&much).await;
        upstream.end().await;
    };
    let (answered, ()) = tokio::join!(caller.rest(), back);

    assert!(heard == (much.clone(), true));
    assert!(answered == (much, true));
}

#[tokio::test]
async fn a_tunnel_that_nothing_moves_in_is_broken_off() {
    let line = Line::with("services.\"caller.test\".timeouts.idle = '1s'").await;
    let (mut caller, mut upstream) = tunnel(&line).await;

    let (caller_ended, upstream_ended) = tokio::join!(caller.rest(), upstream.rest());

    assert!(!caller_ended.1 && !upstream_ended.1, "a break looks like an end");
}

#[tokio::test]
async fn draining_lets_what_goes_on_in_another_protocol_end() {
    let line = Line::new().await;
    let (mut caller, mut upstream) = tunnel(&line).await;
    let mut idle = line.caller().await;
    idle.send("GET / HT").await;

    let stopping = tokio::spawn(line.side.stop());
    caller.send("still here").await;
    let heard = upstream.bytes(10).await;
    caller.end().await;
    upstream.end().await;
    drop(idle);
    stopping.await.unwrap();

    assert_eq!(heard, "still here");
    assert_eq!(caller.rest().await, (String::new(), true));
}
