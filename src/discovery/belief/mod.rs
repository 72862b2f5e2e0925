//! When a source is believed that names fewer instances than before.
//!
//! What a source adds counts at once, and so do instances that go one by one: a release is never
//! held up. An answer that is empty, or has lost more than half, is doubted: the instances it no
//! longer names are *held*, beside those it does name. So is what a node never named that
//! says it began a short while ago: it need not have heard of everybody yet.
//!
//! ```text
//! lost                           held until
//! more than half of a service    named again, or at least half are there again, or another node does
//!                                not name them either, or `confirm` has passed
//! more than half of everything   named again, or `confirm` has passed
//! what a new node never named    named again, or `confirm` has passed
//! ```
//!
//! A registry that was restarted knows nothing of anybody until everybody has renewed. It loses all
//! services together; so may all of its nodes, which is why the word of another node is not enough
//! then, and why half of the instances being back says nothing of the others: they are about to
//! renew. A service that ended is one among many, and nodes agree on it.
//!
//! Time passes only by answers: a source that is silent confirms nothing, and leaves everything in
//! force.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::discovery::said::{Instances, Services, count};
use crate::model::ServiceName;

/// Runs of nodes that are remembered.
const MOST_RUNS: usize = 128;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Witness {
    /// Which of the source's nodes, by its address.
    pub node: Arc<str>,
    /// What tells one run of a node from another; empty where the node does not say.
    pub run: Arc<str>,
    /// Whether it says that some may not have spoken to it yet.
    pub is_filling: bool,
}

impl Witness {
    /// Whether it is another node. One that was restarted is the same.
    fn is_other(&self, than: &Self) -> bool {
        self.node != than.node && (self.run.is_empty() || self.run != than.run)
    }
}

/// An instance that is no longer named.
#[derive(Debug, Clone)]
struct Held {
    /// Since when, as far as we know without a break.
    since: Duration,
    /// Who no longer named it first.
    by: Witness,
}

/// What is known of one service.
#[derive(Debug, Clone, Default)]
struct Known {
    in_force: Arc<Instances>,
    /// Those of them that are no longer named.
    held: BTreeMap<SocketAddr, Held>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Whether something else is in force than before.
    pub is_news: bool,
    /// Services of which instances are held that were not before.
    pub doubted: usize,
}

/// What counts of what a source says.
#[derive(Debug, Default)]
pub(super) struct Belief {
    confirm: Duration,
    services: BTreeMap<ServiceName, Known>,
    /// Whether an answer lost more than half of everything, and what it lost is still held.
    doubts_all: bool,
    /// The runs of nodes that answered lately.
    runs: VecDeque<Arc<str>>,
    /// What the run that answers, which began a short while ago, has not named yet of what was in
    /// force when it first answered.
    unproven: BTreeMap<ServiceName, BTreeSet<SocketAddr>>,
    /// When that was.
    met: Duration,
}

impl Belief {
    /// Believes `known` to begin with, as if a source had said it. What is doubted is believed once
    /// it has persisted for `confirm`.
    pub(super) fn new(confirm: Duration, known: Services) -> Self {
        let known = known.into_iter().map(|(service, in_force)| {
            let held = BTreeMap::new();
            (service, Known { in_force, held })
        });
        Self { confirm, services: known.collect(), ..Self::default() }
    }

    /// Returns what counts.
    pub(super) fn in_force(&self) -> Services {
        let services = self.services.iter();
        services.map(|(service, known)| (service.clone(), Arc::clone(&known.in_force))).collect()
    }

    /// Returns how many instances are held.
    pub(super) fn held(&self) -> usize {
        self.services.values().map(|it| it.held.len()).sum()
    }

    /// Returns the services of which instances are held, and how many.
    pub(super) fn held_by_service(&self) -> BTreeMap<ServiceName, usize> {
        let held = self.services.iter().filter(|(_, known)| !known.held.is_empty());
        held.map(|(service, known)| (service.clone(), known.held.len())).collect()
    }

    /// Returns when an answer is due, as far as doubts go: one that comes then, or later, and says
    /// the same as now, is believed. None: nothing is held.
    pub(super) fn due(&self) -> Option<Duration> {
        let held = self.services.values().flat_map(|it| it.held.values());
        held.map(|it| it.since + self.confirm).min()
    }

