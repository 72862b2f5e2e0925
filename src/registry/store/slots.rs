//! The numbers of the copies of a service: dense from 0, so that callers can divide its servers
//! among themselves evenly.
//!
//! Nodes that do not hear each other may give out the same number. When they do, the instance that
//! was registered later gets another, from the node that wrote it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::registry::record::{Id, Moment, NodeId, Record, Registration, State};
use crate::registry::store::Store;
use crate::registry::store::service::ServiceView;

/// How many instances get another number in one pass: each is a change that all watchers see.
const MENDED: usize = 1000;

/// Which numbers of one service are taken, and by how many.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: BTreeMap<u32, u32>,
    /// All below are taken.
    below: u32,
    /// How many instances share a number with one that had it before.
    clashes: usize,
}

impl Slots {
    pub(super) fn take(&mut self, slot: u32) {
        let count = self.taken.entry(slot).or_default();
        *count += 1;
        self.clashes += usize::from(*count > 1);
    }

    pub(super) fn release(&mut self, slot: u32) {
        let Some(count) = self.taken.get_mut(&slot) else { return };
        if *count > 1 {
            *count -= 1;
            self.clashes -= 1;
        } else {
            self.taken.remove(&slot);
            self.below = self.below.min(slot);
        }
    }

    /// Returns the lowest number that is free.
    pub(super) fn lowest_free(&mut self) -> u32 {
        for slot in self.taken.range(self.below..).map(|(slot, _)| *slot) {
            if slot != self.below {
                break;
            }
            self.below = self.below.saturating_add(1);
        }
        self.below
    }

    /// Whether two have the same.
    pub(super) fn clash(&self) -> bool {
        self.clashes > 0
    }
}

impl Store {
    /// Gives another number to those who share theirs with one that was registered before them, if
    /// it was this node that wrote them.
    pub(super) fn mend_slots(&mut self, now: Moment) {
        let node = self.clock.node();
        let services = self.services.with_clashes();
        let later = services.flat_map(|it| later_ones(it, node)).take(MENDED);
        let later: Vec<(Id, Arc<Record>)> = later.collect();
        for (id, record) in later {
            let Some(live) = record.live() else { continue };
            let slot = self.services.free_slot(&record.key.env, &record.key.appid);
            let registration = Registration { slot, ..Registration::clone(live) };
            let state = State::Live(Arc::new(registration));
            let version = self.clock.over(record.version);
            self.rewrite(id, Record { key: record.key.clone(), version, state }, now);
        }
    }
}

/// Returns the instances written by `node` whose number another had before.
fn later_ones(service: &ServiceView, node: NodeId) -> Vec<(Id, Arc<Record>)> {
    let mut first: HashMap<u32, (u64, Id)> = HashMap::new();
    let age =
        |(id, record): (Id, &Arc<Record>)| record.live().map(|it| (it.slot, (it.registered, id)));
    for (slot, age) in service.members().filter_map(age) {
        first.entry(slot).and_modify(|it| *it = age.min(*it)).or_insert(age);
    }
    let is_later = |(id, record): &(Id, &Arc<Record>)| {
        let of = age((*id, *record));
        of.is_some_and(|(slot, age)| first.get(&slot).is_some_and(|it| *it != age))
    };
    let members = service.members().filter(is_later);
    let ours = members.filter(|(_, record)| record.version.node == node);
    ours.map(|(id, record)| (id, record.clone())).collect()
}
