//! What clients of this node write, and the one place where a record comes to be in the store.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::registry::record::{Id, Key, Moment, Record, Registration, Standing, State};
use crate::registry::store::apps::Member;
use crate::registry::store::digest::content_hash;
use crate::registry::store::table::Entry;
use crate::registry::store::{Change, Full, Origin, Store};

impl Store {
    /// Registers an instance, in place of what was registered for its key. Its lease begins.
    ///
    /// The store writes `registered`, `up_since`, `slot` and `said`: whatever they hold is of no account.
    pub fn register(
        &mut self,
        key: Key,
        registration: Registration,
        now: Moment,
    ) -> Result<Arc<Record>, Full> {
        let id = key.id();
        if self.table.get(id).is_none() {
            self.make_room()?;
        }
        let before = self.table.get(id).map(|it| it.record.clone());
        let mut registration = registration;
        registration.said = registration.hash();
        let said = NonZeroU64::new(registration.said);
        self.fill_in(&mut registration, &key, before.as_deref(), now);
        let record = self.write(id, key, State::Live(Arc::new(registration)), now);
        self.beat(id, now);
        if let Some(entry) = self.table.get_mut(id) {
            entry.said = said;
        }
        Ok(record)
    }

    /// Renews the lease of a live instance. None: it is to register again, being unknown or gone, or
    /// for we doubt that we have what it last registered.
    pub fn renew(&mut self, key: &Key, now: Moment) -> Option<Arc<Record>> {
        let id = key.id();
        let record = self.beat(id, now)?;
        let is_doubted = self.table.get(id).is_some_and(Entry::is_in_doubt);
        (!is_doubted).then_some(record)
    }

    /// Cancels an instance, and returns the record of that. None: there was none to cancel.
    ///
    /// A cancelling of what is unknown here is written down all the same, for it may have overtaken
    /// the registration on its way from another node.
    pub fn cancel(&mut self, key: &Key, now: Moment) -> Option<Arc<Record>> {
        let id = key.id();
        match self.table.get(id).map(|it| &it.record.state) {
            Some(State::Live(_) | State::Evicted) => {
                Some(self.write(id, key.clone(), State::Cancelled, now))
            }
            Some(State::Cancelled) => None,
            None => {
                if self.make_room().is_ok() {
                    self.write(id, key.clone(), State::Cancelled, now);
                }
                None
            }
        }
    }

    /// Changes what is registered of a live instance, if `change` does change anything. None: it is
    /// unknown or gone. Its lease goes on as it was: this is no sign of life.
    pub fn alter(
        &mut self,
        key: &Key,
        now: Moment,
        change: impl FnOnce(&mut Registration),
    ) -> Option<Arc<Record>> {
        let id = key.id();
        let record = self.table.get(id)?.record.clone();
        let live = record.live()?;
        let mut registration = Registration::clone(live);
        change(&mut registration);
        self.fill_in(&mut registration, key, Some(&record), now);
        if registration == **live {
            return Some(record);
        }
        let version = self.clock.next(now.unix, Some(record.version));
        let state = State::Live(Arc::new(registration));
        Some(self.rewrite(id, Record { key: key.clone(), version, state }, now))
    }

    /// Writes a live record in place of another, the lease of which goes on as it was.
    pub(super) fn rewrite(&mut self, id: Id, record: Record, now: Moment) -> Arc<Record> {
        let before = self.table.get(id).map(|it| (it.heard, it.renewed, it.doubted));
        let record = self.put(id, record, Origin::Here, now);
        if let (Some(entry), Some(before)) = (self.table.get_mut(id), before) {
            (entry.heard, entry.renewed, entry.doubted) = before;
        }
        record
    }

    /// Writes what the store itself says of an instance.
    fn fill_in(
        &mut self,
        registration: &mut Registration,
        key: &Key,
        before: Option<&Record>,
        now: Moment,
    ) {
        let before = before.and_then(Record::live);
        let is_up = registration.status == Standing::Up;
        let was_up = before.is_some_and(|it| it.status == Standing::Up);
        let up_since = before.map_or(0, |it| it.up_since);
        registration.up_since = if is_up && !was_up { now.unix } else { up_since };
        registration.registered = before.map_or(now.unix, |it| it.registered);
        registration.slot = match before {
            Some(before) => before.slot,
            None => self.services.free_slot(&key.env, &key.appid),
        };
    }

