//! `[services."NAME"]` and `[defaults]`: how services are reached.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::failure::{Outlier, Retries, Timeouts};
use crate::config::health::Probe;
use crate::config::reading::{DAY, HOUR, MINUTE, NamedTable, SECOND, Section};
use crate::config::written;
use crate::config::zones;
use crate::config::zones::Zones;
use crate::model::{Instance, ServiceName};

/// What an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// What the request came as.
    #[default]
    Auto,
    /// HTTP/2 with prior knowledge.
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http1,
    /// Bytes we know nothing about.
    Tcp,
}

/// `balance`: which instance of a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The less loaded of two drawn at random (power of two choices), load being the moving
    /// average of latency × requests in flight.
    #[default]
    LeastLoad,
    /// Drawn at random by weight.
    Random,
}

/// `[services."NAME"]`: how a service is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// The clusters whose instances take its requests, at most 64; empty: all.
    pub clusters: Vec<Arc<str>>,
    /// Which zone's instances are preferred.
    pub zones: Zones,
    /// How many of a zone's instances this sidecar sends to: 1 to 10,000; none is all of them.
    pub subset: Option<u16>,
    /// When an instance that fails is left alone.
    pub outlier: Outlier,
    /// When an instance is asked how it is.
    pub probe: Probe,
    /// How long an instance that is new beside others, or comes back, takes to its whole share of
    /// requests: 1 s to 1 h; none is at once.
    #[serde(serialize_with = "written::limit")]
    pub slow_start: Option<Duration>,
    /// HTTP/2 connections a worker opens to one instance: 1 to 64.
    pub connections: u16,
    /// HTTP/1.1 connections a worker opens to one instance: 1 to 10,000.
    pub http1_connections: u16,
    /// Requests a worker lets wait for a connection to one instance: 0 to 100,000.
    pub pending: u32,
    /// How long an unused connection is kept: 1 s to 24 h.
    #[serde(serialize_with = "written::period")]
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
            clusters: Vec::new(),
            zones: Zones::default(),
            subset: Some(100),
            outlier: Outlier::default(),
            probe: Probe::default(),
            slow_start: Some(Duration::from_secs(30)),
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
            clusters: zones::read_clusters(section, &base.clusters),
            zones: section.table("zones", |it| Zones::read(it, base.zones)),
            subset: section.integer_or("subset", "off", 1..=10_000, base.subset),
            outlier: section.table("outlier", |it| Outlier::read(it, &base.outlier)),
            probe: section.table("probe", |it| Probe::read(it, &base.probe)),
            slow_start: section.period_or_off("slow_start", SECOND..=HOUR, base.slow_start),
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
