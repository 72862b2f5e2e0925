//! Whom a node knows: those an operator named, for ever, and those it has heard of, up to a bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::registry::peers::protocol::parcel::{Acquaintance, Parcel, Speaker};
use crate::registry::peers::protocol::peer::Peer;
use crate::registry::peers::protocol::replica::{News, PeerKey, Replica};
use crate::registry::record::{Record, State};

/// Nodes that nobody named and that are known at most.
const MOST_LEARNED: usize = 64;
/// Nodes that operators may name; the rest is not spoken to.
const MOST_SEEDS: usize = 4096;
/// The service that the nodes of a registry are.
const REGISTRY: &str = "infra.discovery";
/// Longest `host:port`, in bytes.
const LONGEST_ADDRESS: usize = 261;
/// How long a learned node is asked for that never answered.
const NEVER_MET: Duration = Duration::from_secs(3600);
/// How long one is asked for that once did.
const MISSED: Duration = Duration::from_secs(24 * 3600);

impl Replica {
    /// Adds a node that an operator named.
    pub(super) fn add_seed(&mut self, at: Arc<str>, zone: Arc<str>) {
        if *at == *self.me.at
            || self.peers.values().any(|it| it.at == at)
            || self.peers.len() >= MOST_SEEDS
        {
            return;
        }
        self.add(at, zone, true, Duration::ZERO);
    }

    fn add(&mut self, at: Arc<str>, zone: Arc<str>, is_seed: bool, now: Duration) {
        let key = PeerKey(self.keys);
        self.keys += 1;
        self.peers.insert(key, Peer::new(at, zone, is_seed, now));
        self.wake(key);
    }

    /// Takes that a node speaks to us: it is there, and may be one we do not know.
    pub(super) fn meet(&mut self, speaker: &Speaker, now: Duration) {
        let mut is_known = false;
        let mut back = Vec::new();
        for (key, peer) in &mut self.peers {
            if peer.is_run(speaker.run) || peer.at == speaker.at {
                is_known = true;
                if !peer.is_up() && !peer.is_alias() {
                    peer.probe_soon(now);
                    back.push(*key);
                }
            }
        }
        for key in back {
            self.wake(key);
        }
        if !is_known {
            self.learn_one(&speaker.at, &speaker.zone, now);
        }
    }

    /// Takes which nodes another one knows.
    pub(super) fn learn(&mut self, nodes: &[Acquaintance], now: Duration) {
        for node in nodes {
            self.learn_one(&node.at, &node.zone, now);
        }
    }

    /// Takes a record of a node of the registry, by whatever way it came.
    pub(super) fn learn_from(&mut self, record: &Record, now: Duration) {
        if *record.key.appid != *REGISTRY || !self.believes_records {
            return;
        }
        match &record.state {
            State::Live(live) => {
                let addrs = live.addrs.iter().filter_map(|it| it.strip_prefix("http://"));
                for at in addrs.take(4) {
                    self.learn_one(&at.into(), &record.key.zone, now);
                }
            }
            State::Cancelled => self.farewell(&record.key.zone, &record.key.hostname),
            State::Evicted => {}
        }
    }

    fn learn_one(&mut self, at: &Arc<str>, zone: &Arc<str>, now: Duration) {
        let is_known =
            |it: &Peer| it.at == *at || it.speaker.as_ref().is_some_and(|it| it.at == *at);
        if *at == self.me.at || !is_address(at) || self.peers.values().any(is_known) {
            return;
        }
        if self.peers.values().filter(|it| !it.is_seed).count() >= MOST_LEARNED
            && !self.make_room(now)
        {
            return;
        }
        self.tell_the_log(News::Learned(at.clone()));
        self.add(at.clone(), zone.clone(), false, now);
    }

    /// Forgets a learned node that does not answer, first of all one that never did. False: all do,
    /// or did a short while ago.
    fn make_room(&mut self, now: Duration) -> bool {
        let gone = self.peers.iter().filter(|(_, it)| !it.is_seed && !it.is_up());
        let gone = gone.filter(|(_, it)| it.heard.is_none() || now > it.since + NEVER_MET);
        let first = gone.min_by_key(|(_, it)| (it.heard.is_some(), it.since)).map(|(key, _)| *key);
        first.map(|key| self.forget(key)).is_some()
    }

