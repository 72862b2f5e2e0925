//! What a node of the registry carries, beside a bare tokio and hyper server answering the same.
//!
//! ```text
//! cargo bench --bench registry                     a minute or two
//! cargo bench --bench registry -- --full           the large numbers, many minutes
//! cargo bench --bench registry -- renew poll       these figures alone
//! ```
//!
//! The registry is the real program in a process of its own, and so is the probe; they share the
//! last core, the load has the one before. Both sides take turns, and each number is the median of
//! its turns. How to read it: `docs/registry-performance.md`.

mod figures;
mod load;
mod machine;
mod probe;
mod report;
mod server;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use crate::figures::{Bench, calls, cluster, crowd, memory, waking};
use crate::machine::Cores;
use crate::report::Row;
use crate::server::Registry;

/// Measures a registry beside a bare tokio and hyper server.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure; nothing: all there is
    figures: Vec<Figure>,
    /// Larger numbers and longer turns
    #[arg(long)]
    full: bool,
    /// Turns of each side
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The program to measure, instead of the one built now
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_dyelane"))]
    binary: PathBuf,
    /// Said by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Heartbeats: as many as it takes, and 3,333 a second
    Renew,
    /// Registering, again, and leaving
    Register,
    /// Reads of services of 10 and of 1,000 instances
    Fetch,
    /// A change reaching 1,000 and 9,000 who poll
    Poll,
    /// The same for those who watch in our own words
    Watch,
    /// A tenant's flip reaching 1,000 sidecars
    Flip,
    /// Memory of 100,000 instances, and of 10,000 who wait
    Memory,
    /// All instances registering at once
    Herd,
    /// Large fetches, and heartbeats meanwhile
    Storm,
    /// A peer that hangs
    Hung,
    /// A node that starts beside one of 100,000 instances
    Bootstrap,
    /// Three nodes
    Cluster,
}

impl Figure {
    async fn measure(self, bench: &Bench) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Renew => calls::renew(bench).await,
            Self::Register => calls::register(bench).await,
            Self::Fetch => calls::fetch(bench).await,
            Self::Poll => waking::poll(bench).await,
            Self::Watch => waking::watching(bench).await,
            Self::Flip => waking::flip(bench).await,
            Self::Memory => memory::memory(bench).await,
            Self::Herd => crowd::herd(bench).await,
            Self::Storm => crowd::storm(bench).await,
            Self::Hung => cluster::hung(bench).await,
            Self::Bootstrap => cluster::bootstrap(bench).await,
            Self::Cluster => cluster::cluster(bench).await,
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().nth(1).is_some_and(|it| it == server::PROBE) {
        return probe::serve().map(|()| ExitCode::SUCCESS);
    }
    let options = Options::parse();
    machine::allow_many_files()?;
    let cores = Cores::choose()?;
    let machine = machine::describe()?;
    machine::stay_on(cores.load)?;
    let bench = Bench {
        registry: Registry { program: options.binary.clone(), cores },
        full: options.full,
        rounds: options.rounds.unwrap_or(if options.full { 7 } else { 3 }).max(1),
        turn: Duration::from_millis(if options.full { 2000 } else { 700 }),
    };
    let figures: &[Figure] = match options.figures.as_slice() {
        [] => Figure::value_variants(),
        some => some,
    };
    println!("{machine}; {} turns of each side\n", bench.rounds);
    report::head();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, measure(&bench, figures))
}

/// Measures one after the other; one that fails is said, and does not keep the rest from us.
async fn measure(bench: &Bench, figures: &[Figure]) -> anyhow::Result<ExitCode> {
    let mut failed = false;
    let (started, busy) = (Instant::now(), machine::busy_seconds()?);
    for figure in figures {
        match Box::pin(figure.measure(bench)).await {
            Ok(rows) => rows.iter().for_each(|row| println!("{row}")),
            Err(error) => {
                failed = true;
                eprintln!("{figure:?} could not be measured: {error:#}");
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let busy = (machine::busy_seconds()? - busy) / seconds;
    println!("\n{seconds:.0} s; all cores together were busy for {busy:.2} of one");
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
