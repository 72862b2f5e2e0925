//! A node that dies or hangs is left for another; where there is none, nothing changes.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::*;
use crate::cli::Files;
use crate::harness::app::{Raw, answer};
use crate::harness::until;
use crate::nodes::{ALONE, Process};

/// Registers by HTTP with a node that is a process.
async fn register_with(node: &Process, service: &str, host: &str, address: &str) {
    let form = format!(
        "/discovery/register?zone=z&env=prod&appid={service}&hostname={host}&status=1&addrs=http://{address}"
    );
    let answer = Caller::http1(node.address).ask("registry").path(&form).post("").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn another_node_is_followed_at_once_when_one_dies() {
    let (one, other) = (node().await, node().await);
    for node in [&one, &other] {
        register(node, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);
    }
    let side = caller(&[&one, &other], "").await;
    let source = side.until_source(|it| it["up"] == true).await;
    let follows_one = source["node"] == one.address().to_string();
    let (followed, other) = if follows_one { (one, other) } else { (other, one) };

    drop(followed);
    side.until_source(|it| it["node"] == other.address().to_string() && it["up"] == true).await;
    register(&other, USER, "2", "10.0.0.2:80".parse().unwrap(), BASELINE);

    side.until_known(USER, ["10.0.0.1:80", "10.0.0.2:80"].map(str::to_owned)).await;
    assert_eq!(side.metric("discovery_source_up{source=\"registry\"}").await, 1);
}

#[tokio::test]
async fn a_node_that_cannot_answer_yet_is_left_for_another() {
    let unready = App::start(async |_| answer(503, "not readable yet"));
    let good = node().await;
    register(&good, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);

    let nodes = [unready.address(), good.address()];
    let sides = [(); 4].map(|()| Side::start(following(&nodes, "")));

    for side in sides {
        let side = side.await;
        side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;
        side.until_source(|it| it["node"] == good.address().to_string()).await;
    }
}

#[tokio::test]
async fn a_node_that_answers_at_once_without_news_is_not_asked_without_end() {
    let hasty = App::start(async |_| answer(200, r#"{"node":"n1","index":7}"#));
    let side = Side::start(following(&[hasty.address()], "")).await;
    side.until_source(|it| it["up"] == true).await;
    until(|| hasty.seen().len() >= 2).await;

    let since = Instant::now();
    until(|| hasty.seen().len() >= 11).await;

    // The pauses double from 2 ms to 512 ms; it would be a few, if it were asked as fast as it answers.
    assert!(since.elapsed() > Duration::from_millis(200), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_node_that_answers_what_cannot_be_read_is_gone() {
    for nonsense in ["", "{", "[]", r#"{"node":"n1","index":0}"#, r#"{"node":"n1","index":-1}"#] {
        let node = App::start(move |_| async move { answer(200, nonsense) });

        let side = Side::start(following(&[node.address()], "")).await;

        let source = side.until_source(|it| it["last_error"].is_object()).await;
        assert_eq!(source["up"], false, "{nonsense}");
        assert_eq!(side.admin("/readyz").await.status, 503);
    }
}

#[tokio::test]
async fn a_node_that_breaks_off_or_never_ends_its_answer_changes_nothing_and_is_left_for_another() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let broken = Raw::start(async |mut stream: TcpStream| {
        let said = format!("{HEAD}content-length: 900\r\n\r\n{{\"node\":\"n1\",\"index\":7,");
        let _ = stream.write_all(said.as_bytes()).await;
    })
    .await;
    let endless = Raw::start(async |mut stream: TcpStream| {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        let _ =
            stream.write_all(format!("{HEAD}transfer-encoding: chunked\r\n\r\n").as_bytes()).await;
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    let good = node().await;
    register(&good, USER, "1", "10.0.0.1:80".parse().unwrap(), BASELINE);

    for bad in [&broken, &endless] {
        let side = Side::start(following(&[bad.address], "")).await;
        let source = side.until_source(|it| it["last_error"].is_object()).await;
        assert_eq!(source["up"], false);
        side.turn(&format!(
            "discovery.registry.addresses = ['{}', '{}']",
            bad.address,
            good.address()
        ))
        .await;
        side.until_known(USER, ["10.0.0.1:80".to_owned()]).await;
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_left_within_seconds() {
    let files = Files::with("");
    let nodes = [Process::start(&files, ALONE), Process::start(&files, ALONE)];
    for node in &nodes {
        register_with(node, USER, "1", "10.0.0.1:80").await;
    }
    let side = Side::start(following(&nodes.each_ref().map(|it| it.address), "")).await;
    let source = side.until_source(|it| it["up"] == true).await;
    let (followed, other): (Vec<_>, Vec<_>) =
        nodes.iter().partition(|it| source["node"] == it.address.to_string());

    followed[0].tell(Signal::SIGSTOP);
    let since = Instant::now();
    register_with(other[0], USER, "2", "10.0.0.2:80").await;
    side.until_known(USER, ["10.0.0.1:80", "10.0.0.2:80"].map(str::to_owned)).await;

    println!("left after {:?}", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(15));
    followed[0].tell(Signal::SIGCONT);
}

#[tokio::test]
async fn with_no_node_left_everything_stays_as_it_was_until_one_returns() {
    let registry = node().await;
    let [one, blue] = ["baseline", "blue"].map(app);
    register(&registry, USER, "1", one.address(), BASELINE);
    register(&registry, USER, "2", blue.address(), "blue");
    flip(&registry, "alice", "blue").await;
    let side = caller(&[&registry], "").await;
    side.until_metric("discovery_rules", 1).await;
    let at = registry.address();

    registry.stop().await;
    side.until_metric("discovery_source_up{source=\"registry\"}", 0).await;
    let during = (side.lane("alice").await, side.admin("/readyz").await.status);
    let source = side.until_source(|it| it["up"] == false).await;
    let again = node_at(at).await;
    register(&again, USER, "1", one.address(), BASELINE);
    register(&again, USER, "2", blue.address(), "blue");
    side.until_metric("discovery_source_up{source=\"registry\"}", 1).await;

    assert_eq!(during, ("blue".to_owned(), 200));
    assert!(source["last_error"]["error"].as_str().unwrap().contains("cannot connect"), "{source}");
    // It was started without rules, and is not believed in that before it has said so for long.
    let source = side.until_source(|it| it["up"] == true).await;
    assert_eq!((source["held_rules"].as_u64(), &*side.lane("alice").await), (Some(1), "blue"));
    flip(&again, "bob", "blue").await;
    side.until_metric("discovery_rules", 2).await;
}
