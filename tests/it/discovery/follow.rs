//! Instances come and go, and nobody's file says a word of them.

use super::*;
use crate::harness::caller::Caller;

/// Returns who answers a tenant.
async fn lane(side: &Side, tenant: &str) -> String {
    let asking = Caller::http2(side.outbound()).await.ask(USER).tenant(tenant);
    let answer = asking.await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text()
}

#[tokio::test]
async fn instances_come_and_go_without_a_line_of_configuration() {
    let registry = node().await;
    let caller = caller(&[&registry], "").await;
    let first = Copy::start(USER, BASELINE, "b-1", &[&registry]).await;
    caller.until_known(USER, [first.address()]).await;

    let alone = lane(&caller, "alice").await;
    let second = Copy::start(USER, "alice", "b-2", &[&registry]).await;
    caller.until_known(USER, [first.address(), second.address()]).await;
    let with_alice = (lane(&caller, "alice").await, lane(&caller, "").await);
    second.side.stop().await;
    caller.until_known(USER, [first.address()]).await;

    assert_eq!(alone, "baseline");
    assert_eq!(with_alice, ("alice".to_owned(), "baseline".to_owned()));
    assert_eq!(lane(&caller, "alice").await, "baseline");
}

#[tokio::test]
async fn rules_of_the_registry_count_and_the_file_wins() {
    let registry = node().await;
    let (one, red, blue) = (
        App::start(|it| answer_with("baseline".to_owned(), it)),
        App::start(|it| answer_with("red".to_owned(), it)),
        App::start(|it| answer_with("blue".to_owned(), it)),
    );
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", red.address(), "red");
    register(&registry, USER, "3", blue.address(), "blue");
    let caller = caller(&[&registry], "tenants.bob.lane = 'red'").await;
    caller.until_known(USER, [&one, &red, &blue].map(|it| it.address().to_string())).await;
    let name = |text| TenantId::new(text).unwrap();
    let to = |lane: &str| Some(Tenant { lane: Some(lane.parse().unwrap()), ..Tenant::default() });

    for tenant in ["alice", "bob"] {
        let edit = Edit::Tenant(name(tenant), to("blue"));
        within(registry.node().write_rule(edit)).await.unwrap();
    }
    caller.until_metric("discovery_rules", 1).await;

    assert_eq!(lane(&caller, "alice").await, "blue");
    assert_eq!(lane(&caller, "bob").await, "red");
    let shown = caller.admin_json("/config").await;
    assert_eq!(shown["status"]["rules"]["taken"], serde_json::json!(["tenant alice"]));
    assert_eq!(shown["status"]["rules"]["overridden"], serde_json::json!(["tenant bob"]));
}
