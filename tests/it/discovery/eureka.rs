//! Eureka: everything, then what changed, with its sums.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::harness::app::{Request, Response, answer};

/// What a server knows.
#[derive(Default)]
struct Kept {
    instances: BTreeMap<String, Value>,
    /// What changed lately, in order.
    changes: Vec<Value>,
    /// The paths it was asked for.
    asked: Vec<String>,
    /// Who asked last, as it says.
    user: Option<String>,
    /// Whether it tells what changed.
    has_delta: bool,
}

/// A Eureka server as Spring Cloud runs it, as far as consumers ask it.
struct Server {
    app: App,
    kept: Arc<Mutex<Kept>>,
}

impl Server {
    fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept { has_delta: true, ..Kept::default() }));
        let keeps = kept.clone();
        let app = App::start(move |request| {
            let answer = answer_to(&request, &mut keeps.lock().unwrap());
            async move { answer }
        });
        Self { app, kept }
    }

    /// An instance comes, changes or goes.
    fn tell(&self, action: &str, instance: Value) {
        let mut kept = self.kept.lock().unwrap();
        let id = instance["instanceId"].as_str().unwrap().to_owned();
        let mut change = instance.clone();
        change["actionType"] = action.into();
        match action {
            "DELETED" => drop(kept.instances.remove(&id)),
            _ => drop(kept.instances.insert(id, instance)),
        }
        kept.changes.push(change);
    }

    /// Loses what changed lately.
    fn forget_changes(&self) {
        self.kept.lock().unwrap().changes.clear();
    }

    fn asked(&self, path: &str) -> usize {
        self.kept.lock().unwrap().asked.iter().filter(|it| *it == path).count()
    }

    async fn follow(&self, snippet: &str) -> Side {
        let mut told = table(&format!(
            "[discovery.eureka]
             addresses = ['http://me:secret@{}/eureka']
             interval = '1s'",
            self.app.address()
        ));
        merge(&mut told, snippet.parse().unwrap());
        Side::start(told).await
    }
}

fn answer_to(request: &Request, kept: &mut Kept) -> Response {
    let path = request.uri().path().strip_prefix("/eureka").unwrap_or("").to_owned();
    kept.user = request.headers().get("authorization").map(|it| it.to_str().unwrap().to_owned());
    assert_eq!(request.headers()["accept"], "application/json");
    kept.asked.push(path.clone());
    let mut counts = BTreeMap::<&str, usize>::new();
    for it in kept.instances.values() {
        *counts.entry(it["status"].as_str().unwrap()).or_default() += 1;
    }
    let hash: Vec<_> = counts.iter().map(|(status, count)| format!("{status}_{count}_")).collect();
    let hash = hash.concat();
    let told: Vec<_> = match &*path {
        "/apps/" => kept.instances.values().cloned().collect(),
        "/apps/delta" if kept.has_delta => kept.changes.clone(),
        "/apps/delta" => return answer(403, ""),
        _ => return answer(404, ""),
    };
    let apps = told.iter().map(|it| json!({"name": "USER", "instance": it}));
    let apps: Vec<_> = apps.collect();
    let told = json!({"applications": {"versions__delta": "1", "apps__hashcode": hash,
        "application": apps}});
    answer(200, &told.to_string())
}

