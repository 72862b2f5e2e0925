//! The command tree: what an operator can say to `dyelane`.
//!
//! Standard output carries data, standard error talk. Exit codes: 0 good, 1 the answer is no (or it
//! could not be had), 2 bad input.
//!
//! Floor 7: uses everything.

mod address;
mod ask;
mod check;
mod cluster;
mod demo;
mod explain;
mod explained;
mod fetch;
mod file;
mod flip;
mod node;
mod print;
mod registry;
mod services;
mod source;
mod status;
mod tenants;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::app::StartError;

/// What an operator said.
#[derive(Debug, Parser)]
#[command(name = "dyelane", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
#[command(
    after_help = "`dyelane --help` says more, with examples; `dyelane help VERB` about a verb."
)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub struct Arguments {
    /// How answers are written.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

const ABOUT: &str = "Sends every request to its tenant's lane, or to production";

const LONG_ABOUT: &str = "\
Sends every request to its tenant's lane, or to production.

Dyelane runs beside an application and takes its HTTP/2, gRPC, HTTP/1.1 and other TCP traffic in both \
directions. It works out whose request each stream is (`x-tenant`, `baggage`, `tracestate`, or the trace it \
belongs to), sends it to an instance of that tenant's lane if the service has one, else along a fallback \
ladder to the baseline, and carries the tenant onward to the next hop. One file, sidecar.toml, says it all; \
it is taken up again whenever it changes.";

const EXAMPLES: &str = "\
Examples:
  dyelane demo                                    see it work, in a second, on loopback
  dyelane check sidecar.toml                      is the file good? all problems, with their remedy
  dyelane run sidecar.toml                        be the sidecar
  dyelane explain user.shop --tenant alice        where would alice's request go, and why?
  dyelane explain user.shop --tenant alice --admin 127.0.0.1:15000
                                                  … according to a running sidecar
  dyelane status                                  is the local sidecar well, on which generation?
  dyelane flip alice --off                        send alice to production, in ./sidecar.toml
  dyelane registry --data /var/lib/dyelane        be the registry sidecars find each other by
  dyelane status --registry 127.0.0.1:7171        are its nodes well, and do they agree?
  dyelane services --registry 127.0.0.1:7171      who is there?
  dyelane status -o json | jq .generation
  dyelane completions bash > /etc/bash_completion.d/dyelane

Exit codes:
  0  good
  1  the answer is no (no instance, not healthy), or it could not be had
  2  bad input: arguments, or a file with problems

Environment:
  DYELANE_CONFIG    the file, where none is named; else ./sidecar.toml
  DYELANE_ADMIN     the admin address of `status`, where none is named; else 127.0.0.1:15000
  DYELANE_REGISTRY  the registry of `flip`, `services` and `tenants`, where nobody is named: HOST:PORT,…
  DYELANE_TOKEN     what tenant rules are written with in that registry
  NO_COLOR          no colours, even on a terminal";

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people: aligned text
    #[default]
    Table,
    /// For programs: one JSON document
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Be the sidecar, until SIGTERM
    ///
    /// Takes the file up again when it changes (SIGHUP forces it); a bad file keeps the last good
    /// one in force. SIGTERM ends it: no new connections, streams under way finish. Exits with 2
    /// and a report if the file is bad at the start.
    Run(WhichFile),
    /// Say whether a file is good, and everything that is wrong with it
    ///
    /// Each problem is shown under its line, with a remedy. A bad `[tenants.X]` or `[lanes.X]`
    /// alone would be left out by a running sidecar, the rest taken up: such entries are named.
    Check(check::Check),
    /// Say where a request would go, and why
    ///
    /// Goes down the ladder rung by rung, as the data path would: by the file alone, in which every
    /// instance counts as healthy, or by what a running sidecar knows (--admin). Exits with 1 if
    /// no instance is found.
    Explain(explain::Explain),
    /// Send a tenant to a lane, or turn it off and on
    ///
    /// Edits where that is decided, `[tenants.NAME]` of a file or the rules of a registry, and shows
    /// first what changes. In a file nothing else changes, comments and layout included, and it is
    /// replaced whole. In a registry every sidecar that watches it knows at once. Exits with 1 if
    /// it is not done, 2 if the file is bad.
    Flip(flip::Flip),
    /// Say who is there, by service and lane
    ///
    /// As a running sidecar knows it, or a registry (--registry), or a file alone (--file). With the
    /// name of a service, each of its instances; exits with 1 if there is no such service.
    Services(services::Services),
    /// Say where each tenant is sent, and who says so
    Tenants(tenants::Tenants),
    /// Ask a running sidecar how it is, or every node of a registry (--registry)
    ///
    /// Exits with 1 if it is not ready, or if its file has problems, or if nothing answers.
    Status(status::Status),
    /// Be a node of the registry, until SIGTERM
    ///
    /// Serves the APIs of bilibili/discovery and of Eureka over one store, and tenant rules, to
    /// every sidecar. One alone needs neither a file nor an argument; --peer makes a cluster.
    Registry(Box<registry::Registry>),
    /// Show it all on loopback: a registry, four services, a sandbox, five sidecars, flips under load
    Demo {
        /// End after the show: 0 if all was as it should be, else 1.
        #[arg(long)]
        once: bool,
    },
    /// Write the completions of a shell to standard output
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// The file a verb works on.
#[derive(Debug, Args)]
struct WhichFile {
    /// The file [default: `$DYELANE_CONFIG`, else ./sidecar.toml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, by name.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl WhichFile {
    /// Returns the file that is meant.
    fn path(self) -> PathBuf {
        self.file.or(self.config).unwrap_or_else(default_file)
    }
}

/// Returns the file where none is named.
fn default_file() -> PathBuf {
    let named = std::env::var_os("DYELANE_CONFIG").filter(|name| !name.is_empty());
    named.map_or_else(|| PathBuf::from("sidecar.toml"), PathBuf::from)
}

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0: good.
    Good,
    /// 1: the answer is no, or could not be had.
    No,
    /// 2: what was given makes no sense; it was said why.
    BadInput,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
            Outcome::No => Self::from(1),
            Outcome::BadInput => Self::from(2),
        }
    }
}

