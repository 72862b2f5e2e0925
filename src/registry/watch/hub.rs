//! Who waits for what, and the task that wakes them.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::registry::store::ServiceKey;

/// How long changes are gathered before those who wait for them are woken: one answer then tells of
/// all of them.
const GATHER: Duration = Duration::from_millis(5);
/// How many are woken in one go; then others have their turn.
const SLICE: usize = 256;
/// Services that may have changed at a time before everybody is woken instead.
const MOST_CHANGED: usize = 1 << 16;

/// What a watcher waits for.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    /// These services.
    pub topics: Vec<ServiceKey>,
    /// Every service of an environment.
    pub env: Option<Arc<str>>,
    /// The tenant rules.
    pub rules: bool,
}

/// There are as many watchers as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} requests wait for news already")]
pub struct TooMany(pub usize);

#[derive(Debug, Default)]
struct Watchers {
    all: Slab<Arc<Notify>>,
    by_topic: HashMap<ServiceKey, HashSet<usize>>,
    by_env: HashMap<Arc<str>, HashSet<usize>>,
    of_rules: HashSet<usize>,
}

impl Watchers {
    /// Returns those who wait for any of this.
    fn of(&self, changed: &Changed) -> Vec<Arc<Notify>> {
        if changed.everything {
            return self.all.iter().map(|(_, it)| Arc::clone(it)).collect();
        }
        let envs: HashSet<_> = changed.topics.iter().map(|it| &it.env).collect();
        let topics = changed.topics.iter().filter_map(|it| self.by_topic.get(it));
        let envs = envs.into_iter().filter_map(|it| self.by_env.get(it));
        let rules = changed.rules.then_some(&self.of_rules);
        let sets: Vec<_> = topics.chain(envs).chain(rules).collect();
        let found = sets.iter().flat_map(|it| it.iter());
        if let [_] = sets.as_slice() {
            return found.filter_map(|it| self.all.get(*it).cloned()).collect();
        }
        let once: HashSet<_> = found.collect();
        once.into_iter().filter_map(|it| self.all.get(*it).cloned()).collect()
    }
}

/// What changed since those who wait were last woken.
#[derive(Debug, Default)]
struct Changed {
    topics: HashSet<ServiceKey>,
    rules: bool,
    everything: bool,
}

/// Who waits for what.
#[derive(Debug)]
pub struct Hub {
    watchers: Mutex<Watchers>,
    changed: Mutex<Changed>,
    bell: Notify,
    most: usize,
}

impl Hub {
    /// A hub of at most `most` watchers.
    pub fn new(most: usize) -> Self {
        Self { watchers: Mutex::default(), changed: Mutex::default(), bell: Notify::new(), most }
    }

    /// Begins to wait: every change from here on is told, once for all that came since.
    ///
    /// # Errors
    /// There are too many who wait.
    pub fn watch(self: &Arc<Self>, interest: Interest) -> Result<Watch, TooMany> {
        let woken = Arc::new(Notify::new());
        let mut watchers = lock(&self.watchers);
        if watchers.all.len() >= self.most {
            return Err(TooMany(self.most));
        }
        let number = watchers.all.insert(Arc::clone(&woken));
        for topic in &interest.topics {
            watchers.by_topic.entry(topic.clone()).or_default().insert(number);
        }
        if let Some(env) = &interest.env {
            watchers.by_env.entry(Arc::clone(env)).or_default().insert(number);
        }
        if interest.rules {
            watchers.of_rules.insert(number);
        }
        drop(watchers);
        Ok(Watch { hub: Arc::clone(self), number, interest, woken })
    }

    /// Returns how many wait.
    pub fn len(&self) -> usize {
        lock(&self.watchers).all.len()
    }

    /// Returns whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Says that these services changed. Wakes nobody itself, and never waits.
    pub fn tell(&self, topics: impl IntoIterator<Item = ServiceKey>) {
        let mut changed = lock(&self.changed);
        for topic in topics {
            if changed.topics.len() >= MOST_CHANGED {
                changed.everything = true;
                break;
            }
            changed.topics.insert(topic);
        }
        drop(changed);
        self.bell.notify_one();
    }

    /// Says that the tenant rules changed. Wakes nobody itself, and never waits.
    pub fn tell_of_rules(&self) {
        lock(&self.changed).rules = true;
        self.bell.notify_one();
    }

