//! What is known by one source, as the rest of the sidecar and its operator see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::discovery::rules::Rules;
use crate::discovery::said::Said;
use crate::model::{Origin, ServiceName};

/// What is known by one source.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// What counts of what it says. Another value only if it is something else.
    pub said: Arc<Said>,
    /// What it says of tenants and lanes. Likewise.
    pub rules: Arc<Rules>,
    /// Whether it has answered, or was kept from a former run.
    pub is_known: bool,
    /// How it is.
    pub view: SourceView,
}

/// How a source is, for its operator.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SourceView {
    /// Which source.
    pub source: Origin,
    /// Whether it answers.
    pub up: bool,
    /// The node that is asked.
    pub node: Arc<str>,
    /// What it speaks: `dyelane`, `discovery` or `eureka`; null as long as it has not answered.
    pub dialect: Option<&'static str>,
    /// When it last answered.
    pub last_answer: Option<Moment>,
    /// Whether what counts was kept from a former run, as it has not answered yet.
    pub from_cache: bool,
    /// Instances that count because it says so.
    pub instances: usize,
    /// Those among them that it no longer names, by service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<ServiceName, usize>,
    /// Tenants and lanes that count although it no longer speaks of them.
    pub held_rules: usize,
    /// Those it names that nobody could send a request to.
    pub left_out: usize,
    /// Some of them, each with why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out_examples: Vec<String>,
    /// What went wrong last, and when.
    pub last_error: Option<Mishap>,
}

/// Something that went wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Mishap {
    /// When.
    pub at: Moment,
    /// Which node was asked.
    pub node: Arc<str>,
    /// What.
    pub error: String,
}

/// A time as RFC 3339 writes it, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub SystemTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_seconds(self.0))
    }
}
