//! `POST /v1/watch`: our own watch, as [`wire`](crate::registry::wire) has it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};

use crate::registry::api::reply::{self, Reply};
use crate::registry::api::{Ask, routes};
use crate::registry::fingerprint::Fingerprint;
use crate::registry::node::Node;
use crate::registry::record::LONGEST_NAME;
use crate::registry::store::Store;
use crate::registry::watch::draft::{Place, Verdict, Wanted, everything, judge, since, size};
use crate::registry::wire::{WatchAnswer, WatchRequest};

/// Services and patterns of one watcher.
const MOST_SERVICES: usize = 10_000;
/// How long an answer waits for news at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long a watcher waits at most for this node to have anything worth telling.
const UNTIL_READABLE: Duration = Duration::from_secs(5);
/// Instances from which on telling all of them takes a place among the fetches.
const MANY: usize = 512;

/// Why a watcher is told nothing.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is no watch request: {0}")]
    Body(#[from] serde_json::Error),
    #[error("`env` is empty: a watcher lives in an environment")]
    NoEnv,
    #[error("more than {MOST_SERVICES} services; watch `*` or `*.domain`")]
    TooMany,
    #[error("a name is longer than {LONGEST_NAME} bytes")]
    TooLong,
}

/// A watcher, and where it is.
struct Watcher {
    request: WatchRequest,
    wanted: Wanted,
    place: Place,
    /// What its question has in common with equal ones, wherever they are.
    question: Fingerprint,
}

impl Watcher {
    fn parse(node: &Node, body: &[u8]) -> Result<Self, Refusal> {
        let request: WatchRequest = serde_json::from_slice(body)?;
        if request.env.is_empty() {
            return Err(Refusal::NoEnv);
        }
        if request.services.len() > MOST_SERVICES {
            return Err(Refusal::TooMany);
        }
        let names = request.services.iter().chain([&request.env, &request.consumer]);
        if names.into_iter().any(|it| it.len() > LONGEST_NAME) {
            return Err(Refusal::TooLong);
        }
        let is_here = request.node == *node.run() && request.index > 0;
        let place = if is_here { Place::At(request.index) } else { Place::Nowhere };
        let wanted = Wanted::new(&request.env, &request.services);
        let mut question = Fingerprint::default().text("watch").text(&request.env);
        let mut services = request.services.clone();
        services.sort_unstable();
        for service in &services {
            question.add_text(service);
        }
        for (service, hash) in &request.known {
            question.add_text(service);
            question.add_number(hash.0);
        }
        Ok(Self { request, wanted, place, question })
    }

    /// Whether it says that it was somewhere, where this node does not know what came since, and
    /// does not say what it has: it is to say so, or it would not learn of what is gone.
    fn is_lost(&self) -> bool {
        self.place == Place::Nowhere && self.request.index > 0 && self.request.known.is_empty()
    }

    /// Returns the rules it does not have, by their hash.
    fn rules(&self, node: &Node) -> Option<u128> {
        let hash = node.rulebook().now().content.hash;
        (self.request.rules && self.request.known_rules != Some(hash)).then_some(hash.0)
    }
}

/// Answers a watcher: at once if there is news, else once there is, or when it has waited enough.
///
/// Cancel safe: a watcher that hangs up waits no more.
pub(super) async fn answer(node: &Arc<Node>, ask: Ask) -> Reply {
    if ask.method != Method::POST {
        return routes::not_allowed();
    }
    let watcher = match Watcher::parse(node, &ask.body) {
        Ok(watcher) => watcher,
        Err(refusal) => {
            let told = json!({"error": refusal.to_string()});
            return reply::json(StatusCode::BAD_REQUEST, &told);
        }
    };
    // Neither the head nor the body is kept while it waits.
    drop(ask);
    if timeout(UNTIL_READABLE, node.readable()).await.is_err() {
        node.metrics().shed("fetch");
        return reply::overloaded();
    }
    told(node, watcher).await
}

async fn told(node: &Arc<Node>, mut watcher: Watcher) -> Reply {
    let wait = Duration::from_millis(watcher.request.wait_ms.into()).min(LONGEST_WAIT);
    let until = Instant::now() + wait;
    // It waits before it looks: what changes in between wakes it.
    let Ok(watch) = node.hub().watch(watcher.wanted.interest(watcher.request.rules)) else {
        node.metrics().shed("poll");
        return reply::overloaded();
    };
    let mut is_over = wait.is_zero();
    loop {
        if watcher.is_lost() {
            return json(&Arc::new(start_again(node)));
        }
        let rules = watcher.rules(node);
        let verdict = node.read_recent(|_, recent| judge(recent, &watcher.wanted, watcher.place));
        match verdict {
            Verdict::Lost => {
                watcher.place = Place::Nowhere;
                continue;
            }
            Verdict::Something(to) => return news(node, watcher, to, rules).await,
            Verdict::Nothing(to) => {
                watcher.place = Place::At(to);
                if rules.is_some() || is_over {
                    return news(node, watcher, to, rules).await;
                }
            }
        }
        is_over = tokio::select! {
            woken = timeout_at(until, watch.changed()) => woken.is_err(),
            () = node.stopping().cancelled() => true,
        };
    }
}

/// Tells a watcher to begin anew, saying what it has.
fn start_again(node: &Node) -> WatchAnswer {
    WatchAnswer { node: Arc::clone(node.run()), index: 0, ..WatchAnswer::default() }
}

/// Returns the answer to all watchers that want the same and are at the same place: made once.
async fn news(node: &Arc<Node>, watcher: Watcher, to: u64, rules: Option<u128>) -> Reply {
    let instances = match watcher.place {
        Place::Nowhere => node.read(|store| size(store, &watcher.wanted)),
        Place::At(from) => usize::try_from(to - from).unwrap_or(usize::MAX),
    };
    let place = if instances >= MANY {
        let Ok(place) = node.admission().fetches.enter().await else {
            node.metrics().shed("fetch");
            return reply::overloaded();
        };
        Some(place)
    } else {
        None
    };
    let (protected, filling) = (node.read(Store::is_protected), node.is_filling());
    let from = match watcher.place {
        Place::Nowhere => 0,
        Place::At(from) => from,
    };
    let state = u128::from(protected) << 1 | u128::from(filling);
    let of = [from.into(), to.into(), rules.unwrap_or_default(), state];
    let of = of.into_iter().fold(watcher.question.clone(), Fingerprint::number).finish();
    let writer = Arc::clone(node);
    let encode = move || {
        let told = match watcher.place {
            Place::Nowhere => Some(everything(&writer, &watcher.wanted, &watcher.request.known)),
            Place::At(from) => since(&writer, &watcher.wanted, from),
        };
        let mut told = told.unwrap_or_else(|| start_again(&writer));
        told.protected = protected;
        told.filling = filling;
        told.rules = rules.map(|_| writer.rulebook().now().content.clone());
        serde_json::to_vec(&told).unwrap_or_default()
    };
    let bytes = node.encoded().get(of, instances, encode).await;
    drop(place);
    whole(bytes)
}

fn json(answer: &WatchAnswer) -> Reply {
    reply::json(StatusCode::OK, answer)
}

fn whole(bytes: Bytes) -> Reply {
    reply::bytes(StatusCode::OK, reply::JSON, bytes)
}
