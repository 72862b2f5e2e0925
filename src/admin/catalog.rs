//! Services, their lanes and instances, as the operator sees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::balance::{Endpoint, ZoneState};
use crate::model::{Instance, LaneName, Origin, ServiceName, Status};
use crate::proxy::World;
use crate::routing::RungId;
use crate::telemetry::{Metrics, Spread};

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
    /// The zones its requests are shared out over, our own first; empty if zones make no difference.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneView>,
}

/// A zone of a lane.
#[derive(Debug, Clone, Serialize)]
pub struct ZoneView {
    /// Its name; null for instances that name none.
    pub zone: Option<String>,
    /// The part of our requests it gets: 0.0 to 1.0.
    pub share: f32,
    /// The part of it that is well, by weight: 0.0 to 1.0.
    pub health: f32,
    /// How many of its instances we send to.
    pub instances: usize,
}

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceView {
    /// Where it takes requests.
    pub address: SocketAddr,
    /// Who told us of it: `file`, `registry` or `eureka`.
    #[serde(default)]
    pub source: Origin,
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
    /// Why it gets none of our requests though it is up: `subset` (it is left to other clients) or
    /// `cluster` (the service does not name its cluster).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
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
            source: instance.origin,
            up: instance.status == Status::Up,
            weight: instance.weight,
            zone: text(&instance.zone),
            cluster: text(&instance.cluster),
            version: text(&instance.version),
            metadata: instance.metadata.clone(),
            left_out: None,
            load,
        }
    }

    /// One that is left out, and why.
    fn left_out(instance: &Instance, why: &str) -> Self {
        Self { left_out: Some(why.to_owned()), ..Self::new(instance, None) }
    }
}

/// Returns all services with their lanes and instances.
pub(super) fn services(world: &World, now: Duration) -> Vec<ServiceView> {
    let services = world.routes.services().iter();
    let views = services.map(|service| {
        let rungs = world.routes.rungs_of(service).iter();
        let lanes = rungs.map(|rung| LaneView {
            lane: rung.lane,
            instances: instances(world, rung.id, now),
            zones: zones(world, rung.id, now),
        });
        ServiceView { service: service.name.clone(), lanes: lanes.collect() }
    });
    views.collect()
}

/// Returns the instances of a rung, with what we learned about each.
pub(super) fn instances(world: &World, rung: RungId, now: Duration) -> Vec<InstanceView> {
    let endpoints = world.endpoints(rung).into_iter().flat_map(|endpoints| endpoints.all());
    let up = endpoints
        .map(|endpoint| InstanceView::new(endpoint.instance(), Some(LoadView::of(endpoint, now))));
    let left = world.endpoints(rung).into_iter().flat_map(|endpoints| endpoints.left_out());
    let left = left.map(|instance| InstanceView::left_out(instance, "subset"));
    let rung = world.routes.rung(rung);
    let elsewhere = rung.into_iter().flat_map(|rung| &rung.elsewhere);
    let elsewhere = elsewhere.map(|instance| InstanceView::left_out(instance, "cluster"));
    let down = rung.into_iter().flat_map(|rung| &rung.down);
    let down = down.map(|instance| InstanceView::new(instance, None));
    up.chain(left).chain(elsewhere).chain(down).collect()
}

/// Returns the zones of a rung; none if they make no difference.
fn zones(world: &World, rung: RungId, now: Duration) -> Vec<ZoneView> {
    let zones = world.endpoints(rung).map(|it| it.zones(now)).unwrap_or_default();
    if let [only] = &*zones
        && only.name.is_none()
    {
        return Vec::new();
    }
    let view = |it: ZoneState| ZoneView {
        zone: it.name.as_deref().map(str::to_owned),
        share: it.share,
        health: it.health,
        instances: it.endpoints,
    };
    zones.into_iter().map(view).collect()
}

/// Tells the metrics how the baselines of services are shared out, where not all instances are alike.
pub(super) fn measure(world: &World, metrics: &Metrics, now: Duration) {
    let mut told = Vec::new();
    for service in world.routes.services() {
        let rungs = world.routes.rungs_of(service);
        for rung in rungs.iter().filter(|it| it.lane.is_none()) {
            let Some(endpoints) = world.endpoints(rung.id) else { continue };
            let zones = zones(world, rung.id, now).into_iter();
            let zones: Vec<_> = zones.map(|it| (it.zone.unwrap_or_default(), it.share)).collect();
            let (left, elsewhere) = (endpoints.left_out().len(), rung.elsewhere.len());
            // Thousands of services of which there is nothing to tell would be thousands of series.
            if !zones.is_empty() || left + elsewhere > 0 {
                let used = endpoints.all().len();
                told.push(Spread { service: &service.name, used, left, elsewhere, zones });
            }
        }
    }
    metrics.set_spreads(&told);
}
