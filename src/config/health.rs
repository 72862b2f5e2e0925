//! `probe` and `registration.health`: how somebody is asked whether they are well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::reading::{HOUR, MILLISECOND, MINUTE, SECOND, Section, Value};
use crate::config::written;

/// Longest path or name of a gRPC service, in bytes.
const LONGEST: usize = 1024;

/// What a probe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// Nothing: nobody is asked, and everybody counts as well.
    #[default]
    Off,
    /// Connects.
    Tcp,
    /// Sends `GET` by HTTP/1.1; a status of 200 to 399 is well.
    Http,
    /// Calls `grpc.health.v1.Health/Check`; `SERVING` is well.
    Grpc,
}

/// `probe`: when an instance is asked how it is, and what follows from its answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What it does.
    pub kind: ProbeKind,
    /// What `http` asks for; begins with a slash.
    pub path: Arc<str>,
    /// Which service `grpc` asks about; empty is the server as a whole.
    pub service: Arc<str>,
    /// From one time to the next: 100 ms to 1 h.
    #[serde(serialize_with = "written::period")]
    pub interval: Duration,
    /// How long the answer may take: 1 ms to 1 min.
    #[serde(serialize_with = "written::period")]
    pub timeout: Duration,
    /// Good answers in a row after which it is well: 1 to 100.
    pub healthy: u32,
    /// Bad answers in a row after which it is not: 1 to 100.
    pub unhealthy: u32,
}

/// `[registration.health]`: when our application counts as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Where it is asked; none: where it takes requests.
    pub address: Option<SocketAddr>,
    /// How it is asked.
    #[serde(flatten)]
    pub probe: Probe,
}

impl ProbeKind {
    const WORDS: [(&'static str, Self); 4] =
        [("off", Self::Off), ("tcp", Self::Tcp), ("http", Self::Http), ("grpc", Self::Grpc)];
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            kind: ProbeKind::Off,
            path: "/healthz".into(),
            service: "".into(),
            interval: Duration::from_secs(10),
            timeout: SECOND,
            healthy: 2,
            unhealthy: 3,
        }
    }
}

impl Probe {
    /// Reads how an instance is asked. What is not said is as in `base`.
    pub(super) fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let path = section.value("path", ("a path", &format!("\"{}\"", base.path)), read_path);
        let whole = if base.service.is_empty() { "the server as a whole" } else { &*base.service };
        let service = section.value("service", ("the name of a gRPC service", whole), |it| {
            let name = it.label()?;
            let is_short = name.len() <= LONGEST;
            if is_short { Some(name) } else { it.refuse("is too long", "write a shorter name") }
        });
        let least = Duration::from_millis(100);
        Self {
            kind: section.choice("kind", &ProbeKind::WORDS, base.kind),
            path: path.map_or_else(|| base.path.clone(), Into::into),
            service: service.map_or_else(|| base.service.clone(), Into::into),
            interval: section.period("interval", least..=HOUR, base.interval),
            timeout: section.period("timeout", MILLISECOND..=MINUTE, base.timeout),
            healthy: section.integer("healthy", 1..=100, base.healthy),
            unhealthy: section.integer("unhealthy", 1..=100, base.unhealthy),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        let interval = Duration::from_secs(5);
        let probe = Probe { kind: ProbeKind::Tcp, interval, healthy: 1, ..Probe::default() };
        Self { address: None, probe }
    }
}

impl Health {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        let default = ("an address", "`workload.address`");
        Self {
            address: section.value("address", default, |it| it.target_address()),
            probe: Probe::read(section, &base.probe),
        }
    }
}

/// Reads a path, perhaps with a query.
fn read_path(value: Value<'_>) -> Option<String> {
    let path = value.text("a path in quotes, such as \"/healthz\"")?;
    if !path.starts_with('/') {
        return value.refuse("does not begin with a slash", "write a path such as \"/healthz\"");
    }
    if path.len() > LONGEST || !path.bytes().all(|it| it.is_ascii_graphic() && it != b'#') {
        let help = "write what stands in a request: no spaces, the rest percent-encoded";
        return value.refuse("is no path", help);
    }
    Some(path)
}
