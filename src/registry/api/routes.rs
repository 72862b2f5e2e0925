//! Who answers which path.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use crate::registry::api::reply::{self, Reply};
use crate::registry::api::{Ask, rules, status, watch};
use crate::registry::dialect::{discovery, eureka};
use crate::registry::node::Node;
use crate::registry::wire::WATCH_PATH;

/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(20);
/// Where other nodes ask.
const PEER_PATH: &str = "/v1/peer/";
/// Longest body another node may send, in bytes: a snapshot comes in many.
const PEER_BODY: usize = 64 << 20;

/// Whoever asked is gone: there is nobody to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("who waited has hung up")]
pub(super) struct Gone;

/// Reads a request whole and answers it. `gone` is awaited once the request has been read, and ends
/// the wait for news, and that of whoever asks for what others queue for: nobody is to work for who
/// has given up. Otherwise it may have closed its half alone, and is answered.
///
/// # Errors
/// Whoever waited is gone.
pub(super) async fn answer(
    node: Arc<Node>,
    request: Request<Incoming>,
    peer: SocketAddr,
    gone: impl Future<Output = ()>,
) -> Result<Reply, Gone> {
    let (head, body) = request.into_parts();
    let is_peer = node.doors().peer_door().is_some() && head.uri.path().starts_with(PEER_PATH);
    let limit = if is_peer { PEER_BODY } else { node.settings().body };
    let body = match whole(&node, body, limit).await {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal),
    };
    let (waits, is_read) = (waits(head.uri.path()), head.method == Method::GET);
    let ask = Ask { method: head.method, uri: head.uri, headers: head.headers, body, peer };
    let mut answer = pin!(dispatch(&node, ask));
    tokio::select! {
        biased;
        answer = answer.as_mut() => return Ok(answer),
        () = gone => {}
    }
    if waits || is_read && node.admission().is_crowded() {
        return Err(Gone);
    }
    Ok(answer.await)
}

/// Whether an answer may be long in coming.
fn waits(path: &str) -> bool {
    matches!(path, WATCH_PATH | "/discovery/poll" | "/discovery/polls")
}

/// Reads a body whole, within its bounds.
async fn whole(node: &Node, body: Incoming, limit: usize) -> Result<Bytes, Reply> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_long = || reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long");
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    // Who does not say how long it is may use what it may.
    let longest = body.size_hint().upper().unwrap_or(limit as u64).min(limit as u64);
    let Ok(_room) = node.admission().bodies.take(longest).await else {
        node.metrics().shed("body");
        return Err(reply::overloaded());
    };
    match timeout(BODY, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Ok(Err(_)) => Err(reply::text(StatusCode::BAD_REQUEST, "the body breaks off")),
        Err(_) => Err(reply::text(StatusCode::REQUEST_TIMEOUT, "the body takes too long")),
    }
}

/// Answers a request that has been read.
pub async fn dispatch(node: &Arc<Node>, ask: Ask) -> Reply {
    let path = ask.path();
    if path.starts_with("/discovery/") {
        // It counts its requests itself, by the codes in its answers; as does the next.
        return Box::pin(discovery::answer(node, ask)).await;
    }
    if path.starts_with("/eureka/") {
        return Box::pin(eureka::answer(node, ask)).await;
    }
    let peer_door = node.doors().peer_door().filter(|_| path.starts_with(PEER_PATH));
    if let Some(door) = peer_door {
        return door(ask).await;
    }
    let started = Instant::now();
    let (call, answer) = match path {
        "/healthz" => ("healthz", read_only(&ask, || reply::text(StatusCode::OK, "alive\n"))),
        "/readyz" => ("readyz", read_only(&ask, || status::readyz(node))),
        "/metrics" => ("metrics", read_only(&ask, || status::metrics(node))),
        "/v1/status" => ("status", read_only(&ask, || status::status(node))),
        WATCH_PATH => ("watch", Box::pin(watch::answer(node, ask)).await),
        path if path == "/v1/rules" || path.starts_with("/v1/rules/") => {
            ("rules", Box::pin(rules::answer(node, ask)).await)
        }
        _ => ("unknown", not_found()),
    };
    let took = (call != "watch").then(|| started.elapsed());
    node.metrics().answered(call, answer.status().as_str(), took);
    answer
}

/// Answers a question that changes nothing.
fn read_only(ask: &Ask, answer: impl FnOnce() -> Reply) -> Reply {
    match ask.method {
        Method::GET | Method::HEAD => answer(),
        _ => not_allowed(),
    }
}

/// Returns the answer to a path that is none.
pub fn not_found() -> Reply {
    reply::bytes(StatusCode::NOT_FOUND, reply::PLAIN, "404 page not found")
}

/// Returns the answer to a method that the path does not have.
pub fn not_allowed() -> Reply {
    reply::bytes(StatusCode::METHOD_NOT_ALLOWED, reply::PLAIN, "Method Not Allowed")
}
