//! Those who register: each keeps to one node until that fails it, renews every 30 s, and remembers
//! what it was promised.

use std::sync::Arc;
use std::time::Duration;

use dyelane::registry::record::{Id, Key, Registration, Version};
use dyelane::registry::store::Store;

use super::machine::{Machine, Process};
use super::world::World;

/// How often one renews.
pub(super) const BEAT: Duration = Duration::from_secs(30);
/// How soon one tries another node where one did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// What a provider is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs, and renews.
    Runs,
    /// It was killed: it says nothing any more.
    Silent,
    /// It has cancelled, or is about to.
    Ends,
}

/// What a provider was last promised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    pub(super) version: Version,
    /// By which machine.
    pub(super) at: usize,
    /// Whether that was its cancelling.
    pub(super) is_end: bool,
    /// Whether it is later than all that was promised before, by the nodes' own reckoning: not so
    /// where a clock is wrong and its node had not heard of what came before.
    pub(super) is_latest: bool,
}

/// One who registers.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) key: Key,
    pub(super) id: Id,
    /// The machine beside which it runs: it reaches what that would reach.
    pub(super) beside: usize,
    /// The machine it talks to.
    pub(super) at: usize,
    pub(super) life: Life,
    /// What it says of itself changes with this.
    pub(super) revision: u32,
    /// Whether some node has heard of this revision.
    is_told: bool,
    pub(super) promise: Option<Promise>,
    /// When it was last told that it is registered.
    pub(super) renewed: Duration,
    /// Whether what it was promised last went with the only nodes that knew.
    pub(super) is_bereft: bool,
    /// Which of its beats still counts.
    pub(super) beat: u64,
    latest: Version,
}

impl Provider {
    pub(super) fn new(number: usize, beside: usize, machines: &[Machine]) -> Self {
        let key = Key {
            env: "prod".into(),
            appid: format!("shop.s{}", number % 3).into(),
            zone: machines[beside].zone.clone(),
            hostname: format!("pod-{number}").into(),
        };
        Self {
            id: key.id(),
            key,
            beside,
            at: beside,
            life: Life::Runs,
            revision: 1,
            is_told: false,
            promise: None,
            renewed: Duration::ZERO,
            is_bereft: false,
            beat: 0,
            latest: Version::default(),
        }
    }

    /// Where it takes requests: what shows which revision somebody has.
    pub(super) fn addr(&self) -> Arc<str> {
        format!("grpc://{}:{}", self.key.hostname, self.revision).into()
    }

    fn registration(&self) -> Registration {
        Registration { addrs: vec![self.addr()], ..Registration::default() }
    }

    /// Has something else to say of itself.
    pub(super) fn say_anew(&mut self) {
        self.revision += 1;
        self.is_told = false;
    }

    fn promised(&mut self, version: Version, is_end: bool) {
        let is_latest = version > self.latest;
        self.latest = self.latest.max(version);
        self.promise = Some(Promise { version, at: self.at, is_end, is_latest });
        self.is_bereft = false;
    }

    /// Notes that somebody else wrote of it.
    fn overwritten(&mut self, version: Version) {
        self.latest = self.latest.max(version);
        if let Some(promise) = &mut self.promise {
            promise.is_latest &= version <= promise.version;
        }
    }
}

impl World {
    /// Whether a provider gets an answer of a machine's node.
    fn reaches(&self, who: usize, machine: usize) -> bool {
        let there = &self.machines[machine];
        let is_there = there.process.is_some() && !there.hangs;
        is_there && self.network.joins(self.providers[who].beside, machine)
    }

    /// Has a provider do what is due.
    pub(super) fn beat(&mut self, who: usize) {
        let at = self.providers[who].at;
        if !self.reaches(who, at) {
            let others = (0..self.machines.len()).filter(|it| self.reaches(who, *it));
            let others: Vec<usize> = others.collect();
            self.providers[who].at = self.random.choice(others).unwrap_or(at);
            return self.beat_after(RETRY, who);
        }
        match self.providers[who].life {
            Life::Runs => self.renew(who),
            Life::Ends => self.cancel(who),
            Life::Silent => {}
        }
        self.see_to(at);
    }

