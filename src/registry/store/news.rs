//! What changed of Eureka's instances in the last three minutes: of each instance the last change.
//!
//! Some clients know an instance by its id and some by where it is reached. One that moved is told
//! as the end of the old and the coming of the new, so that neither keeps what is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::registry::record::Moment;
use crate::registry::store::apps::{Member, reach};

/// How long a change is told: Eureka's clients ask every 30 s.
pub(super) const TOLD: Duration = Duration::from_secs(180);

/// Changes that are told at most: the earliest are forgotten before their time. Clients find by the
/// hash that they have missed something, and ask for everything.
const MOST: usize = 1 << 17;

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It came.
    Added,
    /// It is another one.
    Modified,
    /// It went.
    Deleted,
}

impl Action {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }

    /// Returns what to say of a change that follows on one still told. A client may have heard of
    /// that or not; to replace is to add if there is nothing, but some clients do not replace what
    /// they are told to add.
    fn after(self, before: Option<Self>) -> Self {
        match (before, self) {
            (Some(_), Self::Added) => Self::Modified,
            (_, action) => action,
        }
    }
}

/// An instance that changed.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Its application.
    pub app: Arc<str>,
    /// Its id there.
    pub name: Arc<str>,
    /// What it is, or was before it went.
    pub member: Member,
    /// What became of it.
    pub action: Action,
    at: Duration,
}

/// An instance by application, id and where it is reached.
type Place = (Arc<str>, Arc<str>, String);

/// The last changes, the earliest first.
#[derive(Debug, Default)]
pub(super) struct News {
    last: u64,
    told: BTreeMap<u64, Changed>,
    /// Where in `told` an instance is.
    places: HashMap<Place, u64>,
}

impl News {
    pub(super) fn push(
        &mut self,
        app: &Arc<str>,
        name: &Arc<str>,
        member: &Member,
        action: Action,
        now: Moment,
    ) {
        self.prune(now);
        while self.told.len() >= MOST {
            self.forget_first();
        }
        self.last += 1;
        let place = (app.clone(), name.clone(), reach(member));
        let before = self.places.insert(place, self.last);
        let before = before.and_then(|it| self.told.remove(&it));
        let changed = Changed {
            app: app.clone(),
            name: name.clone(),
            member: member.clone(),
            action: action.after(before.map(|it| it.action)),
            at: now.since_start,
        };
        self.told.insert(self.last, changed);
    }

    pub(super) fn since(&self, now: Moment) -> impl Iterator<Item = &Changed> {
        self.told.values().skip_while(move |it| is_old(it, now))
    }

    pub(super) fn prune(&mut self, now: Moment) {
        while self.told.first_key_value().is_some_and(|(_, it)| is_old(it, now)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, Changed { app, name, member, .. })) = self.told.pop_first() {
            self.places.remove(&(app, name, reach(&member)));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

fn is_old(changed: &Changed, now: Moment) -> bool {
    now.since_start.saturating_sub(changed.at) > TOLD
}
