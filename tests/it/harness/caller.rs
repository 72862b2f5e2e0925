//! A caller: requests by HTTP/2 or HTTP/1.1, one after the other or many at once.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::app::joined;
use super::{Body, within};

/// Whoever sends requests to an address.
#[derive(Clone)]
pub(crate) enum Caller {
    /// All on one connection.
    Http2(http2::SendRequest<Body>),
    /// Each on its own.
    Http1(SocketAddr),
}

impl Caller {
    /// Connects.
    pub(crate) async fn http2(address: SocketAddr) -> Self {
        let stream = connect(address).await;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub(crate) fn http1(address: SocketAddr) -> Self {
        Self::Http1(address)
    }

    /// Begins a request.
    pub(crate) fn ask(&self, service: &str) -> Ask {
        let request = http::Request::new(Body::empty());
        Ask { caller: self.clone(), service: service.to_owned(), path: "/".to_owned(), request }
    }

    /// Sends a request; returns the answer as it comes.
    pub(crate) async fn send(
        &self,
        request: http::Request<Body>,
    ) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Self::Http2(sender) => sender.clone().send_request(request).await,
            Self::Http1(address) => {
                let stream = TokioIo::new(connect(*address).await);
                let (mut sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection.with_upgrades());
                sender.send_request(request).await
            }
        }
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within(TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A request in the making; awaited, it is sent and its answer read.
pub(crate) struct Ask {
    caller: Caller,
    service: String,
    path: String,
    request: http::Request<Body>,
}

impl Ask {
    /// Says whose request it is; the empty name is nobody.
    pub(crate) fn tenant(self, tenant: &str) -> Self {
        if tenant.is_empty() { self } else { self.header("x-tenant", tenant) }
    }

    /// Adds a field.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.request.headers_mut().append(name, value);
        self
    }

    pub(crate) fn method(mut self, method: http::Method) -> Self {
        *self.request.method_mut() = method;
        self
    }

    pub(crate) fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Sends `body` by POST.
    pub(crate) fn post(self, body: impl Into<Bytes>) -> Self {
        self.post_stream(Body::new(Full::new(body.into())))
    }

    /// Sends `body` by POST, as it comes.
    pub(crate) fn post_stream(mut self, body: Body) -> Self {
        *self.request.body_mut() = body;
        self.method(http::Method::POST)
    }

    /// Makes it a gRPC request, as far as its fields go.
    pub(crate) fn grpc(self) -> Self {
        let frame = Bytes::from_static(&[0; 5]);
        self.post(frame).header("content-type", "application/grpc").header("te", "trailers")
    }

    /// Sends the request; returns the answer as it comes.
    pub(crate) async fn send(mut self) -> hyper::Result<http::Response<Incoming>> {
        let uri = match &self.caller {
            Caller::Http2(_) => format!("http://{}{}", self.service, self.path),
            Caller::Http1(_) => self.path.clone(),
        };
        *self.request.uri_mut() = uri.parse().unwrap();
        if matches!(self.caller, Caller::Http1(_)) {
            self = Self { service: String::new(), ..self.named() };
        }
        self.caller.send(self.request).await
    }

    fn named(self) -> Self {
        let host = self.service.clone();
        self.header("host", &host)
    }

    /// Sends the request and reads its answer, or says why there is none.
    pub(crate) async fn attempt(self) -> hyper::Result<Answer> {
        let (head, body) = self.send().await?.into_parts();
        let body = body.collect().await?;
        let status = head.status.as_u16();
        Ok(Answer { status, headers: head.headers, body: body.to_bytes() })
    }
}

impl IntoFuture for Ask {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    #[track_caller]
    fn into_future(self) -> Self::IntoFuture {
        let attempt = within(self.attempt());
        Box::pin(async { attempt.await.unwrap() })
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the values of a header, joined by commas; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }

    /// Returns why the sidecar answered by itself; empty if it did not.
    pub(crate) fn reason(&self) -> String {
        self.header("x-dyelane-reason")
    }

    /// Returns the gRPC status of a trailers-only answer, with why.
    pub(crate) fn grpc(&self) -> (u16, String, String) {
        (self.status, self.header("grpc-status"), self.reason())
    }
}
