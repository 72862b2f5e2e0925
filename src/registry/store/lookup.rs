//! Finds a live record by less than its key: by an address.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::registry::record::Record;

/// Where records are found. Holds no names of its own: a table's hash is taken of the record.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    hasher: DefaultHashBuilder,
    /// A record, and which of its addresses.
    addrs: HashTable<(Arc<Record>, usize)>,
}

impl Lookup {
    /// Returns the live record of a service that has an address. Of several the one last written.
    pub(super) fn addr(&self, env: &str, appid: &str, addr: &str) -> Option<&Arc<Record>> {
        let hash = addr_hash(&self.hasher, env, appid, addr);
        let same_hash = self.addrs.iter_hash(hash).map(|(record, _)| record).filter(|it| {
            *it.key.env == *env
                && *it.key.appid == *appid
                && it.live().is_some_and(|live| live.addrs.iter().any(|own| **own == *addr))
        });
        same_hash.max_by_key(|it| it.version)
    }

    pub(super) fn add(&mut self, record: &Arc<Record>) {
        let Self { hasher, addrs } = self;
        let Some(live) = record.live() else { return };
        let hash = |(it, at): &(Arc<Record>, usize)| nth_addr_hash(hasher, it, *at);
        for at in 0..live.addrs.len() {
            let found = (record.clone(), at);
            addrs.insert_unique(hash(&found), found, hash);
        }
    }

    pub(super) fn remove(&mut self, record: &Arc<Record>) {
        let Self { hasher, addrs } = self;
        let Some(live) = record.live() else { return };
        for at in 0..live.addrs.len() {
            let hash = nth_addr_hash(hasher, record, at);
            let is_it = |it: &(Arc<Record>, usize)| Arc::ptr_eq(&it.0, record) && it.1 == at;
            if let Ok(found) = addrs.find_entry(hash, is_it) {
                found.remove();
            }
        }
    }
}

fn nth_addr_hash(hasher: &DefaultHashBuilder, record: &Record, at: usize) -> u64 {
    let addr = record.live().and_then(|it| it.addrs.get(at)).map_or("", |it| &**it);
    addr_hash(hasher, &record.key.env, &record.key.appid, addr)
}

fn addr_hash(hasher: &DefaultHashBuilder, env: &str, appid: &str, addr: &str) -> u64 {
    hasher.hash_one((env, appid, addr))
}