    fn renew(&mut self, who: usize) {
        let provider = &mut self.providers[who];
        let machine = &mut self.machines[provider.at];
        let is_known = provider.is_told && machine.renew(self.now, &provider.key);
        if !is_known {
            let (key, registration) = (provider.key.clone(), provider.registration());
            let write = |store: &mut Store, now| store.register(key, registration, now).unwrap();
            let record = machine.write(self.now, write).unwrap();
            provider.promised(record.version, false);
            provider.is_told = true;
        }
        provider.renewed = self.now;
        let Provider { key, revision, at, promise, .. } = &self.providers[who];
        let deed = if is_known { "renews" } else { "registers" };
        self.tell(&format!("{key} {deed} {revision} at {at}: {promise:?}"));
        let jitter = self.random.f64().mul_add(0.1, 0.95);
        self.beat_after(BEAT.mul_f64(jitter), who);
    }

    fn cancel(&mut self, who: usize) {
        let Provider { at, id, ref key, .. } = self.providers[who];
        let key = key.clone();
        let gone = self.machines[at].write(self.now, |store, now| {
            drop(store.cancel(&key, now));
            store.by_id(id).unwrap().version
        });
        self.providers[who].promised(gone.unwrap(), true);
        let Provider { key, promise, .. } = &self.providers[who];
        self.tell(&format!("{key} cancels at {at}: {promise:?}"));
    }

    /// Starts a provider anew, with something else to say, at whatever node it reaches.
    pub(super) fn restart(&mut self, who: usize) {
        let at = self.random.usize(0..self.machines.len());
        let provider = &mut self.providers[who];
        (provider.life, provider.at) = (Life::Runs, at);
        provider.say_anew();
        self.beat_after(Duration::ZERO, who);
    }

    /// Has a provider say nothing any more.
    pub(super) fn silence(&mut self, who: usize) {
        self.providers[who].life = Life::Silent;
    }

    /// Has a provider cancel, as soon as it reaches a node.
    pub(super) fn end(&mut self, who: usize) {
        self.providers[who].life = Life::Ends;
        self.beat_after(Duration::ZERO, who);
    }

    /// Has it speak to another node from now on.
    pub(super) fn move_on(&mut self, who: usize) {
        self.providers[who].at = self.random.usize(0..self.machines.len());
    }

    /// Has an operator say something of an instance at some node.
    pub(super) fn set(&mut self, who: usize, machine: usize, word: u32) {
        let key = self.providers[who].key.clone();
        let set = self.machines[machine].write(self.now, |store, now| {
            store.alter(&key, now, |it| {
                it.metadata.insert("weight".into(), word.to_string().into());
            })
        });
        if let Some(record) = set.flatten() {
            self.providers[who].overwritten(record.version);
            self.tell(&format!("{} is set at {machine}: {:?}", record.key, record.version));
        }
        self.see_to(machine);
    }

    /// Notes whose last promise is known to no process but one that is about to end.
    pub(super) fn bereave(&mut self, machine: usize) {
        let others = self.machines.iter().enumerate().filter(|(it, _)| *it != machine);
        let others: Vec<_> = others.filter_map(|(_, it)| it.process.as_ref()).collect();
        for provider in &mut self.providers {
            let Some(promise) = provider.promise else { continue };
            let knows = |it: &&Process| {
                let theirs = it.store.by_id(provider.id);
                // Where a clock is wrong, what is later may be what was said before.
                theirs.is_some_and(|it| {
                    let is_later = promise.is_latest && it.version > promise.version;
                    is_later || it.version == promise.version
                })
            };
            provider.is_bereft |= !others.iter().any(knows);
        }
    }
}
