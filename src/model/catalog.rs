//! All instances known at a moment.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{Instance, Scheduler, ServiceName};

/// All instances known at a moment, by service and address; built, never edited.
///
/// Two sources that name the same address of the same service name one instance: the later one
/// in the building order wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    services: BTreeMap<ServiceName, BTreeMap<SocketAddr, Arc<Instance>>>,
    schedulers: BTreeMap<ServiceName, Scheduler>,
}

/// The services of a catalog in order of name, each with its instances in order of address.
pub type Services<'a> = btree_map::Iter<'a, ServiceName, BTreeMap<SocketAddr, Arc<Instance>>>;

impl Catalog {
    /// Returns the services in order of name, each with its instances in order of address.
    pub fn services(&self) -> Services<'_> {
        self.services.iter()
    }

    /// Returns the instances of one service in order of address; none for an unknown service.
    pub fn instances(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<Instance>> {
        self.services.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// The same instances, with `schedulers` for the services they are of, in place of any others.
    #[must_use]
    pub fn with_schedulers(self, schedulers: BTreeMap<ServiceName, Scheduler>) -> Self {
        Self { schedulers, ..self }
    }

    /// Returns how callers are to spread over the zones of a service, if someone has said so.
    pub fn scheduler(&self, service: &ServiceName) -> Option<&Scheduler> {
        self.schedulers.get(service)
    }

    /// Returns how many instances there are.
    pub fn len(&self) -> usize {
        self.services.values().map(BTreeMap::len).sum()
    }

    /// Returns whether there is no instance at all.
    pub fn is_empty(&self) -> bool {
        self.services.values().all(BTreeMap::is_empty)
    }
}

impl FromIterator<Instance> for Catalog {
    fn from_iter<I: IntoIterator<Item = Instance>>(instances: I) -> Self {
        instances.into_iter().map(Arc::new).collect()
    }
}

impl FromIterator<Arc<Instance>> for Catalog {
    fn from_iter<I: IntoIterator<Item = Arc<Instance>>>(instances: I) -> Self {
        let mut catalog = Self::default();
        for instance in instances {
            let service = catalog.services.entry(instance.service.clone()).or_default();
            service.insert(instance.address, instance);
        }
        catalog
    }
}
