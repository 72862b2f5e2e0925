//! What instances, operators and servers of Eureka's write: answered once it is written here,
//! whatever other nodes do.

use std::sync::Arc;

use http::StatusCode;

use crate::registry::api::reply::{self, Reply};
use crate::registry::dialect::discovery::fields::Fields;
use crate::registry::dialect::eureka::Refusal;
use crate::registry::dialect::eureka::instance::{Info, check_metadata};
use crate::registry::dialect::eureka::mapping::{self, Place};
use crate::registry::dialect::eureka::path::Target;
use crate::registry::dialect::eureka::reads::{not_found, row_of};
use crate::registry::dialect::eureka::shown::Row;
use crate::registry::eureka::{EurekaPart, Status};
use crate::registry::node::Node;
use crate::registry::record::{Key, OWN_SERVICE, Record, Registration};
use crate::registry::store::Store;

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is written.
    Done,
    /// There is no such instance, or it is to register again.
    Unknown,
    /// What we have is newer than what the peer has: this.
    Newer(Box<Row>),
}

impl Outcome {
    /// Returns its status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Done => StatusCode::OK,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Newer(_) => StatusCode::CONFLICT,
        }
    }

    fn of(written: Option<Arc<Record>>) -> Self {
        written.map_or(Self::Unknown, |_| Self::Done)
    }

    /// Answers without a body.
    pub(super) fn reply(&self) -> Reply {
        match self {
            Self::Unknown => not_found(),
            Self::Done | Self::Newer(_) => reply::empty(self.status()),
        }
    }
}

/// Registers an instance.
///
/// # Errors
/// Its name is the registry's own, or there is no room for it.
pub(super) fn register(node: &Node, info: Info) -> Result<(), Refusal> {
    let settings = node.settings();
    let place = Place { env: &settings.env, region: &settings.region, zone: &settings.zone };
    let key = mapping::key(&info, place);
    if *key.appid == *OWN_SERVICE {
        return Err(Refusal::Reserved);
    }
    let app = info.app.clone();
    // Some clients register where others send a heartbeat.
    let is_known = node.read(|store| {
        there(store, &key.env, &app, &key.hostname).is_some_and(|(known, live)| {
            let is_same = || mapping::is_same(&content(info.clone(), Some(&live), node), &live);
            known == key && !is_newer(&live, &info) && is_same()
        })
    });
    if is_known && node.renew(&key).is_some() {
        return Ok(());
    }
    let kept = node.write(|store, now| {
        let before = there(store, &key.env, &app, &key.hostname);
        if let Some((known, live)) = &before
            && is_newer(live, &info)
        {
            return Ok(Some(known.clone()));
        }
        let registered = store.register(
            key.clone(),
            content(info, before.as_ref().map(|(_, live)| &**live), node),
            now,
        );
        if let Some((known, live)) = before
            && registered.is_ok()
            && known != key
            && live.said().is_some()
        {
            // It has moved to another zone.
            store.cancel(&known, now);
        }
        registered.map(|_| None)
    });
    match kept {
        Ok(None) => Ok(()),
        Ok(Some(key)) => {
            node.renew(&key);
            Ok(())
        }
        Err(full) => {
            tracing::error!(%full, "an instance cannot be registered");
            Err(Refusal::Full)
        }
    }
}

/// Returns what is registered of an instance.
fn content(mut info: Info, before: Option<&Registration>, node: &Node) -> Registration {
    let settings = node.settings();
    let place = Place { env: &settings.env, region: &settings.region, zone: &settings.zone };
    if info.said.last_dirty == 0 {
        info.said.last_dirty = node.now().unix / 1_000_000;
    }
    mapping::registration(info, before, place)
}

/// Whether what is registered is newer than what an instance now says, by its own clock.
fn is_newer(live: &Registration, info: &Info) -> bool {
    let dirty = info.said.last_dirty;
    dirty > 0 && live.said().is_some_and(|it| it.last_dirty > dirty)
}

