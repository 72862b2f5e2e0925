//! Where a message ends: nothing a peer sends may end in one place here and in another elsewhere.

use super::line::{Line, ONCE};
use super::wire::{field, unchunked};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_body_goes_on_as_it_was_framed() {
    let line = Line::new().await;
    for (fields, body, content) in [
        ("content-length: 5", "hello", "hello"),
        ("content-length: 5\r\ncontent-length: 5", "hello", "hello"),
        ("content-length: 0", "", ""),
        ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("transfer-encoding: \t chunkeD ", "1\r\nx\r\n0\r\n\r\n", "x"),
        ("transfer-encoding: chunked", "5;a=\"b\"\r\nhello\r\n00\r\n\r\n", "hello"),
        ("transfer-encoding: chunked", "5 \r\nhello\r\n0\r\nx: y\r\n\r\n", "hello"),
    ] {
        let (mut caller, mut upstream, head) = line.request(&post(fields, body)).await;
        let chunked = field(&head, "transfer-encoding") == Some("chunked");
        let got = if chunked {
            unchunked(&upstream.until("0\r\n\r\n").await)
        } else {
            upstream.bytes(content.len()).await
        };
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let answer = caller.head().await;

        assert_eq!(got, content, "{fields}");
        assert_eq!(chunked, fields.contains("chunke"), "{fields}");
        assert_eq!(head.matches("content-length").count(), usize::from(!chunked), "{head}");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_of_no_clear_length_is_refused() {
    let lines = Line::both("").await;
    for fields in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 5",
        "content-length: 5 5",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5.",
        "content-length:",
        "content-length: 99999999999999999999",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked\x0b",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding:",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        "transfer-encoding\x0b: chunked",
        "transfer-encoding\r\n : chunked",
    ] {
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        for line in &lines {
            line.refuses("400", post(fields, smuggled)).await;
        }
    }
}

#[tokio::test]
async fn an_old_caller_cannot_send_chunks() {
    let lines = Line::both("").await;

    for line in &lines {
        line.refuses("400", "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn of_two_lengths_the_chunks_count_and_the_connection_ends() {
    // RFC 9112 section 6.3 lets a server do so; hyper does.
    let line = Line::new().await;
    for fields in [
        "content-length: 30\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 30",
    ] {
        let body = "1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
        let (mut caller, mut upstream, head) = line.request(&post(fields, body)).await;
        let got = upstream.until("0\r\n\r\n").await;
        upstream.send(OK).await;
        let (answer, _) = caller.rest().await;

        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&head, "content-length"), None);
        assert_eq!(got, "1\r\nx\r\n0\r\n\r\n");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
        assert_eq!(field(&answer, "connection"), Some("close"));
        upstream.reset();
    }
}

#[tokio::test]
async fn chunks_against_the_rules_end_everything() {
    let line = Line::with(ONCE).await;
    for odd in [
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x5\r\nhello\r\n",
        "5 5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n",
        "ffffffffffffffffff\r\n",
        "5;a\nb\r\nhello\r\n",
        "0\r\nodd\0: 1\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
    ] {
        let begun = post("transfer-encoding: chunked", "5\r\nhello\r\n");
        let (mut caller, mut upstream, _) = line.request(&begun).await;
        let first = upstream.bytes(10).await;
        caller.send(odd).await;
        let (answer, _) = caller.rest().await;
        let (rest, _) = upstream.rest().await;

        assert_eq!(first, "5\r\nhello\r\n");
        assert!(answer.starts_with("HTTP/1.1 400"), "{odd:?}: {answer}");
        assert_eq!(field(&answer, "x-dyelane-reason"), Some("malformed"), "{odd:?}");
        assert!(!rest.ends_with("0\r\n\r\n"), "{odd:?} made {rest:?} of it");
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_turn() {
    let line = Line::new().await;
    let both =
        format!("{}GET /second HTTP/1.1\r\nhost: a\r\n\r\n", post("content-length: 2", "hi"));

    let (mut caller, mut upstream, _) = line.request(&both).await;
    let body = upstream.bytes(2).await;
    upstream.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    let second = upstream.head().await;
    upstream.send(OK).await;
    let answers = (caller.head().await, caller.head().await);

    assert_eq!(body, "hi");
    assert!(second.starts_with("GET /second "), "{second}");
    assert!(answers.0.starts_with("HTTP/1.1 201"));
    assert!(answers.1.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_answer_does_not_wait_for_what_was_sent_ahead() {
    let line = Line::new().await;
    let ahead = "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /half";

    let (mut caller, mut upstream, _) = line.request(ahead).await;
    upstream.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    caller.until("first").await;
    upstream.send("0\r\n\r\n").await;
    caller.until("0\r\n\r\n").await;
    caller.send(" HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let second = upstream.head().await;

    assert!(second.starts_with("GET /half "), "{second}");
}

#[tokio::test]
async fn answers_against_the_rules_are_not_passed_on() {
    let line = Line::with(ONCE).await;
    for odd in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx-a: \0\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let (mut caller, mut upstream, _) = line.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        upstream.try_send(odd).await;
        let answer = caller.head().await;
        let (rest, _) = upstream.rest().await;

        assert!(answer.starts_with("HTTP/1.1 502"), "{odd:?}: {answer}");
        assert_eq!(field(&answer, "x-dyelane-reason"), Some("interrupted"));
        assert_eq!(rest, "");
    }
}
