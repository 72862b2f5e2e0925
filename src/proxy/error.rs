//! Why the sidecar answers a request itself.

use std::io;
use std::net::SocketAddr;

use crate::http::CallError;
use crate::model::ServiceName;
use crate::net::DialError;
use crate::tenant::ClaimError;

/// Why the sidecar answers a request itself, or breaks it off.
///
/// One variant for each thing an operator can act on. A message tells only its own level; the
/// cause is in `source()`. What the caller sees is in the tables below, never a choice made at a
/// call site.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("no such service")]
    Unroutable,
    #[error("no instance of {service} for this tenant")]
    NoInstance { service: ServiceName },
    #[error("cannot connect to {address}")]
    Connect { address: SocketAddr, source: ConnectError },
    #[error("too many requests wait for a connection to {address}")]
    Pending { address: SocketAddr },
    #[error("{address} broke off before it answered")]
    Interrupted { address: SocketAddr, source: CallError },
    #[error("no answer in time")]
    Deadline,
    #[error("the tenant named by the request does not count")]
    Claim(#[from] ClaimError),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("the caller left")]
    CallerLeft,
}

/// Why there is no upstream connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("connection refused")]
    Refused,
    #[error("no connection in time")]
    TimedOut,
    #[error("closed before its HTTP/2 settings came")]
    NotHttp2,
    #[error("{0}")]
    Other(io::ErrorKind),
}

impl ConnectError {
    /// The failure in one word, for metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timeout",
            Self::NotHttp2 => "not_http2",
            Self::Other(_) => "other",
        }
    }
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Refused { .. } => Self::Refused,
            DialError::TimedOut { .. } => Self::TimedOut,
            DialError::Other { source, .. } => Self::Other(source.kind()),
        }
    }
}

/// What a caller is told: an HTTP status, and the gRPC status that says the same.
pub(super) struct Told {
    pub(super) http: u16,
    pub(super) grpc: u8,
    /// One short line, without our internals.
    pub(super) line: &'static str,
}

impl ProxyError {
    /// The metric label, and `x-dyelane-reason`.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Unroutable => "unroutable",
            Self::NoInstance { .. } => "no_instance",
            Self::Connect { .. } | Self::Pending { .. } => "connect",
            Self::Interrupted { .. } => "interrupted",
            Self::Deadline => "deadline",
            Self::Claim(_) => "claim",
            Self::Malformed(_) => "malformed",
            Self::CallerLeft => "caller_left",
        }
    }

    pub(super) fn told(&self) -> Told {
        let (http, grpc, line) = match self {
            Self::Unroutable => (404, 12, "no such service"),
            Self::NoInstance { .. } => (503, 14, "no instance for this tenant"),
            Self::Connect { .. } => (503, 14, "cannot connect"),
            Self::Pending { .. } => (503, 14, "too many requests wait for a connection"),
            Self::Interrupted { .. } => (502, 14, "the service broke off"),
            Self::Deadline => (504, 4, "no answer in time"),
            Self::Claim(_) => (400, 3, "malformed or contradictory tenant"),
            Self::Malformed(line) => (400, 13, *line),
            // Nobody reads it; the status is the access log's.
            Self::CallerLeft => (499, 1, "the caller left"),
        };
        Told { http, grpc, line }
    }
}
