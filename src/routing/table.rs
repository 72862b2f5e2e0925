//! Everything a decision looks up, built once for a configuration and a catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use crate::config::{self, Config, OnUnhealthy};
use crate::model::{Catalog, Instance, LaneName, ServiceName, Status, TenantId};
use crate::routing::host::Hosts;
use crate::routing::ladder::{Ladders, LaneId};
use crate::routing::{Decision, Outcome, Reason, Trail};

/// A service of one [`RouteTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(u32);

/// A rung of one [`RouteTable`]: the instances of one service in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RungId(u32);

impl ServiceId {
    /// Returns its place among the services.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl RungId {
    /// Returns its place among the rungs.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns its place among the rungs, to index what is kept beside them.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
impl From<u32> for ServiceId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

/// A service requests can be for.
#[derive(Debug)]
pub struct ServiceRoute {
    /// Which one it is.
    pub id: ServiceId,
    /// The name callers use.
    pub name: ServiceName,
    /// `[services."NAME"]`, or `[defaults]` if there is none.
    pub settings: Arc<config::Service>,
    rungs: Range<usize>,
}

/// The instances of one service in one lane.
#[derive(Debug)]
pub struct Rung {
    /// Which one it is.
    pub id: RungId,
    /// The service they are copies of.
    pub service: ServiceId,
    /// Their lane; none is the baseline.
    pub lane: Option<LaneName>,
    /// Those that are up, in order of address; none if all are down.
    pub instances: Vec<Arc<Instance>>,
    /// Those that are down, in order of address. They are never sent a request.
    pub down: Vec<Arc<Instance>>,
    /// Those of clusters that the service does not name, in order of address. Nor are they.
    pub elsewhere: Vec<Arc<Instance>>,
}

/// What a decision needs of a rung.
#[derive(Debug, Clone, Copy)]
pub(super) struct Foothold {
    pub(super) rung: RungId,
    /// Whether an instance of it is up.
    pub(super) is_up: bool,
    /// Whether a request that finds it unhealthy fails.
    pub(super) fails: bool,
}

/// What a decision needs of a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    service: ServiceId,
    baseline: Option<Foothold>,
    /// A bit for each lane that has instances, at its number modulo 64: most lanes have none, and
    /// for most of those this is all there is to read.
    lanes: u64,
    pub(super) is_strict: bool,
}

impl Start {
    /// Ends a decision at the baseline, if that has an instance.
    pub(super) fn baseline(
        &self,
        reason: Reason,
        available: impl Fn(RungId) -> bool,
        trail: &mut impl Trail,
    ) -> Decision {
        match self.baseline {
            None => trail.tried(None, Outcome::Absent),
            Some(it) if it.is_up && available(it.rung) => {
                trail.tried(None, Outcome::Taken);
                return Decision { rung: Some(it.rung), lane: None, reason };
            }
            Some(_) => trail.tried(None, Outcome::Unhealthy),
        }
        Decision::NO_INSTANCE
    }
}

/// Where a lane has instances of a service.
#[derive(Debug)]
struct Crossing {
    service: ServiceId,
    lane: LaneId,
    foothold: Foothold,
}

/// Everything a decision looks up, built once for a configuration and a catalog.
///
/// What a decision reads lies apart from what people read, and small: at 100,000 tenants and
/// instances its cost is that of the cache misses.
#[derive(Debug)]
pub struct RouteTable {
    services: Vec<ServiceRoute>,
    starts: Vec<Start>,
    rungs: Vec<Rung>,
    by_name: HashMap<ServiceName, ServiceId, RandomState>,
    hosts: Hosts,
    ladders: Ladders,
    crossings: HashTable<Crossing>,
    hasher: RandomState,
}

impl RouteTable {
    /// Builds the table of the services that `config` or `catalog` names.
    ///
    /// The instances are those of the catalog; the static ones of the configuration come to it
    /// by their own source, as all others do.
    pub fn build(config: &Config, catalog: &Catalog) -> Self {
        let instances = catalog.services().flat_map(|(_, instances)| instances.values());
        let lanes: BTreeSet<_> = instances.filter_map(|it| it.lane).collect();
        let mut table = Self {
            services: Vec::new(),
            starts: Vec::new(),
            rungs: Vec::new(),
            by_name: HashMap::default(),
            hosts: Hosts::default(),
            ladders: Ladders::build(config, &lanes),
            crossings: HashTable::with_capacity(catalog.len()),
            hasher: RandomState::default(),
        };
        let defaults = Arc::new(config.defaults.clone());
        let named = catalog.services().map(|(name, _)| name);
        for name in named.chain(config.services.keys()).collect::<BTreeSet<_>>() {
            let own = config.services.get(name).cloned().map(Arc::new);
            table.add_service(name, own.unwrap_or_else(|| Arc::clone(&defaults)), catalog);
        }
        table.add_hosts(config);
        table
    }

