//! Finds a live record by less than its key: Eureka's name of an instance, or an address.

use std::hash::{BuildHasher as _, Hash, Hasher as _};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::registry::record::Record;

/// Where records are found. Holds no names of its own: a table's hash is taken of the record.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    hasher: DefaultHashBuilder,
    hosts: HashTable<Arc<Record>>,
    /// A record, and which of its addresses.
    addrs: HashTable<(Arc<Record>, usize)>,
}

impl Lookup {
    /// Returns the live record of a host name, whatever its zone, in the services whose names are
    /// `app_upper` in upper case. Of several the one last written.
    pub(super) fn host(&self, env: &str, app_upper: &str, hostname: &str) -> Option<&Arc<Record>> {
        let hash = host_hash(&self.hasher, env, app_upper, hostname);
        let same_hash = self.hosts.iter_hash(hash).filter(|it| {
            *it.key.hostname == *hostname
                && *it.key.env == *env
                && upper(&it.key.appid).eq(app_upper.chars())
        });
        same_hash.max_by_key(|it| it.version)
    }

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
        let Self { hasher, hosts, addrs } = self;
        let Some(live) = record.live() else { return };
        let hash = |it: &Arc<Record>| record_hash(hasher, it);
        hosts.insert_unique(hash(record), record.clone(), hash);
        let hash = |(it, at): &(Arc<Record>, usize)| nth_addr_hash(hasher, it, *at);
        for at in 0..live.addrs.len() {
            let found = (record.clone(), at);
            addrs.insert_unique(hash(&found), found, hash);
        }
    }

    pub(super) fn remove(&mut self, record: &Arc<Record>) {
        let Self { hasher, hosts, addrs } = self;
        let Some(live) = record.live() else { return };
        let hash = record_hash(hasher, record);
        if let Ok(found) = hosts.find_entry(hash, |it| Arc::ptr_eq(it, record)) {
            found.remove();
        }
        for at in 0..live.addrs.len() {
            let hash = nth_addr_hash(hasher, record, at);
            let is_it = |it: &(Arc<Record>, usize)| Arc::ptr_eq(&it.0, record) && it.1 == at;
            if let Ok(found) = addrs.find_entry(hash, is_it) {
                found.remove();
            }
        }
    }
}

/// Returns a name in upper case, by Unicode.
fn upper(name: &str) -> impl Iterator<Item = char> {
    name.chars().flat_map(char::to_uppercase)
}

fn record_hash(hasher: &DefaultHashBuilder, record: &Record) -> u64 {
    let key = &record.key;
    let mut state = hasher.build_hasher();
    (&*key.env, &*key.hostname).hash(&mut state);
    upper(&key.appid).for_each(|it| it.hash(&mut state));
    state.finish()
}

fn host_hash(hasher: &DefaultHashBuilder, env: &str, app_upper: &str, hostname: &str) -> u64 {
    let mut state = hasher.build_hasher();
    (env, hostname).hash(&mut state);
    app_upper.chars().for_each(|it| it.hash(&mut state));
    state.finish()
}

fn nth_addr_hash(hasher: &DefaultHashBuilder, record: &Record, at: usize) -> u64 {
    let addr = record.live().and_then(|it| it.addrs.get(at)).map_or("", |it| &**it);
    addr_hash(hasher, &record.key.env, &record.key.appid, addr)
}

fn addr_hash(hasher: &DefaultHashBuilder, env: &str, appid: &str, addr: &str) -> u64 {
    hasher.hash_one((env, appid, addr))
}
