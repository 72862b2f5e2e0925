//! What follows from what another node says, asks or answers, or from its silence.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::registry::peers::protocol::compare;
use crate::registry::peers::protocol::parcel::{Mark, Parcel, Room, Span};
use crate::registry::peers::protocol::peer::{Compare, Failure, Peer};
use crate::registry::peers::protocol::replica::{News, PeerKey, Replica, RulesView};
use crate::registry::peers::protocol::rules;
use crate::registry::record::{Id, Moment, Record};
use crate::registry::rules::Rule;
use crate::registry::store::{Heard, Merge, Store};

/// Records owed to a node at most. What is left out is found again by comparing.
const MOST_OWED: usize = 50_000;
/// Parcels in which buckets are listed again, for one comparing.
const MOST_AGAIN: usize = 1024;

/// What follows from a parcel of another node.
#[derive(Debug)]
pub struct Received {
    /// What to answer.
    pub answer: Parcel,
    /// Rules to merge with ours, before or after.
    pub rules: Vec<Rule>,
}

/// What became of the records of a parcel.
#[derive(Default)]
struct Merged {
    /// How many are ours now.
    taken: usize,
    /// Ours, that the other is to have in place of its own.
    newer: Vec<Arc<Record>>,
}

impl Replica {
    /// Takes what another node says, on its own initiative. The parcel is to be
    /// [checked](Parcel::check) before.
    pub fn receive(
        &mut self,
        parcel: Parcel,
        store: &mut Store,
        rules: RulesView<'_>,
        now: Moment,
    ) -> Received {
        let mut answer = Parcel::new(self.me.clone());
        if parcel.from.run == self.me.run {
            return Received { answer, rules: Vec::new() };
        }
        let mut room = Room::new();
        let is_from_beyond = parcel.from.zone != self.me.zone;
        self.meet(&parcel.from, now.since_start);
        if !parcel.nodes.is_empty() {
            self.learn(&parcel.nodes, now.since_start);
            answer.nodes = self.acquaintances();
        }
        let merged = self.merge(&parcel.records, is_from_beyond, store, now);
        let newer = merged.newer.into_iter().filter(|it| room.admits(it));
        answer.records.extend(newer);
        for renewal in &parcel.renewed {
            self.hear_renewal(*renewal, is_from_beyond, store, &mut answer, &mut room, now);
        }
        if self.me.readable {
            let ours = Id(store.root());
            if parcel.root.is_some_and(|it| it != ours) {
                answer.buckets = compare::digests(store);
            }
            for listing in &parcel.listed {
                compare::answer(store, listing, &mut answer, &mut room);
            }
            if let Some(span) = parcel.copy {
                compare::page(store, span, &mut answer, &mut room);
            }
        }
        rules::answer(&parcel, rules, &mut answer);
        Received { answer, rules: parcel.rules }
    }

    /// Takes what a node answers to the last parcel sent to it. The answer is to be
    /// [checked](Parcel::check) before. Returns rules to merge with ours.
    pub fn answered(
        &mut self,
        key: PeerKey,
        answer: Parcel,
        store: &mut Store,
        rules: RulesView<'_>,
        now: Moment,
        random: &mut fastrand::Rng,
    ) -> Vec<Rule> {
        if self.is_other_name(key, answer.from.run, now.since_start, random) {
            return Vec::new();
        }
        let Some(peer) = self.peers.get_mut(&key) else { return Vec::new() };
        let sent = std::mem::take(&mut peer.sent);
        let zone_before = peer.zone.clone();
        if peer.answered(answer.from.clone(), now.since_start) {
            self.found(key, &zone_before, random);
        }
        self.learn(&answer.nodes, now.since_start);
        let is_from_beyond = answer.from.zone != self.me.zone && sent.copy.is_none();
        let merged = self.merge(&answer.records, is_from_beyond, store, now);
        let mut owed: Vec<Id> = merged.newer.iter().map(|it| it.key.id()).collect();
        owed.extend(&answer.wanted);
        if let Some(peer) = self.peers.get_mut(&key) {
            if peer.owed.len() < MOST_OWED {
                peer.owed.extend(owed);
            }
            if sent.root.is_some() {
                self.counts.compared += 1;
                self.counts.differed += u64::from(peer.compare_buckets(store, &answer.buckets));
            }
            peer.list_again(&answer, merged.taken);
            if let Some(theirs) = &answer.rules_known {
                peer.rules.compare(theirs, rules);
            }
        }
        if let Some(span) = sent.copy {
            self.copied(key, span, &answer);
        }
        self.settle(now.since_start);
        answer.rules
    }

