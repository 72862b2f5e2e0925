//! Nobody keeps a connection by doing nothing, or next to nothing.

use super::line::{Line, ONCE};
use super::wire::{Wire, field};
use crate::harness::side::{Side, table};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let line = Line::with("limits.header_timeout = '300ms'").await;
    let mut caller = line.caller().await;

    caller.send("GET / HTTP/1.1\r\nhost: a\r\nx-a: ").await;

    caller.ended().await;
    line.untouched("half a head").await;
}

#[tokio::test]
async fn a_later_head_is_timed_too() {
    let line = Line::with("limits.header_timeout = '300ms'").await;
    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send(OK).await;
    caller.until("hi").await;

    caller.send("GET / HT").await;

    caller.ended().await;
}

#[tokio::test]
async fn an_unused_connection_is_closed_on_either_side() {
    let line = Line::with(
        "limits.connection_idle = '1s'\nservices.\"caller.test\".connection_idle = '1s'",
    )
    .await;
    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send(OK).await;
    caller.until("hi").await;

    caller.ended().await;
    upstream.ended().await;
}

#[tokio::test]
async fn whoever_says_nothing_at_all_is_let_go() {
    let side = Side::start(table("limits.detect_timeout = '100ms'")).await;
    for begun in ["", "GE", "GET ", "PRI * HT"] {
        let mut caller = Wire::to(side.outbound()).await;

        caller.send(begun).await;

        caller.ended().await;
    }
}

#[tokio::test]
async fn bodies_that_stop_moving_are_broken_off() {
    let line = Line::with(&format!("{ONCE}\nservices.\"caller.test\".timeouts.idle = '1s'")).await;
    let begun = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello";

    let (mut caller, mut upstream, _) = line.request(begun).await;
    upstream.until("hello").await;
    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    caller.until("half").await;

    caller.ended().await;
    upstream.ended().await;
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_given_up() {
    let line = Line::with(&format!(
        "{ONCE}\nservices.\"caller.test\".timeouts = {{ connect = '100ms', head = '100ms' }}"
    ))
    .await;

    let (mut caller, mut upstream, _) = line.request(GET).await;
    upstream.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2").await;
    let answer = caller.head().await;

    upstream.ended().await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!(field(&answer, "x-dyelane-reason"), Some("deadline"));
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_let_go() {
    let line = Line::with(&format!("{ONCE}\nlimits.stall_timeout = '1s'")).await;
    let (caller, mut upstream, _) = line.request(GET).await;

    upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
    let piece = vec![b'x'; 1 << 20];
    // It takes what fits into buffers on the way, and then no more.
    for _ in 0..200 {
        upstream.try_send(&piece).await;
    }

    upstream.ended().await;
    drop(caller);
}