    /// Wakes those who wait, each time something changed; for as long as it is polled.
    ///
    /// Dropped half way, some are not told of what changed last: the end of their wait will.
    pub async fn ring(&self) {
        loop {
            self.bell.notified().await;
            sleep(GATHER).await;
            let changed = mem::take(&mut *lock(&self.changed));
            let woken = lock(&self.watchers).of(&changed);
            for slice in woken.chunks(SLICE) {
                for watcher in slice {
                    watcher.notify_one();
                }
                tokio::task::yield_now().await;
            }
        }
    }

    fn forget(&self, number: usize, interest: &Interest) {
        let mut watchers = lock(&self.watchers);
        watchers.all.try_remove(number);
        for topic in &interest.topics {
            remove(&mut watchers.by_topic, topic, number);
        }
        if let Some(env) = &interest.env {
            remove(&mut watchers.by_env, env, number);
        }
        watchers.of_rules.remove(&number);
    }
}

fn remove<K: std::hash::Hash + Eq>(sets: &mut HashMap<K, HashSet<usize>>, key: &K, number: usize) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(&number);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One who waits. Dropped, it waits no more.
#[derive(Debug)]
#[must_use = "who does not wait is told nothing"]
pub struct Watch {
    hub: Arc<Hub>,
    number: usize,
    interest: Interest,
    woken: Arc<Notify>,
}

impl Watch {
    /// Returns once something changed since this was called last, or since it began to wait.
    ///
    /// Cancel safe: a change is told to who calls next.
    pub async fn changed(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.forget(self.number, &self.interest);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    fn topic(appid: &str) -> ServiceKey {
        ServiceKey { env: "prod".into(), appid: appid.into() }
    }

    fn on(appid: &str) -> Interest {
        Interest { topics: vec![topic(appid)], ..Interest::default() }
    }

    /// A hub with its ringer.
    fn hub(most: usize) -> (Arc<Hub>, AbortOnDropHandle<()>) {
        let hub = Arc::new(Hub::new(most));
        let ringer = Arc::clone(&hub);
        let ringing = tokio::spawn(async move { ringer.ring().await });
        (hub, AbortOnDropHandle::new(ringing))
    }

    /// Whether a watcher is woken within a second of the test's clock.
    async fn is_woken(watch: &Watch) -> bool {
        timeout(Duration::from_secs(1), watch.changed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_is_woken_by_what_it_waits_for() {
        let (hub, _ringing) = hub(9);
        let service = hub.watch(on("a")).unwrap();
        let everything =
            hub.watch(Interest { env: Some("prod".into()), ..Interest::default() }).unwrap();
        let rules = hub.watch(Interest { rules: true, ..Interest::default() }).unwrap();

        hub.tell([topic("b")]);

        assert!(is_woken(&everything).await);
        assert!(!is_woken(&service).await);
        hub.tell([topic("a")]);
        assert!(is_woken(&service).await);
        assert!(!is_woken(&rules).await);
        hub.tell_of_rules();
        assert!(is_woken(&rules).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_between_registering_and_waiting_is_not_lost() {
        let (hub, _ringing) = hub(9);
        let watch = hub.watch(on("a")).unwrap();

        hub.tell([topic("a")]);
        sleep(10 * GATHER).await;

        assert!(is_woken(&watch).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_takes_nobodys_wake_up() {
        let (hub, _ringing) = hub(9);
        let ghost = hub.watch(on("a")).unwrap();
        let alive = hub.watch(on("a")).unwrap();

        drop(ghost);
        hub.tell([topic("a")]);

        assert!(is_woken(&alive).await);
        drop(alive);
        assert!(hub.is_empty());
        assert!(lock(&hub.watchers).by_topic.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_woken_whole() {
        let (hub, _ringing) = hub(1000);
        let crowd: Vec<_> = (0..1000).map(|_| hub.watch(on("a")).unwrap()).collect();

        let one_more = hub.watch(on("a")).map(drop);
        hub.tell([topic("a"), topic("b")]);

        assert_eq!(one_more, Err(TooMany(1000)));
        for watch in &crowd {
            assert!(is_woken(watch).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_changes_wake_everybody() {
        let (hub, _ringing) = hub(9);
        let watch = hub.watch(on("z")).unwrap();

        hub.tell((0..=MOST_CHANGED).map(|it| topic(&it.to_string())));

        assert!(is_woken(&watch).await);
    }
}
