//! Our own watch: applying what it tells gives what there is.

use std::collections::BTreeMap;
use std::time::Duration;

use dyelane::registry::record::Id;
use dyelane::registry::wire::{SeenInstance, WatchAnswer, WatchRequest};
use proptest::prelude::*;

use super::*;

/// What a watcher has: instances by service and name.
#[derive(Debug, Default)]
struct Catalog {
    node: Arc<str>,
    index: u64,
    services: BTreeMap<Arc<str>, BTreeMap<Arc<str>, SeenInstance>>,
}

impl Catalog {
    /// Takes an answer; what it then has must hash to what the answer says.
    fn apply(&mut self, told: WatchAnswer) {
        (self.node, self.index) = (told.node, told.index);
        for (appid, change) in told.services {
            let service = self.services.entry(appid).or_default();
            if change.full {
                service.clear();
            }
            for gone in change.gone {
                service.remove(&gone);
            }
            for instance in change.set {
                service.insert(SeenInstance::name(&instance.zone, &instance.hostname), instance);
            }
            let hash = service.values().fold(0, |sum, it| sum ^ it.hash.0);
            assert_eq!(Id(hash), change.hash);
        }
        self.services.retain(|_, all| !all.is_empty());
    }

    fn request(&self, services: &[&str], wait_ms: u32) -> WatchRequest {
        WatchRequest {
            env: "prod".into(),
            services: services.iter().map(|it| Arc::from(*it)).collect(),
            node: Arc::clone(&self.node),
            index: self.index,
            wait_ms,
            ..WatchRequest::default()
        }
    }

    fn known(&self) -> BTreeMap<Arc<str>, Id> {
        let hash =
            |all: &BTreeMap<_, SeenInstance>| Id(all.values().fold(0, |s, it| s ^ it.hash.0));
        self.services.iter().map(|(appid, all)| (Arc::clone(appid), hash(all))).collect()
    }
}

fn json(request: &WatchRequest) -> String {
    serde_json::to_string(request).unwrap()
}

impl Server {
    async fn watch(&self, request: &WatchRequest) -> WatchAnswer {
        let told = self.ask("POST", "/v1/watch", "", &json(request)).await;
        assert_eq!(told.status, 200, "{told:?}");
        serde_json::from_str(&told.body).unwrap()
    }

    async fn everything(&self, services: &[&str]) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.apply(self.watch(&catalog.request(services, 0)).await);
        catalog
    }
}

#[tokio::test]
async fn a_watcher_is_told_everything_then_what_changes() {
    let server = Server::new().await;
    server.register("a.shop", "h1").await;
    server.register("b", "h1").await;
    let mut catalog = server.everything(&["*.shop"]).await;
    let request = json(&catalog.request(&["*.shop"], 30_000));
    let held = server.send("POST", "/v1/watch", "", &request).await;
    server.watchers(1).await;

    server.register("b", "h2").await;
    server.register("a.shop", "h2").await;
    let told: WatchAnswer = serde_json::from_str(&answer(held).await.body).unwrap();

    assert_eq!(told.services.len(), 1);
    let change = &told.services["a.shop"];
    assert!(!change.full && change.set.len() == 1 && change.gone.is_empty());
    catalog.apply(told);
    assert_eq!(catalog.services["a.shop"].len(), 2);
}

#[tokio::test]
async fn without_news_nothing_is_told() {
    let server = Server::new().await;
    server.register("a", "h1").await;
    let catalog = server.everything(&["a"]).await;

    let told = server.watch(&catalog.request(&["a"], 50)).await;

    assert!(told.services.is_empty() && told.rules.is_none());
    assert_eq!(told.index, catalog.index);
}

#[tokio::test]
async fn a_watcher_of_another_node_is_told_what_differs() {
    let (first, second) = (Server::new().await, Server::new().await);
    first.register("a", "h1").await;
    first.register("gone", "h1").await;
    second.register("new", "h1").await;
    let mut catalog = first.everything(&["a", "gone", "new"]).await;

    let mut request = catalog.request(&["a", "gone", "new"], 0);
    request.known = catalog.known();
    let told = second.watch(&request).await;

    assert!(told.services.values().all(|it| it.full));
    catalog.apply(told);
    assert_eq!(catalog.services.keys().map(|it| &**it).collect::<Vec<_>>(), ["new"]);
}

