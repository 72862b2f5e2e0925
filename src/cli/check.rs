//! `dyelane check`: whether a file is good, and everything that is wrong with it.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use crate::cli::{Format, Outcome, WhichFile, file, print};
use crate::config::{Config, Parsed, Report};

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
        let read = match file::read(&path) {
            Ok(read) => read,
            Err(error) => return Ok(print::bad_input(&error)),
        };
        let name = path.display().to_string();
        let (reports, left_out) = found(&read);
        let good = reports.is_empty();
        match (output, &read) {
            (Format::Json, _) => {
                let problems: Vec<_> = reports.iter().flat_map(|report| report.located()).collect();
                print::json(&json!({
                    "file": name, "good": good, "problems": problems, "left_out": left_out,
                }))?;
            }
            (Format::Table, Ok(parsed)) if good => {
                print::line(&format!("{name} is good: {}", summary(&parsed.config)))?;
            }
            (Format::Table, _) => {
                print::text(&complaint(&name, &reports, &left_out, read.is_err()))?;
            }
        }
        Ok(if good { Outcome::Good } else { Outcome::BadInput })
    }
}

/// What is wrong, and which entries a running sidecar would leave out.
fn found(read: &Result<Parsed, Report>) -> (Vec<&Report>, Vec<String>) {
    match read {
        Ok(Parsed { quarantined, .. }) => {
            quarantined.iter().map(|entry| (&entry.report, entry.entry.to_string())).unzip()
        }
        Err(report) => (vec![report], Vec::new()),
    }
}

/// What is wrong, for people.
fn complaint(name: &str, reports: &[&Report], left_out: &[String], refused: bool) -> String {
    let shown = reports.iter().map(|report| format!("{}\n\n", report.to_string().trim_end()));
    let problems = counted(reports.iter().map(|report| report.problems().len()).sum(), "problem");
    let consequence = if refused {
        "keep the last good file".to_owned()
    } else {
        format!("take it up, and leave {} as before", left_out.join(", "))
    };
    let shown: String = shown.collect();
    format!("{shown}{name} has {problems}: a running sidecar would {consequence}\n")
}

/// A number of things.
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// What a good file holds, in numbers.
fn summary(config: &Config) -> String {
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
