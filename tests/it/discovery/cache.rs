//! A sidecar that starts during an outage routes by what was known last.

use std::fs;

use super::*;

/// What a sidecar is told that keeps what it knows in `directory`.
fn keeping(directory: &tempfile::TempDir) -> String {
    format!("discovery.cache = '{}'", directory.path().join("catalog").display())
}

#[tokio::test]
async fn a_restart_during_an_outage_routes_as_before() {
    let (registry, directory) = (node().await, tempfile::tempdir().unwrap());
    let [one, blue] = ["baseline", "blue"].map(app);
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", blue.address(), "blue");
    flip(&registry, "alice", "blue").await;
    let told = following(&[registry.address()], &keeping(&directory));
    let before = Side::start(told.clone()).await;
    before.until_metric("discovery_rules", 1).await;
    before.until_metric("catalog_instances", 2).await;
    before.stop().await;
    let at = registry.address();
    registry.stop().await;

    let after = Side::start(told).await;
    let routed = (after.lane("alice").await, after.lane("").await);
    let ready = after.until("/readyz", |it| it.status == 200).await.status;
    let source = after.until_source(|it| it["last_error"].is_object()).await;
    let again = node_at(at).await;
    register(&again, USER, "1", one.address(), BASELINE);
    let heard = after.until_source(|it| it["up"] == true).await;

    assert_eq!(routed, ("blue".to_owned(), "baseline".to_owned()));
    assert_eq!((ready, &source["from_cache"], &source["up"]), (200, &true.into(), &false.into()));
    assert_eq!(heard["from_cache"], false);
}

#[tokio::test]
async fn a_damaged_file_is_as_good_as_none() {
    let (registry, directory) = (node().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("catalog");
    fs::write(&file, "dyelane-catalog 1 00\n{}").unwrap();
    let at = registry.address();
    registry.stop().await;

    let side = Side::start(following(&[at], &keeping(&directory))).await;
    let unready = side.until("/readyz", |it| it.text().contains("no catalog yet")).await.text();
    let again = node_at(at).await;
    register(&again, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);
    side.until("/readyz", |it| it.status == 200).await;
    side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;
    side.stop().await;

    assert!(unready.contains("the registry has not answered"), "{unready}");
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept.starts_with("dyelane-catalog 1 ") && kept.contains("10.0.0.1:80"), "{kept}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stops_nothing() {
    let registry = node().await;
    register(&registry, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);

    let side = caller(&[&registry], "discovery.cache = '/proc/nowhere/catalog'").await;

    side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;
    assert_eq!(side.admin("/readyz").await.status, 200);
}
