//! `[services."NAME"]` and `[defaults]`: how services are reached.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::reading::{
    DAY, HOUR, KIBIBYTE, MEBIBYTE, MILLISECOND, MINUTE, NamedTable, SECOND, Section, Value,
};
use crate::model::{Instance, ServiceName};

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// What the request came as.
    #[default]
    Auto,
    /// HTTP/2 with prior knowledge.
    H2,
    /// HTTP/1.1.
    Http1,
    /// Bytes we know nothing about.
    Tcp,
}

/// `timeouts`: how long each step may take. A total or head of none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to an instance: 1 ms to 1 min.
    pub connect: Duration,
    /// From the request's head sent to the answer's head: 1 ms to 24 h.
    pub head: Option<Duration>,
    /// Without a byte moving either way: 1 s to 24 h.
    pub idle: Option<Duration>,
    /// From the request's head to the answer's end: 1 ms to 24 h. `grpc-timeout` can shorten it.
    pub total: Option<Duration>,
}

/// A failure that policy says is safe to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// The answer has this status; only for idempotent methods (RFC 9110 section 9.2.2).
    Status(u16),
    /// The answer is trailers-only with this gRPC status.
    Grpc(u8),
    /// The connection broke before the head; only for idempotent methods.
    Reset,
}

/// `retries`: what is tried again. What was certainly never processed always is, within budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Attempts in all, the first included: 1 to 10.
    pub attempts: u8,
    /// What else than the never processed is tried again.
    pub on: Vec<RetryOn>,
    /// Retries allowed for each request, on average over the last ten seconds: 0.0 to 1.0.
    pub budget: f64,
    /// Bytes of a request's body kept for sending it again: 0 to 1 MiB.
    pub buffer: u32,
}

/// `balance`: which instance of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// The less loaded of two drawn at random (power of two choices), load being the moving
    /// average of latency × requests in flight.
    #[default]
    LeastLoad,
    /// Drawn at random by weight.
    Random,
}

/// `outlier`: when an instance that fails is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlier {
    /// Failures in a row after which it is: 1 to 1,000; none turns ejection off.
    pub failures: Option<u32>,
    /// For how long at first; doubled at each repetition: 100 ms to 1 h.
    pub ejection: Duration,
    /// For how long at most: 100 ms to 24 h.
    pub max_ejection: Duration,
    /// Share of a rung's instances that may be out at a time: 0 to 100. Ejection by itself never
    /// empties a rung below one instance.
    pub max_percent: u8,
}

/// `[services."NAME"]`: how a service is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Hosts requests to it name, beside its own name: without port, or with one that must match.
    pub hosts: Vec<String>,
    /// A listener of its own: whatever comes in there is for this service, whatever host it names.
    pub listen: Option<SocketAddr>,
    /// What it speaks.
    pub protocol: UpstreamProtocol,
    /// Whether its requests fail rather than fall back to the baseline.
    pub strict: bool,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// What is tried again.
    pub retries: Retries,
    /// Which instance of a rung.
    pub balance: Balance,
    /// When an instance that fails is left alone.
    pub outlier: Outlier,
    /// HTTP/2 connections a worker opens to one instance: 1 to 64.
    pub connections: u16,
    /// HTTP/1.1 connections a worker opens to one instance: 1 to 10,000.
    pub http1_connections: u16,
    /// Requests a worker lets wait for a connection to one instance: 0 to 100,000.
    pub pending: u32,
    /// How long an unused connection is kept: 1 s to 24 h.
    pub connection_idle: Duration,
}

impl UpstreamProtocol {
    pub(super) const WORDS: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("h2", Self::H2), ("http/1.1", Self::Http1), ("tcp", Self::Tcp)];
}

impl Balance {
    const WORDS: [(&'static str, Self); 2] =
        [("least_load", Self::LeastLoad), ("random", Self::Random)];
}

impl Default for Service {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            listen: None,
            protocol: UpstreamProtocol::Auto,
            strict: false,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            balance: Balance::LeastLoad,
            outlier: Outlier::default(),
            connections: 4,
            http1_connections: 256,
            pending: 1024,
            connection_idle: MINUTE,
        }
    }
}

impl Service {
    /// Reads how a service is reached: `[defaults]`, or one service. What is not said is as in
    /// `base`.
    pub(super) fn read(section: &mut Section<'_>, base: &Self) -> Self {
        Self {
            hosts: Vec::new(),
            listen: None,
            protocol: section.choice("protocol", &UpstreamProtocol::WORDS, base.protocol),
            strict: section.flag("strict", base.strict),
            timeouts: section.table("timeouts", |it| Timeouts::read(it, &base.timeouts)),
            retries: section.table("retries", |it| Retries::read(it, &base.retries)),
            balance: section.choice("balance", &Balance::WORDS, base.balance),
            outlier: section.table("outlier", |it| Outlier::read(it, &base.outlier)),
            connections: section.integer("connections", 1..=64, base.connections),
            http1_connections: section.integer(
                "http1_connections",
                1..=10_000,
                base.http1_connections,
            ),
            pending: section.integer("pending", 0..=100_000, base.pending),
            connection_idle: section.period("connection_idle", SECOND..=DAY, base.connection_idle),
        }
    }

