//! HTTP/1.1 callers, HTTP/2 upstreams.

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{Http2, whole};
use crate::harness::side::Side;
use crate::harness::within;
use crate::http1::wire::{field, unchunked};
use crate::http1::{Upstream, Wire, before};

/// A caller by HTTP/1.1, an upstream that speaks HTTP/2, and the sidecar between.
async fn line() -> (Side, Upstream) {
    let upstream = Upstream::new().await;
    let side = before(&upstream, "h2", "defaults.retries.attempts = 1").await;
    (side, upstream)
}

#[tokio::test]
async fn a_request_goes_on_without_what_is_between_neighbours() {
    let (side, upstream) = line().await;
    let mut caller = Wire::to(side.inbound()).await;

    caller
        .send(
            "POST http://b.test/x?y HTTP/1.1\r\nHost: a.test\r\nConnection: x-mine, close\r\n\
             X-Mine: 1\r\nKeep-Alive: 1\r\nTE: gzip, trailers\r\nCookie: a=b\r\n\
             Transfer-Encoding: chunked\r\nTrailer: x-sum\r\nX-One: 1\r\n\r\n\
             5\r\nhello\r\n0\r\nx-sum: 1\r\nhost: c\r\n\r\n",
        )
        .await;
    let (request, mut reply) = Http2::accept(&upstream).await.request().await;
    let (head, mut body) = request.into_parts();
    let text = whole(&mut body).await.unwrap();
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    let response = Response::builder().header("content-length", "2").body(()).unwrap();
    let mut stream = reply.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(b"hi"), true).unwrap();
    let (answer, _) = caller.rest().await;

    assert_eq!(head.uri, "http://b.test/x?y");
    let mut names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cookie", "te", "trailer", "x-one"]);
    assert_eq!(text, "hello");
    assert_eq!(trailers.len(), 1, "{trailers:?}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
}

#[tokio::test]
async fn an_answer_is_whole_with_its_last_byte_though_its_end_comes_later() {
    let (side, upstream) = line().await;
    let mut caller = Wire::to(side.inbound()).await;
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    caller.send(get).await;
    let mut http2 = Http2::accept(&upstream).await;
    let (_, mut reply) = http2.request().await;
    let response = Response::builder().header("content-length", "2").body(()).unwrap();
    let mut stream = reply.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(b"hi"), false).unwrap();
    caller.until("hi").await;
    // The next request on both connections: the first was no break of either.
    caller.send(get).await;
    let (_, mut next) = http2.request().await;
    let ended = stream.send_data(Bytes::new(), true);
    let response = Response::builder().header("content-length", "0").body(()).unwrap();
    next.send_response(response, true).unwrap();
    let next = caller.head().await;

    assert!(ended.is_ok());
    assert!(next.starts_with("HTTP/1.1 200"), "{next}");
    let metrics = side.admin("/metrics").await.text();
    assert!(!metrics.contains("caller_left"), "{metrics}");
}

#[tokio::test]
async fn announced_trailers_and_interim_answers_reach_the_caller() {
    let (side, upstream) = line().await;
    let mut caller = Wire::to(side.inbound()).await;

    caller.send("GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n").await;
    let (_, mut reply) = Http2::accept(&upstream).await.request().await;
    let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
    reply.send_informational(hints).unwrap();
    let response = Response::builder().header("trailer", "x-end, grpc-status").body(()).unwrap();
    let mut stream = reply.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(b"hi"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-not", "1".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let (hints, head) = (caller.head().await, caller.head().await);
    let body = caller.until("\r\n\r\n").await;

    assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.ends_with("0\r\ngrpc-status: 0\r\n\r\n"), "{body}");
}

#[tokio::test]
async fn an_answer_that_is_reset_never_looks_whole() {
    let (side, upstream) = line().await;
    let mut http2 = None;
    for (version, length) in
        [("1.1", None), ("1.1", Some("10")), ("1.0", None), ("1.0", Some("10"))]
    {
        let mut caller = Wire::to(side.inbound()).await;
        let mut response = Response::builder();
        if let Some(length) = length {
            response = response.header("content-length", length);
        }

        caller.send(format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n")).await;
        if http2.is_none() {
            http2 = Some(Http2::accept(&upstream).await);
        }
        let (_, mut reply) = http2.as_mut().unwrap().request().await;
        let mut stream = reply.send_response(response.body(()).unwrap(), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        let head = caller.head().await;
        caller.until("half").await;
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
        let (rest, clean) = caller.rest().await;

        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
        let framed = field(&head, "transfer-encoding").or(field(&head, "content-length"));
        assert!(framed.is_some() || !clean, "HTTP/{version}: {head}{rest:?}");
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_is_reset() {
    let (side, upstream) = line().await;
    let mut caller = Wire::to(side.inbound()).await;

    caller
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        .await;
    let (request, _reply) = Http2::accept(&upstream).await.request().await;
    let mut body = request.into_body();
    drop(caller);

    assert!(whole(&mut body).await.is_err());
}

#[tokio::test]
async fn head_and_bodies_that_are_none_are_kept_apart() {
    let (side, upstream) = line().await;
    let mut caller = Wire::to(side.inbound()).await;

    caller.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut http2 = Http2::accept(&upstream).await;
    let (_, mut reply) = http2.request().await;
    let response = Response::builder().header("content-length", "9").body(()).unwrap();
    reply.send_response(response, true).unwrap();
    let first = caller.head().await;
    let (_, mut reply) = http2.request().await;
    let mut stream = reply.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(b"hi"), true).unwrap();
    let second = caller.head().await;
    let body = caller.until("0\r\n\r\n").await;

    assert_eq!(field(&first, "content-length"), Some("9"));
    assert_eq!(field(&second, "transfer-encoding"), Some("chunked"));
    assert_eq!(unchunked(&body), "hi");
}
