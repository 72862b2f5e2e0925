//! `dyelane tenants`: what is said of each tenant, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::node::Nodes;
use crate::cli::source::{Source, WhichSource};
use crate::cli::{Format, Outcome, ask, print};
use crate::config::Tenant;

/// Who is asked.
#[derive(Debug, Args)]
pub(super) struct Tenants {
    #[command(flatten)]
    source: WhichSource,
}

/// What is said of one tenant.
#[derive(Debug, Serialize)]
struct Said {
    tenant: String,
    #[serde(flatten)]
    rule: Tenant,
    /// Who says it: `file` or `registry`.
    from: String,
}

/// What we read of `/config`.
#[derive(Debug, Deserialize)]
struct Answer {
    effective: Effective,
    #[serde(default)]
    status: Value,
}

#[derive(Debug, Deserialize)]
struct Effective {
    tenants: BTreeMap<String, Tenant>,
}

/// What we read of a registry's rules.
#[derive(Debug, Deserialize)]
struct Rules {
    #[serde(default)]
    tenants: BTreeMap<String, Tenant>,
}

impl Tenants {
    /// Asks, and prints the answer.
    pub(super) async fn run(self, output: Format) -> anyhow::Result<Outcome> {
        let source = match self.source.find() {
            Ok(source) => source,
            Err(outcome) => return Ok(outcome),
        };
        let (asked, tenants) = match source {
            Source::Sidecar(admin) => {
                let answer = Answer::deserialize(ask::json(admin, "/config").await?)?;
                (format!("the sidecar at {admin}"), of_sidecar(answer))
            }
            Source::Registry(registry, _) => {
                let mut nodes = Nodes::new(&registry, None);
                let (node, document) = nodes.json(&Method::GET, "/v1/rules", Bytes::new()).await?;
                let rules = Rules::deserialize(document)?.tenants;
                (format!("the registry at {node}"), said_by("registry", rules))
            }
            Source::File(config) => {
                let rules = config.tenants.iter().map(|(name, it)| (name.to_string(), it.clone()));
                ("the file alone".to_owned(), said_by("file", rules))
            }
        };
        match output {
            Format::Json => print::json(&json!({ "from": asked, "tenants": tenants }))?,
            Format::Table if tenants.is_empty() => {
                print::line(&format!("{asked} says nothing of any: each goes to its own lane"))?;
            }
            Format::Table => print::line(&table(&tenants))?,
        }
        Ok(Outcome::Good)
    }
}

fn said_by(from: &str, rules: impl IntoIterator<Item = (String, Tenant)>) -> Vec<Said> {
    let said = |(tenant, rule)| Said { tenant, rule, from: from.to_owned() };
    rules.into_iter().map(said).collect()
}

/// The tenants in force; those of a registry's rules are named in `status.rules.taken`.
fn of_sidecar(answer: Answer) -> Vec<Said> {
    let by_registry = answer.status.pointer("/rules/taken").and_then(Value::as_array);
    let by_registry = by_registry.into_iter().flatten().filter_map(Value::as_str);
    let by_registry: BTreeSet<&str> =
        by_registry.filter_map(|it| it.strip_prefix("tenant ")).collect();
    let said = |(tenant, rule): (String, Tenant)| {
        let from = if by_registry.contains(&&*tenant) { "registry" } else { "file" };
        Said { tenant, rule, from: from.to_owned() }
    };
    answer.effective.tenants.into_iter().map(said).collect()
}

fn table(tenants: &[Said]) -> String {
    let rows = tenants.iter().map(|it| {
        let lane = it.rule.lane.map_or_else(|| it.tenant.clone(), |lane| lane.to_string());
        let word = |yes: bool, word: &str| if yes { word } else { "-" }.to_owned();
        let on = if it.rule.disabled { "off" } else { "on" };
        [it.tenant.clone(), lane, on.to_owned(), word(it.rule.strict, "strict"), it.from.clone()]
    });
    print::table(["TENANT", "LANE", "STATE", "", "SAID BY"], rows.collect())
}
