//! The registry of the demo: instances that say they are there, and one that falls silent.
//!
//! The node is a real one, asked over its own socket; only its lease is shortened, so that nobody
//! waits a minute and a half for an eviction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::cli::demo::mesh::{ALICE, Pod};
use crate::net::{Bounds, Client};
use crate::registry::node::Settings;
use crate::registry::server::Registry;
use crate::registry::store;
use crate::registry::wire::{WATCH_PATH, WatchAnswer, WatchRequest};

/// How long an instance may be silent: 90 s outside of a demo.
pub(super) const LEASE: Duration = Duration::from_secs(1);
/// How often the silent are looked for: a minute outside of a demo.
const PASS: Duration = Duration::from_millis(100);
/// How often instances say that they are there: 30 s outside of a demo.
const RENEW: Duration = Duration::from_millis(250);
/// What rules are written with.
pub(super) const TOKEN: &str = "demo";
/// How long news may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// What bounds one question to the node.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(2), answer: Duration::from_secs(10), body: 1 << 20 };

/// A running node, instances that renew their leases, and one who watches them.
pub(super) struct Directory {
    registry: Registry,
    /// Those that renew; dropped, they fall silent.
    beats: JoinSet<()>,
    beating: BTreeMap<&'static str, AbortHandle>,
    watcher: Watcher,
}

impl Directory {
    /// Starts a node, and has each pod register with it as clients of bilibili/discovery do.
    pub(super) async fn start(pods: &[Pod]) -> anyhow::Result<Self> {
        let store = store::Settings {
            lease: LEASE,
            pass: PASS,
            // Five instances that stop with the demo are no sign of a broken network.
            protect_least: usize::MAX,
            ..store::Settings::default()
        };
        let settings = Settings { store, token: Some(TOKEN.into()), ..Settings::default() };
        let registry = Registry::start(settings).await.context("cannot start a registry")?;
        let authority = registry.address().to_string();
        let (mut beats, mut beating) = (JoinSet::new(), BTreeMap::new());
        for pod in pods {
            let mut client = Client::new(&*authority, BOUNDS);
            let form = identity(pod);
            let metadata = json!({ "color": if pod.is_alices() { ALICE } else { "" } });
            let whole = format!("{form}&status=1&addrs=http://{}&metadata={metadata}", pod.inbound);
            tell(&mut client, "/discovery/register", whole).await?;
            let beat = async move {
                loop {
                    sleep(RENEW).await;
                    // One that is lost is made good by the next.
                    let _ = tell(&mut client, "/discovery/renew", form.clone()).await;
                }
            };
            beating.insert(pod.name, beats.spawn(beat));
        }
        let mut watcher = Watcher::new(&authority);
        watcher.next().await?;
        Ok(Self { registry, beats, beating, watcher })
    }

    /// Returns where the node listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.registry.address()
    }

    /// Returns how many instances there are, and of how many services.
    pub(super) fn count(&self) -> (usize, usize) {
        let hosts = &self.watcher.hosts;
        (hosts.values().map(BTreeSet::len).sum(), hosts.len())
    }

    /// Has an instance fall silent without a word, and returns how long it took until a watcher was
    /// told that it is gone.
    pub(super) async fn silence(&mut self, pod: &Pod) -> anyhow::Result<Duration> {
        let since = Instant::now();
        self.beating.get(pod.name).context("no such instance")?.abort();
        let host = format!("default/{}", host(pod));
        let is_there = |watcher: &Watcher| {
            watcher.hosts.get(pod.service).is_some_and(|hosts| hosts.contains(&*host))
        };
        let watcher = &mut self.watcher;
        let gone = async {
            while is_there(watcher) {
                watcher.next().await?;
            }
            anyhow::Ok(since.elapsed())
        };
        timeout(PATIENCE, gone).await.context("the silent one was not evicted")?
    }

    /// Turns alice off or on by the registry's rules, and returns how long it took until a watcher
    /// had the new ones.
    pub(super) async fn flip(&mut self, on: bool) -> anyhow::Result<Duration> {
        let mut client = Client::new(self.registry.address().to_string(), BOUNDS);
        let mut fields = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {TOKEN}"))?;
        fields.insert(header::AUTHORIZATION, bearer);
        let (path, rule) = (format!("/v1/rules/tenants/{ALICE}"), json!({ "enabled": on }));
        let body = Bytes::from(rule.to_string());
        let since = Instant::now();
        let written = client.send(Method::PUT, &path, fields, body, None);
        let watcher = &mut self.watcher;
        let told = async {
            while watcher.alice_is_on != Some(on) {
                watcher.next().await?;
            }
            anyhow::Ok(since.elapsed())
        };
        let both = async {
            let (written, told) = tokio::join!(written, told);
            let status = written?.status;
            ensure!(status.is_success(), "the registry answers {status} to a rule");
            told
        };
        timeout(PATIENCE, both).await.context("no watcher was told of the rule")?
    }

    /// Ends instances and node.
    pub(super) async fn stop(mut self) {
        self.beats.shutdown().await;
        drop(self.watcher);
        self.registry.stop().await;
    }
}

