//! A registry that forgot everybody is not believed at once.

use std::cell::Cell;
use std::time::{Duration, Instant};

use dyelane::registry::store::Store;

use super::*;

const HELD: &str = "discovery_held_instances{source=\"registry\"}";

#[tokio::test]
async fn a_registry_that_was_restarted_empty_fills_before_it_is_believed() {
    let registry = node().await;
    let at = registry.address();
    let copies = [
        Copy::start(USER, BASELINE, "b-1", &[at]).await,
        Copy::start(USER, BASELINE, "b-2", &[at]).await,
        Copy::start(USER, "alice", "b-3", &[at]).await,
    ];
    let everybody = copies.each_ref().map(Copy::address);
    let side = caller(&[&registry], "").await;
    side.until_known(USER, everybody.clone()).await;

    registry.stop().await;
    let again = node_at(at).await;
    side.until_metric("discovery_source_up{source=\"registry\"}", 1).await;
    let least = Cell::new(usize::MAX);
    side.until("/metrics", |it| {
        let text = it.text();
        let line = text.lines().find_map(|it| it.strip_prefix("dyelane_catalog_instances "));
        least.set(least.get().min(line.unwrap().parse().unwrap()));
        let is_full = again.node().read(Store::len) > copies.len();
        is_full && text.lines().any(|it| *it == format!("dyelane_{HELD} 0"))
    })
    .await;

    assert_eq!((least.get(), side.lane("alice").await), (3, "alice".to_owned()));
    side.until_known(USER, everybody).await;
}

#[tokio::test]
async fn what_is_empty_for_long_is_believed() {
    let registry = node().await;
    let at = registry.address();
    for (host, address) in [("1", "10.0.0.1:80"), ("2", "10.0.0.2:80")] {
        register(&registry, USER, host, address.parse().unwrap(), BASELINE);
    }
    let side = caller(&[&registry], "discovery.confirm = '3s'").await;
    side.until_metric("catalog_instances", 2).await;

    registry.stop().await;
    let _again = node_at(at).await;
    side.until_metric(HELD, 2).await;
    let since = Instant::now();
    let held = side.until_source(|it| it["held"][USER] == 2).await;
    side.until_known(USER, []).await;

    assert!(since.elapsed() > Duration::from_secs(2), "{:?} {held}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(side.metric("discovery_refused_total{source=\"registry\"}").await, 1);
    assert_eq!(side.metric(HELD).await, 0);
}

#[tokio::test]
async fn a_service_that_ended_is_believed_once_another_node_agrees() {
    let (one, other) = (node().await, node().await);
    for node in [&one, &other] {
        register(node, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);
        for host in ["1", "2", "3"] {
            let address = format!("10.0.1.{host}:80").parse().unwrap();
            register(node, "cart.mall", host, address, BASELINE);
        }
    }
    let side = caller(&[&one, &other], "").await;
    side.until_metric("catalog_instances", 4).await;
    let source = side.until_source(|it| it["up"] == true).await;
    let is_one = source["node"] == one.address().to_string();
    let (followed, other) = if is_one { (&one, &other) } else { (&other, &one) };

    let since = Instant::now();
    cancel(followed, USER, "1");
    side.until_source(|it| it["node"] == other.address().to_string()).await;
    let still = instances(&side.admin("/catalog").await.body, USER).len();
    cancel(other, USER, "1");
    side.until_known(USER, []).await;

    assert_eq!(still, 1);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}
