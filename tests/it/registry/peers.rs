//! Three nodes in one process: what one is told all come to have, whatever the others are like.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dyelane::registry::node::Settings;
use dyelane::registry::store::{self, Store};
use tokio::net::{TcpListener, TcpSocket};

use crate::harness::{until, within};
use crate::registry::Server;

async fn join(host: &str, peers: &[Arc<str>]) -> Server {
    let settings = Settings { host: host.into(), peers: peers.to_vec(), ..Settings::default() };
    Server::with(settings).await
}

async fn cluster() -> [Server; 3] {
    let first = join("one", &[]).await;
    let seed = [Arc::clone(first.registry.advertised())];
    [first, join("two", &seed).await, join("three", &seed).await]
}

/// Returns once all nodes have the same, and so many instances besides themselves.
async fn agree(nodes: &[&Server], instances: usize) {
    until(|| {
        let digests: Vec<_> = nodes.iter().map(|it| it.node().read(Store::root)).collect();
        let mut counts = nodes.iter().map(|it| it.node().read(|it| it.counts().live));
        digests.windows(2).all(|it| it[0] == it[1])
            && counts.all(|it| it == instances + nodes.len())
    })
    .await;
}

#[tokio::test]
async fn what_one_node_is_told_all_come_to_have() {
    let [one, two, three] = cluster().await;
    let all = [&one, &two, &three];

    two.register("a.b.c", "h1").await;
    three.register("a.b.c", "h2").await;
    agree(&all, 2).await;
    one.cancel("a.b.c", "h2").await;
    agree(&all, 1).await;

    for node in all {
        let told = node.get("/discovery/fetch?env=prod&appid=a.b.c&status=1").await.json();
        assert_eq!(told["data"]["instances"]["z"][0]["hostname"], "h1");
        assert!(node.node().members().iter().filter(|it| !it.is_lost).count() == 3);
    }
}

#[tokio::test]
async fn a_node_that_comes_with_nothing_gets_everything_before_it_is_read() {
    let one = join("one", &[]).await;
    for number in 0..100 {
        one.register("a.b.c", &format!("h{number}")).await;
    }

    let two = join("two", &[Arc::clone(one.registry.advertised())]).await;
    within(two.node().readable()).await;

    assert!(two.node().read(|store| store.counts().live) >= 100);
}

#[tokio::test]
async fn a_node_has_heard_of_everybody_by_a_copy_of_one_that_has() {
    let store = store::Settings { lease: Duration::from_millis(100), ..store::Settings::default() };
    let old = Server::with(Settings { store, host: "old".into(), ..Settings::default() }).await;
    let young = join("young", &[]).await;

    until(|| !old.node().is_filling()).await;
    let by_old = join("one", &[Arc::clone(old.registry.advertised())]).await;
    let by_young = join("two", &[Arc::clone(young.registry.advertised())]).await;
    until(|| !by_old.node().is_filling()).await;
    within(by_young.node().readable()).await;
    let watch = r#"{"env":"prod","services":["*"]}"#;
    let told = [&by_old, &by_young].map(|it| it.ask("POST", "/v1/watch", "", watch));
    let [by_old, by_young] = told;

    assert_eq!(by_old.await.json()["filling"], false);
    assert_eq!(by_young.await.json()["filling"], true);
}

#[tokio::test]
async fn a_peer_that_hangs_costs_a_client_nothing() {
    let hung = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seed: Arc<str> = hung.local_addr().unwrap().to_string().into();
    let node = join("one", &[seed]).await;

    let started = Instant::now();
    for number in 0..100 {
        node.register("a.b.c", &format!("h{number}")).await;
    }

    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(node.node().members().iter().any(|it| it.is_lost));
}