    fn add_service(
        &mut self,
        name: &ServiceName,
        settings: Arc<config::Service>,
        catalog: &Catalog,
    ) {
        let mut lanes: BTreeMap<Option<LaneName>, Vec<_>> = BTreeMap::new();
        for instance in catalog.instances(name) {
            lanes.entry(instance.lane).or_default().push(Arc::clone(instance));
        }
        // A lane of which all are in other clusters is not there.
        lanes.retain(|_, instances| instances.iter().any(|it| is_in_cluster(&settings, it)));
        let id = ServiceId(index(self.services.len()));
        let start = self.rungs.len();
        let is_strict = settings.strict;
        let mut head = Start { service: id, baseline: None, lanes: 0, is_strict };
        for (lane, instances) in lanes {
            let lane_id = lane.and_then(|it| self.ladders.find(it.as_str()));
            let (here, elsewhere) =
                instances.into_iter().partition(|it| is_in_cluster(&settings, it));
            let foothold = self.add_rung(id, lane, lane_id, here, elsewhere);
            match lane_id {
                None => head.baseline = Some(foothold),
                Some(lane) => {
                    head.lanes |= bit(lane);
                    self.cross(Crossing { service: id, lane, foothold });
                }
            }
        }
        self.starts.push(head);
        self.by_name.insert(name.clone(), id);
        let rungs = start..self.rungs.len();
        self.services.push(ServiceRoute { id, name: name.clone(), settings, rungs });
    }

    fn add_rung(
        &mut self,
        service: ServiceId,
        lane: Option<LaneName>,
        lane_id: Option<LaneId>,
        instances: Vec<Arc<Instance>>,
        elsewhere: Vec<Arc<Instance>>,
    ) -> Foothold {
        let (instances, down): (Vec<_>, _) =
            instances.into_iter().partition(|it| it.status == Status::Up);
        let rung = RungId(index(self.rungs.len()));
        let fails = lane_id.is_some_and(|it| self.ladders.on_unhealthy(it) == OnUnhealthy::Fail);
        let foothold = Foothold { rung, is_up: !instances.is_empty(), fails };
        self.rungs.push(Rung { id: rung, service, lane, instances, down, elsewhere });
        foothold
    }

    fn cross(&mut self, crossing: Crossing) {
        let Self { crossings, hasher, .. } = self;
        let hash = |it: &Crossing| hasher.hash_one(place(it.service, it.lane));
        crossings.insert_unique(hash(&crossing), crossing, hash);
    }

    /// Hosts the operator wrote down come before names of services, which are hosts as well.
    fn add_hosts(&mut self, config: &Config) {
        for (name, settings) in &config.services {
            let Some(id) = self.by_name.get(name) else { continue };
            for host in &settings.hosts {
                self.hosts.add(host, *id);
            }
        }
        for service in &self.services {
            self.hosts.add(service.name.as_str(), service.id);
        }
    }

    /// Returns the service a request for that authority (`host` or `host:port`) is for.
    ///
    /// Names of services are hosts. Case and a trailing dot make no difference. A host that was
    /// configured with a port must have it (an authority without one means 80) and comes before
    /// one without, which has any port.
    pub fn by_host(&self, authority: &str) -> Option<ServiceId> {
        self.hosts.service(authority)
    }

    /// Returns the service of that very name.
    pub fn by_name(&self, name: &str) -> Option<ServiceId> {
        self.by_name.get(name).copied()
    }

    /// Returns a service; none if the id is of another table.
    pub fn service(&self, id: ServiceId) -> Option<&ServiceRoute> {
        self.services.get(id.0 as usize)
    }

    /// Returns the services in order of name, which is that of their ids.
    pub fn services(&self) -> &[ServiceRoute] {
        &self.services
    }

    /// Returns a rung; none if the id is of another table.
    pub fn rung(&self, id: RungId) -> Option<&Rung> {
        self.rungs.get(id.index())
    }

    /// Returns the rungs in order of their ids: by service, the baseline first, then by lane.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// Returns the rungs of a service, the baseline first, then by lane.
    pub fn rungs_of(&self, service: &ServiceRoute) -> &[Rung] {
        self.rungs.get(service.rungs.clone()).unwrap_or_default()
    }

    /// Returns whether `[tenants]`, `[lanes]` or an instance names it: whether it may be a label.
    pub fn is_known_tenant(&self, tenant: &TenantId) -> bool {
        self.ladders.is_known(tenant.as_str())
    }

    pub(super) fn ladders(&self) -> &Ladders {
        &self.ladders
    }

    pub(super) fn start(&self, service: ServiceId) -> Option<&Start> {
        self.starts.get(service.0 as usize)
    }

    /// Returns where the lane has instances of the service that `start` is of.
    pub(super) fn foothold(&self, start: &Start, lane: LaneId) -> Option<Foothold> {
        if start.lanes & bit(lane) == 0 {
            return None;
        }
        let service = start.service;
        let hash = self.hasher.hash_one(place(service, lane));
        let found = self.crossings.find(hash, |it| it.service == service && it.lane == lane)?;
        Some(found.foothold)
    }
}

/// Whether an instance is of a cluster that takes the service's requests.
fn is_in_cluster(settings: &config::Service, instance: &Instance) -> bool {
    let clusters = &settings.clusters;
    clusters.is_empty() || instance.cluster.as_ref().is_some_and(|it| clusters.contains(it))
}

/// A service and a lane as one number.
fn place(service: ServiceId, lane: LaneId) -> u64 {
    u64::from(service.0) << 32 | u64::from(lane.number())
}

/// The bit of a lane in the lanes of a [`Start`].
fn bit(lane: LaneId) -> u64 {
    1 << (lane.number() % u64::BITS)
}

/// A place in a list as an id: lists of four thousand million entries do not fit in memory.
pub(super) fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
