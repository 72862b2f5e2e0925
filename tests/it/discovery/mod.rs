//! Sidecars that know nobody but by a registry.

mod amnesia;
mod cache;
mod eureka;
mod failover;
mod follow;
mod large;
mod polls;
mod shown;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use dyelane::config::Tenant;
use dyelane::model::TenantId;
use dyelane::registry::node::Settings;
use dyelane::registry::record::{Key, Registration};
use dyelane::registry::rules::Edit;
use dyelane::registry::server::Registry;
use serde_json::Value;

use crate::harness::app::{App, answer_with};
use crate::harness::caller::Caller;
use crate::harness::side::{Side, merge, table};
use crate::harness::{BASELINE, within};

const USER: &str = "user.shop";

/// Starts a node of a registry.
async fn node() -> Registry {
    Registry::start(Settings::default()).await.unwrap()
}

/// Starts a node where another one was.
async fn node_at(address: SocketAddr) -> Registry {
    within(async {
        loop {
            let settings = Settings { listen: address, ..Settings::default() };
            if let Ok(registry) = Registry::start(settings).await {
                return registry;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// What a sidecar is told that follows nodes at `addresses`, and this besides.
fn following(addresses: &[SocketAddr], snippet: &str) -> toml::Table {
    let addresses: Vec<_> = addresses.iter().map(|it| format!("'{it}'")).collect();
    let mut told = table(&format!("discovery.registry.addresses = [{}]", addresses.join(", ")));
    merge(&mut told, snippet.parse().unwrap());
    told
}

/// Starts a sidecar that follows these nodes, and is told this besides.
async fn caller(nodes: &[&Registry], snippet: &str) -> Side {
    let addresses: Vec<_> = nodes.iter().map(|it| it.address()).collect();
    Side::start(following(&addresses, snippet)).await
}

/// An application that answers with this.
fn app(name: &str) -> App {
    let name = name.to_owned();
    App::start(move |request| answer_with(name.clone(), request))
}

/// A copy of a service in a lane, which answers with the lane's name, and its sidecar, which registers
/// it.
struct Copy {
    side: Side,
    _app: App,
}

impl Copy {
    async fn start(service: &str, lane: &str, host: &str, nodes: &[SocketAddr]) -> Self {
        let addresses: Vec<_> = nodes.iter().map(|it| format!("'{it}'")).collect();
        Self::told(service, lane, host, &format!("addresses = [{}]", addresses.join(", "))).await
    }

    /// Starts one that is told so of those it is to register with.
    async fn told(service: &str, lane: &str, host: &str, registration: &str) -> Self {
        let app = app(lane);
        let lane = if lane == BASELINE { String::new() } else { format!(", lane = '{lane}'") };
        let told = format!(
            "workload = {{ service = '{service}', address = '{}'{lane} }}
             inbound.listen = '127.0.0.1:0'
             runtime.drain_delay = '300ms'
             [registration]
             hostname = '{host}'
             renew = '1s'
             health.interval = '100ms'
             {registration}",
            app.address(),
        );
        Self { side: Side::start(table(&told)).await, _app: app }
    }

    fn address(&self) -> String {
        self.side.inbound().to_string()
    }
}

fn key(service: &str, host: &str) -> Key {
    let [env, appid, zone, hostname] = ["prod", service, "z", host].map(Into::into);
    Key { env, appid, zone, hostname }
}

/// Writes an instance into a registry, as if it had registered.
fn register(node: &Registry, service: &str, host: &str, address: SocketAddr, lane: &str) {
    let metadata = match lane {
        BASELINE => vec![],
        lane => vec![("color", lane)],
    };
    register_as(node, service, host, &format!("http://{address}"), &metadata);
}

fn register_as(
    node: &Registry,
    service: &str,
    host: &str,
    address: &str,
    metadata: &[(&str, &str)],
) {
    let metadata = metadata.iter().map(|(key, it)| ((*key).into(), (*it).into())).collect();
    let registration =
        Registration { addrs: vec![address.into()], metadata, ..Registration::default() };
    let key = key(service, host);
    let written = node.node().write(|store, now| store.register(key, registration, now).map(drop));
    written.unwrap();
}

/// Takes an instance back, as if it had cancelled.
fn cancel(node: &Registry, service: &str, host: &str) {
    node.node().write(|store, now| drop(store.cancel(&key(service, host), now)));
}

/// Sends a tenant to a lane, by the registry's rules.
async fn flip(node: &Registry, tenant: &str, lane: &str) {
    let tenant_to = Tenant { lane: Some(lane.parse().unwrap()), ..Tenant::default() };
    let edit = Edit::Tenant(TenantId::new(tenant).unwrap(), Some(tenant_to));
    within(node.node().write_rule(edit)).await.unwrap();
}

impl Side {
    /// Waits until the catalog has these instances of a service, and no others.
    async fn until_known(&self, service: &str, wanted: impl IntoIterator<Item = String>) {
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        self.until("/catalog", |it| instances(&it.body, service) == wanted).await;
    }

    /// Waits until the only source is so.
    async fn until_source(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let source = |body: &[u8]| {
            let shown: Value = serde_json::from_slice(body).unwrap();
            shown["status"]["sources"][0].clone()
        };
        let answer = self.until("/config", |it| wanted(&source(&it.body))).await;
        source(&answer.body)
    }

    /// Returns who answers a tenant.
    async fn lane(&self, tenant: &str) -> String {
        let answer = Caller::http2(self.outbound()).await.ask(USER).tenant(tenant).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    }
}

/// The addresses of a service, of a catalog as operators are shown it.
fn instances(catalog: &[u8], service: &str) -> BTreeSet<String> {
    let all = shown(catalog, service);
    all.iter().map(|it| it["address"].as_str().unwrap().to_owned()).collect()
}

/// The instances of a service, likewise.
fn shown(catalog: &[u8], service: &str) -> Vec<Value> {
    let catalog: Value = serde_json::from_slice(catalog).unwrap();
    let services = catalog["services"].as_array().unwrap().iter();
    let lanes =
        services.filter(|it| it["service"] == service).filter_map(|it| it["lanes"].as_array());
    let all = lanes.flatten().filter_map(|it| it["instances"].as_array()).flatten();
    all.cloned().collect()
}
