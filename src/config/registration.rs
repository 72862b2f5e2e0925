//! `[registration]`: our own instance, as a registry is told of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::discovery::{
    Discovery, EurekaAddress, read_addresses, read_authority, read_eureka, read_word,
};
use crate::config::health::Health;
use crate::config::reading::{MINUTE, SECOND, Section};
use crate::config::written;
use crate::config::{Authority, ProbeKind, UpstreamProtocol, Workload};
use crate::model::ServiceName;

/// The zone of those who name none.
const NO_ZONE: &str = "default";
/// The environment of those who name none.
const NO_ENV: &str = "prod";

/// `[registration]`: our own instance, as a registry is told of it.
///
/// Lane, cluster, weight and version are those of `[workload]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// Whether a registry is told of us at all; the health of the application is watched either
    /// way.
    pub enabled: bool,
    /// Who is told, and in which words.
    #[serde(flatten)]
    pub registry: RegistryAddresses,
    /// The service our instance is a copy of.
    pub service: ServiceName,
    /// The environment it runs in.
    pub env: Arc<str>,
    /// The region it runs in; may be empty.
    pub region: Arc<str>,
    /// The zone it runs in.
    pub zone: Arc<str>,
    /// What tells it from its neighbours of the same service, environment and zone; none: the name
    /// of the machine.
    pub hostname: Option<Arc<str>>,
    /// Where others reach it; none: where we take requests, or the application if we do not.
    pub address: Option<SocketAddr>,
    /// What others are told that it speaks, before `://` and the address.
    pub scheme: Arc<str>,
    /// Whatever else is said of it, beside and over what `[workload]` says.
    pub metadata: BTreeMap<String, String>,
    /// How often it is renewed: 1 s to 5 min. A registry forgets who was silent for three times
    /// 30 s.
    #[serde(serialize_with = "written::period")]
    pub renew: Duration,
    /// When the application counts as well: what is not is not registered.
    pub health: Health,
}

/// Who is told of our instance, and in which words. Empty only where nobody is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "dialect", content = "addresses", rename_all = "snake_case")]
pub enum RegistryAddresses {
    /// Nodes of our registry or of bilibili/discovery, by the HTTP calls they share.
    Discovery(Vec<Authority>),
    /// Servers of Eureka, by its REST protocol.
    Eureka(Vec<EurekaAddress>),
}

/// The words for a dialect.
#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Discovery,
    Eureka,
}

impl Dialect {
    const WORDS: [(&'static str, Self); 2] =
        [("discovery", Self::Discovery), ("eureka", Self::Eureka)];
}

impl RegistryAddresses {
    /// Returns whether nobody is told.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Discovery(all) => all.is_empty(),
            Self::Eureka(all) => all.is_empty(),
        }
    }

    /// Reads `dialect` and `addresses`; by default they are whom we ask of others.
    fn read(section: &mut Section<'_>, discovery: &Discovery) -> Self {
        let dialect = section.choice("dialect", &Dialect::WORDS, Dialect::Discovery);
        let kind = (
            "a list of hosts and ports, or of URLs of Eureka, at most 64",
            "those of `[discovery.*]`",
        );
        match dialect {
            Dialect::Discovery => {
                let example = "`addresses = [\"10.0.0.1:7171\"]`";
                let given = section.value("addresses", kind, |value| {
                    read_addresses(&value, ("hosts and ports", example), read_authority)
                });
                let known = || discovery.registry.as_ref().map(|it| it.addresses.clone());
                Self::Discovery(given.or_else(known).unwrap_or_default())
            }
            Dialect::Eureka => {
                let example = "`addresses = [\"http://10.0.0.1:8761/eureka\"]`";
                let given = section.value("addresses", kind, |value| {
                    read_addresses(&value, ("URLs", example), read_eureka)
                });
                let known = || discovery.eureka.as_ref().map(|it| it.addresses.clone());
                Self::Eureka(given.or_else(known).unwrap_or_default())
            }
        }
    }
}

impl Registration {
    /// Reads the section; none if we do not know who we are. The other sections say what is not
    /// said here.
    pub(super) fn read(
        section: &mut Section<'_>,
        workload: Option<&Workload>,
        discovery: &Discovery,
    ) -> Option<Self> {
        let enabled = section.flag("enabled", true);
        let registry = RegistryAddresses::read(section, discovery);
        let own = ("a name", "that of `[workload]`");
        let service = section.value("service", own, |it| it.name());
        let mut word = |key, default| section.value(key, ("a text", default), |it| read_word(&it));
        let env = word("env", "that of `[discovery.registry]`, or `\"prod\"`");
        let region = word("region", "none").unwrap_or_default();
        let zone = word("zone", "that of `[workload]`, or `\"default\"`");
        let hostname = word("hostname", "`$HOSTNAME`, or the name of the machine");
        let address = ("an address", "where we take requests");
        let address = section.value("address", address, |it| it.target_address());
        let scheme = ("a scheme", "`\"grpc\"` if `workload.protocol` is `h2`, or else `\"http\"`");
        let scheme = section.value("scheme", scheme, |value| {
            let scheme = value.text("a scheme in quotes, such as \"grpc\"")?;
            let allowed = |it: u8| it.is_ascii_alphanumeric() || b"+-.".contains(&it);
            let begins = scheme.bytes().next().is_some_and(|it| it.is_ascii_alphabetic());
            if begins && scheme.len() <= 32 && scheme.bytes().all(allowed) {
                return Some(scheme.to_ascii_lowercase());
            }
            value.refuse("is no scheme", "write what stands before `://`, such as \"grpc\"")
        });
        let metadata = section.metadata("metadata");
        let renew = section.period("renew", SECOND..=5 * MINUTE, Duration::from_secs(30));
        let health = section.table("health", Health::read);
        let workload = workload?;
        if enabled && registry.is_empty() && !section.has("addresses") {
            let message = "`addresses` is missing in `[registration]`";
            let help = "write `addresses = [\"10.0.0.1:7171\"]`, or turn it off: `enabled = false`";
            section.refuse("addresses", message, help);
        }
        if enabled && address.is_none() && workload.address.is_none() {
            // Where connections are redirected to us, their port is known to whoever makes them.
            let message = "where others reach our instance is not known";
            let help = "write `address = \"${POD_IP}:8080\"`, or `address` in `[workload]`";
            section.refuse("address", message, help);
        }
        if health.probe.kind != ProbeKind::Off && health.address.or(workload.address).is_none() {
            let message = "where the application is asked for its health is not known";
            let help = "write `address` in `[registration.health]` or in `[workload]`, or \
                        `health = { kind = \"off\" }`";
            section.refuse("health", message, help);
        }
        let spoken = if workload.protocol == UpstreamProtocol::H2 { "grpc" } else { "http" };
        Some(Self {
            enabled,
            registry,
            service: service.unwrap_or_else(|| workload.service.clone()),
            env: match (env, &discovery.registry) {
                (Some(env), _) => env.into(),
                (None, Some(registry)) => registry.env.clone(),
                (None, None) => NO_ENV.into(),
            },
            region: region.into(),
            zone: match (zone, &workload.zone) {
                (Some(zone), _) => zone.into(),
                (None, Some(zone)) => zone.clone(),
                (None, None) => NO_ZONE.into(),
            },
            hostname: hostname.map(Into::into),
            address,
            scheme: scheme.map_or_else(|| spoken.into(), Into::into),
            metadata,
            renew,
            health,
        })
    }
}
