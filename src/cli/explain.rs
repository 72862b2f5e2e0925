//! `dyelane explain`: where a request would go, rung by rung.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize as _;

use crate::admin::{self, Explanation, Question, Refusal};
use crate::cli::explained::ForPeople;
use crate::cli::{Format, Outcome, address, ask, default_file, file, print};
use crate::config::Parsed;
use crate::model::Catalog;
use crate::proxy::World;

/// Which request, and who is asked.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The service it is for, by name or as a host
    service: String,
    /// Whose request it is; else its fields and the rules say
    #[arg(short, long, value_name = "NAME")]
    tenant: Option<String>,
    /// A field of the request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Its path, for rules [default: /]
    #[arg(long)]
    path: Option<String>,
    /// Its method, for rules [default: GET]
    #[arg(long)]
    method: Option<String>,
    /// Where it comes from, for rules [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    source: Option<String>,
    /// The file to go by [default: `$DYELANE_CONFIG`, else ./sidecar.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    config: Option<PathBuf>,
    /// The admin address of a running sidecar to ask instead
    #[arg(long, value_name = "ADDR", value_parser = address::parse)]
    admin: Option<SocketAddr>,
}

impl Explain {
    /// Explains, and prints the answer.
    pub(super) async fn run(self, output: Format) -> anyhow::Result<Outcome> {
        let pairs = self.pairs();
        // A question that makes no sense is refused here, before anybody is asked.
        let question = match Question::from_pairs(pairs.iter().cloned()) {
            Ok(question) => question,
            Err(refusal) => return Ok(complain(&refusal)),
        };
        let explained = match self.admin {
            Some(admin) => Ok(live(admin, &pairs).await?),
            None => offline(&self.config.unwrap_or_else(default_file), &question),
        };
        let explanation = match explained {
            Ok(explanation) => explanation,
            Err(outcome) => return Ok(outcome),
        };
        match output {
            Format::Json => print::json(&explanation)?,
            Format::Table => print::text(&ForPeople(&explanation).to_string())?,
        }
        Ok(if explanation.found { Outcome::Good } else { Outcome::No })
    }

    /// The question in keys and values, as `/decide` takes it.
    fn pairs(&self) -> Vec<(String, String)> {
        let one = |key: &str, value: &Option<String>| {
            value.as_ref().map(|value| (key.to_owned(), value.clone()))
        };
        let headers = self.header.iter().map(|line| ("header".to_owned(), line.clone()));
        let optional = [
            one("tenant", &self.tenant),
            one("path", &self.path),
            one("method", &self.method),
            one("source", &self.source),
        ];
        std::iter::once(("service".to_owned(), self.service.clone()))
            .chain(optional.into_iter().flatten())
            .chain(headers)
            .collect()
    }
}

/// Says that the question makes no sense.
fn complain(refusal: &Refusal) -> Outcome {
    print::talk(&format!("error: {refusal}"));
    match refusal {
        Refusal::UnknownService { .. } => Outcome::No,
        _ => Outcome::BadInput,
    }
}

/// Explains by a file alone.
fn offline(path: &Path, question: &Question) -> Result<Explanation, Outcome> {
    let read = file::read(path).map_err(|error| print::bad_input(&error))?;
    let config = match read {
        Ok(Parsed { config, quarantined }) => {
            for left_out in quarantined {
                print::talk(&format!(
                    "warning: {} is wrong: a running sidecar would leave it as before",
                    left_out.entry
                ));
            }
            config
        }
        Err(report) => {
            print::talk(report.to_string().trim_end());
            return Err(Outcome::BadInput);
        }
    };
    let catalog: Catalog = config.instances.iter().cloned().collect();
    let world = World::first(config, catalog);
    let explained = admin::explain(&world, question, Duration::ZERO);
    explained.map(Explanation::by_file).map_err(|refusal| complain(&refusal))
}

/// Asks a running sidecar.
async fn live(admin: SocketAddr, pairs: &[(String, String)]) -> anyhow::Result<Explanation> {
    let query: Vec<_> =
        pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    let answer = ask::json(admin, &format!("/decide?{}", query.join("&"))).await?;
    Explanation::deserialize(answer).context("the answer is not a sidecar's")
}

/// Writes a value as it stands in a query (RFC 3986 section 2.1).
fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}
