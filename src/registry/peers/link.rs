//! The way to one other node: one parcel at a time, over a connection that is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::net::{Bounds, Client, ClientError, DialError};
use crate::registry::api::token;
use crate::registry::peers::cluster::{Cluster, State};
use crate::registry::peers::protocol::{
    EXCHANGE_PATH, Failure, MOST_BODY, Next, Parcel, PeerKey, RulesView,
};

/// The time there is to connect to another node, and for its answer.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(1), answer: Duration::from_secs(3), body: MOST_BODY };
/// The time there is for both, and for whatever else may hang.
const WHOLE: Duration = Duration::from_millis(3_500);

/// Speaks to a node until it is no longer known. `waker` is told when there may be something to say.
pub(super) async fn run(cluster: Arc<Cluster>, key: PeerKey, waker: Arc<Notify>) {
    let Some(at) = cluster.with(|state, _| state.replica.address(key).cloned()) else { return };
    let mut client = Client::new(&*at, BOUNDS);
    loop {
        let book = cluster.node.rulebook().now();
        let rules = RulesView { rules: &book.rules, digest: book.digest };
        let next = cluster.with(|State { replica, random }, cluster| {
            let now = cluster.node.now();
            cluster.node.read(|store| replica.next(key, store, rules, now, random))
        });
        let parcel = match next {
            Next::Send(parcel) => parcel,
            Next::Wait(until) => {
                let left = until.saturating_sub(cluster.node.now().since_start);
                tokio::select! {
                    () = sleep(left) => {}
                    () = waker.notified() => {}
                }
                continue;
            }
            Next::Gone => return,
        };
        let secret = cluster.node.settings().token.as_deref();
        let taken = match exchange(&mut client, &parcel, secret).await {
            Ok(answer) => cluster.with(|State { replica, random }, cluster| {
                cluster
                    .node
                    .write(|store, now| replica.answered(key, answer, store, rules, now, random))
            }),
            Err(why) => {
                cluster.with(|State { replica, random }, cluster| {
                    replica.failed(key, why, cluster.node.now(), random);
                });
                Vec::new()
            }
        };
        if !taken.is_empty() {
            cluster.node.merge_rules(taken).await;
        }
    }
}

/// Sends a parcel and reads the answer to it.
async fn exchange(
    client: &mut Client,
    parcel: &Parcel,
    token: Option<&str>,
) -> Result<Parcel, Failure> {
    let body = serde_json::to_vec(parcel).map_err(|_| Failure::Refused)?;
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        token::show(token, &mut fields);
    }
    let asking = client.send(Method::POST, EXCHANGE_PATH, fields, Bytes::from(body), None);
    let answer = match timeout(WHOLE, asking).await {
        Err(_) | Ok(Err(ClientError::TimedOut { .. })) => return Err(Failure::TimedOut),
        Ok(Err(ClientError::Connect { source: DialError::TimedOut { .. }, .. })) => {
            return Err(Failure::Unconnected);
        }
        Ok(Err(_)) => return Err(Failure::Broken),
        Ok(Ok(answer)) => answer,
    };
    match answer.status {
        StatusCode::OK => {}
        StatusCode::SERVICE_UNAVAILABLE => return Err(Failure::Broken),
        StatusCode::UNAUTHORIZED => return Err(Failure::Untrusted),
        _ => return Err(Failure::Refused),
    }
    Parcel::read(&answer.body).map_err(|_| Failure::Refused)
}
