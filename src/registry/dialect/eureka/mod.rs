//! Netflix Eureka's REST API, version 2, as its clients and servers know it and a little better.
//!
//! ```text
//! POST PUT DELETE apps/APP/ID, status, metadata   writes.rs   answered once it is written here
//! POST peerreplication/batch                      batch.rs    the same, many at once, by a server
//! GET  apps, delta, instances, vips, svips        reads.rs    what there is now
//! ```
//!
//! All of it below `/eureka` and `/eureka/v2`. `path.rs` says what is called, `instance.rs` and
//! `xml.rs` what a request says, `mapping.rs` what that is to everybody else; `shown.rs` and
//! `format.rs` are what is told. They are functions of their arguments.
//!
//! Eureka knows no environments: its instances are those of the node's.

mod batch;
pub mod format;
pub mod instance;
mod lists;
pub mod mapping;
pub mod names;
pub mod path;
mod reads;
pub mod shown;
mod writes;
pub mod xml;

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;

pub use reads::Lists;

use crate::registry::api::gzip::{self, InvalidGzip};
use crate::registry::api::reply::{self, PROTECTED};
use crate::registry::api::{Ask, Reply, routes};
use crate::registry::dialect::discovery::fields::{Fields, Invalid};
use crate::registry::dialect::eureka::instance::Info;
use crate::registry::dialect::eureka::path::{Call, NoCall, Read, Write};
use crate::registry::dialect::eureka::reads::Taken;
use crate::registry::dialect::eureka::writes::Outcome;
use crate::registry::dialect::eureka::xml::InvalidXml;
use crate::registry::eureka::Status;
use crate::registry::node::Node;
use crate::registry::record::LONGEST_NAME;
use crate::registry::store::Store;