#[tokio::test]
async fn a_peer_that_speaks_rubbish_harms_nothing() {
    let node = join("one", &[]).await;
    let path = "/v1/peer/exchange";
    let from = r#""from":{"at":"10.0.0.1:1","zone":"z"}"#;

    let rubbish = [
        String::new(),
        "{}".into(),
        "[1]".into(),
        "\u{0}".into(),
        format!(r#"{{{from},"buckets":["00000000000000000000000000000000"]}}"#),
        format!(r#"{{{from},"copy":{{"from":9,"to":2000}}}}"#),
        format!(r#"{{{from},"renewed":[["x",1,2]]}}"#),
        format!(r#"{{{from},"records":[{{"key":1}}]}}"#),
    ];
    for body in rubbish {
        let told = node.ask("POST", path, "", &body).await;
        assert_eq!(told.status, 400, "{body}: {told:?}");
    }
    let elsewhere = [node.get(path).await.status, node.get("/v1/peer/x").await.status];

    assert_eq!(elsewhere, [405, 404]);
    assert_eq!(node.get("/healthz").await.status, 200);
}

/// A node of a cluster whose token this is.
async fn join_by(token: &str, peers: &[Arc<str>]) -> Server {
    let token = Some(token.into());
    Server::with(Settings { token, peers: peers.to_vec(), ..Settings::default() }).await
}

/// Returns what a node says of the only other one, once that is in a state.
async fn told_of_the_other(node: &Server, state: &str) -> serde_json::Value {
    within(async {
        loop {
            let status = node.get("/v1/status").await.json();
            if status["members"][1]["state"] == state {
                return status["members"][1].clone();
            }
        }
    })
    .await
}

#[tokio::test]
async fn nodes_of_one_token_agree_and_one_of_another_is_refused_and_said_to_be() {
    let one = join_by("sesame", &[]).await;
    let seed = [Arc::clone(one.registry.advertised())];
    let two = join_by("sesame", &seed).await;
    let stranger = join_by("abracadabra", &seed).await;
    let nameless = join("nameless", &seed).await;

    two.register("a.b.c", "h1").await;
    for node in [&stranger, &nameless] {
        node.register("a.b.c", "bad").await;
    }
    agree(&[&one, &two], 1).await;
    let refused = [told_of_the_other(&stranger, "refused").await, {
        told_of_the_other(&nameless, "refused").await
    }];
    let bare = one.ask("POST", "/v1/peer/exchange", "", "{}").await;
    let metrics = [one.get("/metrics").await.body, two.get("/metrics").await.body];

    for told in refused {
        assert_eq!(told["why"], "it has another token", "{told}");
    }
    assert_eq!((bare.status, bare.field("www-authenticate")), (401, Some("Bearer")));
    assert!(!metrics[0].contains("dyelane_registry_peer_refused_total 0"));
    let up = format!("dyelane_registry_peer_up{{peer=\"{}\",zone=\"default\"}} 1", seed[0]);
    assert!(metrics[1].contains(&up), "{}", metrics[1]);
    assert_eq!(one.node().read(|store| store.counts().live), 3);
}

#[tokio::test]
async fn status_and_metrics_tell_of_a_node_that_never_answered() {
    // Bound but not listening: nobody else gets the port meanwhile.
    let holder = TcpSocket::new_v4().unwrap();
    holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let seed: Arc<str> = holder.local_addr().unwrap().to_string().into();
    let node = join("one", &[Arc::clone(&seed)]).await;

    let told = told_of_the_other(&node, "lost").await;
    let metrics = node.get("/metrics").await.body;

    assert_eq!((&told["addr"], &told["seed"]), (&seed.to_string().into(), &true.into()));
    assert_eq!((&told["heard_seconds_ago"], &told["queue"]), (&None::<u8>.into(), &0.into()));
    let up = format!("dyelane_registry_peer_up{{peer=\"{seed}\",zone=\"default\"}} 0");
    assert!(metrics.contains(&up), "{metrics}");
}

#[tokio::test]
async fn what_a_registry_of_another_zone_passes_on_to_one_node_all_come_to_have() {
    let [one, two, three] = cluster().await;
    let who = "zone=far&env=prod&appid=a.b.c&hostname=h1&addrs=grpc://h1:9000&status=1";

    agree(&[&one, &two, &three], 0).await;
    let sent = || two.node().doors().peers_view().counts.records_sent;
    let before = sent();

    let passed = format!("{who}&from_zone=true&dirty_timestamp=1795000000000000000");
    assert_eq!(two.post("register", &passed).await.code(), 0);
    agree(&[&one, &two, &three], 1).await;

    assert_eq!(sent() - before, 2, "it is told, not found by comparing");
    for node in [&one, &three] {
        assert!(node.get("/discovery/fetch/all").await.body.contains("grpc://h1:9000"));
    }
}
