//! `register`, `renew`, `cancel` and `set`: answered once written here, whatever other nodes do.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::registry::dialect::discovery::app::{Instance, NOBODY};
use crate::registry::dialect::discovery::binder::{Name, Passed, Target};
use crate::registry::dialect::discovery::calls::{Beat, Register, Set};
use crate::registry::dialect::discovery::envelope::{Answer, Code};
use crate::registry::dialect::discovery::fields::{Fields, Invalid};
use crate::registry::eureka::EurekaPart;
use crate::registry::node::Node;
use crate::registry::record::{
    Key, LONGEST_METADATA, Moment, NodeId, Record, Registration, Standing, State, Version,
};
use crate::registry::store::{Full, Merge, Store};

/// Who wrote what another registry passes on: it does not say, and of equal times the incoming wins.
const STRANGER: NodeId = NodeId(u64::MAX);

/// `POST register`.
///
/// # Errors
/// The request makes no sense.
pub(super) fn register(node: &Node, fields: &Fields) -> Result<Answer, Invalid> {
    let Register { target, registration, passed } = Register::bind(fields)?;
    let written = node.write(|store, now| {
        let key = known(store, &target);
        if passed.dirty == 0 || !(passed.replication || passed.from_zone) {
            let before = store.get(&key).and_then(|it| it.record.live());
            let registration = under_operators(registration, before.map(|it| &**it));
            return store.register(key, registration, now).map(drop);
        }
        let said = registration.hash();
        let state = State::Live(Arc::new(Registration { said, ..registration }));
        let record = Record { key: key.clone(), version: version(passed, store, now), state };
        // What comes from another zone comes to one node of ours, which spreads it; of its own zone a
        // registry of that kind tells every node by itself.
        let merged =
            if passed.replication { store.merge(record, now) } else { store.import(record, now) };
        // Whoever passes it on has heard of it, so its lease begins anew.
        if let Some(record) = store.get(&key).map(|it| Arc::clone(it.record)) {
            store.hear(record.key.id(), record.version, now);
        }
        match merged {
            Merge::Refused => Err(Full { capacity: store.settings().capacity }),
            Merge::Taken | Merge::Same | Merge::Stale(_) | Merge::Refuted(_) => Ok(()),
        }
    });
    Ok(match written {
        Ok(()) => Answer::of(Code::Ok),
        Err(full) => {
            tracing::error!(%full, "an instance cannot be registered");
            Answer::shed(Code::LimitExceeded)
        }
    })
}

/// Returns what an instance says below the status that an operator has put over its own by Eureka's
/// API, which outlives its registering again. Of waiting the instance knows best.
fn under_operators(registration: Registration, before: Option<&Registration>) -> Registration {
    let overridden = before.and_then(|it| it.eureka.as_ref()?.overridden);
    let Some(over) = overridden else { return registration };
    let status = match registration.status {
        Standing::Up => over,
        waiting @ Standing::Waiting => waiting.into(),
    };
    let eureka = Some(Box::new(EurekaPart { status, overridden, said: None }));
    Registration { status: status.standing(), eureka, ..registration }
}

/// Returns the version of what another registry passes on: at most as far ahead as we follow, for
/// nobody could replace it otherwise.
fn version(passed: Passed, store: &Store, now: Moment) -> Version {
    let drift = u64::try_from(store.settings().drift.as_nanos()).unwrap_or(u64::MAX);
    Version { at: passed.dirty.min(now.unix.saturating_add(drift)), node: STRANGER }
}

/// `POST renew`.
///
/// # Errors
/// The request makes no sense.
pub(super) fn renew(node: &Node, fields: &Fields) -> Result<Answer, Invalid> {
    let Beat { target, passed } = Beat::renew(fields)?;
    let key = match &target.name {
        Name::Host(_) => target.key(),
        Name::Addr(_) => node.read(|store| known(store, &target)),
    };
    let renewed = if passed.replication {
        passed_on(node, &key)
    } else {
        node.renew(&key).map(Instance::renewed)
    };
    let Some(instance) = renewed else {
        let service =
            node.read(|store| store.service(&key.env, &key.appid).is_some_and(|it| !it.is_empty()));
        return Ok(Answer::with(Code::NotFound, if service { NOBODY } else { b"null" }));
    };
    Ok(match instance.written().cmp(&passed.dirty) {
        _ if !passed.replication => Answer::with(Code::Ok, &instance.json()),
        Ordering::Less => Answer::of(Code::NotFound),
        Ordering::Equal => Answer::with(Code::Ok, &instance.json()),
        Ordering::Greater => Answer::with(Code::Conflict, &instance.json()),
    })
}

/// Notes a heartbeat that another registry passes on. Returns whom it concerns, if anybody.
fn passed_on(node: &Node, key: &Key) -> Option<Instance> {
    node.write(|store, now| {
        let (id, version) = store.get(key).map(|it| (it.id, it.record.version))?;
        store.hear(id, version, now);
        store.seen(id).map(|it| Instance::of(&it))
    })
}

/// `POST cancel`.
///
/// # Errors
/// The request makes no sense.
pub(super) fn cancel(node: &Node, fields: &Fields) -> Result<Answer, Invalid> {
    let Beat { target, .. } = Beat::cancel(fields)?;
    let cancelled = node.write(|store, now| {
        let key = known(store, &target);
        let was_there = store.get(&key).is_some();
        store.cancel(&key, now).is_some() && was_there
    });
    Ok(Answer::of(if cancelled { Code::Ok } else { Code::NotFound }))
}

/// `POST set`.
///
/// # Errors
/// The request makes no sense, or names a host that is not there; those before it are changed.
pub(super) fn set(node: &Node, fields: &Fields) -> Result<Answer, Invalid> {
    let set = Set::bind(fields)?;
    let all_there = node.write(|store, now| {
        set.alterations.into_iter().all(|alteration| {
            let name = Name::Host(alteration.hostname);
            let (env, appid, zone) = (set.env.clone(), set.appid.clone(), set.zone.clone());
            let key = Target { env, appid, zone, name }.key();
            if !fits(store, &key, &alteration.metadata) {
                return false;
            }
            let altered = store.alter(&key, now, |registration| {
                if let Some(status) = alteration.status {
                    registration.status = status;
                    // Of two operators the later has his way, whoever registers then.
                    registration.eureka.iter_mut().for_each(|it| it.overridden = None);
                }
                registration.metadata.extend(alteration.metadata);
            });
            altered.is_some()
        })
    });
    Ok(Answer::of(if all_there { Code::Ok } else { Code::BadRequest }))
}

/// Whether an instance's metadata with more of it stays as short as that of one that registers.
fn fits(store: &Store, key: &Key, more: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
    let length = |it: (&Arc<str>, &Arc<str>)| it.0.len() + it.1.len();
    let live = store.get(key).and_then(|it| it.record.live());
    let kept = live.into_iter().flat_map(|it| &it.metadata);
    let kept = kept.filter(|(name, _)| !more.contains_key(*name));
    kept.chain(more).map(length).sum::<usize>() <= LONGEST_METADATA
}

/// Returns the key a call is about: who gives no host's name may mean an instance that gave one when
/// it registered the address.
fn known(store: &Store, target: &Target) -> Key {
    let key = target.key();
    let Name::Addr(addr) = &target.name else { return key };
    if store.get(&key).is_some() {
        return key;
    }
    let found = store.find_addr(&target.env, &target.appid, addr);
    let found = found.filter(|it| it.record.key.zone == target.zone);
    found.map_or(key, |it| it.record.key.clone())
}
