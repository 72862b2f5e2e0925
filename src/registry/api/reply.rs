//! One answer, written whole.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// An answer with its body: bytes that may be shared by thousands of answers.
pub type Reply = Response<Full<Bytes>>;

/// What [`json`] answers is.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What the answers to lost paths are, to the letter of what they are compared with.
pub const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");
/// What [`text`] answers is.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Says that what is read may be long gone: the registry protects itself. Else it is not sent.
pub const PROTECTED: HeaderName = HeaderName::from_static("dyelane-registry-protected");

/// Returns an answer of these bytes.
pub fn bytes(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// Returns an answer of plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    bytes(status, TEXT, body)
}

/// Returns an answer without a body, and without a type.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::default();
    *reply.status_mut() = status;
    reply
}

/// Returns `value` as JSON.
///
/// What cannot be written as JSON is a fault of ours and is answered by 503: no value of this
/// registry is such.
pub fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(status, JSON, body),
        Err(_) => overloaded(),
    }
}

/// Returns the answer of a node that cannot take this request now: 503, to be tried again in a
/// second.
pub fn overloaded() -> Reply {
    let mut reply = text(StatusCode::SERVICE_UNAVAILABLE, "overloaded, try again");
    reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}
