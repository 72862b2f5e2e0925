//! What to send to another node now.

use std::time::Duration;

use crate::registry::peers::protocol::compare;
use crate::registry::peers::protocol::parcel::{
    Acquaintance, MOST_NAMED, MOST_RULES, Parcel, Room,
};
use crate::registry::peers::protocol::peer::{Compare, Peer, Reach};
use crate::registry::peers::protocol::replica::{Border, PeerKey, Replica, RulesView};
use crate::registry::record::{Id, Moment};
use crate::registry::store::Store;

/// How often a node is spoken to at least, so that a dead one is found out.
const PING: Duration = Duration::from_secs(1);
/// How often everything is compared with one other node, give or take a tenth.
const COMPARE: Duration = Duration::from_secs(5);

/// What to do for a node next.
#[derive(Debug)]
pub enum Next {
    /// Send this, and tell how it went.
    Send(Box<Parcel>),
    /// Nothing before this time since the start, unless the node is woken.
    Wait(Duration),
    /// Nothing ever again: the node is no longer known.
    Gone,
}

impl Replica {
    /// Returns what to do for a node next. Not to be asked while something is on its way to it.
    pub fn next(
        &mut self,
        key: PeerKey,
        store: &Store,
        rules: RulesView<'_>,
        now: Moment,
        random: &mut fastrand::Rng,
    ) -> Next {
        let now = now.since_start;
        self.settle(now);
        self.compare_with_someone(now, random);
        let Some(peer) = self.peers.get_mut(&key) else { return Next::Gone };
        let mut parcel = Parcel::new(self.me.clone());
        match peer.reach {
            Reach::Lost { probe_at: at, .. }
            | Reach::Alias { probe_at: at }
            | Reach::Up { not_before: at, .. }
                if now < at =>
            {
                return Next::Wait(at);
            }
            Reach::Lost { .. } | Reach::Alias { .. } => {}
            Reach::Up { .. } => match self.fill(key, &mut parcel, store, rules, now, random) {
                Some(wait) if wait > now => return Next::Wait(wait),
                _ => {}
            },
        }
        self.counts.records_sent += parcel.records.len() as u64;
        self.counts.renewals_sent += parcel.renewed.len() as u64;
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.spoke = now;
            peer.sent = parcel.clone();
        }
        Next::Send(Box::new(parcel))
    }

    /// Puts into `parcel` what there is to say. If that is nothing, returns when there will be.
    fn fill(
        &mut self,
        key: PeerKey,
        parcel: &mut Parcel,
        store: &Store,
        rules: RulesView<'_>,
        now: Duration,
        random: &mut fastrand::Rng,
    ) -> Option<Duration> {
        let mut room = Room::new();
        let is_new = self.peers.get_mut(&key).is_some_and(|it| std::mem::take(&mut it.is_new));
        if is_new {
            parcel.nodes = self.acquaintances();
        }
        let due = self.fill_from_border(key, parcel, &mut room, now, random);
        let is_readable = self.me.readable;
        let peer = self.peers.get_mut(&key)?;
        let due = [due, peer.fill_from_outbox(parcel, &mut room, now)];
        if peer.copying.is_none() && peer.is_readable() {
            peer.copying = self.copy.claim();
        }
        parcel.copy = peer.copying;
        peer.fill_from_owed(store, parcel, &mut room);
        if is_readable {
            peer.fill_for_compare(store, parcel);
        }
        peer.fill_with_rules(parcel, rules);
        let is_silent = *parcel == Parcel::new(parcel.from.clone());
        let ping = peer.spoke + PING;
        is_silent.then(|| due.into_iter().flatten().fold(ping, Duration::min))
    }

    /// Takes what is to cross into another zone, if this is the node it crosses to; for the next time
    /// another node is drawn. Returns when there is something, if not yet.
    fn fill_from_border(
        &mut self,
        key: PeerKey,
        parcel: &mut Parcel,
        room: &mut Room,
        now: Duration,
        random: &mut fastrand::Rng,
    ) -> Option<Duration> {
        let zone = self.peers.get(&key)?.zone.clone();
        let border = self.borders.get_mut(&zone)?;
        if border.gateway != Some(key) {
            return None;
        }
        let due = border.outbox.due(now)?;
        if due > now {
            return Some(due);
        }
        border.outbox.pack(parcel, room, now);
        if border.outbox.is_empty() {
            self.draw_gateway(&zone, random);
        }
        None
    }

    /// Draws a node of another zone to tell the next things to.
    pub(super) fn draw_gateway(&mut self, zone: &str, random: &mut fastrand::Rng) {
        let up = self.peers.iter().filter(|(_, it)| it.is_up() && *it.zone == *zone);
        let up: Vec<PeerKey> = up.map(|(key, _)| *key).collect();
        let drawn = random.choice(&up).copied();
        let Some(Border { outbox, gateway }) = self.borders.get_mut(zone) else { return };
        *gateway = drawn;
        match drawn {
            Some(key) if !outbox.is_empty() => self.wake(key),
            Some(_) => {}
            None => outbox.clear(),
        }
    }

    /// Has everything compared with one of the others, if it is time.
    fn compare_with_someone(&mut self, now: Duration, random: &mut fastrand::Rng) {
        if now < self.next_compare {
            return;
        }
        self.next_compare = now + COMPARE.mul_f64(0.9 + 0.2 * random.f64());
        let up = self.peers.iter().filter(|(_, it)| it.is_up());
        let up: Vec<PeerKey> = up.map(|(key, _)| *key).collect();
        if let Some(key) = random.choice(&up).copied()
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.rules.is_due = true;
            if peer.compare == Compare::Rest {
                peer.compare = Compare::NEW;
            }
            self.wake(key);
        }
    }

    /// Returns the nodes that answer, and this one.
    pub(super) fn acquaintances(&self) -> Vec<Acquaintance> {
        let me = Acquaintance { at: self.me.at.clone(), zone: self.me.zone.clone() };
        let up = self.peers.values().filter(|it| it.is_up());
        let up = up.filter_map(|it| it.speaker.as_ref());
        let up = up.map(|it| Acquaintance { at: it.at.clone(), zone: it.zone.clone() });
        std::iter::once(me).chain(up).take(MOST_NAMED).collect()
    }
}

