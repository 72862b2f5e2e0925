//! The figures: each starts what it needs, measures, and returns lines of the table.

pub(crate) mod calls;
pub(crate) mod cluster;
pub(crate) mod crowd;
pub(crate) mod memory;
pub(crate) mod waking;

use std::rc::Rc;
use std::time::Duration;

use anyhow::ensure;

use crate::load::{Load, Outcome, Requests, Until, send};
use crate::server::{Registry, Server};
use crate::wire::{self, Instance};

/// What all figures share.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The registry that is measured.
    pub(crate) registry: Registry,
    /// Whether there is time for the large numbers.
    pub(crate) full: bool,
    /// How often each side takes its turn.
    pub(crate) rounds: usize,
    /// How long a turn lasts.
    pub(crate) turn: Duration,
}

impl Bench {
    /// Returns the small number of a short run or the large one of a full run.
    pub(crate) fn size(&self, short: usize, full: usize) -> usize {
        if self.full { full } else { short }
    }
}

/// Makes a request for each of the first so many instances.
pub(crate) fn requests(count: usize, request: impl Fn(Instance) -> Vec<u8>) -> Requests {
    (0..count).map(Instance).map(request).collect()
}

/// Registers so many instances.
pub(crate) async fn fill(server: &Server, count: usize) -> anyhow::Result<Outcome> {
    let load = Load { connections: 64, until: Until::AllSent, rate: None };
    let filled = send(server, &requests(count, Instance::register), load).await?;
    ensure!(filled.failed == 0, "{} of {count} registrations failed", filled.failed);
    Ok(filled)
}

/// Registers so many instances as one service.
pub(crate) async fn fill_service(server: &Server, appid: &str, count: usize) -> anyhow::Result<()> {
    let load = Load { connections: 16, until: Until::AllSent, rate: None };
    let all = requests(count, |it| it.register_as(appid, "1"));
    let filled = send(server, &all, load).await?;
    ensure!(filled.failed == 0, "{} of {count} registrations failed", filled.failed);
    Ok(())
}

/// Asks both sides the same once, after the probe has learnt to answer it with as many bytes.
pub(crate) async fn teach(
    registry: &Server,
    probe: &Server,
    manner: &str,
    request: &[u8],
) -> anyhow::Result<usize> {
    let mut connection = registry.connect().await?;
    let answer = connection.ask(request).await?;
    let text = String::from_utf8_lossy(connection.body()).into_owned();
    ensure!(answer.status < 300, "the registry answers {}: {text}", answer.status);
    let bytes = connection.body().len();
    lesson(probe, manner, request, bytes).await?;
    Ok(answer.bytes)
}

/// Has the probe answer the path of a request with so many bytes.
pub(crate) async fn lesson(
    probe: &Server,
    manner: &str,
    request: &[u8],
    bytes: usize,
) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(request);
    let target = text.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let lesson = wire::get(&format!("/teach/{bytes}/{manner}{}", path.trim_start_matches('/')));
    probe.connect().await?.ask(&lesson).await?;
    Ok(())
}

/// Returns one request as all there is to send.
pub(crate) fn always(request: Vec<u8>) -> Requests {
    Rc::new([request])
}
