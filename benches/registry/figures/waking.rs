//! Waking: how long a change takes to reach those who wait for it, and what it costs.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::figures::{Bench, fill_service, lesson};
use crate::load::{median, percentile};
use crate::report::{Measured, Row};
use crate::server::{Server, TOKEN};
use crate::wire::{self, Connection, Instance};

/// The service that is watched, of so many instances.
const WATCHED: &str = "watched.service.grpc";
const INSTANCES: usize = 10;

/// In which words a watcher asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Those of bilibili/discovery: all instances come each time.
    Polls,
    /// Our own: what changed comes.
    Watch,
}

/// Where a watcher is.
#[derive(Debug, Clone)]
enum Place {
    Polls {
        latest: u64,
    },
    Watch(Value),
    /// Of the probe, whose answers say nothing.
    Probe(Dialect),
}

/// What a watcher saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    bytes: usize,
}

/// Those who wait, until dropped.
#[derive(Debug)]
pub(crate) struct Watchers {
    count: usize,
    seen: mpsc::UnboundedReceiver<Seen>,
    // Aborted with it.
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Watchers {
    /// Opens so many at a server, and waits until all are held there.
    pub(crate) async fn open(
        side: &Server,
        dialect: Dialect,
        count: usize,
        registry: &Server,
        probe: &Server,
    ) -> anyhow::Result<Self> {
        fill_service(registry, WATCHED, INSTANCES).await?;
        let mut connection = registry.connect().await?;
        let place = start(&mut connection, dialect).await?;
        let bytes = connection.body().len();
        let is_probe = std::ptr::eq(side, probe);
        let place = if is_probe { Place::Probe(dialect) } else { place };
        if is_probe {
            // What news is like on the wire: of one dialect all, of the other one instance.
            let bytes = if dialect == Dialect::Watch { bytes / INSTANCES + 100 } else { bytes };
            lesson(probe, "held/", &ask(&place, 0), bytes).await?;
            lesson(probe, "waking/", &change(0), 40).await?;
        }
        Self::held(side, place, count).await
    }

    async fn held(side: &Server, place: Place, count: usize) -> anyhow::Result<Self> {
        side.await_watchers(0).await?;
        let (told, seen) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let place = Rc::new(place);
        for consumer in 0..count {
            let connection = side.connect().await?;
            tasks.spawn_local(watch(connection, Place::clone(&place), consumer, told.clone()));
        }
        side.await_watchers(count).await?;
        Ok(Self { count, seen, tasks })
    }

    /// Waits until each has seen one more change; returns when each did, by arrival, and the bytes
    /// that came.
    async fn all_saw(&mut self) -> anyhow::Result<(Vec<Instant>, usize)> {
        let (mut times, mut bytes) = (Vec::with_capacity(self.count), 0);
        while times.len() < self.count {
            tokio::select! {
                seen = self.seen.recv() => {
                    let seen = seen.context("all watchers are gone")?;
                    times.push(seen.at);
                    bytes += seen.bytes;
                }
                Some(ended) = self.tasks.join_next() => ended??,
            }
        }
        Ok((times, bytes))
    }
}

/// Watches until dropped.
async fn watch(
    mut connection: Connection,
    mut place: Place,
    consumer: usize,
    told: mpsc::UnboundedSender<Seen>,
) -> anyhow::Result<()> {
    loop {
        let answer = connection.ask(&ask(&place, consumer)).await?;
        let at = Instant::now();
        ensure!(answer.status == 200, "a watcher is answered {}", answer.status);
        let is_news = !connection.body().starts_with(b"{\"code\":-304");
        if is_news && place.advance(connection.body())? {
            let _ = told.send(Seen { at, bytes: answer.bytes });
        }
    }
}

/// Asks for what there is, as a watcher does first.
async fn start(connection: &mut Connection, dialect: Dialect) -> anyhow::Result<Place> {
    let mut place = match dialect {
        Dialect::Polls => Place::Polls { latest: 0 },
        Dialect::Watch => Place::Watch(json!({
            "env": "prod", "services": [WATCHED], "consumer": "bench", "index": 0, "node": "",
            "wait_ms": 30_000, "rules": true,
        })),
    };
    let answer = connection.ask(&ask(&place, 0)).await?;
    ensure!(answer.status == 200, "a watcher is answered {}", answer.status);
    place.advance(connection.body())?;
    Ok(place)
}

impl Place {
    /// Goes where an answer says; returns whether that is elsewhere.
    fn advance(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        match self {
            Self::Probe(_) => Ok(true),
            Self::Polls { latest } => {
                let before = *latest;
                *latest = wire::latest_timestamp(body)?;
                Ok(*latest != before)
            }
            Self::Watch(request) => {
                let answer: Value = serde_json::from_slice(body)?;
                let is_news = answer.get("services").or(answer.get("rules")).is_some();
                let request = request.as_object_mut().context("a request is an object")?;
                for name in ["node", "index"] {
                    request.insert(name.into(), answer.get(name).cloned().unwrap_or_default());
                }
                if let Some(hash) = answer.pointer("/rules/hash") {
                    request.insert("known_rules".into(), hash.clone());
                }
                Ok(is_news)
            }
        }
    }
}

fn ask(place: &Place, consumer: usize) -> Vec<u8> {
    let of_watch = |request: &Value| wire::json("POST", "/v1/watch", "", &request.to_string());
    match place {
        Place::Polls { latest } => wire::polls(consumer, WATCHED, *latest),
        Place::Probe(Dialect::Polls) => wire::polls(consumer, WATCHED, 1_795_000_000_000_000_000),
        Place::Watch(request) => of_watch(request),
        Place::Probe(Dialect::Watch) => of_watch(&json!({
            "env": "prod", "services": [WATCHED], "consumer": "bench", "index": 1_000_000,
            "node": "0123456789abcdef-0123456789abcdef", "wait_ms": 30_000, "rules": true,
            "known_rules": "0123456789abcdef0123456789abcdef",
        })),
    }
}

/// Returns a change of the watched service.
fn change(number: usize) -> Vec<u8> {
    Instance(0).register_as(WATCHED, &format!("2.{number}"))
}

/// What a change did.
#[derive(Debug, Default)]
struct Woken {
    half: Vec<f64>,
    most: Vec<f64>,
    last: Vec<f64>,
    writer: Vec<f64>,
    cpu: Vec<f64>,
    bytes: Vec<f64>,
}

impl Woken {
    /// Makes some changes by `writer`, one after the other, and waits for those who watch.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    async fn by(
        &mut self,
        changes: &[Vec<u8>],
        writer: &mut Connection,
        side: &Server,
        watchers: &mut Watchers,
    ) -> anyhow::Result<()> {
        for change in changes {
            let (cpu, started) = (side.cpu_seconds()?, Instant::now());
            let answer = writer.ask(change).await?;
            let answered = started.elapsed();
            ensure!(answer.status == 200, "a change is answered {}", answer.status);
            let (times, bytes) = watchers.all_saw().await?;
            side.await_watchers(watchers.count).await?;
            let mut took: Vec<f64> =
                times.iter().map(|at| at.duration_since(started).as_secs_f64()).collect();
            took.sort_by(f64::total_cmp);
            self.half.push(percentile(&took, 0.5));
            self.most.push(percentile(&took, 0.99));
            self.last.push(percentile(&took, 1.0));
            self.writer.push(answered.as_secs_f64());
            self.cpu.push((side.cpu_seconds()? - cpu) / watchers.count as f64);
            self.bytes.push(bytes as f64 / watchers.count as f64);
        }
        Ok(())
    }

