//! Sidecars that know nobody but by a registry.

mod follow;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use dyelane::config::Tenant;
use dyelane::model::TenantId;
use dyelane::registry::node::Settings;
use dyelane::registry::record::{Key, Registration};
use dyelane::registry::rules::Edit;
use dyelane::registry::server::Registry;

use crate::harness::app::{App, answer_with};
use crate::harness::side::{Side, merge, table};
use crate::harness::{BASELINE, within};

const USER: &str = "user.shop";

/// Starts a node of a registry.
async fn node() -> Registry {
    Registry::start(Settings::default()).await.unwrap()
}

/// Starts a sidecar that follows these nodes, and is told this besides.
async fn caller(nodes: &[&Registry], snippet: &str) -> Side {
    let addresses: Vec<_> = nodes.iter().map(|it| format!("'{}'", it.address())).collect();
    let base = format!("discovery.registry.addresses = [{}]", addresses.join(", "));
    let mut told = table(&base);
    merge(&mut told, snippet.parse().unwrap());
    Side::start(told).await
}

/// A copy of a service in a lane, which answers with the lane's name, and its sidecar, which registers
/// it.
struct Copy {
    app: App,
    side: Side,
}

impl Copy {
    async fn start(service: &str, lane: &str, host: &str, nodes: &[&Registry]) -> Self {
        let name = lane.to_owned();
        let app = App::start(move |request| answer_with(name.clone(), request));
        let addresses: Vec<_> = nodes.iter().map(|it| format!("'{}'", it.address())).collect();
        let lane = if lane == BASELINE { String::new() } else { format!(", lane = '{lane}'") };
        let told = format!(
            "workload = {{ service = '{service}', address = '{}'{lane} }}
             inbound.listen = '127.0.0.1:0'
             runtime.drain_delay = '300ms'
             registration.addresses = [{}]
             registration.hostname = '{host}'
             registration.renew = '1s'
             registration.health.interval = '100ms'",
            app.address(),
            addresses.join(", "),
        );
        Self { app, side: Side::start(table(&told)).await }
    }

    fn address(&self) -> String {
        self.side.inbound().to_string()
    }
}

/// Writes an instance into a registry, as if it had registered.
fn register(node: &Registry, service: &str, host: &str, address: SocketAddr, lane: &str) {
    let [env, appid, zone, hostname] = ["prod", service, "z", host].map(Into::into);
    let key = Key { env, appid, zone, hostname };
    let color = (lane != BASELINE).then(|| ("color".into(), lane.into()));
    let addrs = vec![format!("http://{address}").into()];
    let metadata = color.into_iter().collect();
    let registration = Registration { addrs, metadata, ..Registration::default() };
    let written = node.node().write(|store, now| store.register(key, registration, now).map(drop));
    written.unwrap();
}

/// Takes an instance back, as if it had cancelled.
fn cancel(node: &Registry, service: &str, host: &str) {
    let [env, appid, zone, hostname] = ["prod", service, "z", host].map(Into::into);
    let key = Key { env, appid, zone, hostname };
    node.node().write(|store, now| drop(store.cancel(&key, now)));
}

impl Side {
    /// Waits until the catalog has these instances of a service, and no others.
    async fn until_known(&self, service: &str, wanted: impl IntoIterator<Item = String>) {
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        self.until("/catalog", |it| instances(&it.body, service) == wanted).await;
    }
}

/// The addresses of a service, of a catalog as operators are shown it.
fn instances(catalog: &[u8], service: &str) -> BTreeSet<String> {
    let catalog: serde_json::Value = serde_json::from_slice(catalog).unwrap();
    let services = catalog["services"].as_array().unwrap().iter();
    let lanes =
        services.filter(|it| it["service"] == service).filter_map(|it| it["lanes"].as_array());
    let all = lanes.flatten().filter_map(|it| it["instances"].as_array()).flatten();
    all.map(|it| it["address"].as_str().unwrap().to_owned()).collect()
}
