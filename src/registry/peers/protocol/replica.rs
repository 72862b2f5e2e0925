//! One node among others: whom it knows, what it has yet to tell them, and how it stands with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::registry::peers::protocol::copy::{Copy, Others};
use crate::registry::peers::protocol::outbox::Outbox;
use crate::registry::peers::protocol::parcel::{Mark, Speaker};
use crate::registry::peers::protocol::peer::{Compare, Failure, Peer};
use crate::registry::record::{Id, Moment, NodeId, Record, Version};
use crate::registry::rules::Rules;
use crate::registry::store::{Change, Origin};
use crate::telemetry::PeerCounts;

/// How long a node that no client renews anything at is not yet alone in the world.
const SILENCE: Duration = Duration::from_secs(60);
/// News kept for the log at most.
const MOST_NEWS: usize = 256;

/// Who a node is, and whom it is told of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who it is. Whether it is readable it finds out itself.
    pub me: Speaker,
    /// The records by which it registers itself: their renewals are no sign of a client.
    pub own: Vec<Id>,
    /// Nodes an operator named, `host:port`, with the zone each is in. They are never forgotten. The
    /// node itself may be among them.
    pub seeds: Vec<(Arc<str>, Arc<str>)>,
    /// Whether a node may be learned of by its registration as an instance: whoever can register would
    /// be spoken to. Where nodes have a token, and would show it, only nodes are believed.
    pub believes_records: bool,
}

/// One of the other nodes, for as long as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub(super) u32);

/// The tenant rules, and their digest.
#[derive(Debug, Clone, Copy)]
pub struct RulesView<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// What nodes of the same rules have in common.
    pub digest: u128,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A node answers.
    Found(Arc<str>),
    /// A node no longer answers, or not as one of ours does.
    Lost(Arc<str>, Failure),
    /// A node was heard of.
    Learned(Arc<str>),
    /// A node that nobody named to us is no longer asked for.
    Forgotten(Arc<str>),
    /// Another process has our number: ties between its writings and ours are not broken.
    Twin(Arc<str>),
    /// What we have may be shown.
    Readable,
}

/// How things stand with another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it is reached.
    pub at: Arc<str>,
    /// Its zone.
    pub zone: Arc<str>,
    /// What it is called there; empty if it never answered.
    pub host: Arc<str>,
    /// Its number; none if it never answered.
    pub node: Option<NodeId>,
    /// Whether an operator named it.
    pub is_seed: bool,
    /// Whether it answers.
    pub is_up: bool,
    /// For how long it has, or has not.
    pub since: Duration,
    /// Why it did not answer the last time; none: it did, or was never asked.
    pub why: Option<Failure>,
    /// How long ago it last answered; none: never.
    pub heard: Option<Duration>,
    /// Records and renewals that wait to be sent to it.
    pub waiting: usize,
    /// Whether everything is being compared with it.
    pub is_comparing: bool,
}

/// What waits to be said to some node of another zone, and to which.
#[derive(Debug, Default)]
pub(super) struct Border {
    pub(super) outbox: Outbox,
    pub(super) gateway: Option<PeerKey>,
}

/// One node among others.
#[derive(Debug)]
pub struct Replica {
    pub(super) me: Speaker,
    own: Vec<Id>,
    pub(super) believes_records: bool,
    pub(super) peers: BTreeMap<PeerKey, Peer>,
    pub(super) keys: u32,
    pub(super) borders: BTreeMap<Arc<str>, Border>,
    pub(super) copy: Copy,
    pub(super) next_compare: Duration,
    last_renewal: Duration,
    pub(super) rules_told: u64,
    pub(super) woken: BTreeSet<PeerKey>,
    news: Vec<News>,
    pub(super) counts: PeerCounts,
}

impl Replica {
    /// A node that has spoken to nobody yet.
    pub fn new(settings: Settings) -> Self {
        let Settings { me, own, seeds, believes_records } = settings;
        let mut replica = Self {
            me: Speaker { readable: false, filling: true, ..me },
            own,
            believes_records,
            peers: BTreeMap::new(),
            keys: 0,
            borders: BTreeMap::new(),
            copy: Copy::new(),
            next_compare: Duration::ZERO,
            last_renewal: Duration::ZERO,
            rules_told: 0,
            woken: BTreeSet::new(),
            news: Vec::new(),
            counts: PeerCounts::default(),
        };
        for (at, zone) in seeds {
            replica.add_seed(at, zone);
        }
        replica
    }

    /// Takes what changed in the store, to tell those it concerns.
    pub fn tell(&mut self, changes: &[Change], now: Moment) {
        for change in changes {
            if change.origin == Origin::Here {
                self.spread(change.record.key.id(), &change.record, true);
            }
            self.learn_from(&change.record, now.since_start);
        }
    }

    /// Takes a renewal of a client of this node.
    pub fn renewed(&mut self, id: Id, version: Version, now: Moment) {
        if !self.own.contains(&id) {
            self.last_renewal = now.since_start;
        }
        self.spread_renewal(Mark { id, version }, true, now.since_start);
    }

