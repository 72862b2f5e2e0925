//! What every answer of this dialect is wrapped in.
//!
//! The HTTP status is 200 whatever the verdict, which is the `code` in the body and again in the
//! header `kratos-status-code`. Only what is shed is a 503 too, so that whatever stands between
//! knows.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderName, RETRY_AFTER, VARY};
use http::{HeaderValue, StatusCode};

use crate::registry::api::admission::Shed;
use crate::registry::api::reply::{self, Reply};
use crate::registry::encoded::Body;

/// What answers are.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// The header that repeats the code.
const CODE: HeaderName = HeaderName::from_static("kratos-status-code");

/// The verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Ok,
    /// There is no news.
    NotModified,
    /// The request makes no sense.
    BadRequest,
    /// There is no such thing.
    NotFound,
    /// Ours is newer.
    Conflict,
    /// There is too much to do.
    Overloaded,
    /// There is no room for more.
    LimitExceeded,
}

impl Code {
    /// Returns the code as text, which is also its message.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "0",
            Self::NotModified => "-304",
            Self::BadRequest => "-400",
            Self::NotFound => "-404",
            Self::Conflict => "-409",
            Self::Overloaded => "-503",
            Self::LimitExceeded => "-509",
        }
    }
}

impl From<Shed> for Code {
    fn from(why: Shed) -> Self {
        match why {
            Shed::Crowd => Self::LimitExceeded,
            Shed::Patience => Self::Overloaded,
        }
    }
}

/// An answer, and the verdict in it.
#[derive(Debug)]
pub struct Answer {
    /// The verdict.
    pub code: Code,
    /// The answer.
    pub reply: Reply,
}

impl Answer {
    /// An answer without data.
    pub fn of(code: Code) -> Self {
        Self::bytes(code, format!(r#"{{"code":{0},"message":"{0}","ttl":1}}"#, code.text()))
    }

    /// An answer to what makes no sense, with why.
    pub fn invalid(why: &str) -> Self {
        let why = serde_json::Value::from(why);
        Self::bytes(Code::BadRequest, format!(r#"{{"code":-400,"message":{why},"ttl":1}}"#))
    }

    /// An answer with data: JSON already.
    pub fn with(code: Code, data: &[u8]) -> Self {
        Self::bytes(code, wrapped(code, data))
    }

    /// An answer whose bytes are wrapped already.
    pub fn bytes(code: Code, body: impl Into<Bytes>) -> Self {
        let mut reply = reply::bytes(StatusCode::OK, JSON, body);
        reply.headers_mut().insert(CODE, HeaderValue::from_static(code.text()));
        Self { code, reply }
    }

    /// An answer that is shared, and perhaps compressed.
    pub fn shared(code: Code, body: Body) -> Self {
        let mut answer = Self::bytes(code, body.bytes);
        let fields = answer.reply.headers_mut();
        fields.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if body.is_gzip {
            fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }

    /// An answer to who is turned away: it is to come back in a second.
    pub fn shed(code: Code) -> Self {
        let mut answer = Self::of(code);
        *answer.reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer.reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer
    }
}

/// Wraps data.
pub fn wrapped(code: Code, data: &[u8]) -> Vec<u8> {
    let head = format!(r#"{{"code":{0},"message":"{0}","ttl":1,"data":"#, code.text());
    [head.as_bytes(), data, b"}"].concat()
}

/// Wraps what a poll of several services is answered: `data` of those that changed, and the names of
/// those there are not.
pub fn wrapped_polls(data: &[u8], missing: &[std::sync::Arc<str>]) -> Vec<u8> {
    let missing = if missing.is_empty() {
        b"null".to_vec()
    } else {
        serde_json::to_vec(missing).unwrap_or_default()
    };
    let parts: [&[u8]; 5] =
        [br#"{"code":0,"data":"#, data, br#","error":{"-404":"#, &missing, br#"},"message":"0"}"#];
    parts.concat()
}

/// Returns the answer to a poll of one service that there is not.
pub fn not_there(appid: &str) -> Answer {
    let why = serde_json::Value::from(format!("{appid} not found"));
    Answer::bytes(Code::NotFound, format!(r#"{{"code":-404,"message":{why}}}"#))
}
