//! A registry of three processes whose network is cut, and whose processes stop, die and come back.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, NODES};
use crate::{is_possible, namespace};

/// What no answer to a client takes, on however busy a machine, unless it waits for another node.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Runs a test, unless this machine lets us make no networks.
async fn in_namespaces(test: impl AsyncFnOnce()) {
    if is_possible("join namespaces", &namespace::switches_work()) {
        test().await;
    }
}

fn names(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|it| format!("{what}-{it:02}")).collect()
}

/// Tells the worst of what clients waited for, and makes sure that it was for nobody else.
#[track_caller]
fn none_waited(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("{what}: {} answers, median {median:?}, worst {worst:?}", took.len());
    assert!(worst < AT_ONCE, "{worst:?}");
}

#[tokio::test]
async fn both_sides_of_a_cut_serve_and_agree_once_it_is_over() {
    in_namespaces(async || {
        let cluster = Cluster::start().await;
        for name in names("old", 40) {
            cluster.say(1, "register", &name).await;
        }
        cluster.until("the registrations are everywhere", async |it| it.agrees().await).await;

        cluster.plug(3, false);
        let mut took = Vec::new();
        for number in 0..20 {
            took.push(cluster.say(1, "register", &format!("here-{number:02}")).await);
            took.push(cluster.say(3, "register", &format!("there-{number:02}")).await);
        }
        for number in 0..10 {
            took.push(cluster.say(1, "cancel", &format!("old-{number:02}")).await);
            took.push(cluster.say(3, "cancel", &format!("old-{:02}", number + 10)).await);
        }
        let lost = async |it: &Cluster| {
            it.told_of(1, 3).await["state"] == "lost" && it.told_of(3, 1).await["state"] == "lost"
        };
        cluster.until("both sides say that the other is lost", lost).await;
        for number in 20..30 {
            took.push(cluster.renew(1, &format!("old-{number:02}")).await);
            took.push(cluster.renew(3, &format!("old-{number:02}")).await);
        }
        let apart = [cluster.hosts(1).await.len(), cluster.hosts(3).await.len()];
        cluster.plug(3, true);
        cluster.until("all reach all", async |it| it.is_whole().await).await;
        cluster.until("all have the same", async |it| it.agrees().await).await;

        none_waited("during the cut", took);
        assert_eq!(apart, [50, 50]);
        let mut expected = [names("here", 20), names("there", 20), names("old", 40)].concat();
        expected.retain(|it| !it.starts_with("old-0") && !it.starts_with("old-1"));
        expected.sort();
        for number in NODES {
            assert_eq!(cluster.hosts(number).await, expected, "at node {number}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_that_stands_still_costs_clients_nothing_and_catches_up() {
    in_namespaces(async || {
        let cluster = Cluster::start().await;

        cluster.signal(3, Signal::SIGSTOP);
        let mut took = Vec::new();
        for name in names("new", 100) {
            took.push(cluster.say(1, "register", &name).await);
            took.push(cluster.renew(2, &name).await);
        }
        let waiting = cluster.told_of(1, 3).await["queue"].as_u64().unwrap();
        cluster
            .until("it is said to be lost", async |it| it.told_of(1, 3).await["state"] == "lost")
            .await;
        let left = cluster.told_of(1, 3).await;
        cluster.signal(3, Signal::SIGCONT);
        cluster.until("all reach all", async |it| it.is_whole().await).await;
        cluster.until("all have the same", async |it| it.agrees().await).await;

        none_waited("beside a node that stands still", took);
        assert!(waiting <= 200, "{waiting} things wait");
        assert_eq!(
            (&left["queue"], &left["why"]),
            (&0.into(), &"it does not answer in time".into())
        );
        assert_eq!(cluster.hosts(3).await, names("new", 100));
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_killed_comes_back_with_everything() {
    in_namespaces(async || {
        let mut cluster = Cluster::start().await;
        for name in names("old", 40) {
            cluster.say(1, "register", &name).await;
        }
        cluster.until("the registrations are everywhere", async |it| it.agrees().await).await;

        cluster.kill(3);
        cluster.say(2, "cancel", "old-00").await;
        cluster.launch(3);
        cluster.until("it answers", async |it| it.status(3).await.is_some()).await;
        cluster.say(3, "register", "new-00").await;
        let read = async |it: &Cluster| it.ask(3, "GET /readyz", "").await.status == 200;
        cluster.until("it is read", read).await;
        let seen = cluster.hosts(3).await;
        cluster.until("all have the same", async |it| it.agrees().await).await;

        let mut expected = [names("old", 40), names("new", 1)].concat();
        expected.retain(|it| it != "old-00");
        expected.sort();
        assert_eq!(seen, expected, "it has everything before it is read");
        assert_eq!(cluster.hosts(1).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_cut_in_one_direction_keeps_nothing_from_anybody() {
    in_namespaces(async || {
        let cluster = Cluster::start().await;

        cluster.misdirect(1, 3, true);
        let mut took = Vec::new();
        for name in names("here", 20) {
            took.push(cluster.say(1, "register", &name).await);
        }
        for name in names("there", 20) {
            took.push(cluster.say(3, "register", &name).await);
        }
        // Node 2 reaches both, and compares what it has with either.
        cluster.until("all have the same", async |it| it.agrees().await).await;
        let seen = cluster.hosts(3).await;
        cluster.misdirect(1, 3, false);
        cluster.until("all reach all", async |it| it.is_whole().await).await;

        none_waited("while one direction is cut", took);
        assert_eq!(seen, [names("here", 20), names("there", 20)].concat());
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_died_whole_has_its_rules_and_soon_its_instances() {
    in_namespaces(async || {
        let mut cluster = Cluster::start().await;
        for name in names("old", 20) {
            cluster.say(1, "register", &name).await;
        }
        let rule = r#"{"enabled": false}"#;
        let written = cluster.ask(2, "PUT /v1/rules/tenants/alice", rule).await.status;
        let has_rule =
            async |it: &Cluster| it.ask(3, "GET /v1/rules/tenants/alice", "").await.status == 200;
        cluster.until("the rule is everywhere", has_rule).await;

        for number in NODES {
            cluster.kill(number);
        }
        for number in NODES {
            cluster.launch(number);
        }
        cluster.until("all have met again", async |it| it.is_whole().await).await;
        let read = async |it: &Cluster| it.ask(3, "GET /readyz", "").await.status == 200;
        cluster.until("it is read", read).await;
        for (number, name) in names("old", 20).iter().enumerate() {
            cluster.renew(number % 3 + 1, name).await;
        }
        cluster.until("all have the same", async |it| it.agrees().await).await;

        assert_eq!(written, 200);
        assert!(has_rule(&cluster).await);
        for number in NODES {
            assert_eq!(cluster.hosts(number).await, names("old", 20));
        }
    })
    .await;
}
