//! The engine and the `h2` crate, which share no line of code: each is the other's peer.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use dyelane::http::{End, Incoming, Pipe, connect, serve};
use dyelane::model::{Fields, ResponseHead};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::task::{JoinSet, spawn_local};

use super::engine::{OPTIONS, answer, local, read, request, sockets};
use crate::harness::within;

/// Sends a body as fast as the peer takes it.
async fn send(stream: &mut SendStream<Bytes>, mut body: Bytes, trailers: bool) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let piece = body.split_to(room.min(body.len()));
        stream.send_data(piece, body.is_empty() && !trailers).unwrap();
    }
    if trailers {
        let mut fields = HeaderMap::new();
        fields.insert("x-last", "yes".parse().unwrap());
        stream.send_trailers(fields).unwrap();
    }
}

/// Reads a body to its end, and says whether it had trailers.
async fn receive(stream: &mut RecvStream) -> Result<(Vec<u8>, bool), h2::Error> {
    let mut body = Vec::new();
    while let Some(bytes) = stream.data().await {
        let bytes = bytes?;
        let _ = stream.flow_control().release_capacity(bytes.len());
        body.extend_from_slice(&bytes);
    }
    Ok((body, stream.trailers().await?.is_some()))
}

fn large(seed: usize) -> Bytes {
    (0..300_000 + seed).map(|at| (at * seed).to_le_bytes()[0]).collect::<Vec<_>>().into()
}

fn post() -> Request<()> {
    Request::post("http://app.test/").body(()).unwrap()
}

/// An engine that echoes as it reads, trailers and all, and its independent client.
async fn echoing() -> (h2::client::SendRequest<Bytes>, dyelane::http::Server) {
    let (near, far) = sockets().await;
    let (server, driver) = serve(far, OPTIONS, |incoming: Incoming| {
        incoming.reply.answer(ResponseHead::new(200), incoming.body.clone());
    });
    spawn_local(driver);
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    spawn_local(async move { connection.await.unwrap() });
    (client, server)
}

#[tokio::test]
async fn an_independent_client_gets_back_all_it_sends() {
    local(async {
        let (client, _server) = echoing().await;
        let mut exchanges = JoinSet::new();
        for seed in 0..30 {
            let client = client.clone();
            exchanges.spawn_local(async move {
                let mut client = client.ready().await.unwrap();
                let (response, mut upload) = client.send_request(post(), false).unwrap();
                let trailers = seed % 2 == 0;
                let sending = send(&mut upload, large(seed), trailers);
                let receiving = async { receive(response.await.unwrap().body_mut()).await };
                let ((), received) = tokio::join!(sending, receiving);
                assert_eq!(received.unwrap(), (large(seed).to_vec(), trailers));
            });
        }
        while let Some(exchange) = within(exchanges.join_next()).await {
            exchange.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_independent_client_may_wait_for_each_word() {
    local(async {
        let (mut client, _server) = echoing().await;
        let (response, mut upload) = client.send_request(post(), false).unwrap();
        let mut response = within(response).await.unwrap();

        for round in 0..100_u8 {
            upload.send_data(Bytes::from(vec![round]), false).unwrap();
            let back = within(response.body_mut().data()).await.unwrap().unwrap();
            assert_eq!(back[..], [round]);
        }
        upload.send_data(Bytes::new(), true).unwrap();

        assert_eq!(within(receive(response.body_mut())).await.unwrap(), (Vec::new(), false));
    })
    .await;
}

#[tokio::test]
async fn an_independent_client_understands_a_drain() {
    local(async {
        let (near, far) = sockets().await;
        let (server, driver) = serve(far, OPTIONS, |incoming: Incoming| {
            incoming.reply.answer(ResponseHead::new(200), incoming.body.clone());
        });
        let ended = spawn_local(driver);
        let (mut client, connection) = h2::client::handshake(near).await.unwrap();
        let connection = spawn_local(connection);
        let (response, mut upload) = client.send_request(post(), false).unwrap();
        let mut response = within(response).await.unwrap();

        server.drain();
        while within(poll_fn(|cx| client.poll_ready(cx))).await.is_ok()
            && client.send_request(post(), true).is_ok()
        {
            tokio::task::yield_now().await;
        }
        let sending = send(&mut upload, large(1), false);
        let ((), received) = tokio::join!(sending, receive(response.body_mut()));

        assert_eq!(received.unwrap().0, large(1));
        drop((client, upload, response));
        within(connection).await.unwrap().unwrap();
        assert_eq!(within(ended).await.unwrap(), dyelane::http::Ended::Closed);
    })
    .await;
}

/// An independent server that treats each path in its own way, and the engine as its client.
async fn calling(builder: &h2::server::Builder) -> dyelane::http::Client {
    let (near, far) = sockets().await;
    let builder = builder.clone();
    spawn_local(async move {
        let mut connection = builder.handshake::<_, Bytes>(far).await.unwrap();
        while let Some(Ok((request, reply))) = connection.accept().await {
            spawn_local(treat(request, reply));
        }
    });
    let (client, driver) = connect(near, OPTIONS);
    spawn_local(driver);
    client
}

async fn treat(request: Request<RecvStream>, mut reply: h2::server::SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    match head.uri.path() {
        "/echo" => {
            let mut answer = reply.send_response(Response::new(()), false).unwrap();
            let (whole, trailers) = receive(&mut body).await.unwrap();
            send(&mut answer, whole.into(), trailers).await;
        }
        // Dropping the rest of the request makes h2 decline it.
        "/early" => {
            let mut answer = reply.send_response(Response::new(()), false).unwrap();
            send(&mut answer, large(1), false).await;
        }
        _ => reply.send_reset(h2::Reason::REFUSED_STREAM),
    }
}

#[tokio::test]
async fn an_independent_server_gives_back_all_it_is_sent() {
    for (window, streams) in [(65_535, 100), (1000, 100), (1 << 20, 3)] {
        local(async {
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(window).max_concurrent_streams(streams);
            let client = calling(&builder).await;
            let mut exchanges = JoinSet::new();
            for seed in 0..20 {
                let client = client.clone();
                exchanges.spawn_local(async move {
                    let mut head = request("POST");
                    head.path = "/echo".to_owned();
                    let mut trailers = Fields::default();
                    trailers.push(b"x-last", b"yes");
                    let body = Pipe::full(large(seed), Some(trailers.clone()));
                    let call = client.call(Rc::new(head), body);
                    assert_eq!(answer(&call).await.status, 200);
                    let received = read(&call.body).await;
                    assert_eq!(received.0, large(seed));
                    assert_eq!(received.1, End::Complete(Some(trailers)));
                });
            }
            while let Some(exchange) = within(exchanges.join_next()).await {
                exchange.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_independent_server_may_end_early_or_not_begin() {
    local(async {
        let client = calling(&h2::server::Builder::new()).await;
        let call = |path: &str| {
            let mut head = request("POST");
            head.path = path.to_owned();
            let upload = Pipe::new();
            upload.push(Bytes::from(vec![7; 200_000]));
            (client.call(Rc::new(head), upload.clone()), upload)
        };

        let (early, upload) = call("/early");
        let (refused, _) = call("/refused");

        assert_eq!(answer(&early).await.status, 200);
        assert_eq!(read(&early.body).await, (large(1).to_vec(), End::Complete(None)));
        within(poll_fn(|cx| upload.poll_closed(cx))).await;
        let refusal = super::engine::failure(&refused).await;
        assert_eq!(refusal, dyelane::http::CallError::Refused);
    })
    .await;
}
