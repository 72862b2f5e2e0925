//! What a registry is to be told of our instance.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::config::{Config, RegistryAddresses};
use crate::model::ServiceName;

/// Who is to be told of our instance, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub(super) registry: RegistryAddresses,
    pub(super) renew: Duration,
    pub(super) instance: Announced,
}

/// Our instance, as others are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) service: ServiceName,
    pub(super) env: Arc<str>,
    pub(super) region: Arc<str>,
    pub(super) zone: Arc<str>,
    pub(super) hostname: Arc<str>,
    /// Where others reach it. Every address of the machine: whichever the registry is reached by.
    pub(super) address: SocketAddr,
    pub(super) scheme: Arc<str>,
    pub(super) version: Arc<str>,
    /// Lane, cluster and weight are in it, by the names others look for.
    pub(super) metadata: BTreeMap<String, String>,
}

impl Plan {
    /// What a file says of it, where `inbound` is where we really listen; none: nobody is told.
    pub fn of(config: &Config, inbound: &[SocketAddr]) -> Option<Self> {
        let told = config.registration.as_ref().filter(|it| it.enabled)?;
        if told.registry.is_empty() {
            return None;
        }
        let workload = &config.workload;
        let address = told.address.or(inbound.first().copied()).or(workload.address)?;
        let mut metadata = workload.metadata.clone();
        let lane = workload.lane.as_ref().map(ToString::to_string);
        let known = [
            ("color", lane),
            ("cluster", workload.cluster.as_deref().map(str::to_owned)),
            ("weight", Some(workload.weight.to_string())),
        ];
        for (key, value) in known {
            if let Some(value) = value {
                metadata.insert(key.to_owned(), value);
            }
        }
        metadata.extend(told.metadata.clone());
        let instance = Announced {
            service: told.service.clone(),
            env: told.env.clone(),
            region: told.region.clone(),
            zone: told.zone.clone(),
            hostname: told.hostname.clone().unwrap_or_else(|| machine(address)),
            address,
            scheme: told.scheme.clone(),
            version: workload.version.clone().unwrap_or_default(),
            metadata,
        };
        Some(Self { registry: told.registry.clone(), renew: told.renew, instance })
    }

    /// Returns whether `other` names the same instance to the same registry, so that telling of it
    /// replaces what was told.
    pub(super) fn is_same_instance(&self, other: &Self) -> bool {
        let (one, two) = (&self.instance, &other.instance);
        let place = |it: &Announced| (it.env.clone(), it.zone.clone(), it.hostname.clone());
        // Eureka knows an instance by its port too.
        self.registry == other.registry
            && one.service == two.service
            && one.address.port() == two.address.port()
            && place(one) == place(two)
    }
}

/// The name of the machine, or else something that tells us from our neighbours.
fn machine(address: SocketAddr) -> Arc<str> {
    let given = std::env::var("HOSTNAME").ok();
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = given.filter(|it| !it.trim().is_empty()).or_else(kernel);
    let name = name.as_deref().map(str::trim).filter(|it| !it.is_empty());
    name.map_or_else(|| address.to_string().into(), Into::into)
}

/// Returns `address`, or where it stands for every address of the machine, the one by which
/// `registry` is reached. Nothing is sent.
pub(super) async fn reachable(address: SocketAddr, registry: &str) -> io::Result<SocketAddr> {
    if !address.ip().is_unspecified() {
        return Ok(address);
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for there in tokio::net::lookup_host(registry).await? {
        let any = if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        match socket.connect(there).await.and_then(|()| socket.local_addr()) {
            Ok(own) => return Ok(SocketAddr::new(own.ip(), address.port())),
            Err(error) => last = error,
        }
    }
    Err(last)
}
