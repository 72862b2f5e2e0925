//! Crowds: everybody registers at once, and everybody fetches all while hearts beat.

use std::time::Duration;

use anyhow::ensure;

use crate::figures::{Bench, always, fill_service, requests, teach};
use crate::load::{Load, Until, send};
use crate::report::{Measured, Row};
use crate::server::Server;
use crate::wire::{self, Instance};

/// Measures a registry that comes back empty: each instance is told so, and registers, all at once.
pub(crate) async fn herd(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let instances = bench.size(10_000, 100_000);
    let registry = bench.registry.alone().await?;
    let probe = Server::probe(bench.registry.cores)?;
    let all = (0..instances).map(Instance).flat_map(|it| [it.renew(), it.register()]).collect();
    for request in [Instance(0).renew(), Instance(0).register()] {
        teach(&registry, &probe, "", &request).await?;
    }
    let load = Load { connections: 500, until: Until::AllSent, rate: None };
    let ours = send(&registry, &all, load).await?;
    let theirs = send(&probe, &all, load).await?;
    ensure!(ours.failed == 0, "{} of a herd failed", ours.failed);
    let name = format!("{instances} instances return at once over 500 connections");
    let [one, other] = [&ours, &theirs].map(|it| it.seconds);
    let [tail, their_tail] = [&ours, &theirs].map(|it| it.within(0.99));
    Ok(vec![
        Row::beside(format!("{name}: all registered"), one, other, Measured::Time),
        Row::beside(format!("{name}: p99 of a call"), tail, their_tail, Measured::Time),
    ])
}

/// Measures 200 clients that fetch a service of 10,000 instances, and heartbeats meanwhile.
pub(crate) async fn storm(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    const LARGE: &str = "large.service.grpc";
    let registry = bench.registry.alone().await?;
    let probe = Server::probe(bench.registry.cores)?;
    fill_service(&registry, LARGE, 10_000).await?;
    super::fill(&registry, 10_000).await?;
    let path = format!("/discovery/fetch?env=prod&appid={LARGE}&status=1");
    let fetch = wire::get_packed(&path);
    let bytes = teach(&registry, &probe, "", &fetch).await?;
    teach(&registry, &probe, "", &Instance(0).renew()).await?;
    let time = Duration::from_secs(if bench.full { 10 } else { 3 });
    let fetches = Load { connections: 200, until: Until::Passed(time), rate: Some(200.0) };
    let beats = Load { connections: 32, until: Until::Passed(time), rate: Some(1000.0) };
    let (fetch, renew) = (always(fetch), requests(10_000, Instance::renew));
    let mut rows = vec![Row::alone(
        "an answer of 10,000 instances",
        #[expect(clippy::cast_precision_loss, reason = "a size in memory")]
        Measured::Bytes(bytes as f64),
    )];
    let (mut fetch_tails, mut beat_tails) = (Vec::new(), Vec::new());
    for side in [&registry, &probe] {
        let both = tokio::join!(send(side, &fetch, fetches), send(side, &renew, beats));
        let (fetches, beats) = (both.0?, both.1?);
        ensure!(beats.failed == 0, "{} heartbeats failed in a storm", beats.failed);
        ensure!(fetches.failed == 0, "{} fetches failed in a storm", fetches.failed);
        fetch_tails.push(fetches.within(0.99));
        beat_tails.push(beats.within(0.99));
    }
    if let ([ours, theirs], [our_beat, their_beat]) =
        (fetch_tails.as_slice(), beat_tails.as_slice())
    {
        let what = "200 such fetches a second: p99";
        rows.push(Row::beside(what, *ours, *theirs, Measured::Time).goal("1 s"));
        let what = "1,000 heartbeats a second meanwhile: p99";
        rows.push(Row::beside(what, *our_beat, *their_beat, Measured::Time).goal("20 ms"));
    }
    Ok(rows)
}