    /// Reads `[services."NAME"]` and its instances, which are added to `instances`.
    pub(super) fn read_named(
        table: &NamedTable<'_>,
        base: &Self,
        instances: &mut Vec<Instance>,
    ) -> Option<(ServiceName, Self)> {
        let name = table.name.name::<ServiceName>("service");
        let service = table.read(|section| {
            let mut service = Self::read(section, base);
            service.read_entry(section, table.name.text());
            if let Some(name) = &name {
                let host = name.as_str().to_ascii_lowercase();
                section.document().claim_host(&host, name.as_str(), table.name.place());
                instances.extend(section.tables("instances", |it| read_instance(it, name)));
            }
            service
        });
        Some((name?, service?))
    }

    /// Reads where callers find the service: its hosts, and its own listener.
    fn read_entry(&mut self, section: &mut Section<'_>, owner: &str) {
        let document = section.document();
        let hosts = section.list("hosts", ("hosts, with or without port", "[]"), |value| {
            let host = value.host()?;
            document.claim_host(&host, owner, value.place());
            Some(host)
        });
        self.hosts = hosts.unwrap_or_default();
        let key = format!("{}.listen", section.path());
        self.listen = section.value("listen", ("an address", "none"), |value| {
            let address = value.listen_address()?;
            document.claim_listener(address, &key, value.place());
            Some(address)
        });
    }
}

/// Reads an instance of `service`.
fn read_instance(section: &mut Section<'_>, service: &ServiceName) -> Option<Instance> {
    let document = section.document();
    let example = ("an address", "`address = \"127.0.0.1:9001\"`");
    let address = section.required("address", example, |value| {
        let address = value.target_address()?;
        let what = format!("instance of `{service}`");
        document.claim_only(&what, &address.to_string(), value.place());
        Some(address)
    });
    let lane = section.name("lane");
    let weight = section.integer("weight", 1..=10_000, Instance::DEFAULT_WEIGHT);
    let [zone, cluster, version] =
        ["zone", "cluster", "version"].map(|key| section.label(key).map(Into::into));
    let metadata = section.metadata("metadata");
    let instance = Instance::new(service.clone(), address?);
    Some(Instance { lane, weight, zone, cluster, version, metadata, ..instance })
}

impl Default for Timeouts {
    fn default() -> Self {
        let (head, idle) = (Some(Duration::from_secs(30)), Some(Duration::from_secs(300)));
        Self { connect: SECOND, head, idle, total: None }
    }
}

impl Timeouts {
    fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let read = Self {
            connect: section.period("connect", MILLISECOND..=MINUTE, base.connect),
            head: section.period_or_off("head", MILLISECOND..=DAY, base.head),
            idle: section.period_or_off("idle", SECOND..=DAY, base.idle),
            total: section.period_or_off("total", MILLISECOND..=DAY, base.total),
        };
        let (head, total) = (read.head.unwrap_or(DAY), read.total.unwrap_or(DAY));
        section.ordered(("connect", read.connect), ("head", head));
        if read.head.is_some() {
            section.ordered(("head", head), ("total", total));
        } else {
            section.ordered(("connect", read.connect), ("total", total));
        }
        read
    }
}

impl Default for Retries {
    fn default() -> Self {
        let on = vec![RetryOn::Status(503), RetryOn::Reset, RetryOn::Grpc(14)];
        Self { attempts: 3, on, budget: 0.2, buffer: 64 * KIBIBYTE }
    }
}

impl Retries {
    fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let kind = "`\"reset\"`, statuses such as `\"503\"` and gRPC codes such as `\"grpc:14\"`";
        let shown: Vec<_> = base.on.iter().map(|it| format!("\"{it}\"")).collect();
        let shown = format!("[{}]", shown.join(", "));
        let on = section.list("on", (kind, &shown), RetryOn::read);
        Self {
            attempts: section.integer("attempts", 1..=10, base.attempts),
            on: on.unwrap_or_else(|| base.on.clone()),
            budget: section.number("budget", 0.0..=1.0, base.budget),
            buffer: section.size("buffer", 0..=MEBIBYTE, base.buffer),
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Grpc(code) => write!(f, "grpc:{code}"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

impl RetryOn {
    fn read(value: Value<'_>) -> Option<Self> {
        if !value.is_text() {
            return value.integer(&(400..=599)).map(Self::Status);
        }
        let text = value.text("a failure in quotes")?;
        if text == "reset" {
            return Some(Self::Reset);
        }
        let (status, grpc) = match text.split_once(':') {
            Some(("grpc", code)) => (None, code.parse().ok().filter(|it| (1..=16).contains(it))),
            _ => (text.parse().ok().filter(|it| (400..=599).contains(it)), None),
        };
        let found = status.map(Self::Status).or(grpc.map(Self::Grpc));
        found.or_else(|| {
            let help = "write \"reset\", a status of 400 to 599 such as \"503\", or a gRPC code of 1 to \
                        16 such as \"grpc:14\"";
            value.refuse(format!("knows no failure {text:?}"), help)
        })
    }
}

impl Default for Outlier {
    fn default() -> Self {
        let (ejection, max_ejection) = (Duration::from_secs(10), Duration::from_secs(300));
        Self { failures: Some(5), ejection, max_ejection, max_percent: 50 }
    }
}

impl Outlier {
    fn read(section: &mut Section<'_>, base: &Self) -> Self {
        let least = Duration::from_millis(100);
        let read = Self {
            failures: section.integer_or("failures", "off", 1..=1000, base.failures),
            ejection: section.period("ejection", least..=HOUR, base.ejection),
            max_ejection: section.period("max_ejection", least..=DAY, base.max_ejection),
            max_percent: section.integer("max_percent", 0..=100, base.max_percent),
        };
        section.ordered(("ejection", read.ejection), ("max_ejection", read.max_ejection));
        read
    }
}
