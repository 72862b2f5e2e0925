//! Connections that are kept for the next request, and those that must not be.

use super::line::{Line, ONCE};
use super::wire::Wire;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// Sends a request on a connection that is there.
async fn again(caller: &mut Wire, upstream: &mut Wire, request: &str) -> String {
    caller.send(request).await;
    let head = upstream.head().await;
    upstream.send(OK).await;
    caller.head().await;
    caller.bytes(2).await;
    head
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_on_both_sides() {
    let line = Line::new().await;
    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send(OK).await;
    caller.until("hi").await;

    for _ in 0..3 {
        again(&mut caller, &mut upstream, GET).await;
    }
    let mut other = line.caller().await;
    again(&mut other, &mut upstream, GET).await;
}

#[tokio::test]
async fn at_once_each_request_has_its_own_connection() {
    let line = Line::new().await;

    let (mut one, mut first, _) = line.request(GET).await;
    let (mut other, mut second, _) = line.request(GET).await;
    second.send(OK.replace("hi", "b!")).await;
    other.until("b!").await;
    first.send(OK.replace("hi", "a!")).await;
    one.until("a!").await;
}

#[tokio::test]
async fn an_upstream_that_closes_is_called_anew() {
    let line = Line::new().await;
    for how in ["connection: close", "Connection: keep-alive, Close", "x-a: 1"] {
        let (mut caller, mut upstream, _) = line.request(GET).await;
        let answer = format!("HTTP/1.1 200 OK\r\n{how}\r\ncontent-length: 2\r\n\r\nhi");
        upstream.send(answer).await;
        caller.until("hi").await;
        drop(upstream);

        // Not even what may be sent only once is lost with the old connection.
        caller.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
        let mut upstream = line.upstream.accept().await;
        upstream.until("hello").await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await;
        let answer = caller.until("hi").await;

        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn what_an_upstream_says_out_of_turn_is_nobodys_answer() {
    let line = Line::with(ONCE).await;
    let surplus = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for answer in [
        format!("{OK}{surplus}"),
        format!("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{surplus}"),
        format!("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n{surplus}"),
    ] {
        let (mut caller, mut upstream, _) = line.request(GET).await;
        upstream.send(answer).await;
        caller.head().await;

        let (mut other, mut next, _) = line.request(GET).await;
        next.send(OK).await;
        other.until("hi").await;
        upstream.ended().await;
        next.reset();
        other.end().await;
    }
}

#[tokio::test]
async fn a_connection_with_an_unread_answer_is_not_used_again() {
    let line = Line::with(ONCE).await;
    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    caller.until("half").await;

    drop(caller);

    upstream.ended().await;
    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send(OK).await;
    caller.until("hi").await;
}

#[tokio::test]
async fn a_caller_that_leaves_before_its_answer_ends_the_request() {
    let line = Line::new().await;

    let (caller, mut upstream, _) = line.request(GET).await;
    drop(caller);
    upstream.ended().await;

    let (caller, mut upstream, _) = line.request(GET).await;
    caller.reset();
    upstream.ended().await;
}

#[tokio::test]
async fn a_caller_that_asks_to_close_is_let_go() {
    let line = Line::new().await;
    let closing = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    let (mut caller, mut upstream, _) = line.request(closing).await;
    upstream.send(OK).await;
    let (answer, clean) = caller.rest().await;

    assert!(answer.contains("connection: close\r\n") && answer.ends_with("hi"), "{answer}");
    assert!(clean);
    // The upstream was not asked to close.
    let mut other = line.caller().await;
    again(&mut other, &mut upstream, GET).await;
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_closes() {
    let line = Line::new().await;
    let (mut idle, mut first, _) = line.request(GET).await;
    first.send(OK).await;
    idle.until("hi").await;
    let (mut busy, mut upstream) = {
        let mut caller = line.caller().await;
        caller.send(GET).await;
        first.head().await;
        (caller, first)
    };
    let address = line.side.inbound();

    let stopping = tokio::spawn(line.side.stop());
    idle.ended().await;
    upstream.send(OK).await;
    let (answer, clean) = busy.rest().await;
    stopping.await.unwrap();

    // It says `connection: close`, unless it was made in the very moment of the drain.
    assert!(answer.ends_with("hi"), "{answer}");
    assert!(clean);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
