//! What nodes of a registry say to each other.

use std::time::Duration;

use dyelane::registry::peers::protocol::{
    Next, Parcel, PeerKey, Replica, RulesView, Settings, Speaker,
};
use dyelane::registry::record::{Key, Moment, NodeId, Registration};
use dyelane::registry::rules::Rules;
use dyelane::registry::store::{self, Store};

/// What a node has that hears of another.
struct Node {
    replica: Replica,
    store: Store,
    now: Moment,
    random: fastrand::Rng,
}

/// The bytes are what another node says or answers. Whatever that is, what is said to it and to others
/// is what a node would take, and what the store tells of itself is true.
pub fn parcel(bytes: &[u8]) {
    let Ok(parcel) = Parcel::read(bytes) else { return };
    let (mut node, table) = (node(), Rules::default());
    let rules = RulesView { rules: &table, digest: 0 };
    let seed = node.replica.peers().next().unwrap();

    let received = node.replica.receive(parcel.clone(), &mut node.store, rules, node.now);
    assert_eq!(received.answer.check(), Ok(()));
    said(&mut node, seed);
    let Node { replica, store, now, random } = &mut node;
    replica.answered(seed, parcel, store, rules, *now, random);
    for _ in 0..8 {
        node.now.since_start += Duration::from_millis(700);
        let changes = node.store.drain();
        node.replica.tell(&changes, node.now);
        let all: Vec<PeerKey> = node.replica.peers().collect();
        for key in all {
            said(&mut node, key);
        }
    }

    let sum = node.store.buckets().iter().fold(0, |sum, it| sum ^ it);
    assert_eq!(sum, node.store.root());
    assert_eq!(node.store.counts().live, node.store.len());
}

fn node() -> Node {
    let me = Speaker { node: NodeId(1), run: 1, at: "10.0.0.1:7171".into(), ..Speaker::default() };
    let seeds = vec![("10.0.0.2:7171".into(), "".into())];
    let mut store = Store::new(NodeId(1), store::Settings { capacity: 64, ..Default::default() });
    let since_start = Duration::from_secs(100);
    let now = Moment { since_start, unix: 1_795_000_000_000_000_000 };
    for host in ["one", "two", "three"] {
        let [env, appid, zone] = ["prod", "a", "z"].map(Into::into);
        let key = Key { env, appid, zone, hostname: host.into() };
        store.register(key, Registration::default(), now).unwrap();
    }
    Node {
        replica: Replica::new(Settings { me, own: Vec::new(), seeds, believes_records: true }),
        store,
        now,
        random: fastrand::Rng::with_seed(1),
    }
}

/// What is said to a node now is what it would take; nobody answers it.
fn said(node: &mut Node, to: PeerKey) {
    let table = Rules::default();
    let rules = RulesView { rules: &table, digest: 0 };
    let Node { replica, store, now, random } = node;
    if let Next::Send(parcel) = replica.next(to, store, rules, *now, random) {
        assert_eq!(parcel.check(), Ok(()));
    }
}
