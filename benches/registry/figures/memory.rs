//! Memory: of a hundred thousand instances, and of ten thousand who wait.

use crate::figures::waking::{Dialect, Watchers};
use crate::figures::{Bench, fill};
use crate::load::Load;
use crate::load::{Until, send};
use crate::report::{Measured, Row};
use crate::server::Server;
use crate::wire::Instance;

const INSTANCES: usize = 100_000;

/// Measures what instances and watchers take, and what watchers cost while nothing happens.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub(crate) async fn memory(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let registry = bench.registry.alone().await?;
    let probe = Server::probe(bench.registry.cores)?;
    let empty = registry.resident()?;
    let mut rows = vec![Row::beside("memory at rest", empty, probe.resident()?, Measured::Bytes)];

    fill(&registry, INSTANCES).await?;
    let filled = registry.resident()?;
    rows.push(Row::alone("memory with 100,000 instances", Measured::Bytes(filled)).goal("250 MiB"));
    let each = (filled - empty) / INSTANCES as f64;
    rows.push(Row::alone("memory of an instance", Measured::Bytes(each)).goal("2 KiB"));
    let renewed = super::requests(INSTANCES, Instance::renew);
    let load = Load { connections: 64, until: Until::AllSent, rate: None };
    send(&registry, &renewed, load).await?;
    let beating = registry.resident()?;
    rows.push(Row::alone("the same, all renewed once", Measured::Bytes(beating)).goal("250 MiB"));

    let watchers = 10_000;
    let time = std::time::Duration::from_secs(if bench.full { 10 } else { 3 });
    let (mut each, mut idle) = (Vec::new(), Vec::new());
    for side in [&registry, &probe] {
        let before = side.resident()?;
        let held = Watchers::open(side, Dialect::Polls, watchers, &registry, &probe).await?;
        each.push((side.resident()? - before) / watchers as f64);
        let spent = side.cpu_seconds()?;
        tokio::time::sleep(time).await;
        idle.push((side.cpu_seconds()? - spent) / time.as_secs_f64());
        drop(held);
    }
    if let ([ours, theirs], [our_idle, their_idle]) = (each.as_slice(), idle.as_slice()) {
        let what = "memory of a watcher, of 10,000";
        rows.push(Row::beside(what, *ours, *theirs, Measured::Bytes).goal("20 kB"));
        let what = "10,000 watchers and no news, of a core";
        rows.push(Row::beside(what, *our_idle, *their_idle, Measured::Core).goal("3 %"));
    }
    Ok(rows)
}
