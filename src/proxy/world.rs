//! Everything one request is decided on, immutable.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::balance::Endpoints;
use crate::balance::Site;
use crate::balance::View;
use crate::config::Config;
use crate::config::Retries;
use crate::config::Service;
use crate::model::Catalog;
use crate::model::ServiceName;
use crate::model::TenantId;
use crate::proxy::retry::Budget;
use crate::routing::Decision;
use crate::routing::RouteTable;
use crate::routing::RuleTable;
use crate::routing::RungId;
use crate::routing::ServiceId;
use crate::routing::Trail;
use crate::routing::Who;
use crate::routing::decide;
use crate::tenant::Carriers;
use crate::tenant::Correlation;

/// Everything one request is decided on.
///
/// A world never changes: a new file or a new catalog makes the next one, which takes over what the
/// old one learned of its endpoints, its budgets and its correlation ids. A request holds the world
/// it began with until it ends.
#[derive(Debug)]
pub struct World {
    /// Counts the worlds of this process, from 1.
    pub generation: u64,
    /// What the operator wrote.
    pub config: Arc<Config>,
    /// Who exists.
    pub catalog: Arc<Catalog>,
    /// Where each host and tenant leads.
    pub routes: RouteTable,
    /// Which requests get a tenant at the edge.
    pub rules: RuleTable,
    /// Where tenants are read and written.
    pub carriers: Carriers,
    /// Which tenant an identifier came in with.
    pub correlation: Arc<Correlation>,
    /// How the application beside us is reached.
    pub local: Arc<Service>,
    /// How what is no service of ours is reached.
    pub passthrough: Arc<Service>,
    /// The addresses of all instances, collected here lest every worker does so.
    addresses: Arc<HashSet<SocketAddr>>,
    endpoints: Box<[Arc<Endpoints>]>,
    budgets: HashMap<ServiceName, Arc<Budget>>,
    local_budget: Arc<Budget>,
}

impl World {
    /// The first world.
    pub fn first(config: Config, catalog: Catalog) -> Self {
        Self::build(config.into(), catalog.into(), None)
    }

    /// The world after `self`.
    #[must_use]
    pub fn next(&self, config: Arc<Config>, catalog: Arc<Catalog>) -> Self {
        Self::build(config, catalog, Some(self))
    }

    fn build(config: Arc<Config>, catalog: Arc<Catalog>, old: Option<&Self>) -> Self {
        let routes = RouteTable::build(&config, &catalog);
        let known = old.map(Self::endpoints_by_place).unwrap_or_default();
        let default = Arc::new(config.defaults.clone());
        let settings = |service| routes.service(service).map_or(&default, |it| &it.settings);
        let site = Arc::new(Site::of(&config, &catalog));
        let endpoints = routes.rungs().iter().map(|rung| {
            let service = routes.service(rung.service).map(|it| &it.name);
            let settings = settings(rung.service);
            let view = View { site: Arc::clone(&site), weights: weights(&catalog, service, &site) };
            match service.and_then(|name| known.get(&(name, rung.lane))) {
                Some(before) => Endpoints::succeed(before, &rung.instances, settings, &view),
                None => Endpoints::new(&rung.instances, settings, &view),
            }
        });
        let endpoints = endpoints.collect::<Box<[_]>>();
        let budgets = routes.services().iter().map(|service| {
            let before = old.and_then(|old| old.budgets.get(&service.name));
            (service.name.clone(), Budget::succeed(before, service.settings.retries.budget))
        });
        let own = config.services.get(&config.workload.service).unwrap_or(&config.defaults);
        let local = Service { protocol: config.workload.protocol, ..alone(own) };
        let correlation = match old {
            Some(old) if old.config.tenant.correlation == config.tenant.correlation => {
                old.correlation.clone()
            }
            _ => Arc::new(Correlation::new(&config.tenant.correlation)),
        };
        Self {
            generation: old.map_or(1, |old| old.generation + 1),
            rules: RuleTable::build(&config.rules),
            carriers: Carriers::new(&config.tenant),
            correlation,
            budgets: budgets.collect(),
            local_budget: Budget::succeed(old.map(|old| &old.local_budget), local.retries.budget),
            local: Arc::new(local),
            passthrough: Arc::new(alone(&config.defaults)),
            addresses: Arc::new(addresses(&catalog)),
            endpoints,
            routes,
            config,
            catalog,
        }
    }

    fn endpoints_by_place(
        &self,
    ) -> HashMap<(&ServiceName, Option<crate::model::LaneName>), &Arc<Endpoints>> {
        let rungs = self.routes.rungs().iter().zip(&self.endpoints);
        let named = rungs.filter_map(|(rung, endpoints)| {
            let service = self.routes.service(rung.service)?;
            Some(((&service.name, rung.lane), endpoints))
        });
        named.collect()
    }

    /// Decides which rung a request of `who` for `service` goes to; `now` is for the health of
    /// endpoints. The request could not connect to the `refused`: to it a lane without any other is
    /// unhealthy, whatever is known of the lane so far.
    ///
    /// The baseline is taken even if nobody there can be reached, as far as we know: with nowhere
    /// else to go, trying beats giving up.
    pub fn decide(
        &self,
        service: ServiceId,
        who: &Who,
        now: Duration,
        refused: &[SocketAddr],
        trail: &mut impl Trail,
    ) -> Decision {
        let available = |id: RungId| {
            let lane = self.routes.rung(id).and_then(|rung| rung.lane);
            lane.is_none() || self.endpoints(id).is_some_and(|it| it.is_healthy(now, refused))
        };
        decide(&self.routes, service, who, available, trail)
    }

    /// Returns the endpoints of a rung.
    pub fn endpoints(&self, rung: RungId) -> Option<&Arc<Endpoints>> {
        self.endpoints.get(rung.index())
    }

    /// Returns the addresses of all instances, for the pools to drop connections to others.
    pub fn addresses(&self) -> &Arc<HashSet<SocketAddr>> {
        &self.addresses
    }

    /// Returns whether the operator knows this tenant, so that it may be a label.
    pub fn is_known_tenant(&self, tenant: &TenantId) -> bool {
        self.routes.is_known_tenant(tenant)
    }

    /// Returns the retry budget of a service; none is the application beside us.
    pub(super) fn budget(&self, service: Option<&ServiceName>) -> &Arc<Budget> {
        service.and_then(|name| self.budgets.get(name)).unwrap_or(&self.local_budget)
    }
}

fn addresses(catalog: &Catalog) -> HashSet<SocketAddr> {
    catalog.services().flat_map(|(_, instances)| instances.keys().copied()).collect()
}

/// What a scheduler says to callers where we are; empty if it says nothing.
fn weights(
    catalog: &Catalog,
    service: Option<&ServiceName>,
    site: &Site,
) -> BTreeMap<Arc<str>, u32> {
    let scheduler = service.and_then(|it| catalog.scheduler(it));
    let weights = scheduler.zip(site.zone.as_deref()).and_then(|(it, zone)| it.of_callers_in(zone));
    weights.cloned().unwrap_or_default()
}

/// The settings for a peer beside which there is no other: an answer of its own is passed on as it
/// is. To ask it again would multiply the retries of those who do have a choice.
fn alone(settings: &Service) -> Service {
    let retries = Retries { on: Vec::new(), ..settings.retries.clone() };
    Service { retries, ..settings.clone() }
}
