//! Services, their lanes and instances, as the operator sees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::balance::Endpoint;
use crate::model::{Instance, LaneName, ServiceName, Status};
use crate::proxy::World;
use crate::routing::RungId;

/// A service.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub service: ServiceName,
    /// Its lanes, the baseline first, then by name.
    pub lanes: Vec<LaneView>,
}

/// A lane of a service.
#[derive(Debug, Clone, Serialize)]
pub struct LaneView {
    /// Its name; null for the baseline.
    pub lane: Option<LaneName>,
    /// The instances there.
    pub instances: Vec<InstanceView>,
}

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceView {
    /// Where it takes requests.
    pub address: SocketAddr,
    /// Whether it takes requests, by its own word.
    pub up: bool,
    /// Its weight against its neighbours.
    pub weight: u32,
    /// The failure domain it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The cluster it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The version it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whatever else its registration says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What was learned about it; none of one that is down, or known by a file alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadView>,
}

/// What a running sidecar learned about an instance.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LoadView {
    /// Requests under way there, of all worker threads.
    pub in_flight: u32,
    /// Moving average of the time to an answer, in milliseconds; null as long as none is known.
    pub latency_ms: Option<f64>,
    /// Whether it is left alone because it failed too often in a row.
    pub ejected: bool,
    /// Whether it is left alone because it cannot be connected to.
    pub unreachable: bool,
    /// Share of its requests it gets while it comes back slowly: 0.1 to 1.0.
    pub share: f32,
}

impl LoadView {
    fn of(endpoint: &Endpoint, now: Duration) -> Self {
        Self {
            in_flight: endpoint.in_flight(),
            latency_ms: endpoint.latency(now).map(|latency| latency.as_secs_f64() * 1e3),
            ejected: endpoint.is_ejected(now),
            unreachable: !endpoint.is_reachable(now),
            share: endpoint.share(now),
        }
    }
}

impl InstanceView {
    fn new(instance: &Instance, load: Option<LoadView>) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        Self {
            address: instance.address,
            up: instance.status == Status::Up,
            weight: instance.weight,
            zone: text(&instance.zone),
            cluster: text(&instance.cluster),
            version: text(&instance.version),
            metadata: instance.metadata.clone(),
            load,
        }
    }
}

/// Returns all services with their lanes and instances.
pub(super) fn services(world: &World, now: Duration) -> Vec<ServiceView> {
    let services = world.routes.services().iter();
    let views = services.map(|service| {
        let rungs = world.routes.rungs_of(service).iter();
        let lanes = rungs
            .map(|rung| LaneView { lane: rung.lane, instances: instances(world, rung.id, now) });
        ServiceView { service: service.name.clone(), lanes: lanes.collect() }
    });
    views.collect()
}

/// Returns the instances of a rung, with what we learned about each.
pub(super) fn instances(world: &World, rung: RungId, now: Duration) -> Vec<InstanceView> {
    let endpoints = world.endpoints(rung).into_iter().flat_map(|endpoints| endpoints.all());
    let up = endpoints
        .map(|endpoint| InstanceView::new(endpoint.instance(), Some(LoadView::of(endpoint, now))));
    let down = world.routes.rung(rung).into_iter().flat_map(|rung| &rung.down);
    up.chain(down.map(|instance| InstanceView::new(instance, None))).collect()
}
