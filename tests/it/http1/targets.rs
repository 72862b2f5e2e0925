//! What a request is for: methods, targets, hosts, names and values.

use super::line::Line;
use super::wire::field;

#[tokio::test]
async fn a_plain_request_goes_on_as_it_came() {
    let line = Line::new().await;

    let (mut caller, mut upstream, head) = line
        .request("GET /a/b?c=d%20e HTTP/1.1\r\nHost: app.test:80\r\nX-One: 1\r\nx-One: 2\r\n\r\n")
        .await;
    upstream.send("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi").await;
    let answer = caller.head().await;
    let body = caller.bytes(2).await;

    assert_eq!(
        head,
        "GET /a/b?c=d%20e HTTP/1.1\r\nhost: app.test:80\r\nx-one: 1\r\nx-one: 2\r\n\r\n"
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\r\nx-a: 2\r\n"));
    assert_eq!(body, "hi");
}

#[tokio::test]
async fn each_form_of_target_becomes_a_path_and_a_host() {
    let line = Line::new().await;
    for (first_line, host, sent, host_sent) in [
        ("GET http://b.test/x?y HTTP/1.1", "a.test", "GET /x?y HTTP/1.1", "b.test"),
        ("GET http://b.test:81 HTTP/1.1", "b.test:81", "GET / HTTP/1.1", "b.test:81"),
        ("GET http://b.test?q HTTP/1.1", "a.test", "GET /?q HTTP/1.1", "b.test"),
        ("GET HTTP://b.test/ HTTP/1.1", "", "GET / HTTP/1.1", "b.test"),
        ("OPTIONS * HTTP/1.1", "a.test", "OPTIONS * HTTP/1.1", "a.test"),
        ("GET //b.test/x HTTP/1.1", "a.test", "GET //b.test/x HTTP/1.1", "a.test"),
        ("GET /a?b=http://c/?d HTTP/1.1", "a.test", "GET /a?b=http://c/?d HTTP/1.1", "a.test"),
        ("M-SEARCH /%00%0d%0a HTTP/1.1", "a.test", "M-SEARCH /%00%0d%0a HTTP/1.1", "a.test"),
        ("GET / HTTP/1.1", "[::1]:80", "GET / HTTP/1.1", "[::1]:80"),
        // hyper drops a fragment, which has no business in a target.
        ("GET /a#b HTTP/1.1", "a.test", "GET /a HTTP/1.1", "a.test"),
    ] {
        let request = format!("{first_line}\r\nhost: {host}\r\n\r\n");
        let (_caller, _upstream, head) = line.request(&request).await;

        assert_eq!(head, format!("{sent}\r\nhost: {host_sent}\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_request_for_nobody_or_for_two_is_refused() {
    let lines = Line::both("").await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: é\r\n\r\n",
        "GET http://a@b/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET http:///x HTTP/1.1\r\nhost: b\r\n\r\n",
        "CONNECT b.test:443 HTTP/1.1\r\nhost: b.test:443\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /é HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a\x7f HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a\tb HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
        "GET / http/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
    ] {
        for line in &lines {
            line.refuses("400", request).await;
        }
    }
}

#[tokio::test]
async fn targets_that_only_a_later_request_can_have_are_refused_there() {
    // As a connection's first bytes they are not taken for HTTP/1.1 at all.
    let line = Line::new().await;
    for target in ["b.test:80", "b.test", "ftp://b.test/", "a/b", "?x"] {
        let (mut caller, mut upstream, _) = line.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        caller.head().await;

        caller.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;

        let (answer, _) = caller.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        line.untouched(target).await;
    }
}

#[tokio::test]
async fn odd_names_and_values_are_refused() {
    let lines = Line::both("").await;
    for odd in [
        "x-a : 1",
        " x-a: 1",
        "x a: 1",
        "x-a: 1\r\n 2",
        "x-a: 1\r\n\t2",
        "x-a: 1\0",
        "x-a: \x7f",
        "x-a: 1\x0b",
        "x-a: 1\rx-b: 2",
        "x-é: 1",
        "x(a): 1",
        ": 1",
        "x-a",
        "x-a\0: 1",
    ] {
        for line in &lines {
            line.refuses("400", format!("GET / HTTP/1.1\r\nhost: a\r\n{odd}\r\n\r\n")).await;
        }
    }
    for line in &lines {
        line.refuses("400", "GET / HTTP/1.1\r\n x-a: 1\r\nhost: a\r\n\r\n").await;
    }
}

#[tokio::test]
async fn lines_may_end_in_a_bare_line_feed_and_go_on_as_they_should() {
    // RFC 9112 section 2.2 lets a recipient take it; hyper does.
    let line = Line::new().await;

    let (_caller, _upstream, head) = line.request("GET / HTTP/1.1\nhost: a\nx-a: 1\n\n").await;

    assert_eq!(head, "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n\r\n");
}

#[tokio::test]
async fn what_is_between_neighbours_stays_between_them() {
    let line = Line::new().await;

    let (mut caller, mut upstream, head) = line
        .request(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, X-Mine, x-tenant, host, baggage\r\n\
             connection: content-length\r\nx-mine: 1\r\nkeep-alive: 5\r\nproxy-connection: x\r\n\
             te: gzip\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\nx-tenant: alice\r\n\
             baggage: a=b\r\nx-other: 1\r\n\r\n",
        )
        .await;
    upstream
        .send(
            "HTTP/1.1 200 OK\r\nconnection: x-mine\r\nx-mine: 1\r\nkeep-alive: 5\r\n\
             upgrade: h2c\r\nx-other: 1\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
    let (answer, _) = caller.rest().await;

    assert_eq!(field(&head, "x-tenant"), Some("alice"));
    assert_eq!(field(&head, "baggage"), Some("a=b,tenant=alice"));
    assert_eq!(field(&head, "x-other"), Some("1"));
    let gone = ["connection", "x-mine", "keep-alive", "proxy-connection", "te", "upgrade"];
    for name in gone.iter().chain(&["http2-settings"]) {
        assert_eq!(field(&head, name), None, "{head}");
    }
    assert_eq!(field(&answer, "connection"), Some("close"));
    assert_eq!(field(&answer, "x-other"), Some("1"));
    for name in ["x-mine", "keep-alive", "upgrade"] {
        assert_eq!(field(&answer, name), None, "{answer}");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_as_such() {
    let lines = Line::both("limits = { header_list = '8KiB', header_fields = 20 }").await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "v".repeat(9_000));
    let longer = format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "v".repeat(90_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-a: 1\r\n".repeat(30));
    // Within hyper's limits, which count no 32 bytes for each field.
    let small = format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "v".repeat(8_000));

    for request in [long, longer, many] {
        for line in &lines {
            line.refuses("431", &request).await;
        }
    }
    for line in &lines {
        line.refuses("431", small.replace("x-a", "x-a: 1\r\nx-b: 2\r\nx-c: 3\r\nx-d")).await;
    }
}

#[tokio::test]
async fn an_old_caller_needs_no_host_and_gets_an_end_by_closing() {
    let line = Line::new().await;

    let (mut caller, mut wire, head) = line.request("GET / HTTP/1.0\r\n\r\n").await;
    wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n").await;
    let (answer, clean) = caller.rest().await;

    assert_eq!(head, "GET / HTTP/1.1\r\nhost: \r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert_eq!(field(&answer, "transfer-encoding"), None);
    assert!(clean);
}
