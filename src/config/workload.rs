//! `[workload]`, `[inbound]` and `[outbound]`: the application beside us and its traffic.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::config::UpstreamProtocol;
use crate::config::reading::{Section, Value};
use crate::model::{Instance, LaneName, ServiceName};

/// `[workload]`: who we sit beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// The service our application is a copy of.
    pub service: ServiceName,
    /// What tells our copy from the others; none where nothing does. Subsets go by it.
    pub name: Option<Arc<str>>,
    /// Where our application takes requests. None: at the port the caller meant, on loopback,
    /// known where connections are redirected to us.
    pub address: Option<SocketAddr>,
    /// What our application speaks. `auto` is HTTP/2 for what came as HTTP/2, HTTP/1.1 for what
    /// came as HTTP/1.1.
    pub protocol: UpstreamProtocol,
    /// The lane our application is a sandbox of; none is the baseline.
    pub lane: Option<LaneName>,
    /// The cluster we run in.
    pub cluster: Option<Arc<str>>,
    /// The failure domain we run in.
    pub zone: Option<Arc<str>>,
    /// Weight our instance announces: 1 to 10,000, 100 unless told.
    pub weight: u32,
    /// The version our instance announces.
    pub version: Option<Arc<str>>,
    /// Whatever else our instance announces.
    pub metadata: BTreeMap<String, String>,
}

/// What becomes of a tenant named by an incoming request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Claims {
    /// It is believed: callers are our own sidecars.
    #[default]
    Accept,
    /// It is removed from every carrier before anything reads it: callers are strangers.
    Strip,
}

/// `[inbound]`: what comes to our application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inbound {
    /// Where requests come in; every worker listens on each.
    pub listen: Vec<SocketAddr>,
    /// What becomes of a tenant that a request names.
    pub claims: Claims,
    /// Whether a baseline instance hands a request of a tenant to the tenant's instance, where the
    /// caller had no sidecar to do so. Off unless told.
    pub reroute: bool,
    /// Whether `x-dyelane-echo: 1` is answered with the path a request took. On unless told.
    pub echo: bool,
    /// Ports whose connections are relayed as bytes without a look at them.
    pub opaque_ports: Vec<u16>,
}

/// What becomes of a request to a host that no service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// It goes to its original destination, if the connection was redirected; else 404.
    #[default]
    Passthrough,
    /// 404, reason `unroutable`.
    Reject,
}

/// `[outbound]`: what our application sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outbound {
    /// Where our application's requests come in; every worker listens on each.
    pub listen: Vec<SocketAddr>,
    /// What becomes of a request to a host that no service has.
    pub unknown: Unknown,
    /// Whether `x-dyelane-echo: 1` is answered with the path a request took. On unless told.
    pub echo: bool,
    /// Destination ports whose connections are relayed as bytes without a look at them: where
    /// the server speaks first. 25, 3306, 5432, 6379, 9042, 11211 and 27017 unless told.
    pub opaque_ports: Vec<u16>,
}

/// Ports whose servers speak first, so that there is nothing to look at.
const SERVER_FIRST: [u16; 7] = [25, 3306, 5432, 6379, 9042, 11211, 27017];

impl Workload {
    /// Reads `[workload]`; none if it does not name its service.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let document = section.document();
        let kind = ("a name", "`service = \"order.shop\"`");
        let service = section.required("service", kind, |it| it.name());
        let name = section.value("name", ("a text", "`$HOSTNAME`"), |it| it.label());
        let machine = || document.variable("HOSTNAME").filter(|it| !it.is_empty());
        let name = name.or_else(machine).map(Into::into);
        let address = ("an address", "where the caller meant to go");
        let address = section.value("address", address, |value| {
            let address = value.target_address()?;
            document.claim_target(address, "workload.address", value.place());
            Some(address)
        });
        let protocol =
            section.choice("protocol", &UpstreamProtocol::WORDS, UpstreamProtocol::default());
        let lane = section.name("lane");
        let [cluster, zone, version] =
            ["cluster", "zone", "version"].map(|key| section.label(key).map(Into::into));
        let weight = section.integer("weight", 1..=10_000, Instance::DEFAULT_WEIGHT);
        let metadata = section.metadata("metadata");
        let service = service?;
        Some(Self {
            service,
            name,
            address,
            protocol,
            lane,
            cluster,
            zone,
            weight,
            version,
            metadata,
        })
    }
}

impl Claims {
    const WORDS: [(&'static str, Self); 2] = [("accept", Self::Accept), ("strip", Self::Strip)];
}

impl Inbound {
    /// What a file without the section says: nothing comes in by us.
    pub(super) fn none() -> Self {
        let (listen, opaque_ports) = (Vec::new(), Vec::new());
        Self { listen, claims: Claims::Accept, reroute: false, echo: true, opaque_ports }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.listen("listen", SocketAddr::from(([0, 0, 0, 0], 15006))),
            claims: section.choice("claims", &Claims::WORDS, Claims::default()),
            reroute: section.flag("reroute", false),
            echo: section.flag("echo", true),
            opaque_ports: read_ports(section, &[]),
        }
    }
}

impl Unknown {
    const WORDS: [(&'static str, Self); 2] =
        [("passthrough", Self::Passthrough), ("reject", Self::Reject)];
}

impl Outbound {
    /// What a file without the section says: nothing goes out by us.
    pub(super) fn none() -> Self {
        let (listen, opaque_ports) = (Vec::new(), SERVER_FIRST.to_vec());
        Self { listen, unknown: Unknown::default(), echo: true, opaque_ports }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.listen("listen", SocketAddr::from(([127, 0, 0, 1], 15001))),
            unknown: section.choice("unknown", &Unknown::WORDS, Unknown::default()),
            echo: section.flag("echo", true),
            opaque_ports: read_ports(section, &SERVER_FIRST),
        }
    }
}

fn read_ports(section: &mut Section<'_>, default: &[u16]) -> Vec<u16> {
    let shown = format!("{default:?}");
    let port = |it: Value<'_>| it.integer(&(1..=u16::MAX));
    let ports = section.list("opaque_ports", ("ports of 1 to 65535", &shown), port);
    ports.unwrap_or_else(|| default.to_vec())
}