    /// Puts a record on its way to the nodes of our zone, and to one of each other zone unless it
    /// came from there.
    pub(super) fn spread(&mut self, id: Id, record: &Arc<Record>, beyond: bool) {
        for (key, peer) in &mut self.peers {
            if peer.is_up() && peer.zone == self.me.zone {
                peer.put(id, record.clone());
                self.woken.insert(*key);
            }
        }
        let borders = self.borders.values_mut().filter(|_| beyond);
        for Border { outbox, gateway } in borders {
            let Some(key) = *gateway else { continue };
            if !outbox.put(id, record.clone())
                && let Some(peer) = self.peers.get_mut(&key)
            {
                peer.compare = Compare::NEW;
            }
            self.woken.insert(key);
        }
    }

    pub(super) fn spread_renewal(&mut self, renewal: Mark, beyond: bool, now: Duration) {
        for (key, peer) in &mut self.peers {
            if peer.is_up() && peer.zone == self.me.zone {
                peer.outbox.renew(renewal, now);
                if peer.outbox.is_news() {
                    self.woken.insert(*key);
                }
            }
        }
        let borders = self.borders.values_mut().filter(|_| beyond);
        for Border { outbox, gateway } in borders {
            let Some(key) = *gateway else { continue };
            outbox.renew(renewal, now);
            if outbox.is_news() {
                self.woken.insert(key);
            }
        }
    }

    /// Sees to what comes with time. To be called about every second.
    pub fn tick(&mut self, now: Moment) {
        self.settle(now.since_start);
        self.forget_the_lost(now.since_start);
    }

    /// Looks whether what we have may be shown by now.
    pub(super) fn settle(&mut self, now: Duration) {
        if self.me.readable {
            return;
        }
        let others = self.peers.values().filter(|it| !it.is_alias());
        let mut sum = Others { known: 0, up: 0, readable: 0 };
        for peer in others {
            sum.known += 1;
            sum.up += usize::from(peer.is_up());
            sum.readable += usize::from(peer.is_readable());
        }
        self.copy.settle(sum, now);
        if self.copy.is_readable() {
            self.me.readable = true;
            self.tell_the_log(News::Readable);
            for (key, peer) in self.peers.iter_mut().filter(|(_, it)| it.is_up()) {
                peer.compare = Compare::NEW;
                self.woken.insert(*key);
            }
        }
    }

    /// Returns whether what the node has may be shown: it has had a complete copy, or nobody has one.
    pub fn is_readable(&self) -> bool {
        self.me.readable
    }

    /// Returns whether what the node has came from nodes that had heard of everybody.
    pub fn has_whole_copy(&self) -> bool {
        self.copy.is_whole()
    }

    /// Says that the node has heard of everybody by now.
    pub fn set_filled(&mut self) {
        self.me.filling = false;
    }

    /// Returns whether the node hears nobody: no other node answers, and no client renews anything.
    pub fn is_isolated(&self, now: Moment) -> bool {
        let mut others = self.peers.values().filter(|it| !it.is_alias()).peekable();
        others.peek().is_some()
            && !others.any(Peer::is_up)
            && now.since_start.saturating_sub(self.last_renewal) >= SILENCE
    }

    /// Returns all other nodes there are.
    pub fn peers(&self) -> impl Iterator<Item = PeerKey> {
        self.peers.keys().copied()
    }

    /// Returns where a node is reached; none: it is no longer known.
    pub fn address(&self, key: PeerKey) -> Option<&Arc<str>> {
        self.peers.get(&key).map(|it| &it.at)
    }

    /// Returns how things stand with all other nodes, but for other names of the same.
    pub fn status(&self, now: Moment) -> Vec<PeerStatus> {
        let now = now.since_start;
        let others = self.peers.values().filter(|it| !it.is_alias());
        others
            .map(|peer| PeerStatus {
                at: peer.at.clone(),
                zone: peer.zone.clone(),
                host: peer.speaker.as_ref().map(|it| it.host.clone()).unwrap_or_default(),
                node: peer.speaker.as_ref().map(|it| it.node),
                is_seed: peer.is_seed,
                is_up: peer.is_up(),
                since: now.saturating_sub(peer.since),
                why: peer.why,
                heard: peer.heard.map(|it| now.saturating_sub(it)),
                waiting: peer.outbox.len() + peer.owed.len(),
                is_comparing: peer.compare != Compare::Rest,
            })
            .collect()
    }

    /// Returns how often things happened.
    pub fn counts(&self) -> PeerCounts {
        self.counts
    }

    /// Has everything compared with all that answer: something was not said to them.
    pub fn compare_with_all(&mut self) {
        for (key, peer) in self.peers.iter_mut().filter(|(_, it)| it.is_up()) {
            peer.compare = Compare::NEW;
            self.woken.insert(*key);
        }
    }

    /// Returns how many nodes that answer are being told something now.
    pub fn under_way(&self) -> usize {
        let up = self.peers.values().filter(|it| it.is_up());
        up.filter(|it| !it.sent.records.is_empty()).count()
    }

    /// Returns whether there are nodes that [`woken`](Self::woken) would return.
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Takes the nodes for which [`next`](Self::next) may have another answer than it last had.
    pub fn woken(&mut self) -> BTreeSet<PeerKey> {
        std::mem::take(&mut self.woken)
    }

    /// Takes what is worth a line in the log.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    pub(super) fn wake(&mut self, key: PeerKey) {
        self.woken.insert(key);
    }

    pub(super) fn tell_the_log(&mut self, news: News) {
        if self.news.len() < MOST_NEWS {
            self.news.push(news);
        }
    }
}
