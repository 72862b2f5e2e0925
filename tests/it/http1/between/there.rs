//! HTTP/2 callers, HTTP/1.1 upstreams.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};

use super::{answer, caller, send, whole};
use crate::harness::within;
use crate::http1::line::{Line, ONCE};
use crate::http1::wire::{field, unchunked};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://a.test{path}"))
}

#[tokio::test]
async fn a_request_goes_on_byte_for_byte() {
    let line = Line::new().await;
    let mut sender = caller(line.side.inbound()).await;
    let request = request(Method::GET, "/a?b=c")
        .header("cookie", "a=b")
        .header("x-one", "1")
        .header("cookie", "c=d; e=f")
        .header("te", "trailers")
        .header("cookie", "g=h")
        .body(());

    let (response, _) = send(&mut sender, request.unwrap(), true);
    let mut upstream = line.upstream.accept().await;
    let head = upstream.head().await;
    upstream
        .send(
            "HTTP/1.1 404 Odd\r\nConnection: x-mine, close\r\nx-mine: 1\r\nkeep-alive: 1\r\n\
             Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi",
        )
        .await;
    let (head_back, mut body) = answer(response).await.into_parts();

    assert_eq!(
        head,
        "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\nx-one: 1\r\ncookie: a=b; c=d; e=f; g=h\r\n\
         te: trailers\r\nconnection: te\r\n\r\n"
    );
    assert_eq!(head_back.status, 404);
    let cookies: Vec<_> = head_back.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a", "b"]);
    assert_eq!(head_back.headers.len(), 3, "{:?}", head_back.headers);
    assert_eq!(whole(&mut body).await.unwrap(), "hi");
}

#[tokio::test]
async fn a_body_goes_on_with_its_length_or_in_chunks() {
    let line = Line::new().await;
    for (method, length) in
        [(Method::GET, false), (Method::GET, true), (Method::POST, false), (Method::POST, true)]
    {
        let mut sender = caller(line.side.inbound()).await;
        let mut request = request(method.clone(), "/");
        if length {
            request = request.header("content-length", "5");
        }

        let (response, mut body) = send(&mut sender, request.body(()).unwrap(), false);
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let mut upstream = line.upstream.accept().await;
        let head = upstream.head().await;
        let got = if length {
            upstream.bytes(5).await
        } else {
            unchunked(&upstream.until("0\r\n\r\n").await)
        };
        upstream.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;

        assert_eq!(got, "hello", "{method}");
        assert_eq!(field(&head, "content-length"), length.then_some("5"), "{head}");
        assert_eq!(field(&head, "transfer-encoding"), (!length).then_some("chunked"), "{head}");
        assert_eq!(answer(response).await.status(), 200);
    }
}

#[tokio::test]
async fn no_body_is_said_to_be_none_where_one_is_usual() {
    let line = Line::new().await;
    for (method, length) in [(Method::GET, None), (Method::DELETE, None), (Method::POST, Some("0"))]
    {
        let mut sender = caller(line.side.inbound()).await;

        let (response, _) = send(&mut sender, request(method, "/").body(()).unwrap(), true);
        let mut upstream = line.upstream.accept().await;
        let head = upstream.head().await;
        upstream.send("HTTP/1.1 204 No\r\nconnection: close\r\n\r\n").await;

        assert_eq!(field(&head, "content-length"), length);
        assert_eq!(field(&head, "transfer-encoding"), None);
        assert_eq!(answer(response).await.status(), 204);
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let line = Line::new().await;
    let mut sender = caller(line.side.inbound()).await;
    let request = request(Method::POST, "/").header("te", "trailers").header("trailer", "x-sum");

    let (response, mut body) = send(&mut sender, request.body(()).unwrap(), false);
    body.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    trailers.insert("x-unannounced", "2".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let mut upstream = line.upstream.accept().await;
    upstream.head().await;
    let got = upstream.until("\r\n\r\n").await;
    // Whatever an HTTP/1.1 upstream sends at the end, announced or not, HTTP/2 can carry.
    upstream
        .send(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: 3\r\n\r\n",
        )
        .await;
    let mut back = answer(response).await.into_body();

    assert!(got.ends_with("\r\n0\r\nx-sum: 1\r\n\r\n"), "{got}");
    assert_eq!(whole(&mut back).await.unwrap(), "hi");
    assert_eq!(within(back.trailers()).await.unwrap().unwrap()["x-end"], "3");
}

#[tokio::test]
async fn interim_answers_reach_the_caller() {
    let line = Line::new().await;
    let mut sender = caller(line.side.inbound()).await;
    let request = request(Method::POST, "/").header("expect", "100-continue").body(()).unwrap();

    let (mut response, mut body) = send(&mut sender, request, false);
    let mut upstream = line.upstream.accept().await;
    let head = upstream.head().await;
    upstream
        .send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        .await;
    let go_on = interim(&mut response).await;
    body.send_data(Bytes::from_static(b"hello"), true).unwrap();
    upstream.until("hello").await;
    upstream.send(OK).await;
    let hints = interim(&mut response).await;

    assert_eq!(field(&head, "expect"), Some("100-continue"));
    assert_eq!(go_on.status(), 100);
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &"</a>".parse().unwrap())
    );
    assert_eq!(answer(response).await.status(), 200);
}

async fn interim(response: &mut h2::client::ResponseFuture) -> http::Response<()> {
    within(std::future::poll_fn(|cx| response.poll_informational(cx))).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_answer_that_breaks_off_resets_its_stream() {
    let line = Line::with(ONCE).await;
    let mut sender = caller(line.side.inbound()).await;
    for begun in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let (response, _) = send(&mut sender, request(Method::GET, "/").body(()).unwrap(), true);
        let mut upstream = line.upstream.accept().await;
        upstream.head().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\n{begun}")).await;
        let mut body = answer(response).await.into_body();
        drop(upstream);

        assert!(whole(&mut body).await.is_err(), "{begun:?} looks whole");
    }
}

#[tokio::test]
async fn a_caller_that_resets_its_stream_ends_the_request() {
    let line = Line::new().await;
    let mut sender = caller(line.side.inbound()).await;

    let (_response, mut body) =
        send(&mut sender, request(Method::POST, "/").body(()).unwrap(), false);
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    let mut upstream = line.upstream.accept().await;
    upstream.until("half").await;
    body.send_reset(h2::Reason::CANCEL);
    let (rest, _) = upstream.rest().await;

    assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn old_upstreams_are_understood() {
    let line = Line::new().await;
    let mut sender = caller(line.side.inbound()).await;

    let (response, _) = send(&mut sender, request(Method::GET, "/").body(()).unwrap(), true);
    let mut upstream = line.upstream.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    drop(upstream);

    let mut body = answer(response).await.into_body();
    assert_eq!(whole(&mut body).await.unwrap(), "to the end");
}
