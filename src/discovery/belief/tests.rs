//! What is believed, answer by answer.

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

/// The second run of a node is one that began a short while ago.
fn witness(node: &str, run: &str) -> Witness {
    Witness { node: node.into(), run: run.into(), is_filling: run.ends_with('2') }
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
fn who_a_restarted_node_has_not_heard_of_yet_stays_however_few_those_are() {
    let mut told = Told::of(&[("s", &[1, 2]), ("t", &[3, 4])]);
    let again = ("a", "a2");

    told.hear(10, again, &[("s", &[1]), ("t", &[3, 4])]);
    let before = (told.hosts("s"), told.0.held());
    told.hear(12, again, &[("s", &[1, 2]), ("t", &[3, 4])]);
    told.hear(13, again, &[("s", &[2]), ("t", &[3, 4])]);

    assert_eq!(before, (vec![1, 2], 1));
    assert_eq!(told.hosts("s"), [2], "it was named, so its end is known");
}

#[test]
fn whoever_does_not_come_back_to_a_restarted_node_goes_in_the_end() {
    let mut told = Told::of(&[("s", &[1, 2]), ("t", &[3, 4])]);
    let again = ("a", "a2");

    told.hear(10, again, &[("s", &[1]), ("t", &[3, 4])]);
    told.hear(39, again, &[("s", &[1]), ("t", &[3, 4])]);
    let until = told.hosts("s");
    told.hear(40, again, &[("s", &[1]), ("t", &[3, 4])]);

    assert_eq!((until, told.hosts("s")), (vec![1, 2], vec![1]));
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
