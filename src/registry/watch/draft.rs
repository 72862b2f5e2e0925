//! What a watcher of our own is told: everything, or what changed since it was told last.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::registry::node::Node;
use crate::registry::record::{Id, Record};
use crate::registry::scheduler::Schedulers;
use crate::registry::store::{ServiceKey, ServiceView, Store};
use crate::registry::watch::{Interest, News, Recent};
use crate::registry::wire::{SeenInstance, ServiceChange, WatchAnswer};

/// Services that are looked at in one go, before writers have their turn.
const SLICE: usize = 256;

/// Which services a watcher wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    env: Arc<str>,
    names: HashSet<Arc<str>>,
    endings: Vec<Arc<str>>,
}

impl Wanted {
    /// Reads names and patterns: `*` is all, `*.shop` those that end so.
    pub fn new(env: &Arc<str>, services: &[Arc<str>]) -> Self {
        let mut wanted = Self { env: Arc::clone(env), ..Self::default() };
        for service in services {
            match service.strip_prefix('*') {
                Some(ending) => wanted.endings.push(ending.into()),
                None => drop(wanted.names.insert(Arc::clone(service))),
            }
        }
        wanted
    }

    /// Returns what to wait for.
    pub fn interest(&self, rules: bool) -> Interest {
        let key = |appid: &Arc<str>| ServiceKey { env: self.env.clone(), appid: appid.clone() };
        if self.endings.is_empty() {
            let topics = self.names.iter().map(key).collect();
            return Interest { topics, env: None, rules };
        }
        Interest { topics: Vec::new(), env: Some(Arc::clone(&self.env)), rules }
    }

    /// Returns whether a service is wanted.
    pub fn has(&self, env: &str, appid: &str) -> bool {
        *env == *self.env && self.has_name(appid)
    }

    fn has_name(&self, appid: &str) -> bool {
        self.names.contains(appid) || self.endings.iter().any(|ending| appid.ends_with(&**ending))
    }
}

/// Where a watcher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has nothing of this node's.
    Nowhere,
    /// It has everything up to this index.
    At(u64),
}

/// Whether there is anything to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, up to this index.
    Nothing(u64),
    /// Something, up to this index.
    Something(u64),
    /// What it has missed is no longer known.
    Lost,
}

/// Returns whether there is anything to tell a watcher.
pub fn judge(recent: &Recent, wanted: &Wanted, place: Place) -> Verdict {
    let to = recent.index();
    let Place::At(from) = place else { return Verdict::Something(to) };
    let Some(mut news) = recent.since(from) else { return Verdict::Lost };
    let concerns = |it: &News| {
        let (env, appid) = it.of();
        wanted.has(env, appid)
    };
    if news.any(concerns) { Verdict::Something(to) } else { Verdict::Nothing(to) }
}

/// What changed of a service, before it is written out.
#[derive(Debug, Default)]
struct Draft {
    full: bool,
    hash: u128,
    records: Vec<Arc<Record>>,
}

/// Returns what changed since `from`; everything up to the index in the answer is in it. None: that
/// is no longer known.
pub fn since(node: &Node, wanted: &Wanted, from: u64) -> Option<WatchAnswer> {
    let (index, drafts) = node.read_recent(|store, recent| {
        Some((recent.index(), changed(store, recent, wanted, from)?))
    })?;
    Some(written(node, wanted, index, drafts))
}

fn changed(
    store: &Store,
    recent: &Recent,
    wanted: &Wanted,
    from: u64,
) -> Option<BTreeMap<Arc<str>, Draft>> {
    let mut drafts = BTreeMap::<Arc<str>, HashMap<(&str, &str), &Arc<Record>>>::new();
    for news in recent.since(from)? {
        let (env, appid) = news.of();
        if !wanted.has(env, appid) {
            continue;
        }
        let draft = drafts.entry(Arc::clone(appid)).or_default();
        if let News::Instance(record) = news {
            draft.insert((&record.key.zone, &record.key.hostname), record);
        }
    }
    let drafts = drafts.into_iter().map(|(appid, last)| {
        let hash = store.service(&wanted.env, &appid).map_or(0, ServiceView::hash);
        let records = last.into_values().cloned().collect();
        (appid, Draft { full: false, hash, records })
    });
    Some(drafts.collect())
}

