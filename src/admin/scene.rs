//! What can be explained: a running sidecar's world, or what a file alone says.

use std::time::Duration;

use crate::admin::catalog::{InstanceView, LoadView};
use crate::config::Config;
use crate::model::Instance;
use crate::proxy::World;
use crate::routing::{RouteTable, RungId};

/// What a decision is explained on.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub(super) config: &'a Config,
    pub(super) routes: &'a RouteTable,
    /// The world of a running sidecar; none: all we know is the file.
    world: Option<&'a World>,
}

impl<'a> Scene<'a> {
    /// What a running sidecar knows.
    pub fn of_world(world: &'a World) -> Self {
        Self { config: world.config(), routes: world.routes(), world: Some(world) }
    }

    /// What a file says: every instance that is up counts as healthy.
    pub fn of_file(config: &'a Config, routes: &'a RouteTable) -> Self {
        Self { config, routes, world: None }
    }

    /// Returns the number of the world; none for a file.
    pub(super) fn generation(&self) -> Option<u64> {
        self.world.map(World::generation)
    }

    /// Returns whether one of a rung's instances is healthy, as the data path asks.
    pub(super) fn is_healthy(&self, rung: RungId, now: Duration) -> bool {
        let healthy = |world: &World| world.endpoints(rung).is_some_and(|it| it.is_healthy(now));
        self.world.is_none_or(healthy)
    }

    /// Returns the instances of a rung, with what we learned about each.
    pub(super) fn instances(&self, rung: RungId, now: Duration) -> Vec<InstanceView> {
        let endpoints = self.world.and_then(|world| world.endpoints(rung));
        let learned = |instance: &Instance| {
            let mut all = endpoints?.all().iter();
            let endpoint = all.find(|it| it.instance().address == instance.address)?;
            Some(LoadView::of(endpoint, now))
        };
        let rung = self.routes.rung(rung).into_iter();
        let instances = rung.flat_map(|rung| rung.instances.iter().chain(&rung.down));
        instances.map(|instance| InstanceView::new(instance, learned(instance))).collect()
    }
}
