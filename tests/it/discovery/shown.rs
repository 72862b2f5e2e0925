//! What operators are told of sources.

use super::*;
use crate::cli::dyelane;

#[tokio::test]
async fn status_tells_of_sources_and_of_the_rules_they_bring() {
    let registry = node().await;
    let [one, blue] = ["baseline", "blue"].map(app);
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", blue.address(), "blue");
    register_as(&registry, USER, "3", "grpc://user:9000", &[]);
    flip(&registry, "alice", "blue").await;
    flip(&registry, "bob", "blue").await;
    let side = caller(&[&registry], "tenants.bob.lane = 'red'").await;
    side.until_metric("discovery_rules", 1).await;
    side.until("/readyz", |it| it.status == 200).await;
    let (admin, at) = (side.admin_address().to_string(), registry.address());

    let well = dyelane(&["status", "--admin", &admin]);
    let tenants = dyelane(&["tenants", "--admin", &admin]);
    registry.stop().await;
    side.until_source(|it| it["up"] == false).await;
    let gone = dyelane(&["status", "--admin", &admin]);

    assert_eq!(well.code, Some(0), "{}", well.out);
    let line = format!("registry: {at} answers, by dyelane; 2 instances; 1 left out");
    assert!(well.out.contains(&line), "{}", well.out);
    assert!(well.out.contains("by the registry  tenant alice\n"), "{}", well.out);
    assert!(well.out.contains("file overrides   tenant bob\n"), "{}", well.out);
    let said: Vec<Vec<_>> = tenants.out.lines().map(|it| it.split_whitespace().collect()).collect();
    assert!(said.contains(&vec!["alice", "blue", "on", "-", "registry"]), "{}", tenants.out);
    assert!(said.contains(&vec!["bob", "red", "on", "-", "file"]), "{}", tenants.out);
    assert_eq!(gone.code, Some(1), "{}", gone.out);
    assert!(gone.out.contains("registry: gone since 20"), "{}", gone.out);
    assert!(
        gone.out.contains(&format!("left out; what listens at {at}"))
            || gone.out.contains("cannot connect"),
        "{}",
        gone.out
    );
}
