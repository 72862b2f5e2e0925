//! One running copy of a service.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{LaneName, ServiceName};

/// Whether an instance takes traffic, by its own or its registry's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Takes traffic.
    #[default]
    Up,
    /// Exists, and is to be given no traffic.
    Down,
}

/// Who told us of an instance.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A Eureka server.
    Eureka,
    /// A registry.
    Registry,
    /// The operator, in a file.
    #[default]
    File,
}

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The service it is a copy of.
    pub service: ServiceName,
    /// Where it takes requests.
    pub address: SocketAddr,
    /// The lane it belongs to; none is the baseline.
    pub lane: Option<LaneName>,
    /// Share of the requests of its lane, against its neighbours there: 1 to 10,000.
    pub weight: u32,
    /// The failure domain it runs in.
    pub zone: Option<Arc<str>>,
    /// The cluster it runs in.
    pub cluster: Option<Arc<str>>,
    /// The version it says it is.
    pub version: Option<Arc<str>>,
    /// Whether it takes traffic.
    pub status: Status,
    /// Who told us of it.
    #[serde(default)]
    pub origin: Origin,
    /// What its registry calls it within its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
    /// Its number among the copies of its service, if its registry hands out such numbers: low
    /// ones first, and again once they are free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// Whatever else its registration says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Instance {
    /// Weight of an instance that names none.
    pub const DEFAULT_WEIGHT: u32 = 100;
    /// The greatest weight there is.
    pub const MOST_WEIGHT: u32 = 10_000;

    /// An instance of the baseline at `address`, up, of ordinary weight.
    pub fn new(service: ServiceName, address: SocketAddr) -> Self {
        Self {
            service,
            address,
            lane: None,
            weight: Self::DEFAULT_WEIGHT,
            zone: None,
            cluster: None,
            version: None,
            status: Status::Up,
            origin: Origin::File,
            hostname: None,
            slot: None,
            metadata: BTreeMap::new(),
        }
    }

    /// The same instance in `lane`.
    #[must_use]
    pub fn in_lane(self, lane: LaneName) -> Self {
        Self { lane: Some(lane), ..self }
    }
}
