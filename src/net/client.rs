//! A small HTTP/1.1 client for what is no traffic: registries, peers, probes, operators' questions.
//!
//! It keeps one connection to one authority and sends one request at a time on it. A kept
//! connection that turns out to be closed before the request left is replaced once, unseen.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::net::{DialError, dial};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name has no address.
    #[error("cannot find the address of {authority}")]
    Resolve {
        /// What was looked up.
        authority: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody could be connected to.
    #[error("cannot connect to {authority}")]
    Connect {
        /// Who was meant.
        authority: String,
        /// Why not.
        source: DialError,
    },
    /// It took too long.
    #[error("{authority} does not answer within {limit:?}")]
    TimedOut {
        /// Who was asked.
        authority: String,
        /// The time there was.
        limit: Duration,
    },
    /// What came back is no HTTP, or breaks off.
    #[error("what listens at {authority} does not answer as HTTP does")]
    Protocol {
        /// Who was asked.
        authority: String,
        /// What was wrong.
        source: hyper::Error,
    },
    /// The body breaks off, or is longer than allowed.
    #[error("the answer of {authority} breaks off or is longer than {limit} bytes")]
    Body {
        /// Who was asked.
        authority: String,
        /// Longest body allowed.
        limit: usize,
    },
    /// The request cannot be written.
    #[error("{what:?} cannot be sent in a request")]
    Unsendable {
        /// What of it.
        what: String,
    },
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What bounds an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For a connection to be made.
    pub connect: Duration,
    /// For the whole answer, from then on.
    pub answer: Duration,
    /// Longest body of an answer, in bytes.
    pub body: usize,
}

/// Returns the field by which `user:password` is told (RFC 7617); none if it cannot be sent.
pub fn basic_credentials(user: &str) -> Option<HeaderValue> {
    let credentials = BASE64_STANDARD.encode(user);
    let mut value = HeaderValue::from_str(&format!("Basic {credentials}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A client of one authority: `host:port`, a name or an address.
#[derive(Debug)]
pub struct Client {
    authority: String,
    bounds: Bounds,
    kept: Option<Kept>,
}

/// A connection, and the task that drives it.
#[derive(Debug)]
struct Kept {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    /// A client of `authority`; nothing is connected yet.
    pub fn new(authority: impl Into<String>, bounds: Bounds) -> Self {
        Self { authority: authority.into(), bounds, kept: None }
    }

    /// Returns whom it asks.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends one request and reads its answer whole, within the bounds; `answer_within` replaces the
    /// bound of the answer, for long polls.
    ///
    /// Dropped half way, the connection is closed: the far side may have done what was asked.
    ///
    /// # Errors
    /// There is no answer, or none that can be read. An answer of any status is no error.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: HeaderMap,
        body: Bytes,
        answer_within: Option<Duration>,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(path).body(Full::new(body.clone()));
        let unsendable = |what: &str| ClientError::Unsendable { what: what.to_owned() };
        let request = request.as_mut().map_err(|_| unsendable(path))?;
        let host = HeaderValue::from_str(&self.authority);
        let host = host.map_err(|_| unsendable(&self.authority))?;
        request.headers_mut().extend(fields);
        request.headers_mut().insert(header::HOST, host);
        let limit = answer_within.unwrap_or(self.bounds.answer);
        let mut kept = self.kept.take().filter(|it| !it.sender.is_closed());
        if let Some(it) = &mut kept
            && it.sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut is_fresh = kept.is_none();
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let exchange = timeout(limit, self.exchange(&mut connection, request.clone())).await;
            let authority = || self.authority.clone();
            match exchange {
                Ok(Ok(answer)) => {
                    self.kept = Some(connection);
                    return Ok(answer);
                }
                Ok(Err(ClientError::Protocol { source, .. }))
                    if !is_fresh && source.is_canceled() =>
                {
                    // Closed while it was idle: nothing of the request left.
                    is_fresh = true;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(ClientError::TimedOut { authority: authority(), limit }),
            }
        }
    }

    /// Sends `GET path`.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn get(&mut self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, HeaderMap::new(), Bytes::new(), None).await
    }

    async fn exchange(
        &self,
        connection: &mut Kept,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError> {
        let sent = connection.sender.send_request(request).await;
        let (head, body) = sent.map_err(|source| self.protocol(source))?.into_parts();
        let limit = self.bounds.body;
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|_| ClientError::Body { authority: self.authority.clone(), limit });
        Ok(Answer { status: head.status, headers: head.headers, body: body?.to_bytes() })
    }

    async fn connect(&self) -> Result<Kept, ClientError> {
        let stream = self.dial().await?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|source| self.protocol(source))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a control connection broke");
            }
        });
        Ok(Kept { sender, _driver: AbortOnDropHandle::new(driver) })
    }

    /// Connects to the first of its addresses that takes the connection.
    async fn dial(&self) -> Result<TcpStream, ClientError> {
        let authority = || self.authority.clone();
        let limit = self.bounds.connect;
        let mut last = None;
        for address in self.addresses().await? {
            match dial(address, limit).await {
                Ok(stream) => return Ok(stream),
                Err(source) => last = Some(source),
            }
        }
        Err(match last {
            Some(source) => ClientError::Connect { authority: authority(), source },
            None => ClientError::Resolve {
                authority: authority(),
                source: io::Error::new(io::ErrorKind::NotFound, "it has no address"),
            },
        })
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, ClientError> {
        if let Ok(address) = self.authority.parse() {
            return Ok(vec![address]);
        }
        let authority = || self.authority.clone();
        let limit = self.bounds.connect;
        match timeout(limit, lookup_host(&self.authority)).await {
            Ok(Ok(found)) => Ok(found.take(8).collect()),
            Ok(Err(source)) => Err(ClientError::Resolve { authority: authority(), source }),
            Err(_) => Err(ClientError::TimedOut { authority: authority(), limit }),
        }
    }

    fn protocol(&self, source: hyper::Error) -> ClientError {
        ClientError::Protocol { authority: self.authority.clone(), source }
    }
}
