//! What a source says: instances by service and address, and what of it is of no use.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::discovery::usable::Unusable;
use crate::model::{Instance, Scheduler, ServiceName, Status};

/// Instances that are kept of one source at most.
pub(super) const MOST_INSTANCES: usize = 200_000;

/// The instances of one service, by address.
pub(super) type Instances = BTreeMap<SocketAddr, Arc<Instance>>;

/// Services with their instances. What did not change is shared with the value before.
pub(super) type Services = BTreeMap<ServiceName, Arc<Instances>>;

/// An instance that a source names and that nobody could send a request to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// The service it is of, as the source has it.
    pub service: Arc<str>,
    /// What the source calls it.
    pub name: Arc<str>,
    /// Why it is of no use.
    pub why: Unusable,
}

/// What a source says, whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// Who there is.
    pub services: Services,
    /// How callers are to spread over zones.
    pub schedulers: BTreeMap<ServiceName, Scheduler>,
    /// Those it names besides.
    pub left_out: Vec<LeftOut>,
}

impl Said {
    /// Adds instances of a service, perhaps beside others of it.
    pub(super) fn add(&mut self, service: &ServiceName, instances: &Arc<Instances>) {
        if instances.is_empty() {
            return;
        }
        match self.services.get_mut(service) {
            None => drop(self.services.insert(service.clone(), Arc::clone(instances))),
            Some(there) => {
                let there = Arc::make_mut(there);
                for instance in instances.values() {
                    add(there, Arc::clone(instance));
                }
            }
        }
    }
}

/// Adds an instance. Of two at one address, one that was forgotten and its successor, the one that
/// takes traffic counts, and else the one whose name comes last: alike on whoever hears of both.
pub(super) fn add(to: &mut Instances, instance: Arc<Instance>) {
    let rank = |it: &Instance| (it.status == Status::Up, it.hostname.clone());
    match to.get(&instance.address) {
        Some(there) if rank(there) > rank(&instance) => {}
        _ => drop(to.insert(instance.address, instance)),
    }
}

/// Returns how many instances there are.
pub(super) fn count(services: &Services) -> usize {
    services.values().map(|it| it.len()).sum()
}