    /// Notes a sign of life given to this node by the instance itself.
    fn beat(&mut self, id: Id, now: Moment) -> Option<Arc<Record>> {
        let heard = self.time.at(now);
        let entry = self.table.get_mut(id)?;
        entry.record.live()?;
        entry.heard = heard;
        entry.spoke = Some(now.since_start);
        entry.renewed = now.unix;
        Some(entry.record.clone())
    }

    /// Writes a record of this node's own, later than what it replaces.
    pub(super) fn write(&mut self, id: Id, key: Key, state: State, now: Moment) -> Arc<Record> {
        let replaced = self.table.get(id).map(|it| it.record.version);
        let version = self.clock.next(now.unix, replaced);
        self.put(id, Record { key, version, state }, Origin::Here, now)
    }

    /// Puts a record in the place of what there was of its key, as heard of now, and tells of it.
    pub(super) fn put(
        &mut self,
        id: Id,
        mut record: Record,
        origin: Origin,
        now: Moment,
    ) -> Arc<Record> {
        self.names.share_key(&mut record.key);
        if let State::Live(live) = &mut record.state {
            self.names.share_registration(Arc::make_mut(live));
        }
        let record = Arc::new(record);
        let content = content_hash(id, record.version);
        let index = self.step(now);
        let is_live = record.live().is_some();
        let before = self.table.get(id).map(|it| (it.record.clone(), it.content, it.group));
        let known = self.table.get(id).filter(|_| is_live).map(|it| (it.spoke, it.said));
        let (spoke, said) = known.unwrap_or_default();
        let group = self.groups.add(&record, before.as_ref().map(|it| it.2));
        if let Some((old, content, group)) = &before {
            self.take_out(id, old, *content, *group);
        }
        self.services.add(id, &record, content, index);
        self.lookup.add(&record);
        let member = Member { id, record: record.clone() };
        self.apps.put(before.as_ref().map(|it| &*it.0), &member, index, now);
        self.digest.toggle(id, &record, content);
        self.live += usize::from(is_live);
        let entry = Entry {
            record: record.clone(),
            content,
            heard: self.time.at(now),
            spoke,
            said,
            doubted: false,
            renewed: now.unix,
            index,
            group,
        };
        self.table.insert(id, entry);
        if !is_live {
            self.bury(id, index);
        }
        self.changes.push(Change { record: record.clone(), origin, index });
        record
    }

    /// Takes a record out of everything but the table.
    fn take_out(&mut self, id: Id, record: &Arc<Record>, content: u128, group: usize) {
        self.services.remove(id, record, content);
        self.lookup.remove(record);
        self.digest.toggle(id, record, content);
        self.groups.remove(record, group);
        self.live = self.live.saturating_sub(usize::from(record.live().is_some()));
    }

    /// Forgets a record.
    pub(super) fn forget(&mut self, id: Id) {
        if let Some(entry) = self.table.remove(id) {
            self.take_out(id, &entry.record, entry.content, entry.group);
            self.services.sweep(&entry.record);
        }
    }

    /// Remembers in what order records went. What came back since is swept out once it is the
    /// greater part.
    fn bury(&mut self, id: Id, index: u64) {
        self.graves.push_back((id, index));
        let gone = self.table.len().saturating_sub(self.live);
        if self.graves.len() > 2 * gone + 1024 {
            let Self { graves, table, .. } = self;
            graves.retain(|(id, index)| table.get(*id).is_some_and(|it| it.index == *index));
        }
    }

    /// Makes room for one more record: what has been gone for longest is forgotten first.
    pub(super) fn make_room(&mut self) -> Result<(), Full> {
        while self.table.len() >= self.settings.capacity {
            let Some((id, index)) = self.graves.pop_front() else {
                return Err(Full { capacity: self.settings.capacity });
            };
            if self.table.get(id).is_some_and(|it| it.index == index) {
                self.forget(id);
            }
        }
        Ok(())
    }

    /// Returns the index of the next change: the time if that is later than the last. For changes
    /// too that are none of a record's, and are to be seen in one order with those.
    pub fn step(&mut self, now: Moment) -> u64 {
        self.index = now.unix.max(self.index.saturating_add(1));
        self.index
    }
}