/// Returns what is registered by Eureka's name of it.
fn there(store: &Store, env: &str, app: &str, id: &str) -> Option<(Key, Arc<Registration>)> {
    let seen = store.find_eureka(env, app, id)?;
    Some((seen.record.key.clone(), seen.record.live()?.clone()))
}

/// Takes a heartbeat. `dirty` is the version of the content that is known to who sends it; 0: he does
/// not say.
pub(super) fn renew(node: &Node, target: &Target, dirty: u64, is_peer: bool) -> Outcome {
    let found = node.read(|store| {
        let app = store.apps(&node.settings().env)?.get(&target.app)?;
        Some(row_of(store, target.id.clone(), app.get(&target.id)?))
    });
    let Some(row) = found else { return Outcome::Unknown };
    if node.renew(&row.member.record.key).is_none() {
        return Outcome::Unknown;
    }
    let Some(live) = row.member.record.live() else { return Outcome::Unknown };
    if live.eureka_status() == Status::Unknown {
        // Its status was taken from it; it is to say it again.
        return Outcome::Unknown;
    }
    let ours = live.said().map_or(row.member.record.version.at / 1_000_000, |it| it.last_dirty);
    match ours.cmp(&dirty) {
        _ if dirty == 0 => Outcome::Done,
        std::cmp::Ordering::Less => Outcome::Unknown,
        std::cmp::Ordering::Greater if is_peer => Outcome::Newer(Box::new(row)),
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Outcome::Done,
    }
}

/// Cancels an instance.
pub(super) fn cancel(node: &Node, target: &Target) -> Outcome {
    Outcome::of(node.write(|store, now| {
        let (key, _) = there(store, &node.settings().env, &target.app, &target.id)?;
        store.cancel(&key, now)
    }))
}

/// Puts a status over an instance's own. `dirty` is the version of the content it is given with; 0:
/// that is not said.
pub(super) fn put_status(node: &Node, target: &Target, status: Status, dirty: u64) -> Outcome {
    alter(node, target, |live| {
        let part = live
            .eureka
            .get_or_insert_with(|| Box::new(EurekaPart { status, overridden: None, said: None }));
        // Over nothing there is nothing: it is to register again.
        (part.status, part.overridden) = (status, Some(status).filter(|it| *it != Status::Unknown));
        if let Some(said) = &mut part.said {
            said.last_dirty = said.last_dirty.max(dirty);
        }
        live.status = status.standing();
    })
}

/// Takes back the status that was put over an instance's own: it has the one given, and if none is
/// given none until it registers again. Who cannot do that by Eureka's API is up.
pub(super) fn take_status(node: &Node, target: &Target, given: Option<Status>) -> Outcome {
    alter(node, target, |live| {
        let Some(part) = live.eureka.as_mut().filter(|it| it.overridden.is_some()) else { return };
        part.overridden = None;
        let status = match &part.said {
            Some(_) => given.unwrap_or(Status::Unknown),
            None => given.unwrap_or(Status::Up),
        };
        part.status = status;
        live.status = status.standing();
    })
}

/// Merges metadata into what an instance has.
///
/// # Errors
/// It would be more than there may be.
pub(super) fn put_metadata(
    node: &Node,
    target: &Target,
    fields: &Fields,
) -> Result<Outcome, Refusal> {
    let mut refused = None;
    let outcome = alter(node, target, |live| {
        let mut metadata = live.metadata.clone();
        let pairs = fields.pairs().filter(|(name, _)| !name.is_empty());
        metadata.extend(pairs.map(|(name, value)| (name.into(), value.into())));
        match check_metadata(&metadata) {
            Ok(()) => live.metadata = metadata,
            Err(invalid) => refused = Some(Refusal::Instance(invalid)),
        }
    });
    refused.map_or(Ok(outcome), Err)
}

fn alter(node: &Node, target: &Target, change: impl FnOnce(&mut Registration)) -> Outcome {
    Outcome::of(node.write(|store, now| {
        let (key, _) = there(store, &node.settings().env, &target.app, &target.id)?;
        store.alter(&key, now, change)
    }))
}