/// Does what was said.
pub fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Arguments { output, verb } = arguments;
    match verb {
        Verb::Run(file) => sidecar(file),
        Verb::Check(check) => check.run(output),
        Verb::Explain(explain) => block_on(explain.run(output)),
        Verb::Flip(flip) => block_on(flip.run(output)),
        Verb::Services(services) => block_on(services.run(output)),
        Verb::Tenants(tenants) => block_on(tenants.run(output)),
        Verb::Status(status) => block_on(status.run(output)),
        Verb::Registry(node) => node_of_registry(*node),
        Verb::Demo { once } => block_on(demo::run(once)),
        Verb::Completions { shell } => completions(shell),
    }
}

/// Runs the sidecar to its end.
fn sidecar(file: WhichFile) -> anyhow::Result<Outcome> {
    let file = file.path();
    block_on(async {
        match crate::app::run(&file).await {
            Ok(()) => Ok(Outcome::Good),
            Err(StartError::Config(report)) => {
                print::talk(report.to_string().trim_end());
                Ok(Outcome::BadInput)
            }
            Err(error @ StartError::Read { .. }) => Ok(print::bad_input(&error.into())),
            Err(error) => Err(error.into()),
        }
    })
}

/// Runs a node of the registry to its end, on as many threads as there are CPUs.
fn node_of_registry(node: registry::Registry) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(node.run())
}

/// Writes the completions of `shell`.
fn completions(shell: Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "dyelane", &mut script);
    print::text(&String::from_utf8(script).context("the completions are no text")?)?;
    Ok(Outcome::Good)
}

/// Runs a verb that waits for the network, on this thread.
fn block_on(verb: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(verb)
}