    /// Takes in an answer, which says all there is. `now` is since any fixed moment.
    pub(super) fn hear(&mut self, now: Duration, by: &Witness, answer: &Services) -> Verdict {
        self.meet(now, by);
        let known: usize = self.services.values().map(|it| it.in_force.len()).sum();
        self.doubts_all |= lost_too_much(known, count(answer));
        let mut verdict = Verdict::default();
        let none = Arc::new(Instances::new());
        let gone = self.services.keys().filter(|it| !answer.contains_key(*it));
        let gone: BTreeSet<_> = gone.cloned().collect();
        let gone = gone.iter().map(|service| (service, &none));
        let nobody = BTreeSet::new();
        for (service, named) in answer.iter().chain(gone) {
            let unproven = self.unproven.get(service).unwrap_or(&nobody);
            let (confirm, doubts_all) = (self.confirm, self.doubts_all);
            let judge = Judge { now, by, confirm, doubts_all, unproven };
            let known = match self.services.get_mut(service) {
                Some(known) => known,
                None => self.services.entry(service.clone()).or_default(),
            };
            let one = judge.hear(known, named);
            verdict.is_news |= one.is_news;
            verdict.doubted += one.doubted;
        }
        self.services.retain(|_, known| !known.in_force.is_empty());
        self.prove(now, by, answer);
        self.doubts_all &= self.services.values().any(|it| !it.held.is_empty());
        verdict
    }

    /// Notes whom the run that answers has named: when they go, it knows.
    fn prove(&mut self, now: Duration, by: &Witness, answer: &Services) {
        if now >= self.met + self.confirm || !by.is_filling {
            self.unproven.clear();
        }
        self.unproven.retain(|service, unproven| {
            if let Some(named) = answer.get(service) {
                unproven.retain(|it| !named.contains_key(it));
            }
            !unproven.is_empty()
        });
    }

    /// Meets who answers: a run that never answered before may have begun just now, knowing nothing,
    /// so that whatever is doubted begins anew. The first of all is met with what a former run of
    /// ours has kept: that may be old, and proves nothing against it.
    fn meet(&mut self, now: Duration, by: &Witness) {
        if by.run.is_empty() || self.runs.contains(&by.run) {
            return;
        }
        if by.is_filling && !self.runs.is_empty() {
            let all = self.services.iter();
            let all =
                all.map(|(service, it)| (service.clone(), it.in_force.keys().copied().collect()));
            self.unproven = all.collect();
            self.met = now;
        }
        if self.runs.len() == MOST_RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(Arc::clone(&by.run));
        for held in self.services.values_mut().flat_map(|it| it.held.values_mut()) {
            held.since = now;
        }
    }
}

/// Whether so few are left of so many that it is doubted.
pub(super) fn lost_too_much(before: usize, now: usize) -> bool {
    now.saturating_mul(2) < before
}

/// What one answer is judged by.
struct Judge<'a> {
    now: Duration,
    by: &'a Witness,
    confirm: Duration,
    doubts_all: bool,
    /// Whom of the service the run that answers has not named yet.
    unproven: &'a BTreeSet<SocketAddr>,
}

impl Judge<'_> {
    fn hear(&self, known: &mut Known, named: &Arc<Instances>) -> Verdict {
        if known.held.is_empty() && Arc::ptr_eq(&known.in_force, named) {
            return Verdict::default();
        }
        let is_doubted = self.doubts_all || lost_too_much(known.in_force.len(), named.len());
        let before = std::mem::take(&mut known.held);
        let was_doubted = !before.is_empty();
        if is_doubted || !self.unproven.is_empty() {
            let missing = known.in_force.keys().filter(|it| !named.contains_key(*it));
            let missing = missing.filter(|it| is_doubted || self.unproven.contains(it));
            let held = missing.map(|address| {
                let held = before.get(address).cloned();
                let first = || Held { since: self.now, by: self.by.clone() };
                (*address, held.unwrap_or_else(first))
            });
            known.held = held.filter(|(at, it)| self.holds(*at, it)).collect();
        }
        let next = if known.held.is_empty() {
            Arc::clone(named)
        } else {
            let mut next = Instances::clone(named);
            let held = known.held.keys().filter_map(|it| known.in_force.get_key_value(it));
            next.extend(held.map(|(address, it)| (*address, Arc::clone(it))));
            Arc::new(next)
        };
        let is_news = *known.in_force != *next;
        known.in_force = next;
        Verdict { is_news, doubted: usize::from(!was_doubted && !known.held.is_empty()) }
    }

    /// Whether an instance that is not named is held all the same.
    fn holds(&self, address: SocketAddr, held: &Held) -> bool {
        let is_over = self.now >= held.since + self.confirm;
        let is_unproven = self.unproven.contains(&address);
        !is_over && (self.doubts_all || is_unproven || !self.by.is_other(&held.by))
    }
}

#[cfg(test)]
mod tests;
