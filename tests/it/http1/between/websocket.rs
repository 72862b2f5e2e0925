//! Tunnels from one protocol to the other (RFC 8441, RFC 6455).

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{Method, Request, Response};

use super::{Http2, answer, caller, send, whole};
use crate::harness::within;
use crate::http1::line::{Line, ONCE};
use crate::http1::upgrade::proof;
use crate::http1::wire::field;
use crate::http1::{Upstream, Wire, before};

/// Connects a caller and waits until it knows that it may ask for a WebSocket.
async fn asker(line: &Line) -> SendRequest<Bytes> {
    let sender = caller(line.side.inbound()).await;
    let allowed = async {
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
    };
    within(allowed).await;
    sender
}

fn ask() -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.test/chat")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
}

/// Receives exactly so many bytes.
async fn bytes(body: &mut h2::RecvStream, count: usize) -> String {
    let mut text = String::new();
    while text.len() < count {
        let bytes = within(body.data()).await.unwrap().unwrap();
        let _ = body.flow_control().release_capacity(bytes.len());
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    text
}

#[tokio::test]
async fn a_caller_of_http2_reaches_an_upstream_of_http1() {
    let line = Line::new().await;
    let mut sender = asker(&line).await;

    let (response, mut out) = send(&mut sender, ask(), false);
    out.send_data(Bytes::from_static(b"ahead"), false).unwrap();
    let mut upstream = line.upstream.accept().await;
    let head = upstream.head().await;
    let proof = proof(field(&head, "sec-websocket-key").unwrap());
    let agreement = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {proof}\r\nsec-websocket-protocol: chat\r\n\r\nfirst"
    );
    upstream.send(agreement).await;
    let (agreed, mut body) = answer(response).await.into_parts();
    let first = bytes(&mut body, 5).await;
    let ahead = upstream.bytes(5).await;
    out.send_data(Bytes::from_static(b"last"), true).unwrap();
    let last = upstream.rest().await;
    upstream.send("bye").await;
    upstream.end().await;
    let bye = whole(&mut body).await.unwrap();

    assert!(head.starts_with("GET /chat HTTP/1.1\r\nhost: a.test\r\n"), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "connection"), Some("upgrade"));
    assert_eq!(field(&head, "sec-websocket-version"), Some("13"));
    assert_eq!(field(&head, "transfer-encoding"), None);
    assert_eq!(agreed.status, 200);
    assert_eq!(agreed.headers.get("sec-websocket-protocol").unwrap(), "chat");
    assert!(!agreed.headers.contains_key("sec-websocket-accept"), "{:?}", agreed.headers);
    assert_eq!((&*first, &*ahead), ("first", "ahead"));
    assert_eq!(last, ("last".to_owned(), true));
    assert_eq!(bye, "bye");
}

#[tokio::test]
async fn a_refusal_by_http1_is_never_an_agreement_by_http2() {
    let line = Line::with(ONCE).await;
    for (status, told) in [("403 Forbidden", 403), ("200 OK", 502), ("204 No Content", 502)] {
        let mut sender = asker(&line).await;

        let (response, _out) = send(&mut sender, ask(), false);
        let mut upstream = line.upstream.accept().await;
        upstream.head().await;
        upstream
            .send(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
            .await;

        assert_eq!(answer(response).await.status(), told);
    }
}

#[tokio::test]
async fn a_caller_that_resets_breaks_the_upstream_off() {
    let line = Line::new().await;
    let mut sender = asker(&line).await;
    let (response, mut out) = send(&mut sender, ask(), false);
    let mut upstream = line.upstream.accept().await;
    let head = upstream.head().await;
    let proof = proof(field(&head, "sec-websocket-key").unwrap());
    let agreement = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {proof}\r\n\r\n"
    );
    upstream.send(agreement).await;
    let _response = answer(response).await;

    out.send_reset(h2::Reason::CANCEL);

    assert!(!upstream.rest().await.1, "a break looks like an end");
}

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    sec-websocket-version: 13\r\n\r\n";

#[tokio::test]
async fn a_caller_of_http1_reaches_an_upstream_of_http2() {
    let upstream = Upstream::new().await;
    let side = before(&upstream, "h2", ONCE).await;
    let mut caller = Wire::to(side.inbound()).await;

    caller.send(format!("{WEBSOCKET}ahead")).await;
    let mut http2 = Http2::accept(&upstream).await;
    let (request, mut reply) = http2.request().await;
    let mut out = reply.send_response(Response::new(()), false).unwrap();
    let agreed = caller.head().await;
    let (head, mut body) = request.into_parts();
    let ahead = bytes(&mut body, 5).await;
    out.send_data(Bytes::from_static(b"hello"), true).unwrap();
    let hello = caller.rest().await;
    caller.send("last").await;
    caller.end().await;
    let last = whole(&mut body).await.unwrap();

    assert_eq!((head.method, head.uri.path()), (Method::CONNECT, "/chat"));
    assert_eq!(head.extensions.get::<Protocol>().unwrap().as_str(), "websocket");
    assert_eq!(head.headers.get("sec-websocket-version").unwrap(), "13");
    assert!(!head.headers.contains_key("sec-websocket-key"), "{:?}", head.headers);
    assert!(agreed.starts_with("HTTP/1.1 101"), "{agreed}");
    assert_eq!(field(&agreed, "upgrade"), Some("websocket"));
    assert_eq!(field(&agreed, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(ahead, "ahead");
    assert_eq!(hello, ("hello".to_owned(), true));
    assert_eq!(last, "last");
}

#[tokio::test]
async fn a_refusal_by_http2_is_an_answer_like_any_other() {
    let upstream = Upstream::new().await;
    let side = before(&upstream, "h2", ONCE).await;
    let mut caller = Wire::to(side.inbound()).await;

    caller.send(WEBSOCKET).await;
    let mut http2 = Http2::accept(&upstream).await;
    let (_, mut reply) = http2.request().await;
    let no = Response::builder().status(403).header("content-length", "2").body(()).unwrap();
    let mut out = reply.send_response(no, false).unwrap();
    out.send_data(Bytes::from_static(b"no"), true).unwrap();
    let answer = caller.until("no").await;
    caller.send("GET /next HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    let (next, _) = http2.request().await;

    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(next.uri().path(), "/next");
}
