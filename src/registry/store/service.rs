//! A service as its callers see it: its live instances in order, an index that rises with every
//! change, and a hash of the whole.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use crate::registry::record::{Id, Record};
use crate::registry::store::slots::Slots;

/// Which service of which environment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The deployment environment.
    pub env: Arc<str>,
    /// The service.
    pub appid: Arc<str>,
}

/// A [`ServiceKey`] that owns nothing. Hashes alike.
#[derive(Hash)]
struct ServiceRef<'a> {
    env: &'a str,
    appid: &'a str,
}

impl Equivalent<ServiceKey> for ServiceRef<'_> {
    fn equivalent(&self, key: &ServiceKey) -> bool {
        self.env == &*key.env && self.appid == &*key.appid
    }
}

/// The live instances of one service in one environment.
#[derive(Debug, Default)]
pub struct ServiceView {
    index: u64,
    hash: u128,
    members: BTreeSet<Member>,
    /// How many that are gone are still remembered.
    graves: usize,
    slots: Slots,
}

impl ServiceView {
    /// Returns the index of the last change: unix nanoseconds or a little more, strictly rising in
    /// the life of a node, over all services.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Returns the exclusive or of the content hashes of all live instances: equal on two nodes
    /// that have the same.
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// Returns the live instances, taking traffic or not, by zone and then by host name.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = &Arc<Record>> {
        self.members.iter().map(|it| &it.record)
    }

    /// Returns the live instances with their ids, by zone and then by host name.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (Id, &Arc<Record>)> {
        self.members.iter().map(|it| (it.id, &it.record))
    }

    /// Returns how many live instances there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no instance is alive. Such a service is remembered for as long as its last instance
    /// is, so that its watchers learn of its end.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// An instance, in the order of zone and host name.
#[derive(Debug)]
struct Member {
    id: Id,
    record: Arc<Record>,
}

impl Member {
    fn place(&self) -> (&str, &str) {
        (&self.record.key.zone, &self.record.key.hostname)
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Member {}

impl PartialOrd for Member {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// All services.
#[derive(Debug, Default)]
pub(super) struct Services(HashMap<ServiceKey, ServiceView>);

impl Services {
    pub(super) fn get(&self, env: &str, appid: &str) -> Option<&ServiceView> {
        self.0.get(&ServiceRef { env, appid })
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&ServiceKey, &ServiceView)> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a record, and if it is alive shows it. `index` is that of the change.
    pub(super) fn add(&mut self, id: Id, record: &Arc<Record>, content: u128, index: u64) {
        let key = ServiceKey { env: record.key.env.clone(), appid: record.key.appid.clone() };
        let view = self.0.entry(key).or_default();
        view.index = index;
        if let Some(live) = record.live() {
            view.hash ^= content;
            view.slots.take(live.slot);
            view.members.insert(Member { id, record: record.clone() });
        } else {
            view.graves += 1;
        }
    }

    /// Takes out a record that is to be replaced or forgotten.
    pub(super) fn remove(&mut self, id: Id, record: &Arc<Record>, content: u128) {
        let name = ServiceRef { env: &record.key.env, appid: &record.key.appid };
        let Some(view) = self.0.get_mut(&name) else { return };
        if let Some(live) = record.live() {
            view.hash ^= content;
            view.slots.release(live.slot);
            view.members.remove(&Member { id, record: record.clone() });
        } else {
            view.graves = view.graves.saturating_sub(1);
        }
    }

    /// Forgets a service of which nothing is left.
    pub(super) fn sweep(&mut self, record: &Record) {
        let name = ServiceRef { env: &record.key.env, appid: &record.key.appid };
        if self.0.get(&name).is_some_and(|it| it.is_empty() && it.graves == 0) {
            self.0.remove(&name);
        }
    }

    /// Returns the services in which two instances have the same slot.
    pub(super) fn with_clashes(&self) -> impl Iterator<Item = &ServiceView> {
        self.0.values().filter(|it| it.slots.clash())
    }

    /// Returns the lowest slot that no live instance of a service has.
    pub(super) fn free_slot(&mut self, env: &str, appid: &str) -> u32 {
        self.0.get_mut(&ServiceRef { env, appid }).map_or(0, |it| it.slots.lowest_free())
    }
}