/// Returns everything a watcher does not have: `known` are the hashes of what it has.
///
/// Services are read some at a time. What changes meanwhile is told again by the next answer, as the
/// index is the one from before the first.
pub fn everything(node: &Node, wanted: &Wanted, known: &BTreeMap<Arc<str>, Id>) -> WatchAnswer {
    let (index, names) = node.read_recent(|store, recent| (recent.index(), names(store, wanted)));
    let schedulers = node.schedulers();
    let mut drafts = BTreeMap::new();
    for slice in names.chunks(SLICE) {
        node.read(|store| {
            for appid in slice {
                let Some(view) = store.service(&wanted.env, appid) else { continue };
                let theirs = known.get(appid).map(|it| it.0);
                if theirs.is_none() && view.is_empty() {
                    continue;
                }
                if theirs != Some(view.hash()) {
                    let records = view.instances().cloned().collect();
                    drafts.insert(appid.clone(), Draft { full: true, hash: view.hash(), records });
                } else if schedulers.of(&wanted.env, appid).is_some() {
                    // The hash says nothing of how requests are spread.
                    drafts.insert(appid.clone(), Draft { hash: view.hash(), ..Draft::default() });
                }
            }
        });
    }
    let names: HashSet<_> = names.into_iter().collect();
    for (appid, hash) in known {
        if hash.0 != 0 && wanted.has_name(appid) && !names.contains(appid) {
            drafts.insert(appid.clone(), Draft { full: true, ..Draft::default() });
        }
    }
    written(node, wanted, index, drafts)
}

/// Returns how many instances a watcher that has nothing is told of, at most.
pub fn size(store: &Store, wanted: &Wanted) -> usize {
    if !wanted.endings.is_empty() {
        return store.len();
    }
    let views = wanted.names.iter().filter_map(|it| store.service(&wanted.env, it));
    views.map(ServiceView::len).sum()
}

/// Returns the names of the services wanted that there are.
fn names(store: &Store, wanted: &Wanted) -> Vec<Arc<str>> {
    if wanted.endings.is_empty() {
        let there = |it: &&Arc<str>| store.service(&wanted.env, it).is_some();
        return wanted.names.iter().filter(there).cloned().collect();
    }
    let all = store.services().map(|(key, _)| key);
    all.filter(|it| wanted.has(&it.env, &it.appid)).map(|it| Arc::clone(&it.appid)).collect()
}

fn written(
    node: &Node,
    wanted: &Wanted,
    index: u64,
    drafts: BTreeMap<Arc<str>, Draft>,
) -> WatchAnswer {
    let schedulers = node.schedulers();
    let services = drafts.into_iter().map(|(appid, draft)| {
        let change = change(&schedulers, &wanted.env, &appid, draft);
        (appid, change)
    });
    WatchAnswer {
        node: Arc::clone(node.run()),
        index,
        services: services.collect(),
        ..WatchAnswer::default()
    }
}

