//! Nodes tell each other whatever Eureka's clients and operators write.

use dyelane::registry::store::Store;

use super::*;
use crate::harness::until;

async fn pair() -> [Server; 2] {
    let first = Server::with(Settings { host: "one".into(), ..Settings::default() }).await;
    let peers = vec![Arc::clone(first.registry.advertised())];
    let second = Settings { host: "two".into(), peers, ..Settings::default() };
    [first, Server::with(second).await]
}

/// Returns once both have the same, and each other.
async fn agree([one, two]: &[Server; 2], instances: usize) {
    let seen = |it: &Server| it.node().read(|store| (Store::root(store), store.counts().live));
    until(|| seen(one) == seen(two) && seen(one).1 == instances + 2).await;
}

#[tokio::test]
async fn what_one_node_is_told_the_other_shows_whole() {
    let nodes = pair().await;
    let mut one = instance("SHOP", "h:shop:80");
    one["instance"]["metadata"] = json!({ "zone": "z9", "a b": "<&>" });
    one["instance"]["statusPageUrl"] = "http://h/status".into();
    nodes[0].put_in(&one).await;
    agree(&nodes, 1).await;

    nodes[1].does("PUT", "apps/SHOP/h:shop:80/status?value=OUT_OF_SERVICE").await;
    agree(&nodes, 1).await;
    nodes[0].does("PUT", "apps/SHOP/h:shop:80/metadata?more=1").await;
    agree(&nodes, 1).await;

    let mut shown = Vec::new();
    for node in &nodes {
        let mut it = node.shown("SHOP", "h:shop:80").await;
        it["leaseInfo"]["lastRenewalTimestamp"] = Value::Null;
        shown.push(it);
    }
    assert_eq!(shown[0], shown[1]);
    assert_eq!(shown[0]["overriddenStatus"], "OUT_OF_SERVICE");
    assert_eq!(shown[0]["metadata"], json!({ "zone": "z9", "a b": "<&>", "more": "1" }));
    // Registered again at the other node, it keeps the status that was put over its own.
    nodes[1].put_in(&one).await;
    agree(&nodes, 1).await;
    assert_eq!(nodes[0].shown("SHOP", "h:shop:80").await["status"], "OUT_OF_SERVICE");
    assert_eq!(nodes[0].does("DELETE", "apps/SHOP/h:shop:80").await, 200);
    agree(&nodes, 0).await;
    assert_eq!(nodes[1].ids("apps").await, [""; 0]);
}
