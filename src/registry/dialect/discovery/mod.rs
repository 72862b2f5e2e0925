//! The HTTP API of bilibili/discovery, as its clients know it and a little better.
//!
//! ```text
//! POST register renew cancel set     writes.rs   answered once it is written here
//! GET  fetch fetchs fetch/all nodes  reads.rs    what there is now
//! GET  poll polls                    polls.rs    what there is once it changed
//! ```
//!
//! What a request says is in `fields.rs`, `binder.rs` and `calls.rs`, what answers look like in
//! `envelope.rs` and `app.rs`: functions of their arguments.

mod app;
pub mod binder;
pub mod calls;
pub mod envelope;
pub mod fields;
mod polls;
mod reads;
mod writes;

use std::sync::Arc;

use http::{HeaderValue, Method, header};
use tokio::time::Instant;

use crate::registry::api::reply::PROTECTED;
use crate::registry::api::{Ask, Reply, gzip, routes};
use crate::registry::dialect::discovery::envelope::Answer;
use crate::registry::dialect::discovery::fields::{Fields, Invalid};
use crate::registry::node::Node;
use crate::registry::store::Store;

/// What one can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Register,
    Renew,
    Cancel,
    Set,
    Fetch,
    Fetchs,
    FetchAll,
    Poll,
    Polls,
    Nodes,
}

impl Call {
    fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/discovery/")? {
            "register" => Self::Register,
            "renew" => Self::Renew,
            "cancel" => Self::Cancel,
            "set" => Self::Set,
            "fetch" => Self::Fetch,
            "fetchs" => Self::Fetchs,
            "fetch/all" => Self::FetchAll,
            "poll" => Self::Poll,
            "polls" => Self::Polls,
            "nodes" => Self::Nodes,
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::Register | Self::Renew | Self::Cancel | Self::Set => Method::POST,
            Self::Fetch
            | Self::Fetchs
            | Self::FetchAll
            | Self::Poll
            | Self::Polls
            | Self::Nodes => Method::GET,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Renew => "renew",
            Self::Cancel => "cancel",
            Self::Set => "set",
            Self::Fetch => "fetch",
            Self::Fetchs => "fetchs",
            Self::FetchAll => "fetch_all",
            Self::Poll => "poll",
            Self::Polls => "polls",
            Self::Nodes => "nodes",
        }
    }
}

/// Answers a request below `/discovery/`.
///
/// Cancel safe: what is written is written whole, and who hangs up waits no more.
pub async fn answer(node: &Arc<Node>, ask: Ask) -> Reply {
    let Some(call) = Call::of(ask.path()) else { return routes::not_found() };
    if ask.method != call.method() {
        return routes::not_allowed();
    }
    let started = Instant::now();
    let mut answer = match answered(node, call, ask).await {
        Ok(answer) => answer,
        Err(invalid) => Answer::invalid(&invalid.to_string()),
    };
    if call.method() == Method::GET && node.read(Store::is_protected) {
        answer.reply.headers_mut().insert(PROTECTED, HeaderValue::from_static("true"));
    }
    let took = (!matches!(call, Call::Poll | Call::Polls)).then(|| started.elapsed());
    node.metrics().answered(call.label(), answer.code.text(), took);
    answer.reply
}

async fn answered(node: &Arc<Node>, call: Call, ask: Ask) -> Result<Answer, Invalid> {
    let fields = if call.method() == Method::GET {
        Fields::of_query(ask.query())?
    } else {
        let kind = ask.header(&header::CONTENT_TYPE).unwrap_or_default();
        Fields::of_body(kind, &ask.body, ask.query())?
    };
    let takes_gzip = gzip::is_wanted(&ask.headers);
    match call {
        Call::Register => writes::register(node, &fields),
        Call::Renew => writes::renew(node, &fields),
        Call::Cancel => writes::cancel(node, &fields),
        Call::Set => writes::set(node, &fields),
        Call::Fetch => reads::fetch(node, &fields, takes_gzip).await,
        Call::Fetchs => reads::fetchs(node, &fields, takes_gzip).await,
        Call::FetchAll => Ok(reads::fetch_all(node, takes_gzip).await),
        Call::Nodes => Ok(reads::nodes(node)),
        Call::Poll | Call::Polls => {
            let hold = polls::hold(node, &ask.headers);
            let poller =
                polls::Poller::bind(&fields, call == Call::Poll, ask.peer.ip(), takes_gzip)?;
            // Neither the head nor the fields are kept while it waits.
            drop((ask, fields));
            Ok(polls::answer(node, poller, hold).await)
        }
    }
}
