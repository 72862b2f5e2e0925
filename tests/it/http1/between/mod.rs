//! Between the protocols: HTTP/2 callers and HTTP/1.1 upstreams, and the other way round.

mod back;
mod frames;
mod probes;
mod there;
mod websocket;

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::sync::mpsc;

use super::{Upstream, Wire};
use crate::harness::within;

/// Connects a caller that speaks HTTP/2.
pub(crate) async fn caller(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = Wire::to(address).await.stream;
    let (sender, connection) = within(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    within(sender.ready()).await.unwrap()
}

/// A request that came to an upstream, and the way back.
type Taken = (Request<RecvStream>, SendResponse<Bytes>);

/// An upstream that speaks HTTP/2, on one connection.
pub(crate) struct Http2 {
    requests: mpsc::UnboundedReceiver<Taken>,
}

impl Http2 {
    pub(crate) async fn accept(upstream: &Upstream) -> Self {
        let stream = upstream.accept().await.stream;
        let mut builder = h2::server::Builder::new();
        let handshake = builder.enable_connect_protocol().handshake(stream);
        let mut connection = within(handshake).await.unwrap();
        let (taken, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(request)) = connection.accept().await {
                let _ = taken.send(request);
            }
        });
        Self { requests }
    }

    /// Returns the next request.
    pub(crate) async fn request(&mut self) -> Taken {
        within(self.requests.recv()).await.unwrap()
    }
}

/// Reads a body to its end.
pub(crate) async fn whole(body: &mut RecvStream) -> Result<String, h2::Error> {
    let mut text = Vec::new();
    while let Some(bytes) = within(body.data()).await {
        let bytes = bytes?;
        let _ = body.flow_control().release_capacity(bytes.len());
        text.extend_from_slice(&bytes);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sends a request and returns the stream of its body and the answer to come.
pub(crate) fn send(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    end: bool,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    sender.send_request(request, end).unwrap()
}

/// Waits for an answer.
pub(crate) async fn answer(future: h2::client::ResponseFuture) -> Response<RecvStream> {
    within(future).await.unwrap()
}
