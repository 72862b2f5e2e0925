//! Instances and rules come and go, and nobody's file says a word of them.

use serde_json::json;

use super::*;

#[tokio::test]
async fn instances_come_and_go_without_a_line_of_configuration() {
    let registry = node().await;
    let at = [registry.address()];
    let caller = caller(&[&registry], "").await;
    let first = Copy::start(USER, BASELINE, "b-1", &at).await;
    caller.until_known(USER, [first.address()]).await;

    let alone = caller.lane("alice").await;
    let second = Copy::start(USER, "alice", "b-2", &at).await;
    caller.until_known(USER, [first.address(), second.address()]).await;
    let with_alice = (caller.lane("alice").await, caller.lane("").await);
    second.side.stop().await;
    caller.until_known(USER, [first.address()]).await;

    assert_eq!(alone, "baseline");
    assert_eq!(with_alice, ("alice".to_owned(), "baseline".to_owned()));
    assert_eq!(caller.lane("alice").await, "baseline");
}

#[tokio::test]
async fn rules_of_the_registry_count_and_the_file_wins() {
    let registry = node().await;
    let [one, red, blue] = ["baseline", "red", "blue"].map(app);
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", red.address(), "red");
    register(&registry, USER, "3", blue.address(), "blue");
    let caller = caller(&[&registry], "tenants.bob.lane = 'red'").await;
    caller.until_known(USER, [&one, &red, &blue].map(|it| it.address().to_string())).await;

    flip(&registry, "alice", "blue").await;
    flip(&registry, "bob", "blue").await;
    caller.until_metric("discovery_rules", 1).await;
    caller.until("/config", |it| it.text().contains("\"tenant bob\"")).await;

    assert_eq!((&*caller.lane("alice").await, &*caller.lane("bob").await), ("blue", "red"));
    let shown = caller.admin_json("/config").await;
    assert_eq!(shown["status"]["rules"]["taken"], json!(["tenant alice"]));
    assert_eq!(shown["status"]["rules"]["overridden"], json!(["tenant bob"]));

    // Once the file is silent, the registry is heard; and the other way round.
    caller.edit(|table| drop(table.remove("tenants")));
    caller.reload().await.unwrap();
    assert_eq!(caller.lane("bob").await, "blue");
    caller.turn("tenants.alice.lane = 'red'").await;
    assert_eq!(caller.lane("alice").await, "red");
}

#[tokio::test]
async fn a_registry_that_need_not_say_rules_says_none() {
    let registry = node().await;
    let [one, blue] = ["baseline", "blue"].map(app);
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", blue.address(), "blue");
    flip(&registry, "alice", "blue").await;
    let caller = caller(&[&registry], "discovery.registry.rules = false").await;
    caller.until_known(USER, [&one, &blue].map(|it| it.address().to_string())).await;

    assert_eq!(caller.lane("alice").await, "baseline");
    caller.turn("discovery.registry.rules = true").await;
    caller.until_metric("discovery_rules", 1).await;
    assert_eq!(caller.lane("alice").await, "blue");
}

#[tokio::test]
async fn who_is_known_by_whom_is_shown_and_the_file_wins() {
    let registry = node().await;
    let app = app("baseline");
    register_as(&registry, USER, "1", &format!("grpc://{}", app.address()), &[("weight", "7")]);
    register(&registry, USER, "2", "10.0.0.2:80".parse().unwrap(), BASELINE);
    register_as(&registry, USER, "3", "grpc://user.shop:9000", &[]);
    register_as(&registry, USER, "4", "http://10.0.0.4:80", &[("color", "not a lane")]);
    let written = "[[services.'user.shop'.instances]]\naddress = '10.0.0.2:80'\nweight = 3";
    let caller = caller(&[&registry], written).await;
    caller.until_known(USER, [app.address().to_string(), "10.0.0.2:80".to_owned()]).await;

    let catalog = caller.admin("/catalog").await;
    let source = caller.until_source(|it| it["left_out"] == 2).await;

    let mut all: Vec<_> = shown(&catalog.body, USER)
        .iter()
        .map(|it| (it["weight"].as_u64().unwrap(), it["source"].as_str().unwrap().to_owned()))
        .collect();
    all.sort();
    assert_eq!(all, [(3, "file".to_owned()), (7, "registry".to_owned())]);
    assert_eq!((&source["up"], &source["dialect"]), (&json!(true), &json!("dyelane")));
    assert_eq!(source["node"], registry.address().to_string());
    let why = source["left_out_examples"].to_string();
    assert!(why.contains("is no IP address") && why.contains("a lane cannot be called"), "{why}");
    caller.until_metric("discovery_left_out_instances{source=\"registry\"}", 2).await;
    caller.until_metric("catalog_instances", 2).await;
}

#[tokio::test]
async fn only_what_is_wanted_is_known() {
    let registry = node().await;
    register(&registry, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);
    register(&registry, "cart.mall", "1", "10.0.0.2:80".parse().unwrap(), BASELINE);

    let caller = caller(&[&registry], "discovery.registry.services = ['*.mall']").await;
    caller.until_known("cart.mall", ["10.0.0.2:80".to_owned()]).await;
    let user = instances(&caller.admin("/catalog").await.body, USER);
    caller.turn("discovery.registry.services = ['*']").await;
    caller.until_known(USER, ["10.0.0.1:80".to_owned()]).await;

    assert!(user.is_empty());
    assert_eq!(caller.metric("catalog_services").await, 2);
}

#[tokio::test]
async fn a_source_that_is_added_or_taken_away_leaves_the_rest_alone() {
    let registry = node().await;
    register(&registry, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);
    let written = "[[services.'cart.mall'.instances]]\naddress = '10.0.0.9:80'";
    let side = Side::start(table(written)).await;
    side.until("/readyz", |it| it.status == 200).await;

    side.say(&format!("discovery.registry.addresses = ['{}']", registry.address()));
    side.reload().await.unwrap();
    side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;
    let is_ready = side.admin("/readyz").await.status;
    side.edit(|table| drop(table.remove("discovery")));
    side.reload().await.unwrap();

    assert_eq!(is_ready, 200);
    side.until_known(USER, []).await;
    side.until_known("cart.mall", ["10.0.0.9:80".to_owned()]).await;
    assert!(!side.admin("/metrics").await.text().contains("discovery_source_up"));
}

#[tokio::test]
async fn a_flip_by_the_registry_counts_at_once() {
    let registry = node().await;
    let [one, blue] = ["baseline", "blue"].map(app);
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", blue.address(), "blue");
    let side = caller(&[&registry], "").await;
    side.until_known(USER, [&one, &blue].map(|it| it.address().to_string())).await;
    let caller = Caller::http2(side.outbound()).await;
    let mut took = Vec::new();

    for round in 0..20 {
        let (tenant, began) = (format!("tenant-{round}"), std::time::Instant::now());
        flip(&registry, &tenant, "blue").await;
        within(async { while caller.ask(USER).tenant(&tenant).await.text() != "blue" {} }).await;
        took.push(began.elapsed());
    }

    took.sort();
    println!("from the registry's write to a request that goes by it: {took:?}");
    assert!(took[took.len() / 2] < std::time::Duration::from_millis(500), "{took:?}");
}
