//! `dyelane status`: how a running sidecar is, or a registry.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use crate::cli::node::WhichRegistry;
use crate::cli::{Format, Outcome, address, ask, cluster, print};

/// Who is asked.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Its admin address.
    #[arg(long, value_name = "ADDR", env = "DYELANE_ADMIN", hide_env_values = true)]
    #[arg(default_value_t = address::DEFAULT, value_parser = address::parse)]
    admin: SocketAddr,
    #[command(flatten)]
    registry: WhichRegistry,
}

/// What we read of `/config`.
#[derive(Debug, Deserialize)]
struct Answer {
    version: String,
    generation: u64,
    ready: bool,
    uptime_seconds: u64,
    status: Details,
}

#[derive(Debug, Deserialize)]
struct Details {
    file: String,
    loaded: String,
    last_error: Option<LoadError>,
    quarantined: Vec<Quarantined>,
    restart_needed: Vec<String>,
    not_ready: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct LoadError {
    at: String,
    report: String,
}

#[derive(Debug, Deserialize)]
struct Quarantined {
    entry: String,
    report: String,
}

impl Answer {
    /// Whether nobody need look at it.
    fn is_well(&self) -> bool {
        self.ready && self.status.last_error.is_none() && self.status.quarantined.is_empty()
    }
}

impl Status {
    /// Asks, and prints the answer.
    pub(super) async fn run(self, output: Format) -> anyhow::Result<Outcome> {
        if !self.registry.is_empty() {
            return cluster::run(self.registry, output).await;
        }
        let mut answer = ask::json(self.admin, "/config").await?;
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("effective");
        }
        let known = Answer::deserialize(&answer).context("the answer is not a sidecar's")?;
        match output {
            Format::Json => print::json(&answer)?,
            Format::Table => print::text(&describe(self.admin, &known))?,
        }
        Ok(if known.is_well() { Outcome::Good } else { Outcome::No })
    }
}

/// The answer, for people.
fn describe(admin: SocketAddr, answer: &Answer) -> String {
    let Details { file, loaded, last_error, quarantined, restart_needed, not_ready } =
        &answer.status;
    let uptime = humantime::format_duration(Duration::from_secs(answer.uptime_seconds));
    let in_force = match last_error {
        None => "yes".to_owned(),
        Some(error) => format!("no: refused at {}, the last good one is", error.at),
    };
    let ready =
        if answer.ready { "yes".to_owned() } else { format!("no: {}", not_ready.join("; ")) };
    let left_out: Vec<_> = quarantined.iter().map(|it| it.entry.clone()).collect();
    let lines = [
        ("sidecar", format!("{admin}, dyelane {}, up {uptime}", answer.version)),
        ("ready", ready),
        ("generation", format!("{}, since {loaded}", answer.generation)),
        ("file", file.clone()),
        ("in force", in_force),
        ("left as before", list(&left_out)),
        ("needs a restart", list(restart_needed)),
    ];
    let lines = lines.map(|(what, value)| format!("{what:<17}{value}\n")).concat();
    let reports = last_error.iter().map(|error| &error.report);
    let reports = reports.chain(quarantined.iter().map(|it| &it.report));
    let reports: Vec<_> = reports.map(|it| format!("\n{}\n", it.trim_end())).collect();
    lines + &reports.concat()
}

/// The items of a list, or that there are none.
fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
