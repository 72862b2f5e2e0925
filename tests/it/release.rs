//! A release of every instance of a service under load fails nobody, and neither does a registry that
//! is gone.
//!
//! The caller's sidecar follows the registry as a source would: its instances are those the registry
//! knows, and while that is gone, those it knew last.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::harness::app::{App, answer_with};
use super::harness::caller::Caller;
use super::harness::registry::FakeRegistry;
use super::harness::side::{Side, add_instance, table};
use super::harness::{BASELINE, within};

const USER: &str = "user.shop";
/// Instances of the service.
const FLEET: usize = 3;
/// Callers that ask without pause.
const CALLERS: usize = 8;
/// What the caller's sidecar is told.
const CALLER: &str = "runtime.poll = '100ms'";
/// How many seconds the registry is gone, if a person wants to see it for longer.
const OUTAGE: &str = "DYELANE_TEST_OUTAGE_SECONDS";

/// An instance, and whom it answers for.
struct Pod {
    app: App,
    side: Side,
}

impl Pod {
    /// Starts one that takes requests at `inbound`, beside an application of its own.
    async fn start(host: usize, inbound: &str, registry: &FakeRegistry) -> Self {
        let app = App::start(|request| answer_with("app".to_owned(), request));
        let told = format!(
            "workload = {{ service = '{USER}', address = '{}' }}
             inbound.listen = '{inbound}'
             runtime.drain_delay = '300ms'
             registration.addresses = ['{}']
             registration.hostname = 'pod-{host}'
             registration.renew = '1s'
             registration.health = {{ kind = 'http', path = '/', interval = '100ms' }}",
            app.address(),
            registry.address()
        );
        Self { app, side: Side::start(table(&told)).await }
    }
}

/// The service, its callers' sidecar and the load.
struct Fleet {
    registry: Arc<FakeRegistry>,
    caller: Side,
    pods: Vec<Pod>,
    next: usize,
    answered: watch::Sender<usize>,
    enough: CancellationToken,
    load: JoinSet<Result<(), String>>,
    following: JoinSet<()>,
}

impl Fleet {
    /// Starts everything; requests pass when this returns.
    async fn start() -> Self {
        let registry = Arc::new(FakeRegistry::start());
        let mut pods = Vec::new();
        for host in 0..FLEET {
            pods.push(Pod::start(host, "127.0.0.1:0", &registry).await);
        }
        registry.until(|it| it.known().len() == FLEET).await;
        let caller = Side::start(table(CALLER)).await;
        let mut following = JoinSet::new();
        following.spawn(follow(registry.clone(), caller.file().to_owned()));
        let (answered, enough) = (watch::Sender::new(0), CancellationToken::new());
        let mut fleet = Self {
            registry,
            caller,
            pods,
            next: FLEET,
            answered,
            enough,
            load: JoinSet::new(),
            following,
        };
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

    /// Puts a new instance in the place of the oldest: the new one first, then the old one ends.
    async fn replace_one(&mut self) {
        let new = Pod::start(self.next, "127.0.0.1:0", &self.registry).await;
        self.next += 1;
        let address = new.side.inbound().to_string();
        self.pods.push(new);
        self.until_called(|it| it.contains(&address)).await;
        let old = self.pods.remove(0);
        old.side.stop().await;
        drop(old.app);
        self.until_more(100).await;
    }

    /// Ends the oldest instance, and starts it again where it was.
    async fn restart_one(&mut self) {
        let Pod { app, side } = self.pods.remove(0);
        let address = side.inbound();
        side.stop().await;
        drop(app);
        self.until_more(50).await;
        let again = Pod::start(self.next, &address.to_string(), &self.registry).await;
        self.next += 1;
        again.side.until("/readyz", |it| it.status == 200).await;
        // The next one ends when this one takes requests again.
        again.app.until_seen(again.app.seen().len() + 20).await;
        self.pods.push(again);
    }

    /// Ends the load; returns how many requests were answered, if none failed.
    async fn finish(mut self) -> usize {
        self.enough.cancel();
        while let Some(ended) = within(self.load.join_next()).await {
            ended.unwrap().unwrap();
        }
        self.following.shutdown().await;
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

/// Tells the caller's sidecar of those the registry knows, while there is a registry.
async fn follow(registry: Arc<FakeRegistry>, file: PathBuf) {
    let mut told = BTreeSet::new();
    let mut changed = registry.changed();
    loop {
        let known = registry.addresses();
        if registry.is_there() && known != told {
            write(&file, &known);
            told = known;
        }
        changed.changed().await.unwrap();
    }
}

/// Has the caller's sidecar know these, as soon as it looks at its file again.
fn write(file: &Path, known: &BTreeSet<SocketAddr>) {
    let mut table = table(CALLER);
    for address in known {
        add_instance(&mut table, USER, BASELINE, *address);
    }
    let next = file.with_extension("next");
    std::fs::write(&next, table.to_string()).unwrap();
    std::fs::rename(next, file).unwrap();
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
    let before: BTreeSet<SocketAddr> = fleet.registry.addresses();

    for _ in 0..FLEET {
        fleet.replace_one().await;
    }

    let after = fleet.registry.addresses();
    assert!(after.len() == FLEET && after.is_disjoint(&before), "{before:?} {after:?}");
    assert!(fleet.finish().await > 0);
}

#[tokio::test]
async fn a_release_under_load_fails_nobody_though_the_registry_dies_half_way() {
    let mut fleet = Fleet::start().await;

    fleet.replace_one().await;
    fleet.registry.die().await;
    for _ in 0..FLEET {
        fleet.restart_one().await;
    }

    assert!(fleet.finish().await > 0);
}

#[tokio::test]
async fn an_outage_of_the_registry_loses_no_request_and_everybody_returns() {
    let fleet = Fleet::start().await;
    let seconds = std::env::var(OUTAGE).ok().and_then(|it| it.parse().ok()).unwrap_or(2);

    fleet.registry.die().await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    fleet.registry.forget();
    fleet.registry.revive();
    fleet.registry.until(|it| it.known().len() == FLEET).await;

    fleet.until_more(100).await;
    assert!(fleet.finish().await > 0);
}
