//! `dyelane status`: how a running sidecar is, or a registry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
    #[serde(default)]
    sources: Vec<SourceDetails>,
    #[serde(default)]
    rules: Rules,
}

/// What we read of a source.
#[derive(Debug, Deserialize)]
struct SourceDetails {
    source: String,
    up: bool,
    node: String,
    dialect: Option<String>,
    last_answer: Option<String>,
    instances: usize,
    #[serde(default)]
    held: BTreeMap<String, usize>,
    #[serde(default)]
    held_rules: usize,
    left_out: usize,
    last_error: Option<Mishap>,
}

#[derive(Debug, Deserialize)]
struct Mishap {
    error: String,
}

#[derive(Debug, Default, Deserialize)]
struct Rules {
    taken: Vec<String>,
    overridden: Vec<String>,
    quarantined: Vec<Quarantined>,
}

impl SourceDetails {
    /// How it is, in a line.
    fn line(&self) -> String {
        let Self { source, node, instances, held_rules, left_out, .. } = self;
        let mut line = match (&self.dialect, &self.last_answer, self.up) {
            (Some(dialect), _, true) => format!("{source}: {node} answers, by {dialect}"),
            (_, Some(last), _) => format!("{source}: gone since {last}"),
            _ => format!("{source}: has not answered yet"),
        };
        let held = self.held.values().sum::<usize>();
        let counts = [
            (*instances, "instances"),
            (held, "held"),
            (*held_rules, "rules held"),
            (*left_out, "left out"),
        ];
        for (count, what) in counts {
            if count > 0 || what == "instances" {
                let _ = write!(line, "; {count} {what}");
            }
        }
        let error = self.last_error.as_ref().filter(|_| !self.up);
        line + &error.map(|it| format!("; {}", it.error)).unwrap_or_default()
    }
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
        let Details { last_error, quarantined, sources, rules, .. } = &self.status;
        self.ready
            && last_error.is_none()
            && quarantined.is_empty()
            && rules.quarantined.is_empty()
            && sources.iter().all(|it| it.up)
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
    let Details { file, loaded, last_error, restart_needed, not_ready, sources, rules, .. } =
        &answer.status;
    let quarantined = || answer.status.quarantined.iter().chain(&rules.quarantined);
    let uptime = humantime::format_duration(Duration::from_secs(answer.uptime_seconds));
    let in_force = match last_error {
        None => "yes".to_owned(),
        Some(error) => format!("no: refused at {}, the last good one is", error.at),
    };
    let ready =
        if answer.ready { "yes".to_owned() } else { format!("no: {}", not_ready.join("; ")) };
    let left_out: Vec<_> = quarantined().map(|it| it.entry.clone()).collect();
    let lines = [
        ("sidecar", format!("{admin}, dyelane {}, up {uptime}", answer.version)),
        ("ready", ready),
        ("generation", format!("{}, since {loaded}", answer.generation)),
        ("file", file.clone()),
        ("in force", in_force),
        ("left as before", list(&left_out)),
        ("needs a restart", list(restart_needed)),
    ];
    let mut lines = Vec::from(lines);
    lines.extend(sources.iter().map(|it| ("source", it.line())));
    if !rules.taken.is_empty() {
        lines.push(("by the registry", list(&rules.taken)));
    }
    if !rules.overridden.is_empty() {
        lines.push(("file overrides", list(&rules.overridden)));
    }
    let lines = lines.into_iter().map(|(what, value)| format!("{what:<17}{value}\n"));
    let lines = lines.collect::<String>();
    let reports = last_error.iter().map(|error| &error.report);
    let reports = reports.chain(quarantined().map(|it| &it.report));
    let reports: Vec<_> = reports.map(|it| format!("\n{}\n", it.trim_end())).collect();
    lines + &reports.concat()
}

/// The items of a list, or that there are none.
fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}
