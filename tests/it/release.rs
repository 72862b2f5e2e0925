//! A release of every instance of a service under load fails nobody, and neither does a registry that
//! is gone.
//!
//! The caller's sidecar knows nobody but by the registry; so does nobody's file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use dyelane::registry::node::Settings;
use dyelane::registry::server::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::harness::app::{App, answer_with};
use super::harness::caller::Caller;
use super::harness::side::{Side, table};
use super::harness::within;

const USER: &str = "user.shop";
/// Instances of the service.
const FLEET: usize = 3;
/// Callers that ask without pause.
const CALLERS: usize = 8;
/// How many seconds the registry is gone, if a person wants to see it for longer.
const OUTAGE: &str = "DYELANE_TEST_OUTAGE_SECONDS";

/// An instance, and whom it answers for.
struct Pod {
    app: App,
    side: Side,
}

impl Pod {
    /// Starts one that takes requests at `inbound`, beside an application of its own.
    async fn start(host: usize, inbound: &str, registry: SocketAddr) -> Self {
        let app = App::start(|request| answer_with("app".to_owned(), request));
        let told = format!(
            "workload = {{ service = '{USER}', address = '{}' }}
             inbound.listen = '{inbound}'
             runtime.drain_delay = '300ms'
             registration.addresses = ['{registry}']
             registration.hostname = 'pod-{host}'
             registration.renew = '1s'
             registration.health = {{ kind = 'http', path = '/', interval = '100ms' }}",
            app.address(),
        );
        Self { app, side: Side::start(table(&told)).await }
    }

    fn address(&self) -> String {
        self.side.inbound().to_string()
    }
}

/// The service, its callers' sidecar and the load.
struct Fleet {
    /// None: it is gone.
    registry: Option<Registry>,
    at: SocketAddr,
    caller: Side,
    pods: Vec<Pod>,
    next: usize,
    answered: watch::Sender<usize>,
    enough: CancellationToken,
    load: JoinSet<Result<(), String>>,
}

impl Fleet {
    /// Starts everything; requests pass when this returns.
    async fn start() -> Self {
        let registry = Registry::start(Settings::default()).await.unwrap();
        let at = registry.address();
        let mut pods = Vec::new();
        for host in 0..FLEET {
            pods.push(Pod::start(host, "127.0.0.1:0", at).await);
        }
        let told = format!("discovery.registry.addresses = ['{at}']");
        let caller = Side::start(table(&told)).await;
        let (answered, enough) = (watch::Sender::new(0), CancellationToken::new());
        let load = JoinSet::new();
        let registry = Some(registry);
        let mut fleet = Self { registry, at, caller, pods, next: FLEET, answered, enough, load };
        fleet.until_called(|it| it.len() == FLEET).await;
        for _ in 0..CALLERS {
            let through = Caller::http2(fleet.caller.outbound()).await;
            fleet.load.spawn(ask(through, fleet.answered.clone(), fleet.enough.clone()));
        }
        fleet.until_more(100).await;
        fleet
    }

    /// Waits until the caller's sidecar knows instances as `wanted`.
    async fn until_called(&self, wanted: impl Fn(&BTreeSet<String>) -> bool) {
        self.caller.until("/catalog", |answer| wanted(&instances(&answer.body))).await;
    }

    /// Waits until so many more requests were answered.
    async fn until_more(&self, count: usize) {
        let mut answered = self.answered.subscribe();
        let enough = *answered.borrow() + count;
        within(answered.wait_for(|it| *it >= enough)).await.unwrap();
    }

    fn addresses(&self) -> BTreeSet<String> {
        self.pods.iter().map(Pod::address).collect()
    }

    /// Puts a new instance in the place of the oldest: the new one first, then the old one ends.
    async fn replace_one(&mut self) {
        let new = Pod::start(self.next, "127.0.0.1:0", self.at).await;
        self.next += 1;
        let address = new.address();
        self.pods.push(new);
        self.until_called(|it| it.contains(&address)).await;
        let old = self.pods.remove(0);
        let address = old.address();
        old.side.stop().await;
        drop(old.app);
        // Nothing held it back: it is known to be gone at once.
        self.until_called(|it| !it.contains(&address)).await;
        self.until_more(100).await;
    }

