//! `dyelane check`: whether a file is good, and everything that is wrong with it.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use crate::cli::file::Either;
use crate::cli::{Format, Outcome, WhichFile, file, print};
use crate::config::{Config, RegistryNode, Report, Token};

/// What to check.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: WhichFile,
}

impl Check {
    /// Reads the file and says what is wrong with it.
    pub(super) fn run(self, output: Format) -> anyhow::Result<Outcome> {
        let path = self.file.path();
        let read = match file::read_either(&path) {
            Ok(read) => read,
            Err(error) => return Ok(print::bad_input(&error)),
        };
        let name = path.display().to_string();
        let (reports, left_out) = found(&read);
        let good = reports.is_empty();
        match output {
            Format::Json => {
                let problems: Vec<_> = reports.iter().flat_map(|report| report.located()).collect();
                print::json(&json!({
                    "file": name, "good": good, "problems": problems, "left_out": left_out,
                }))?;
            }
            Format::Table if good => {
                print::line(&format!("{name} is good: {}", summary(&read)))?;
            }
            Format::Table => {
                let consequence = consequence(&read, &left_out);
                print::text(&complaint(&name, &reports, &consequence))?;
            }
        }
        Ok(if good { Outcome::Good } else { Outcome::BadInput })
    }
}

/// What is wrong, and which entries a running sidecar would leave out.
fn found(read: &Either) -> (Vec<&Report>, Vec<String>) {
    match read {
        Either::Sidecar(Ok(parsed)) => {
            let left_out = parsed.quarantined.iter();
            left_out.map(|entry| (&entry.report, entry.entry.to_string())).unzip()
        }
        Either::Registry(Ok(_)) => (Vec::new(), Vec::new()),
        Either::Sidecar(Err(report)) | Either::Registry(Err(report)) => (vec![report], Vec::new()),
    }
}

/// What becomes of a file that is not good.
fn consequence(read: &Either, left_out: &[String]) -> String {
    match read {
        Either::Sidecar(Ok(_)) => format!(
            "a running sidecar would take it up, and leave {} as before",
            left_out.join(", ")
        ),
        Either::Sidecar(Err(_)) => "a running sidecar would keep the last good file".to_owned(),
        Either::Registry(_) => "a registry would not start".to_owned(),
    }
}

/// What is wrong, for people.
fn complaint(name: &str, reports: &[&Report], consequence: &str) -> String {
    let shown = reports.iter().map(|report| format!("{}\n\n", report.to_string().trim_end()));
    let problems = counted(reports.iter().map(|report| report.problems().len()).sum(), "problem");
    let shown: String = shown.collect();
    format!("{shown}{name} has {problems}: {consequence}\n")
}

/// A number of things.
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// What a good file holds, in a line.
fn summary(read: &Either) -> String {
    match read {
        Either::Sidecar(Ok(parsed)) => of_sidecar(&parsed.config),
        Either::Registry(Ok(config)) => of_registry(&config.node),
        Either::Sidecar(Err(_)) | Either::Registry(Err(_)) => String::new(),
    }
}

/// What a node of a registry is told of itself and of others.
fn of_registry(node: &RegistryNode) -> String {
    let rules = match (&node.token, &node.data) {
        (Token::None, _) => "nobody may write rules",
        (_, None) => "rules are kept in memory alone",
        (_, Some(_)) => "rules are kept on disk",
    };
    let peers = counted(node.peers.len(), "peer");
    let zones = counted(node.zones.len(), "other zone");
    format!("a registry at {} in zone {}, {peers}, {zones}; {rules}", node.listen, node.zone)
}

/// What a sidecar is told, in numbers.
fn of_sidecar(config: &Config) -> String {
    let instances = config.instances.iter();
    let lanes: BTreeSet<_> =
        instances.filter_map(|it| it.lane).chain(config.lanes.keys().copied()).collect();
    [
        counted(config.services.len(), "service"),
        counted(config.instances.len(), "instance"),
        counted(lanes.len(), "lane"),
        counted(config.tenants.len(), "tenant"),
        counted(config.rules.len(), "rule"),
    ]
    .join(", ")
}
