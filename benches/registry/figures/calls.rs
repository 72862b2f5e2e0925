//! Single calls: how many a second, how long they take, and what each costs the server.

use std::time::Duration;

use anyhow::ensure;

use crate::figures::{Bench, always, fill, fill_service, requests, teach};
use crate::load::{Load, Outcome, Requests, Until, median, send};
use crate::report::{Measured, Row};
use crate::server::Server;
use crate::wire::{self, Instance};

/// Heartbeats a second of 100,000 instances, one each 30 s.
const HEARTBEATS: f64 = 100_000.0 / 30.0;
const CONNECTIONS: usize = 32;

/// One kind of call, its requests and what they aim at.
struct Call {
    name: String,
    requests: Requests,
    goals: [&'static str; 2],
}

/// Measures heartbeats.
pub(crate) async fn renew(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (registry, probe) = sides(bench).await?;
    let instances = bench.size(10_000, 100_000);
    fill(&registry, instances).await?;
    let call = Call {
        name: format!("renew, {instances} instances"),
        requests: requests(instances, Instance::renew),
        goals: ["40,000 /s", "10 ms"],
    };
    let mut rows = compare(bench, &registry, &probe, call).await?;

    let steady = requests(instances, Instance::renew);
    let time = Duration::from_secs(if bench.full { 10 } else { 3 });
    let load = Load { connections: 64, until: Until::Passed(time), rate: Some(HEARTBEATS) };
    let ours = send(&registry, &steady, load).await?;
    let theirs = send(&probe, &steady, load).await?;
    ensure!(ours.failed == 0, "{} heartbeats failed", ours.failed);
    let core = |it: &Outcome| it.cpu / it.seconds;
    let name = "renew at 3,333 a second";
    rows.push(
        Row::beside(format!("{name}, of a core"), core(&ours), core(&theirs), Measured::Core)
            .goal("15 %"),
    );
    let [one, other] = [&ours, &theirs].map(|it| it.within(0.99));
    rows.push(Row::beside(format!("{name}, p99"), one, other, Measured::Time).goal("10 ms"));
    Ok(rows)
}

/// Measures what providers do but rarely: registering for the first time, again, and leaving.
pub(crate) async fn register(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (registry, probe) = sides(bench).await?;
    let instances = bench.size(10_000, 100_000);
    let goals = ["10,000 /s", "15 ms"];
    let mut rows = Vec::new();
    for (name, request) in [
        ("register anew", Instance::register as fn(Instance) -> Vec<u8>),
        ("cancel", Instance::cancel),
        ("register after a cancel", Instance::register),
    ] {
        let all = requests(instances, request);
        if let Some(first) = requests(1, request).first() {
            teach(&registry, &probe, "", first).await?;
        }
        let load = Load { connections: CONNECTIONS, until: Until::AllSent, rate: None };
        let ours = send(&registry, &all, load).await?;
        let theirs = send(&probe, &all, load).await?;
        let call = Call { name: name.into(), requests: all, goals };
        rows.extend(lines(&call, &[ours], &[theirs])?);
    }
    let call = Call {
        name: "register again".into(),
        requests: requests(instances, Instance::register),
        goals,
    };
    rows.extend(compare(bench, &registry, &probe, call).await?);
    Ok(rows)
}

/// Measures reads of small services and of large ones.
pub(crate) async fn fetch(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (registry, probe) = sides(bench).await?;
    let instances = 10_000;
    fill(&registry, instances).await?;
    let call = Call {
        name: "fetch of 10 instances".into(),
        requests: requests(instances, Instance::fetch),
        goals: ["", ""],
    };
    let mut rows = compare(bench, &registry, &probe, call).await?;
    fill_service(&registry, "large.service.grpc", 1000).await?;
    let call = Call {
        name: "fetch of 1,000 instances".into(),
        requests: always(wire::fetch("large.service.grpc")),
        goals: ["", ""],
    };
    rows.extend(compare(bench, &registry, &probe, call).await?);
    Ok(rows)
}

async fn sides(bench: &Bench) -> anyhow::Result<(Server, Server)> {
    Ok((bench.registry.alone().await?, Server::probe(bench.registry.cores)?))
}

/// Sends the same to both, in turns.
async fn compare(
    bench: &Bench,
    registry: &Server,
    probe: &Server,
    call: Call,
) -> anyhow::Result<Vec<Row>> {
    if let Some(first) = call.requests.first() {
        teach(registry, probe, "", first).await?;
    }
    let load = Load { connections: CONNECTIONS, until: Until::Passed(bench.turn), rate: None };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(send(registry, &call.requests, load).await?);
        theirs.push(send(probe, &call.requests, load).await?);
    }
    lines(&call, &ours, &theirs)
}

fn lines(call: &Call, ours: &[Outcome], theirs: &[Outcome]) -> anyhow::Result<Vec<Row>> {
    let failed: usize = ours.iter().chain(theirs).map(|it| it.failed).sum();
    ensure!(failed == 0, "{}: {failed} requests failed", call.name);
    let line = |what: &str, number: &dyn Fn(&Outcome) -> f64, unit| {
        let [one, other] = [ours, theirs].map(|side| median(side.iter().map(number).collect()));
        Row::beside(format!("{}, {what}", call.name), one, other, unit)
    };
    let [rate, tail] = call.goals;
    Ok(vec![
        line("rate of one core", &Outcome::rate, Measured::Rate).goal(rate),
        line("processor time each", &Outcome::cpu_each, Measured::Time),
        line("p50", &|it| it.within(0.5), Measured::Time),
        line("p99", &|it| it.within(0.99), Measured::Time).goal(tail),
    ])
}