    fn rows(self, theirs: Self, name: &str, goal: &'static str) -> Vec<Row> {
        let pairs = [
            ("reaches half of them", self.half, theirs.half, Measured::Time as fn(f64) -> _, ""),
            ("reaches 99 %", self.most, theirs.most, Measured::Time, goal),
            ("reaches the last", self.last, theirs.last, Measured::Time, ""),
            ("the writer is answered", self.writer, theirs.writer, Measured::Time, "15 ms"),
            (
                "processor time each, asking again included",
                self.cpu,
                theirs.cpu,
                Measured::Time,
                "",
            ),
            ("bytes each", self.bytes, theirs.bytes, Measured::Bytes, ""),
        ];
        let row = |(what, ours, theirs, unit, goal)| {
            Row::beside(format!("{name}: {what}"), median(ours), median(theirs), unit).goal(goal)
        };
        pairs.into_iter().map(row).collect()
    }
}

/// Measures a change of a service of ten instances that 1,000 watch, then 9,000.
pub(crate) async fn poll(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = of_size(bench, Dialect::Polls, 1000, "50 ms").await?;
    rows.extend(of_size(bench, Dialect::Polls, 9000, "500 ms").await?);
    Ok(rows)
}

/// Measures the same in our own words.
pub(crate) async fn watching(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = of_size(bench, Dialect::Watch, 1000, "50 ms").await?;
    rows.extend(of_size(bench, Dialect::Watch, 9000, "500 ms").await?);
    Ok(rows)
}

async fn of_size(
    bench: &Bench,
    dialect: Dialect,
    count: usize,
    goal: &'static str,
) -> anyhow::Result<Vec<Row>> {
    let registry = bench.registry.alone().await?;
    let probe = Server::probe(bench.registry.cores)?;
    let (mut ours, mut theirs) = (Woken::default(), Woken::default());
    let turns = bench.rounds.div_ceil(2);
    for turn in 0..turns {
        for (side, woken) in [(&registry, &mut ours), (&probe, &mut theirs)] {
            let changes: Vec<Vec<u8>> = (0..5).map(|it| change(turn * 5 + it)).collect();
            let mut watchers = Watchers::open(side, dialect, count, &registry, &probe).await?;
            let mut writer = side.connect().await?;
            woken.by(&changes, &mut writer, side, &mut watchers).await?;
        }
    }
    let path = if dialect == Dialect::Polls { "polls" } else { "watch" };
    Ok(ours.rows(theirs, &format!("{path}, {count} watchers, a change"), goal))
}

/// Measures switching a tenant off and on, seen by 1,000 sidecars.
pub(crate) async fn flip(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let kept = tempfile::tempdir()?;
    let registry = bench.registry.node("127.0.0.1:0".parse()?, &[], Some(kept.path())).await?;
    let probe = Server::probe(bench.registry.cores)?;
    let fields = format!("authorization: Bearer {TOKEN}\r\n");
    let flips: Vec<Vec<u8>> = (0..bench.size(10, 40))
        .map(|it| format!(r#"{{"enabled":{}}}"#, it % 2 == 1))
        .map(|rule| wire::json("PUT", "/v1/rules/tenants/alice", &fields, &rule))
        .collect();
    let (mut ours, mut theirs) = (Woken::default(), Woken::default());
    for (side, woken) in [(&registry, &mut ours), (&probe, &mut theirs)] {
        let mut watchers = Watchers::open(side, Dialect::Watch, 1000, &registry, &probe).await?;
        lesson(&probe, "waking/", flips.first().context("no flips")?, 100).await?;
        let mut writer = side.connect().await?;
        woken.by(&flips, &mut writer, side, &mut watchers).await?;
    }
    Ok(ours.rows(theirs, "flip of a tenant, 1,000 sidecars", "well below 1 s"))
}