/// What an instance calls itself.
fn host(pod: &Pod) -> String {
    pod.name.to_lowercase().replace('·', "-")
}

/// Who an instance is, in the fields of a form.
fn identity(pod: &Pod) -> String {
    format!("zone=default&env=prod&appid={}&hostname={}", pod.service, host(pod))
}

/// Sends a form, and looks at the verdict in the answer's body.
async fn tell(client: &mut Client, path: &str, form: String) -> anyhow::Result<()> {
    let mut fields = HeaderMap::new();
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    fields.insert(header::CONTENT_TYPE, kind);
    let answer = client.send(Method::POST, path, fields, Bytes::from(form), None).await?;
    let verdict: serde_json::Value = serde_json::from_slice(&answer.body)?;
    match verdict.get("code").and_then(serde_json::Value::as_i64) {
        Some(0) => Ok(()),
        _ => bail!("{path} answers {verdict}"),
    }
}

/// Follows the registry as a sidecar would.
struct Watcher {
    client: Client,
    request: WatchRequest,
    /// Who is there, by service.
    hosts: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What the rules say of alice, if anything.
    alice_is_on: Option<bool>,
}

impl Watcher {
    fn new(authority: &str) -> Self {
        let request = WatchRequest {
            env: "prod".into(),
            services: vec!["*.demo".into()],
            consumer: "dyelane demo".into(),
            rules: true,
            ..WatchRequest::default()
        };
        let client = Client::new(authority, BOUNDS);
        Self { client, request, hosts: BTreeMap::new(), alice_is_on: None }
    }

    /// Takes in the next answer: at once at first, then as soon as there is news.
    async fn next(&mut self) -> anyhow::Result<()> {
        let body = Bytes::from(serde_json::to_vec(&self.request)?);
        let fields = HeaderMap::new();
        let asked = self.client.send(Method::POST, WATCH_PATH, fields, body, None).await?;
        ensure!(asked.status.is_success(), "the watch is answered {}", asked.status);
        let answer: WatchAnswer = serde_json::from_slice(&asked.body)?;
        for (service, change) in answer.services {
            let hosts = self.hosts.entry(service).or_default();
            if change.full {
                hosts.clear();
            }
            hosts.extend(change.set.iter().map(|it| format!("{}/{}", it.zone, it.hostname).into()));
            for gone in change.gone {
                hosts.remove(&gone);
            }
        }
        self.hosts.retain(|_, hosts| !hosts.is_empty());
        if let Some(rules) = answer.rules {
            let alice = rules.tenants.iter().find(|(name, _)| name.to_string() == ALICE);
            self.alice_is_on = alice.map(|(_, rule)| !rule.disabled);
            self.request.known_rules = Some(rules.hash);
        }
        self.request.node = answer.node;
        self.request.index = answer.index;
        self.request.wait_ms = 5_000;
        Ok(())
    }
}