/// An instance as clients of all kinds register it.
fn instance(host: u8, more: &Value) -> Value {
    let mut instance = json!({
        "instanceId": format!("i-{host}"), "hostName": "pod", "app": "USER",
        "ipAddr": format!("10.0.0.{host}"), "status": "UP", "overriddenStatus": "UNKNOWN",
        "port": {"$": 80, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
        "countryId": 1, "vipAddress": "User.Shop", "lastUpdatedTimestamp": "1",
        "dataCenterInfo": {"@class": "x", "name": "MyOwn"}, "leaseInfo": {"renewalIntervalInSecs": 30},
        "metadata": {"@class": "java.util.Collections$EmptyMap"},
    });
    for (key, value) in more.as_object().unwrap() {
        instance[key] = value.clone();
    }
    instance
}

#[tokio::test]
async fn instances_come_change_and_go() {
    let server = Server::start();
    server.tell("ADDED", instance(1, &json!({})));
    server.tell("ADDED", instance(2, &json!({"metadata": {"color": "alice", "weight": 7}})));
    server.tell("ADDED", instance(3, &json!({"port": 8080, "lastUpdatedTimestamp": 1, "new": []})));
    let side = server.follow("").await;

    side.until_known(USER, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:8080"].map(str::to_owned))
        .await;
    server.tell("MODIFIED", instance(1, &json!({"status": "OUT_OF_SERVICE"})));
    server.tell("DELETED", instance(3, &json!({})));
    server.tell("ADDED", instance(4, &json!({"vipAddress": null, "app": "mail"})));
    side.until_known("user", ["10.0.0.4:80".to_owned()]).await;
    side.until_known(USER, ["10.0.0.1:80", "10.0.0.2:80"].map(str::to_owned)).await;

    let all = shown(&side.admin("/catalog").await.body, USER);
    assert_eq!((&all[0]["up"], &all[0]["source"]), (&json!(false), &json!("eureka")));
    assert_eq!(all[1]["weight"], 7);
    assert_eq!(server.asked("/apps/"), 1);
    assert_eq!(server.kept.lock().unwrap().user.as_deref(), Some("Basic bWU6c2VjcmV0"));
    let source = side.until_source(|it| it["up"] == true).await;
    assert_eq!(source["node"], format!("http://{}/eureka", server.app.address()));
}

#[tokio::test]
async fn changes_that_were_missed_show_in_the_sum() {
    let server = Server::start();
    server.tell("ADDED", instance(1, &json!({})));
    let side = server.follow("").await;
    side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;

    server.tell("ADDED", instance(2, &json!({})));
    server.forget_changes();

    side.until_known(USER, ["10.0.0.1:80", "10.0.0.2:80"].map(str::to_owned)).await;
    assert_eq!(server.asked("/apps/"), 2);
}

#[tokio::test]
async fn a_server_without_deltas_is_asked_for_everything() {
    let server = Server::start();
    server.kept.lock().unwrap().has_delta = false;
    server.tell("ADDED", instance(1, &json!({})));
    let side = server.follow("").await;
    side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;

    server.tell("ADDED", instance(2, &json!({})));

    side.until_known(USER, ["10.0.0.1:80", "10.0.0.2:80"].map(str::to_owned)).await;
    assert_eq!(server.asked("/apps/delta"), 1);
}

#[tokio::test]
async fn a_server_that_lost_its_memory_is_doubted_and_one_that_is_gone_changes_nothing() {
    let server = Server::start();
    for host in 1..=3 {
        server.tell("ADDED", instance(host, &json!({})));
    }
    let side = server.follow("").await;
    side.until_metric("catalog_instances", 3).await;

    server.kept.lock().unwrap().instances.clear();
    server.forget_changes();
    side.until_metric("discovery_held_instances{source=\"eureka\"}", 3).await;
    server.app.kill().await;
    side.until_metric("discovery_source_up{source=\"eureka\"}", 0).await;

    assert_eq!(side.metric("catalog_instances").await, 3);
}

#[tokio::test]
async fn a_registry_and_eureka_make_one_catalog() {
    let (server, registry) = (Server::start(), node().await);
    server.tell("ADDED", instance(1, &json!({"metadata": {"weight": 1}})));
    server.tell("ADDED", instance(2, &json!({})));
    register_as(&registry, USER, "1", "http://10.0.0.1:80", &[("weight", "5")]);
    register_as(&registry, USER, "3", "http://10.0.0.3:80", &[]);

    let told = format!("discovery.registry.addresses = ['{}']", registry.address());
    let side = server.follow(&told).await;

    side.until_metric("catalog_instances", 3).await;
    side.until("/readyz", |it| it.status == 200).await;
    let all = shown(&side.admin("/catalog").await.body, USER);
    let all: Vec<_> = all
        .iter()
        .map(|it| (it["source"].as_str().unwrap(), it["weight"].as_u64().unwrap()))
        .collect();
    assert_eq!(all, [("registry", 5), ("eureka", 100), ("registry", 10)]);
}

#[tokio::test]
async fn our_registry_is_a_server_of_eurekas_to_sidecars_too() {
    let registry = node().await;
    let server = format!("http://{}/eureka", registry.address());
    let words = format!("dialect = 'eureka'\naddresses = ['{server}']");
    let follow = format!("discovery.eureka = {{ addresses = ['{server}'], interval = '1s' }}");
    let by_eureka = Side::start(table(&follow)).await;
    let by_watch = caller(&[&registry], "").await;

    let first = Copy::told(USER, BASELINE, "b-1", &words).await;
    let second = Copy::start(USER, "alice", "b-2", &[registry.address()]).await;
    for caller in [&by_eureka, &by_watch] {
        caller.until_known(USER, [first.address(), second.address()]).await;
        assert_eq!((&*caller.lane("alice").await, &*caller.lane("").await), ("alice", "baseline"));
    }
    first.side.stop().await;
    by_watch.until_known(USER, [second.address()]).await;

    by_eureka.until_known(USER, [second.address()]).await;
}