#[tokio::test]
async fn who_was_somewhere_and_does_not_say_what_it_has_begins_anew() {
    let server = Server::new().await;
    server.register("a", "h1").await;
    let lost =
        WatchRequest { index: 7, node: "another".into(), ..Catalog::default().request(&["a"], 0) };

    let told = server.watch(&lost).await;

    assert_eq!((told.index, told.services.len()), (0, 0));
}

#[tokio::test]
async fn what_is_no_watch_is_refused() {
    let server = Server::new().await;
    let long = format!(r#"{{"env":"prod","services":["{}"]}}"#, "x".repeat(2000));
    let many: Vec<_> = (0..=10_000).map(|it| it.to_string()).collect();
    let many = serde_json::json!({"env": "prod", "services": many}).to_string();

    for body in ["", "{}", "[]", "nonsense", r#"{"env":7}"#, &long, &many] {
        let told = server.ask("POST", "/v1/watch", "", body).await;

        assert_eq!(told.status, 400, "{}", &body[..body.len().min(60)]);
        assert!(told.json()["error"].is_string());
    }
    assert_eq!(server.get("/v1/watch").await.status, 405);
}

#[tokio::test]
async fn who_hangs_up_waits_no_more() {
    let server = Server::new().await;
    let catalog = server.everything(&["*"]).await;
    let request = json(&catalog.request(&["*"], 60_000));
    let held = server.send("POST", "/v1/watch", "", &request).await;
    server.watchers(1).await;

    drop(held);

    server.watchers(0).await;
}

/// What someone does to an instance.
#[derive(Debug, Clone)]
enum Deed {
    Register(u8, u8),
    Cancel(u8, u8),
    Look,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => (0..3_u8, 0..4_u8).prop_map(|(app, host)| Deed::Register(app, host)),
        2 => (0..3_u8, 0..4_u8).prop_map(|(app, host)| Deed::Cancel(app, host)),
        2 => Just(Deed::Look),
    ];
    proptest::collection::vec(deed, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn deltas_applied_are_all_there_is(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

        let (followed, whole) = runtime.block_on(async {
            let server = Server::new().await;
            let mut followed = server.everything(&["*"]).await;
            for deed in deeds {
                match deed {
                    Deed::Register(app, host) => {
                        server.register(&format!("a{app}"), &format!("h{host}")).await;
                    }
                    Deed::Cancel(app, host) => {
                        let who = format!("zone=z&env=prod&appid=a{app}&hostname=h{host}");
                        server.post("cancel", &who).await;
                    }
                    Deed::Look => {
                        let told = server.watch(&followed.request(&["*"], 0)).await;
                        followed.apply(told);
                    }
                }
            }
            let told = server.watch(&followed.request(&["*"], 0)).await;
            followed.apply(told);
            (followed.services, server.everything(&["*"]).await.services)
        });

        prop_assert_eq!(followed, whole);
    }
}

#[tokio::test]
async fn rules_reach_a_crowd_of_watchers() {
    let settings = Settings { token: Some("secret".into()), ..Settings::default() };
    let server = Server::with(settings).await;
    let mut request = server.everything(&["a"]).await.request(&["a"], 30_000);
    request.rules = true;
    let first = server.watch(&request).await.rules.unwrap();
    request.known_rules = Some(first.hash);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(server.send("POST", "/v1/watch", "", &json(&request)).await);
    }
    server.watchers(100).await;

    let (token, off) = ("authorization: Bearer secret\r\n", r#"{"enabled": false}"#);
    let written = server.ask("PUT", "/v1/rules/tenants/alice", token, off).await;

    assert_eq!(written.status, 200, "{written:?}");
    for held in held {
        let told: WatchAnswer = serde_json::from_str(&answer(held).await.body).unwrap();
        assert!(told.rules.unwrap().tenants["alice"].disabled);
    }
}

#[tokio::test]
async fn a_node_that_waits_for_its_peers_holds_back_reads_and_not_writes() {
    let settings = Settings { peers: vec!["127.0.0.1:9".into()], ..Settings::default() };
    let server = Server::with(settings).await;
    let ready = server.get("/readyz").await.status;

    server.register("a", "h").await;
    let fetch = server.send("GET", "/discovery/fetch?env=prod&appid=a&status=1", "", "").await;
    server.node().set_readable();
    let told = tokio::time::timeout(Duration::from_secs(4), answer(fetch)).await.unwrap();

    assert_eq!((ready, told.code()), (503, 0));
    assert_eq!(server.get("/readyz").await.status, 200);
}