    /// Ends the oldest instance, and starts it again where it was.
    async fn restart_one(&mut self) {
        let Pod { app, side } = self.pods.remove(0);
        let address = side.inbound();
        side.stop().await;
        drop(app);
        self.until_more(50).await;
        let again = Pod::start(self.next, &address.to_string(), self.at).await;
        self.next += 1;
        again.side.until("/readyz", |it| it.status == 200).await;
        // The next one ends when this one takes requests again.
        again.app.until_seen(again.app.seen().len() + 20).await;
        self.pods.push(again);
    }

    /// The registry is gone, without a farewell.
    async fn lose_registry(&mut self) {
        drop(self.registry.take());
        self.caller.until_metric("discovery_source_up{source=\"registry\"}", 0).await;
    }

    /// It is there again, and knows nobody.
    async fn regain_registry(&mut self) {
        let started = async {
            loop {
                let settings = Settings { listen: self.at, ..Settings::default() };
                if let Ok(registry) = Registry::start(settings).await {
                    return registry;
                }
                tokio::task::yield_now().await;
            }
        };
        self.registry = Some(within(started).await);
        self.caller.until_metric("discovery_source_up{source=\"registry\"}", 1).await;
    }

    /// Ends the load; returns how many requests were answered, if none failed.
    async fn finish(mut self) -> usize {
        self.enough.cancel();
        while let Some(ended) = within(self.load.join_next()).await {
            ended.unwrap().unwrap();
        }
        *self.answered.borrow()
    }
}

/// Asks without pause until it is enough, or a request fails.
async fn ask(
    through: Caller,
    answered: watch::Sender<usize>,
    enough: CancellationToken,
) -> Result<(), String> {
    while !enough.is_cancelled() {
        let answer = within(through.ask(USER).post("order").attempt()).await;
        match answer {
            Ok(answer) if answer.status == 200 => answered.send_modify(|it| *it += 1),
            other => return Err(format!("after {}: {other:?}", *answered.borrow())),
        }
    }
    Ok(())
}

/// The addresses of a catalog, as operators are shown it.
fn instances(catalog: &[u8]) -> BTreeSet<String> {
    let catalog: serde_json::Value = serde_json::from_slice(catalog).unwrap();
    let all = catalog.pointer("/services/0/lanes/0/instances").and_then(|it| it.as_array());
    let addresses = all.into_iter().flatten().map(|it| it["address"].as_str().unwrap());
    addresses.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_release_of_every_instance_under_load_fails_nobody() {
    let mut fleet = Fleet::start().await;
    let before = fleet.addresses();

    for _ in 0..FLEET {
        fleet.replace_one().await;
    }

    let after = fleet.addresses();
    assert!(after.len() == FLEET && after.is_disjoint(&before), "{before:?} {after:?}");
    fleet.until_called(|it| *it == after).await;
    assert!(fleet.finish().await > 0);
}

#[tokio::test]
async fn a_release_under_load_fails_nobody_though_the_registry_dies_half_way() {
    let mut fleet = Fleet::start().await;

    fleet.replace_one().await;
    fleet.lose_registry().await;
    for _ in 0..FLEET {
        fleet.restart_one().await;
    }

    assert!(fleet.finish().await > 0);
}

#[tokio::test]
async fn an_outage_of_the_registry_loses_no_request_and_everybody_returns() {
    let mut fleet = Fleet::start().await;
    let seconds = std::env::var(OUTAGE).ok().and_then(|it| it.parse().ok()).unwrap_or(2);

    fleet.lose_registry().await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    fleet.regain_registry().await;
    let everybody = fleet.addresses();
    fleet.until_called(|it| *it == everybody).await;
    fleet.caller.until_metric("discovery_held_instances{source=\"registry\"}", 0).await;

    fleet.until_more(100).await;
    assert!(fleet.finish().await > 0);
}

#[tokio::test]
async fn a_release_goes_on_as_soon_as_the_registry_is_back() {
    let mut fleet = Fleet::start().await;

    fleet.replace_one().await;
    fleet.lose_registry().await;
    fleet.restart_one().await;
    fleet.regain_registry().await;
    for _ in 0..FLEET {
        let new = Pod::start(fleet.next, "127.0.0.1:0", fleet.at).await;
        fleet.next += 1;
        fleet.pods.push(new);
        let old = fleet.pods.remove(0);
        let everybody = fleet.addresses();
        // Those that are no longer named are held for a while: whoever is new is known all the same.
        fleet.until_called(|it| it.is_superset(&everybody)).await;
        old.side.stop().await;
        drop(old.app);
        fleet.until_more(100).await;
    }

    assert!(fleet.finish().await > 0);
}
