//! When a source is believed that names fewer instances than before.
//!
//! What a source adds counts at once, and so do instances that go one by one: a release is never
//! held up. An answer that is empty, or has lost more than half, is doubted: the instances it no
//! longer names are *held*, beside those it does name.
//!
//! ```text
//! lost more than half            held until
//! of one service                 named again, or at least half are there again, or another node does
//!                                not name them either, or `confirm` has passed
//! of all services together       named again, or `confirm` has passed
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
        let judge = Judge { now, by, confirm: self.confirm, doubts_all: self.doubts_all };
        for (service, named) in answer.iter().chain(gone) {
            let known = match self.services.get_mut(service) {
                Some(known) => known,
                None => self.services.entry(service.clone()).or_default(),
            };
            let one = judge.hear(known, named);
            verdict.is_news |= one.is_news;
            verdict.doubted += one.doubted;
        }
        self.services.retain(|_, known| !known.in_force.is_empty());
        self.doubts_all &= self.services.values().any(|it| !it.held.is_empty());
        verdict
    }

    /// Meets who answers: a run that never answered before may have begun just now, knowing nothing,
    /// so that whatever is doubted begins anew.
    fn meet(&mut self, now: Duration, by: &Witness) {
        if by.run.is_empty() || self.runs.contains(&by.run) {
            return;
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
}

impl Judge<'_> {
    fn hear(&self, known: &mut Known, named: &Arc<Instances>) -> Verdict {
        if known.held.is_empty() && Arc::ptr_eq(&known.in_force, named) {
            return Verdict::default();
        }
        let is_doubted = self.doubts_all || lost_too_much(known.in_force.len(), named.len());
        let before = std::mem::take(&mut known.held);
        let was_doubted = !before.is_empty();
        if is_doubted {
            let missing = known.in_force.keys().filter(|it| !named.contains_key(*it));
            let held = missing.map(|address| {
                let held = before.get(address).cloned();
                let first = || Held { since: self.now, by: self.by.clone() };
                (*address, held.unwrap_or_else(first))
            });
            known.held = held.filter(|(_, it)| self.holds(it)).collect();
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
    fn holds(&self, held: &Held) -> bool {
        let is_over = self.now >= held.since + self.confirm;
        !is_over && (self.doubts_all || !self.by.is_other(&held.by))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Instance;

    const CONFIRM: Duration = Duration::from_secs(30);

    fn name(service: &str) -> ServiceName {
        ServiceName::new(service).unwrap()
    }

    fn instances(service: &str, hosts: &[u8]) -> Arc<Instances> {
        let all = hosts.iter().map(|host| {
            let address = SocketAddr::from(([10, 0, 0, *host], 80));
            (address, Arc::new(Instance::new(name(service), address)))
        });
        Arc::new(all.collect())
    }

    fn services(said: &[(&str, &[u8])]) -> Services {
        said.iter().map(|(service, hosts)| (name(service), instances(service, hosts))).collect()
    }

    fn witness(node: &str, run: &str) -> Witness {
        Witness { node: node.into(), run: run.into() }
    }

    /// A belief, and who tells it.
    struct Told(Belief);

    impl Told {
        fn of(known: &[(&str, &[u8])]) -> Self {
            let mut belief = Belief::new(CONFIRM, Services::new());
            belief.hear(Duration::ZERO, &witness("a", "a1"), &services(known));
            Self(belief)
        }

        fn hear(&mut self, at: u64, by: (&str, &str), said: &[(&str, &[u8])]) -> Verdict {
            self.0.hear(Duration::from_secs(at), &witness(by.0, by.1), &services(said))
        }

        /// The last numbers of the addresses that count.
        fn hosts(&self, service: &str) -> Vec<u8> {
            let known = self.0.services.get(&name(service));
            let addresses = known.into_iter().flat_map(|it| it.in_force.keys());
            addresses
                .map(|it| it.to_string().split(['.', ':']).nth(3).unwrap().parse().unwrap())
                .collect()
        }
    }

    const A: (&str, &str) = ("a", "a1");
    const B: (&str, &str) = ("b", "b1");

    #[test]
    fn what_comes_and_what_goes_one_by_one_counts_at_once() {
        let mut told = Told::of(&[("s", &[1, 2, 3])]);

        for (said, expected) in [
            (&[1, 2, 3, 4][..], &[1, 2, 3, 4][..]),
            (&[2, 3, 4], &[2, 3, 4]),
            (&[3, 4, 5], &[3, 4, 5]),
            (&[6, 7, 8], &[6, 7, 8]),
            (&[7, 8], &[7, 8]),
            (&[8], &[8]),
        ] {
            let verdict = told.hear(1, A, &[("s", said)]);

            assert_eq!((told.hosts("s"), verdict.doubted), (expected.to_vec(), 0));
        }
    }

    #[test]
    fn a_registry_that_knows_nothing_is_not_believed_before_it_has_said_so_for_long() {
        let mut told = Told::of(&[("s", &[1, 2]), ("t", &[3])]);

        let first = told.hear(10, A, &[]);
        let still = told.hear(39, A, &[]);
        let due = told.0.due();
        let last = told.hear(40, A, &[]);

        assert_eq!((first.doubted, first.is_news, still.is_news), (2, false, false));
        assert_eq!(due, Some(Duration::from_secs(40)));
        assert!(last.is_news && told.0.in_force().is_empty() && told.0.due().is_none());
    }

    #[test]
    fn nobody_is_dropped_while_a_restarted_registry_fills() {
        let mut told = Told::of(&[("s", &[1, 2, 3, 4]), ("t", &[5])]);

        told.hear(10, A, &[]);
        told.hear(12, A, &[("s", &[2, 4, 1])]);
        let half = (told.hosts("s"), told.hosts("t"), told.0.held());
        told.hear(20, A, &[("s", &[1, 2, 3, 4]), ("t", &[5])]);

        assert_eq!(half, (vec![1, 2, 3, 4], vec![5], 2));
        assert_eq!((told.0.held(), told.0.due()), (0, None));
    }

    #[test]
    fn all_nodes_may_have_been_restarted_together() {
        let mut told = Told::of(&[("s", &[1, 2])]);

        told.hear(10, A, &[]);
        told.hear(11, B, &[]);

        assert_eq!(told.hosts("s"), [1, 2]);
    }

    #[test]
    fn one_service_that_ended_is_believed_when_another_node_says_the_same() {
        let others: &[u8] = &[11, 12, 13, 14];
        let mut told = Told::of(&[("s", &[1, 2]), ("other", others)]);

        told.hear(10, A, &[("other", others)]);
        let held = told.hosts("s");
        told.hear(11, A, &[("other", others)]);
        let held_still = told.hosts("s");
        told.hear(12, B, &[("other", others)]);

        assert_eq!((held, held_still, told.hosts("s")), (vec![1, 2], vec![1, 2], vec![]));
    }

    #[test]
    fn a_node_that_was_restarted_is_no_other_node() {
        let others: &[u8] = &[11, 12, 13, 14];
        let mut told = Told::of(&[("s", &[1, 2]), ("other", others)]);

        told.hear(10, A, &[("other", others)]);
        told.hear(35, ("a", "a2"), &[("other", others)]);
        told.hear(45, ("a", "a2"), &[("other", others)]);
        let restarted = told.hosts("s");
        told.hear(65, ("a", "a2"), &[("other", others)]);

        assert_eq!((restarted, told.hosts("s")), (vec![1, 2], vec![]));
    }

    #[test]
    fn who_took_the_place_of_the_only_one_ends_the_doubt() {
        let others: &[u8] = &[11, 12, 13, 14];
        let mut told = Told::of(&[("s", &[1]), ("other", others)]);

        told.hear(10, A, &[("other", others)]);
        let between = told.hosts("s");
        told.hear(11, A, &[("s", &[2]), ("other", others)]);

        assert_eq!((between, told.hosts("s")), (vec![1], vec![2]));
    }

    #[test]
    fn what_was_kept_from_a_former_run_is_doubted_alike() {
        let mut belief = Belief::new(CONFIRM, services(&[("s", &[1, 2])]));

        let verdict = belief.hear(Duration::ZERO, &witness("a", "a1"), &Services::new());

        assert_eq!((verdict.doubted, belief.held()), (1, 2));
    }

    #[test]
    fn without_a_time_to_confirm_nothing_is_doubted() {
        let mut belief = Belief::new(Duration::ZERO, services(&[("s", &[1, 2])]));

        belief.hear(Duration::ZERO, &witness("a", "a1"), &Services::new());

        assert!(belief.in_force().is_empty());
    }

    fn any_answer() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
        let hosts = proptest::collection::btree_set(1..12_u8, 0..8);
        let hosts = hosts.prop_map(|it| it.into_iter().collect());
        proptest::collection::vec((0..3_usize, hosts), 0..4)
    }

    proptest! {
        #[test]
        fn nothing_loses_more_than_half_without_being_confirmed(
            answers in proptest::collection::vec((0..40_u64, 0..2_usize, any_answer()), 1..12),
        ) {
            const NAMES: [&str; 3] = ["s", "t", "u"];
            let mut told = Told::of(&[]);
            let (mut at, mut missing_since) = (0, BTreeMap::<(ServiceName, SocketAddr), (u64, Witness)>::new());

            for (pause, node, answer) in answers {
                at += pause;
                let by = [witness("a", "a1"), witness("b", "b1")][node].clone();
                let answer: BTreeMap<_, _> = answer.into_iter().collect();
                let said = answer.iter().map(|(it, hosts)| (name(NAMES[*it]), instances(NAMES[*it], hosts)));
                let said: Services = said.collect();
                let before = told.0.in_force();
                told.0.hear(Duration::from_secs(at), &by, &said);
                let after = told.0.in_force();

                missing_since.retain(|(service, address), _| {
                    !said.get(service).is_some_and(|it| it.contains_key(address))
                });
                for (service, was) in &before {
                    let named = said.get(service).cloned().unwrap_or_default();
                    let is = after.get(service).cloned().unwrap_or_default();
                    prop_assert!(named.keys().all(|it| is.contains_key(it)));
                    let lost: Vec<_> = was.keys().filter(|it| !is.contains_key(it)).collect();
                    let confirmed = |address: &SocketAddr| {
                        let since = missing_since.get(&(service.clone(), *address));
                        since.is_some_and(|(since, first)| at - since >= 30 || first.is_other(&by))
                    };
                    let unconfirmed = lost.iter().filter(|it| !confirmed(it)).count();
                    prop_assert!(
                        unconfirmed == 0 || is.len() * 2 >= was.len(),
                        "{service}: {was:?} became {is:?}"
                    );
                    for address in was.keys().filter(|it| !named.contains_key(it)) {
                        let key = (service.clone(), *address);
                        missing_since.entry(key).or_insert_with(|| (at, by.clone()));
                    }
                }
            }
        }
    }
}
