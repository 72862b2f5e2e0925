//! What the admin side is shown, and what it keeps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::config;
use crate::discovery::SourceView;
use crate::live::Live;
use crate::proxy::World;
use crate::telemetry::Metrics;

/// What the operator's listener answers from. The composition root fills it.
pub struct State {
    /// Everything that is counted.
    pub metrics: Arc<Metrics>,
    /// What requests are decided on.
    pub world: Arc<Live<World>>,
    /// How the sidecar is.
    pub status: Arc<Live<Status>>,
    /// The process's monotonic clock: the time since its origin, as the data path measures it.
    pub now: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// How the sidecar is: published whenever something of it changes.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The file.
    pub file: PathBuf,
    /// When the sidecar started.
    #[serde(serialize_with = "rfc3339")]
    pub started: SystemTime,
    /// When the file that is in force was taken up.
    #[serde(serialize_with = "rfc3339")]
    pub loaded: SystemTime,
    /// What was wrong with the file when it was last read; none: it is in force.
    pub last_error: Option<LoadError>,
    /// Entries of the file in force that were left out, each with what is wrong with it.
    pub quarantined: Vec<Quarantined>,
    /// Keys of the file in force that differ from what the sidecar was started with, and need a
    /// restart.
    pub restart_needed: Vec<String>,
    /// Why we should be given no traffic; none: we are ready.
    pub not_ready: Vec<String>,
    /// Who tells us of instances, and how each of them is.
    pub sources: Vec<SourceView>,
    /// What became of the tenants and lanes that are written in a registry.
    pub rules: RulesView,
}

/// What became of the tenants and lanes that are written in a registry.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RulesView {
    /// Those that count as the registry has them: `tenant alice`, `lane staging`.
    pub taken: Vec<String>,
    /// Those that the file has too, which therefore counts.
    pub overridden: Vec<String>,
    /// Those that are wrong, each with what is wrong with it: they count as they did before.
    pub quarantined: Vec<Quarantined>,
}

impl RulesView {
    /// What is shown of them.
    pub fn new(underlay: &config::Underlay, bad: &[(config::Entry, Arc<str>)]) -> Self {
        let names = |it: &[config::Entry]| it.iter().map(ToString::to_string).collect();
        let quarantined = bad
            .iter()
            .map(|(entry, why)| Quarantined { entry: entry.to_string(), report: why.to_string() });
        Self {
            taken: names(&underlay.taken),
            overridden: names(&underlay.overridden),
            quarantined: quarantined.collect(),
        }
    }
}

/// An entry of the file that was left out.
#[derive(Debug, Clone, Serialize)]
pub struct Quarantined {
    /// The entry: `tenant alice`, `lane staging`.
    pub entry: String,
    /// What is wrong with it, as a report.
    pub report: String,
}

impl From<&config::Quarantined> for Quarantined {
    fn from(left_out: &config::Quarantined) -> Self {
        Self { entry: left_out.entry.to_string(), report: left_out.report.to_string() }
    }
}

/// A file that was not taken up.
#[derive(Debug, Clone, Serialize)]
pub struct LoadError {
    /// When it was read.
    #[serde(serialize_with = "rfc3339")]
    pub at: SystemTime,
    /// What is wrong with it, as a report.
    pub report: String,
}

/// Writes a time as RFC 3339 does, to the second.
fn rfc3339<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_seconds(*time))
}