    /// Takes that the last parcel sent to a node was not answered.
    pub fn failed(&mut self, key: PeerKey, why: Failure, now: Moment, random: &mut fastrand::Rng) {
        let now = now.since_start;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let sent = std::mem::take(&mut peer.sent);
        if let Some(span) = peer.copying.take() {
            self.copy.give_back(span);
        }
        let was_up = peer.is_up();
        let is_news = peer.failed(why, now, random);
        let (zone, at) = (peer.zone.clone(), peer.at.clone());
        if peer.is_up() {
            peer.say_again(&sent, now);
        } else if is_news {
            self.counts.lost += u64::from(was_up);
            self.tell_the_log(News::Lost(at, why));
        }
        if let Some(border) = self.borders.get_mut(&zone) {
            for record in sent.records {
                // With no room left, whoever is the gateway now compares everything soon enough.
                let _ = border.outbox.put(record.key.id(), record);
            }
            sent.renewed.into_iter().for_each(|it| border.outbox.renew(it, now));
            self.draw_gateway(&zone, random);
        }
        self.settle(now);
    }

    /// Sees to a node that answers, and did not before.
    fn found(&mut self, key: PeerKey, zone_before: &Arc<str>, random: &mut fastrand::Rng) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (at, zone) = (peer.at.clone(), peer.zone.clone());
        let is_twin = peer.speaker.as_ref().is_some_and(|it| it.node == self.me.node);
        self.tell_the_log(News::Found(at.clone()));
        if is_twin {
            self.tell_the_log(News::Twin(at));
        }
        for zone in [zone_before, &zone] {
            if *zone != self.me.zone {
                let border = self.borders.entry(zone.clone()).or_default();
                if border.gateway.is_none() || border.gateway == Some(key) {
                    self.draw_gateway(zone, random);
                }
            }
        }
        // Others are told of it as well: it may be that they do not know each other.
        for (key, peer) in self.peers.iter_mut().filter(|(_, it)| it.is_up()) {
            peer.is_new = true;
            self.woken.insert(*key);
        }
    }

    fn merge(
        &mut self,
        records: &[Arc<Record>],
        is_from_beyond: bool,
        store: &mut Store,
        now: Moment,
    ) -> Merged {
        let mut merged = Merged::default();
        for record in records {
            match store.merge(Record::clone(record), now) {
                Merge::Taken => {
                    merged.taken += 1;
                    if is_from_beyond {
                        self.spread(record.key.id(), record, false);
                    }
                }
                Merge::Stale(ours) | Merge::Refuted(ours) => merged.newer.push(ours),
                Merge::Same | Merge::Refused => {}
            }
        }
        self.counts.records_taken += merged.taken as u64;
        merged
    }

    fn hear_renewal(
        &mut self,
        renewal: Mark,
        is_from_beyond: bool,
        store: &mut Store,
        answer: &mut Parcel,
        room: &mut Room,
        now: Moment,
    ) {
        match store.hear(renewal.id, renewal.version, now) {
            Heard::Renewed if is_from_beyond => {
                self.spread_renewal(renewal, false, now.since_start);
            }
            Heard::Renewed => {}
            Heard::Unknown | Heard::Behind => answer.wanted.push(renewal.id),
            Heard::Ahead(ours) => {
                if room.admits(&ours) {
                    answer.records.push(ours);
                }
            }
        }
    }

    /// Takes a page of the copy of everything.
    fn copied(&mut self, key: PeerKey, asked: Span, answer: &Parcel) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.copying = None;
        match answer.rest {
            _ if !answer.from.readable => self.copy.give_back(asked),
            None => self.copy.finish(answer.from.filling),
            Some(rest) if rest.is_less_than(asked) => peer.copying = Some(rest),
            Some(_) => self.copy.give_back(asked),
        }
    }
}

impl Peer {
    /// Takes the digests of the other's buckets; none are sent by one that has the same as we.
    /// Returns whether there is a difference.
    fn compare_buckets(&mut self, store: &Store, theirs: &[Id]) -> bool {
        let Compare::Asked { rounds } = self.compare else { return false };
        let left = match theirs {
            [] => VecDeque::new(),
            theirs => compare::differing(store, theirs),
        };
        let differs = !left.is_empty();
        self.compare =
            if differs { Compare::Buckets { left, rounds, again: 0 } } else { Compare::Rest };
        differs
    }

    /// Lists buckets again of which not all was said, as long as that leads anywhere.
    fn list_again(&mut self, answer: &Parcel, taken: usize) {
        let leads_somewhere = taken > 0 || !answer.wanted.is_empty();
        if let Compare::Buckets { left, again, .. } = &mut self.compare
            && leads_somewhere
            && !answer.again.is_empty()
            && *again < MOST_AGAIN
        {
            *again += 1;
            left.extend(&answer.again);
        }
    }

    /// Puts back what was not heard.
    fn say_again(&mut self, sent: &Parcel, now: Duration) {
        self.is_new |= !sent.nodes.is_empty();
        self.rules.is_due |=
            sent.rules_root.is_some() || !sent.rules.is_empty() || !sent.rules_wanted.is_empty();
        if sent.root.is_some() || !sent.listed.is_empty() {
            self.compare = Compare::NEW;
        }
        for record in &sent.records {
            self.put(record.key.id(), record.clone());
        }
        sent.renewed.iter().for_each(|it| self.outbox.renew(*it, now));
    }
}