    /// Takes that a node was stopped as it should be: nobody waits for its return, unless an operator
    /// named it.
    fn farewell(&mut self, zone: &str, host: &str) {
        for peer in self.peers.values_mut() {
            if peer.speaker.as_ref().is_some_and(|it| *it.zone == *zone && *it.host == *host) {
                peer.has_left = true;
            }
        }
    }

    /// Forgets learned nodes that are not to come back.
    pub(super) fn forget_the_lost(&mut self, now: Duration) {
        let gone = self.peers.iter().filter(|(_, it)| !it.is_seed && !it.is_up() && !it.is_alias());
        let gone = gone.filter(|(_, it)| {
            let most = if it.heard.is_some() { MISSED } else { NEVER_MET };
            it.has_left || now.saturating_sub(it.since) > most
        });
        let gone: Vec<PeerKey> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.remove(&key) else { return };
        if let Some(span) = peer.copying {
            self.copy.give_back(span);
        }
        self.wake(key);
        self.tell_the_log(News::Forgotten(peer.at));
    }

    /// Looks whether what answered at `key` is ourselves, or a node we talk to by another name: that
    /// which an operator gave, if there is one. True: it is not to be talked to by this one.
    pub(super) fn is_other_name(
        &mut self,
        key: PeerKey,
        run: u64,
        now: Duration,
        random: &mut fastrand::Rng,
    ) -> bool {
        let Some(asked) = self.peers.get(&key) else { return true };
        let is_seed = asked.is_seed;
        let mut others =
            self.peers.iter().filter(|(other, it)| **other != key && it.is_up() && it.is_run(run));
        let other = others.next().map(|(other, it)| (*other, it.is_seed));
        let redundant = match other {
            _ if run == self.me.run => key,
            Some((other, false)) if is_seed => other,
            Some(_) => key,
            None => return false,
        };
        let Some(peer) = self.peers.get_mut(&redundant) else { return true };
        let zone = peer.zone.clone();
        peer.sent = Parcel::default();
        if let Some(span) = peer.copying.take() {
            self.copy.give_back(span);
        }
        peer.set_alias(now);
        if !peer.is_seed {
            self.forget(redundant);
        }
        self.draw_gateway(&zone, random);
        redundant == key
    }
}

/// Whether `text` can be `host:port`: whatever else it is, it is tried and found out.
fn is_address(text: &str) -> bool {
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'-' | b'_');
        !host.is_empty() && host.bytes().all(is_host) && port.parse::<u16>().is_ok_and(|it| it > 0)
    });
    let address = text.parse::<SocketAddr>();
    let is_anyone = address.as_ref().is_ok_and(|it| it.ip().is_unspecified() || it.port() == 0);
    text.len() <= LONGEST_ADDRESS && !is_anyone && (is_named || address.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::peers::protocol::replica::Settings;
    use crate::registry::record::{Key, Moment, Registration, Version};
    use crate::registry::store::{Change, Origin};

    /// How many nodes are known after somebody registered as one.
    fn known(believes_records: bool) -> usize {
        let me = Speaker { at: "10.0.0.1:7171".into(), ..Speaker::default() };
        let settings = Settings { me, own: Vec::new(), seeds: Vec::new(), believes_records };
        let mut replica = Replica::new(settings);
        let [env, appid, zone, hostname] = ["prod", REGISTRY, "z", "h"].map(Arc::from);
        let addrs = vec!["http://10.0.0.9:7171".into()];
        let state = State::Live(Arc::new(Registration { addrs, ..Registration::default() }));
        let key = Key { env, appid, zone, hostname };
        let record = Arc::new(Record { key, version: Version::default(), state });

        let change = Change { record, origin: Origin::Peer, index: 1 };
        replica.tell(&[change], Moment::default());
        replica.peers().count()
    }

    #[test]
    fn whoever_registers_as_a_node_is_not_shown_the_token() {
        assert_eq!(known(true), 1);
        assert_eq!(known(false), 0);
    }

    #[test]
    fn what_can_be_no_address_is_not_learned() {
        for good in ["10.0.0.1:7171", "[::1]:7171", "registry-0.registry:7171"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "a", "a:0", "a:b", ":7171", "0.0.0.0:1", "[::]:1", "a b:1", "a/b:1", "::1:x"]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