/// Says that a server passes on what it was told.
const FROM_PEER: HeaderName = HeaderName::from_static("x-netflix-discovery-replication");
/// Longest instance, in bytes.
const LONGEST_INSTANCE: usize = 256 << 10;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The instance makes no sense.
    #[error(transparent)]
    Instance(#[from] instance::Invalid),
    /// The body is no JSON.
    #[error("the body is no JSON of the kind wanted: {0}")]
    Json(String),
    /// The body is no XML.
    #[error(transparent)]
    Xml(#[from] InvalidXml),
    /// The body is no gzip.
    #[error(transparent)]
    Gzip(#[from] InvalidGzip),
    /// The body is compressed in a way we do not read.
    #[error("the body is {0:?}: only gzip is read")]
    Coding(String),
    /// The body is longer than an instance may be.
    #[error("the instance is longer than {LONGEST_INSTANCE} bytes")]
    TooLong,
    /// The query cannot be read.
    #[error(transparent)]
    Query(#[from] Invalid),
    /// What is no status.
    #[error("the status {0:?} is none of UP, DOWN, STARTING, OUT_OF_SERVICE and UNKNOWN")]
    Status(String),
    /// What is no number.
    #[error("lastDirtyTimestamp is no number of milliseconds: {0:?}")]
    Number(String),
    /// A name is longer than any is.
    #[error("a name is longer than {LONGEST_NAME} bytes")]
    LongName,
    /// A batch holds what nobody does.
    #[error("there is no action {0:?}")]
    Action(String),
    /// A batch holds too much.
    #[error("there are more than {0} of them")]
    TooMany(usize),
    /// The name is the registry's own.
    #[error("this name is the registry's own")]
    Reserved,
    /// There is no room for more.
    #[error("the registry is full")]
    Full,
}

impl Refusal {
    /// Returns the status it is told by.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLong | Self::Gzip(InvalidGzip::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Coding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Instance(_)
            | Self::Json(_)
            | Self::Xml(_)
            | Self::Gzip(InvalidGzip::Broken)
            | Self::Query(_)
            | Self::Status(_)
            | Self::Number(_)
            | Self::LongName
            | Self::Action(_)
            | Self::TooMany(_)
            | Self::Reserved => StatusCode::BAD_REQUEST,
        }
    }

    fn reply(&self) -> Reply {
        match self {
            Self::Full => reply::overloaded(),
            _ => reply::text(self.status(), self.to_string()),
        }
    }
}

/// Answers a request below `/eureka/`.
///
/// Cancel safe: what is written is written whole.
pub async fn answer(node: &Arc<Node>, ask: Ask) -> Reply {
    let started = Instant::now();
    let call = match Call::of(&ask.method, ask.path()) {
        Ok(call) => call,
        Err(NoCall::NotFound) => return routes::not_found(),
        Err(NoCall::NotAllowed) => return routes::not_allowed(),
        Err(why @ NoCall::Escape) => return reply::text(StatusCode::BAD_REQUEST, why.to_string()),
    };
    let answer = match &call {
        Call::Read(question) => {
            let mut answer = read(node, question, Taken::of(&ask.headers)).await;
            if node.read(Store::is_protected) {
                answer.headers_mut().insert(PROTECTED, HeaderValue::from_static("true"));
            }
            answer
        }
        Call::Write(change) => write(node, change, &ask).unwrap_or_else(|refusal| refusal.reply()),
    };
    node.metrics().answered(call.label(), answer.status().as_str(), Some(started.elapsed()));
    answer
}

async fn read(node: &Arc<Node>, question: &Read, taken: Taken) -> Reply {
    if let Some(refusal) = reads::unreadable(node).await {
        return refusal;
    }
    match question {
        Read::Apps => reads::apps(node, taken).await,
        Read::Delta => reads::delta(node, taken).await,
        Read::App(name) => reads::app(node, taken, name).await,
        Read::Instance(target) => reads::instance(node, taken, target),
        Read::AnyInstance(id) => reads::any_instance(node, taken, id),
        Read::Vip(name) => reads::vip(node, taken, name, false).await,
        Read::SecureVip(name) => reads::vip(node, taken, name, true).await,
    }
}

fn write(node: &Arc<Node>, change: &Write, ask: &Ask) -> Result<Reply, Refusal> {
    match change {
        Write::Register(app) => {
            let info = Info::bind(&instance_of(ask)?, app)?;
            writes::register(node, info)?;
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        Write::Renew(target) => {
            let query = Fields::of_query(ask.query())?;
            let is_peer = ask.header(&FROM_PEER).is_some_and(|it| it.eq_ignore_ascii_case("true"));
            let outcome = writes::renew(node, target, dirty_of(&query)?, is_peer);
            Ok(newer(node, ask, &outcome).unwrap_or_else(|| outcome.reply()))
        }
        Write::Cancel(target) => Ok(writes::cancel(node, target).reply()),
        Write::Override(target) => {
            let query = Fields::of_query(ask.query())?;
            let status = status_of(&query)?.ok_or_else(|| Refusal::Status(String::new()))?;
            Ok(writes::put_status(node, target, status, dirty_of(&query)?).reply())
        }
        Write::Restore(target) => {
            let status = status_of(&Fields::of_query(ask.query())?)?;
            Ok(writes::take_status(node, target, status).reply())
        }
        Write::Metadata(target) => {
            let query = Fields::of_query(ask.query())?;
            writes::put_metadata(node, target, &query).map(|it| it.reply())
        }
        Write::Batch => batch::write(node, &body_of(ask, node.settings().body)?),
    }
}

/// Returns the answer that shows a peer what we have; none if there is no need.
fn newer(node: &Node, ask: &Ask, outcome: &Outcome) -> Option<Reply> {
    let Outcome::Newer(row) = outcome else { return None };
    let format = Taken::of(&ask.headers).format;
    let body = reads::one(node, format, row)?;
    Some(reply::bytes(outcome.status(), format.kind(), body))
}

/// Returns a body as it was before it was compressed.
fn body_of(ask: &Ask, limit: usize) -> Result<Cow<'_, [u8]>, Refusal> {
    let coding = ask.header(&header::CONTENT_ENCODING).unwrap_or("identity").trim();
    match coding.to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Cow::Borrowed(&ask.body)),
        "gzip" | "x-gzip" => Ok(Cow::Owned(gzip::read(&ask.body, limit)?)),
        other => Err(Refusal::Coding(other.chars().take(32).collect())),
    }
}

/// Reads the body of a registration: JSON, or XML where it is said or shows.
fn instance_of(ask: &Ask) -> Result<Value, Refusal> {
    let body = body_of(ask, LONGEST_INSTANCE)?;
    if body.len() > LONGEST_INSTANCE {
        return Err(Refusal::TooLong);
    }
    let kind = ask.header(&header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let is_xml = kind.contains("xml") || (!kind.contains("json") && first == Some(&b'<'));
    if !is_xml {
        return serde_json::from_slice(&body).map_err(|error| Refusal::Json(error.to_string()));
    }
    let text = str::from_utf8(&body).map_err(|error| InvalidXml::Syntax(error.to_string()))?;
    Ok(xml::read(text)?.1)
}

/// Reads `lastDirtyTimestamp`; 0 if it is not said.
fn dirty_of(query: &Fields) -> Result<u64, Refusal> {
    let text = query.first("lastDirtyTimestamp").trim();
    if text.is_empty() || text == "null" {
        return Ok(0);
    }
    text.parse().map_err(|_| Refusal::Number(text.chars().take(32).collect()))
}

/// Reads a status; none if none is said.
fn status_of(query: &Fields) -> Result<Option<Status>, Refusal> {
    let text = query.first("value").trim();
    let status = (!text.is_empty()).then(|| text.parse());
    status.transpose().map_err(|_| Refusal::Status(text.chars().take(32).collect()))
}
