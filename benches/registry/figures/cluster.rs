//! Several nodes: a peer that hangs, a peer that starts, and news that crosses from one to another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::figures::{Bench, fill, requests};
use crate::load::{Load, Outcome, Until, median, send};
use crate::report::{Measured, Row};
use crate::server::{Server, free_addresses, is_readable};
use crate::wire::Instance;

/// Starts nodes that know each other.
async fn nodes(bench: &Bench, count: usize) -> anyhow::Result<Vec<Server>> {
    let addresses = free_addresses(count)?;
    let mut nodes = Vec::new();
    for address in &addresses {
        nodes.push(bench.registry.opening(*address, &others(&addresses, *address), None)?);
    }
    for node in &nodes {
        node.await_status("a node that answers reads", is_readable).await?;
    }
    for node in &nodes {
        node.await_status("a node that sees the others", |it| lost(it) == Some(0)).await?;
    }
    Ok(nodes)
}

fn others(all: &[SocketAddr], but: SocketAddr) -> Vec<SocketAddr> {
    all.iter().copied().filter(|it| *it != but).collect()
}

/// Returns how many members a node says are lost.
fn lost(status: &Value) -> Option<usize> {
    let members = status.get("members")?.as_array()?;
    Some(members.iter().filter(|it| it.get("state").is_some_and(|it| it == "lost")).count())
}

fn instances(status: &Value) -> u64 {
    status.get("instances").and_then(Value::as_u64).unwrap_or(0)
}

async fn digest(node: &Server) -> anyhow::Result<Value> {
    Ok(node.status().await?.get("digest").cloned().unwrap_or_default())
}

/// Measures what a stopped peer costs those who write to another node, and when it is called lost.
pub(crate) async fn hung(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let nodes = nodes(bench, 2).await?;
    let [node, peer] = nodes.as_slice() else { anyhow::bail!("two nodes are wanted") };
    fill(node, 10_000).await?;
    let time = Duration::from_secs(if bench.full { 10 } else { 4 });
    let load = Load { connections: 16, until: Until::Passed(time), rate: Some(1000.0) };
    // The same again, in another order of versions: every third writes what is new.
    let all = (0..10_000)
        .map(Instance)
        .map(|it| if it.0 % 3 == 0 { it.register() } else { it.renew() })
        .collect();
    let well = send(node, &all, load).await?;
    peer.signal(Signal::SIGSTOP)?;
    let stopped = Instant::now();
    let lost_after = async {
        node.await_status("a stopped peer that is lost", |it| lost(it) == Some(1)).await?;
        Ok::<_, anyhow::Error>(stopped.elapsed())
    };
    let (hung, lost_after) = tokio::join!(send(node, &all, load), lost_after);
    peer.signal(Signal::SIGCONT)?;
    let continued = Instant::now();
    let (hung, lost_after) = (hung?, lost_after?);
    while digest(node).await? != digest(peer).await? {
        ensure!(continued.elapsed() < Duration::from_secs(60), "the nodes never agree again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let healed = continued.elapsed().as_secs_f64();
    ensure!(well.failed + hung.failed == 0, "{} writes failed", well.failed + hung.failed);
    let tail = |it: &Outcome| Measured::Time(it.within(0.99));
    Ok(vec![
        Row::alone("1,000 writes a second beside a healthy peer: p99", tail(&well)),
        Row::alone("the same beside one that hangs: p99", tail(&hung)).goal("10 ms"),
        Row::alone("the slowest of them", Measured::Time(hung.within(1.0))),
        Row::alone("it is called lost after", Measured::Time(lost_after.as_secs_f64())).goal("5 s"),
        Row::alone("both have the same again, once it goes on", Measured::Time(healed)).goal("5 s"),
    ])
}

/// Measures a node that starts beside one of 100,000 instances.
pub(crate) async fn bootstrap(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    const INSTANCES: usize = 100_000;
    let addresses = free_addresses(2)?;
    let [first, second] = addresses.as_slice() else { anyhow::bail!("two nodes are wanted") };
    let full = bench.registry.node(*first, &[], None).await?;
    fill(&full, INSTANCES).await?;
    let wanted = instances(&full.status().await?);
    let (mut whole, mut written) = (Vec::new(), Vec::new());
    for _ in 0..bench.size(1, bench.rounds) {
        let started = Instant::now();
        let node = bench.registry.opening(*second, &[*first], None)?;
        let answer = node.connect().await?.ask(&Instance(0).register()).await?;
        ensure!(answer.status == 200, "a write is answered {}", answer.status);
        written.push(started.elapsed().as_secs_f64());
        let has_all = |it: &Value| is_readable(it) && instances(it) >= wanted;
        node.await_status("all instances", has_all).await?;
        whole.push(started.elapsed().as_secs_f64());
    }
    Ok(vec![
        Row::alone("a node starts: the first write is answered", Measured::Time(median(written))),
        Row::alone("it has 100,000 instances of its peer", Measured::Time(median(whole)))
            .goal("3 s"),
    ])
}

/// Measures three nodes that take heartbeats and changes all at once, and when all have the same.
pub(crate) async fn cluster(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let nodes = nodes(bench, 3).await?;
    let [one, two, three] = nodes.as_slice() else { anyhow::bail!("three nodes are wanted") };
    let count = bench.size(3000, 30_000);
    fill(one, count).await?;
    let same = agreed(&nodes, Instant::now()).await?;
    let load = Load { connections: 16, until: Until::Passed(bench.turn * 3), rate: None };
    let renew = requests(count, Instance::renew);
    let all =
        tokio::join!(send(one, &renew, load), send(two, &renew, load), send(three, &renew, load));
    let all = [all.0?, all.1?, all.2?];
    let failed: usize = all.iter().map(|it| it.failed).sum();
    ensure!(failed == 0, "{failed} heartbeats failed");
    let tail = all.iter().map(|it| it.within(0.99)).fold(0.0, f64::max);
    let mut crossed = Vec::new();
    for number in 0..bench.size(20, 100) {
        let request = Instance(0).register_as("crossing.service.grpc", &number.to_string());
        let mut writer = one.connect().await?;
        let started = Instant::now();
        let answer = writer.ask(&request).await?;
        ensure!(answer.status == 200, "a write is answered {}", answer.status);
        crossed.push(agreed(&nodes, started).await?.as_secs_f64());
    }
    crossed.sort_by(f64::total_cmp);
    let last = *crossed.last().context("nothing crossed")?;
    Ok(vec![
        Row::alone(
            "three nodes on one core, renew at each: in total",
            Measured::Rate(all.iter().map(Outcome::rate).sum()),
        )
        .goal("15,000 /s"),
        Row::alone("the slowest node's p99", Measured::Time(tail)),
        Row::alone(
            format!("{count} registrations at one node: all nodes agree after"),
            Measured::Time(same.as_secs_f64()),
        ),
        Row::alone("one registration: half are at all nodes in", Measured::Time(median(crossed)))
            .goal("150 ms"),
        Row::alone("the slowest of them", Measured::Time(last)),
    ])
}

/// Waits until all have the same; returns the time since `started`.
async fn agreed(nodes: &[Server], started: Instant) -> anyhow::Result<Duration> {
    loop {
        let mut digests = Vec::new();
        for node in nodes {
            digests.push(digest(node).await?);
        }
        if digests.windows(2).all(|it| it.first() == it.last()) {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < Duration::from_secs(60), "the nodes do not agree");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