impl Peer {
    fn fill_from_outbox(
        &mut self,
        parcel: &mut Parcel,
        room: &mut Room,
        now: Duration,
    ) -> Option<Duration> {
        let due = self.outbox.due(now)?;
        if due > now {
            return Some(due);
        }
        self.outbox.pack(parcel, room, now);
        None
    }

    fn fill_from_owed(&mut self, store: &Store, parcel: &mut Parcel, room: &mut Room) {
        while let Some(id) = self.owed.first().copied()
            && compare::send(store, id, parcel, room)
        {
            self.owed.remove(&id);
        }
    }

    /// Goes a step on in comparing everything.
    fn fill_for_compare(&mut self, store: &Store, parcel: &mut Parcel) {
        match &mut self.compare {
            Compare::Rest | Compare::Asked { .. } => {}
            Compare::Buckets { left, .. } if !left.is_empty() => {
                compare::list(store, left, parcel);
            }
            Compare::Buckets { .. } if !self.owed.is_empty() => {}
            Compare::Due { rounds } | Compare::Buckets { rounds, .. } => {
                self.compare = match rounds.checked_sub(1) {
                    Some(rounds) => {
                        parcel.root = Some(Id(store.root()));
                        Compare::Asked { rounds }
                    }
                    None => Compare::Rest,
                };
            }
        }
    }

    fn fill_with_rules(&mut self, parcel: &mut Parcel, rules: RulesView<'_>) {
        let it = &mut self.rules;
        parcel.rules.extend(it.owed.drain(..it.owed.len().min(MOST_RULES)));
        parcel.rules_wanted.extend(it.wanted.drain(..it.wanted.len().min(MOST_RULES)));
        let has_said_all = parcel.rules.is_empty() && parcel.rules_wanted.is_empty();
        if has_said_all && std::mem::take(&mut it.is_due) {
            parcel.rules_root = Some(Id(rules.digest));
        }
    }
}
