//! One HTTP/1.1 request and its answer: how the operator's verbs ask a running sidecar.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the whole answer may take from then on.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest answer, in bytes.
const LIMIT: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("nothing listens at {0}")]
    Refused(SocketAddr),
    #[error("cannot connect to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("{0} does not answer in time")]
    Timeout(SocketAddr),
    #[error("what listens at {address} does not answer as HTTP does")]
    Protocol { address: SocketAddr, source: hyper::Error },
    #[error("the answer of {0} breaks off or is longer than 64 MiB")]
    Body(SocketAddr),
    #[error("{what:?} cannot be sent in a request")]
    Unsendable { what: String },
}

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its body.
    pub(super) body: Bytes,
}

impl Answer {
    /// Returns the body as text; what is no UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `GET path` to `address`, for the host `authority`, on a connection of its own.
pub(super) async fn get(
    address: SocketAddr,
    authority: &str,
    path: &str,
    fields: HeaderMap,
) -> Result<Answer, FetchError> {
    let mut request = request(authority, path)?;
    request.headers_mut().extend(fields);
    let stream = match timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(FetchError::Refused(address));
        }
        Ok(Err(source)) => return Err(FetchError::Connect { address, source }),
        Err(_) => return Err(FetchError::Timeout(address)),
    };
    let answer = timeout(ANSWER, exchange(address, stream, request)).await;
    answer.map_err(|_| FetchError::Timeout(address))?
}

/// The request; refuses what no request line or field can hold.
fn request(authority: &str, path: &str) -> Result<Request<Empty<Bytes>>, FetchError> {
    let unsendable = |what: &str| FetchError::Unsendable { what: what.to_owned() };
    let host = HeaderValue::from_str(authority).map_err(|_| unsendable(authority))?;
    let request = Request::get(path).header(header::HOST, host).body(Empty::new());
    request.map_err(|_| unsendable(path))
}

/// Sends the request and reads the answer to its end.
async fn exchange(
    address: SocketAddr,
    stream: TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, FetchError> {
    let failed = |source| FetchError::Protocol { address, source };
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
    let answering = async {
        let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        let body = Limited::new(body, LIMIT).collect().await;
        let body = body.map_err(|_| FetchError::Body(address))?.to_bytes();
        Ok(Answer { status: head.status, body })
    };
    // The connection is driven beside the exchange, and dropped with it.
    let driving = async {
        let _ = connection.await;
        std::future::pending::<Result<Answer, FetchError>>().await
    };
    tokio::select! {
        answer = answering => answer,
        never = driving => never,
    }
}
