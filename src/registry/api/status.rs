//! How a node is: for probes, for Prometheus, for its operator.

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::registry::api::reply::{self, Reply};
use crate::registry::node::{Member, Node, PeersView};
use crate::registry::peers::protocol::{Failure, PeerStatus};
use crate::telemetry::{PeerSample, RegistryMetrics};

/// Says whether reads are answered.
pub(super) fn readyz(node: &Node) -> Reply {
    if node.stopping().is_cancelled() {
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, "not ready: it is about to stop\n");
    }
    if !node.is_readable() {
        let why = "not ready: it waits for a copy of what other nodes have\n";
        return reply::text(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    reply::text(StatusCode::OK, "ready\n")
}

/// Gives every metric.
pub(super) fn metrics(node: &Node) -> Reply {
    let metrics = node.metrics();
    let counts = node.read(crate::registry::store::Store::counts);
    let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.instances.set(gauge(counts.live));
    metrics.gone.set(gauge(counts.gone));
    metrics.services.set(gauge(counts.services));
    metrics.protected.set(gauge(counts.protected));
    metrics.held.set(gauge(counts.held));
    metrics.ahead.set(i64::try_from(counts.ahead).unwrap_or(i64::MAX));
    metrics.watchers.set(gauge(node.hub().len()));
    metrics.rules.set(gauge(node.rulebook().now().rules.len()));
    metrics.readable.set(i64::from(node.is_readable()));
    let PeersView { peers, counts } = node.doors().peers_view();
    let samples = peers.iter().map(|it| PeerSample {
        at: &it.at,
        zone: &it.zone,
        is_up: it.is_up,
        waiting: it.waiting,
        silence: it.heard,
    });
    metrics.peers.set(samples, counts);
    let kind = HeaderValue::from_static(RegistryMetrics::CONTENT_TYPE);
    reply::bytes(StatusCode::OK, kind, metrics.render())
}

/// Tells of one node of the cluster; of this one nothing is known as of another.
fn member(member: &Member, peer: Option<&PeerStatus>) -> Value {
    let refused = |it: Failure| matches!(it, Failure::Refused | Failure::Untrusted);
    let why = peer.and_then(|it| it.why).filter(|_| member.is_lost);
    let state = match why {
        _ if !member.is_lost => "up",
        Some(why) if refused(why) => "refused",
        _ => "lost",
    };
    let mut told = json!({"addr": &*member.addr, "zone": &*member.zone, "state": state});
    let (Some(peer), Some(fields)) = (peer, told.as_object_mut()) else { return told };
    let more = [
        ("host", json!(&*peer.host)),
        ("node", json!(peer.node.map(|it| it.0.to_string()))),
        ("why", json!(why.map(|it| it.to_string()))),
        ("seed", json!(peer.is_seed)),
        ("since_seconds", json!(peer.since.as_secs())),
        ("heard_seconds_ago", json!(peer.heard.map(|it| it.as_secs()))),
        ("queue", json!(peer.waiting)),
        ("comparing", json!(peer.is_comparing)),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    told
}

/// Tells the operator what there is to know.
pub(super) fn status(node: &Node) -> Reply {
    let (counts, root, protected) = node.read(|store| {
        let groups = store.protected();
        let groups = groups.map(|(zone, lane)| json!({"zone": &**zone, "lane": &**lane}));
        (store.counts(), store.root(), groups.collect::<Vec<_>>())
    });
    let settings = node.settings();
    let book = node.rulebook().now();
    let peers = node.doors().peers_view().peers;
    let members = node.members();
    let members = members.iter().map(|it| member(it, peers.iter().find(|peer| peer.at == it.addr)));
    let status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "node": node.id().0.to_string(),
        "run": &**node.run(),
        "host": &*settings.host,
        "region": &*settings.region,
        "zone": &*settings.zone,
        "env": &*settings.env,
        "uptime_seconds": node.now().since_start.as_secs(),
        "readable": node.is_readable(),
        "filling": node.is_filling(),
        "instances": counts.live,
        "services": counts.services,
        "tombstones": counts.gone,
        "watchers": node.hub().len(),
        "protected": protected,
        "held": counts.held,
        "clock_ahead": counts.ahead,
        "digest": format!("{root:032x}"),
        "members": members.collect::<Vec<_>>(),
        "rules": {
            "tenants": book.content.tenants.len(),
            "lanes": book.content.lanes.len(),
            "hash": book.content.hash,
            "digest": format!("{:032x}", book.digest),
            "durable": node.rulebook().is_durable(),
            "writable": settings.token.is_some(),
        },
        "schedulers": node.schedulers().len(),
    });
    reply::json(StatusCode::OK, &status)
}