fn change(
    schedulers: &Schedulers,
    env: &Arc<str>,
    appid: &Arc<str>,
    mut draft: Draft,
) -> ServiceChange {
    let place = |it: &Arc<Record>| (it.key.zone.clone(), it.key.hostname.clone());
    draft.records.sort_by_cached_key(place);
    let mut change =
        ServiceChange { full: draft.full, hash: Id(draft.hash), ..ServiceChange::default() };
    for record in &draft.records {
        match SeenInstance::of(record) {
            Some(instance) => change.set.push(instance),
            None => change.gone.push(SeenInstance::name(&record.key.zone, &record.key.hostname)),
        }
    }
    let scheduler = schedulers.of(env, appid).and_then(|it| it.scheduler.as_ref());
    change.scheduler = scheduler.map(|it| it.weights()).unwrap_or_default();
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::node::Settings;
    use crate::registry::record::{Key, Registration};

    fn node() -> Arc<Node> {
        Node::open(Settings::default()).unwrap()
    }

    fn key(appid: &str, hostname: &str) -> Key {
        let [env, appid, zone, hostname] = ["prod", appid, "z", hostname].map(Arc::from);
        Key { env, appid, zone, hostname }
    }

    fn register(node: &Node, appid: &str, hostname: &str) {
        let written = node.write(|store, now| {
            store.register(key(appid, hostname), Registration::default(), now).map(drop)
        });
        written.unwrap();
    }

    fn cancel(node: &Node, appid: &str, hostname: &str) {
        node.write(|store, now| store.cancel(&key(appid, hostname), now));
    }

    fn wanted(services: &[&str]) -> Wanted {
        let services: Vec<_> = services.iter().map(|it| Arc::from(*it)).collect();
        Wanted::new(&"prod".into(), &services)
    }

    fn told(change: &ServiceChange) -> (Vec<&str>, Vec<&str>) {
        let set = change.set.iter().map(|it| &*it.hostname).collect();
        (set, change.gone.iter().map(|it| &**it).collect())
    }

    #[test]
    fn patterns_are_all_or_an_ending_and_environments_do_not_mix() {
        for (pattern, expected) in [
            ("*", [true, true]),
            ("*.shop", [false, true]),
            ("a.shop", [false, true]),
            ("a", [true, false]),
        ] {
            let wanted = wanted(&[pattern]);

            assert_eq!(["a", "a.shop"].map(|it| wanted.has("prod", it)), expected, "{pattern}");
            assert!(!wanted.has("uat", "a") && !wanted.has("uat", "a.shop"));
        }
    }

    #[test]
    fn a_watcher_is_told_what_changed_and_what_it_should_then_have() {
        let node = node();
        register(&node, "a", "1");
        register(&node, "b", "1");
        let first = everything(&node, &wanted(&["a"]), &BTreeMap::new());

        register(&node, "a", "2");
        register(&node, "b", "2");
        cancel(&node, "a", "1");
        let then = since(&node, &wanted(&["a"]), first.index).unwrap();

        assert_eq!(told(&first.services["a"]), (vec!["1"], vec![]));
        assert_eq!(then.services.len(), 1);
        assert_eq!(told(&then.services["a"]), (vec!["2"], vec!["z/1"]));
        let sum = then.services["a"].set.iter().fold(0, |sum, it| sum ^ it.hash.0);
        assert_eq!(then.services["a"].hash.0, sum);
    }

    #[test]
    fn who_has_something_is_told_the_difference_and_what_is_gone() {
        let node = node();
        for appid in ["a", "b", "c"] {
            register(&node, appid, "1");
        }
        let everyone = wanted(&["*"]);
        let before = everything(&node, &everyone, &BTreeMap::new());
        let mut known: BTreeMap<_, _> =
            before.services.iter().map(|(name, it)| (name.clone(), it.hash)).collect();
        known.insert("never".into(), Id(7));

        register(&node, "b", "2");
        cancel(&node, "c", "1");
        let after = everything(&node, &everyone, &known);

        let names: Vec<_> = after.services.keys().map(|it| &**it).collect();
        assert_eq!(names, ["b", "c", "never"]);
        assert!(after.services.values().all(|it| it.full));
        assert_eq!(told(&after.services["b"]), (vec!["1", "2"], vec![]));
        assert_eq!(after.services["c"].hash, Id(0));
    }

    #[test]
    fn only_what_concerns_a_watcher_is_news_to_it() {
        let node = node();
        register(&node, "a", "1");
        let at = node.read_recent(|_, recent| recent.index());
        let verdict = |services: &[&str], place| {
            node.read_recent(|_, recent| judge(recent, &wanted(services), place))
        };

        register(&node, "b", "1");

        assert_eq!(verdict(&["a"], Place::At(at)), Verdict::Nothing(at + 1));
        assert_eq!(verdict(&["b"], Place::At(at)), Verdict::Something(at + 1));
        assert_eq!(verdict(&["a"], Place::Nowhere), Verdict::Something(at + 1));
        assert_eq!(verdict(&["a"], Place::At(at + 9)), Verdict::Lost);
    }
}
