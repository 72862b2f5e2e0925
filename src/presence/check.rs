//! Asks somebody once how they are.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Probe, ProbeKind};
use crate::net;
use crate::net::{Bounds, Client, ClientError, DialError};

/// Longest body of an answer that is read, in bytes.
const BODY: usize = 64 << 10;
/// The gRPC status of a call that went well.
const OK: &str = "0";
/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: i32 = 1;
/// What stands before a gRPC message: not compressed, and its length.
const PREFIX: usize = 5;

/// Why somebody does not count as well.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nobody takes a connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// What takes it does not answer by HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] ClientError),
    /// What takes it does not answer by HTTP/2.
    #[error("does not answer as HTTP/2 does")]
    Http2(#[from] hyper::Error),
    /// It answers, with a status that says that it is not well.
    #[error("answers {0}")]
    Status(StatusCode),
    /// The health service is not there, or has failed.
    #[error("answers with gRPC status {0}")]
    Grpc(String),
    /// It says itself that it does not serve.
    #[error("says that it is not serving")]
    NotServing,
    /// What it answers is no answer of a health service.
    #[error("answers what no health service does")]
    Malformed,
    /// It took too long.
    #[error("does not answer within {0:?}")]
    TimedOut(Duration),
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks whoever is at `address` how they are, on a connection of its own, within the probe's timeout.
///
/// Cancel safe: dropping it abandons the question.
///
/// # Errors
/// Whoever is there is not well, or nobody is.
pub async fn check(probe: &Probe, address: SocketAddr) -> Result<(), CheckError> {
    let asking = async {
        match probe.kind {
            ProbeKind::Off => Ok(()),
            ProbeKind::Tcp => Ok(net::dial(address, probe.timeout).await.map(drop)?),
            ProbeKind::Http => by_http(probe, address).await,
            ProbeKind::Grpc => by_grpc(probe, address).await,
        }
    };
    timeout(probe.timeout, asking).await.unwrap_or(Err(CheckError::TimedOut(probe.timeout)))
}

async fn by_http(probe: &Probe, address: SocketAddr) -> Result<(), CheckError> {
    let bounds = Bounds { connect: probe.timeout, answer: probe.timeout, body: BODY };
    let status = match Client::new(address.to_string(), bounds).get(&probe.path).await {
        Ok(answer) => answer.status,
        Err(error) => return Err(error.into()),
    };
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(CheckError::Status(status))
}

async fn by_grpc(probe: &Probe, address: SocketAddr) -> Result<(), CheckError> {
    let stream = TokioIo::new(net::dial(address, probe.timeout).await?);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(question(&probe.service)));
    let request = request.map_err(|_| CheckError::Malformed)?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(CheckError::Status(head.status));
    }
    // An answer that is trailers only says it in its head.
    good(&head.headers)?;
    let body = Limited::new(body, BODY).collect().await.map_err(|_| CheckError::Malformed)?;
    match body.trailers() {
        Some(trailers) => good(trailers)?,
        None => return Err(CheckError::Malformed),
    }
    let body = body.to_bytes();
    let message = body.get(PREFIX..).ok_or(CheckError::Malformed)?;
    match HealthResponse::decode(message) {
        Ok(answer) if answer.status == SERVING => Ok(()),
        Ok(_) => Err(CheckError::NotServing),
        Err(_) => Err(CheckError::Malformed),
    }
}

/// The question about `service`, as gRPC frames it.
fn question(service: &str) -> Bytes {
    let message = HealthRequest { service: service.to_owned() }.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.put_slice(&message);
    framed.freeze()
}

/// Refuses a gRPC status that is there and not good.
fn good(fields: &HeaderMap) -> Result<(), CheckError> {
    match fields.get("grpc-status") {
        Some(status) if status != OK => {
            let status = String::from_utf8_lossy(status.as_bytes());
            Err(CheckError::Grpc(status.chars().take(16).collect()))
        }
        _ => Ok(()),
    }
}
