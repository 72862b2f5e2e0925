//! A mirror beside the registry it mirrors.

use proptest::prelude::*;

use super::*;
use crate::config::{Config, RegistrySource};
use crate::registry::node::{Node, Settings};
use crate::registry::record::{Key, Registration};
use crate::registry::watch::draft;
use crate::registry::wire::WatchAnswer;

const NAMES: [&str; 3] = ["a.shop", "b.shop", "c.mall"];

fn source() -> RegistrySource {
    let file = "[workload]\nservice = 'a.b'\n[outbound]\n[discovery.registry]\naddresses = ['r:1']";
    Config::check("f", file, &|_| None).unwrap().discovery.registry.unwrap()
}

fn wanted() -> Wanted {
    Wanted::new(&source(), "me".into())
}

/// A node, and what changes of it.
struct Server(Arc<Node>);

impl Server {
    fn new() -> Self {
        Self(Node::open(Settings::default()).unwrap())
    }

    fn write(&self, change: &Change) {
        let [env, appid, zone] = ["prod", NAMES[change.service], "z"].map(Arc::from);
        let hostname = format!("h{}", change.host).into();
        let key = Key { env, appid, zone, hostname };
        let addrs = vec![format!("grpc://10.0.0.{}:{}", change.host, change.port).into()];
        let registration = Registration { addrs, ..Registration::default() };
        self.0.write(|store, now| {
            if change.port > 0 {
                store.register(key, registration, now).map(drop).unwrap();
            } else {
                drop(store.cancel(&key, now));
            }
        });
    }

    /// What it answers to a question, at once.
    fn answer(&self, request: &WatchRequest) -> WatchAnswer {
        let wanted = draft::Wanted::new(&request.env, &request.services);
        let delta = || draft::since(&self.0, &wanted, request.index);
        let is_here = request.index > 0 && request.node == *self.0.run();
        let told = is_here.then(delta).flatten();
        told.unwrap_or_else(|| draft::everything(&self.0, &wanted, &request.known))
    }
}

/// As it comes over the wire.
fn told(answer: &WatchAnswer) -> Told {
    serde_json::from_str(&serde_json::to_string(answer).unwrap()).unwrap()
}

fn ask(mirror: &mut Mirror, server: &Server) {
    let answer = server.answer(&mirror.request(&wanted(), 0));
    mirror.apply(&wanted(), told(&answer), None).unwrap();
}

/// An instance comes, changes or, with port 0, goes.
#[derive(Debug, Clone)]
struct Change {
    service: usize,
    host: u8,
    port: u16,
}

/// What happens between two questions.
#[derive(Debug, Clone)]
enum Step {
    /// This changes, on both nodes.
    Change(Change),
    /// It is asked what changed.
    Ask,
    /// It is asked, and one of the changes is lost on the way.
    AskInVain(prop::sample::Index),
    /// The other node is asked from now on.
    Leave,
}

fn any_step() -> impl Strategy<Value = Step> {
    let change = (0..3_usize, 1..5_u8, 0..3_u16);
    prop_oneof![
        6 => change.prop_map(|(service, host, port)| Step::Change(Change { service, host, port })),
        2 => Just(Step::Ask),
        1 => any::<prop::sample::Index>().prop_map(Step::AskInVain),
        1 => Just(Step::Leave),
    ]
}

proptest! {
    #[test]
    fn any_chain_of_changes_makes_what_there_is(
        steps in proptest::collection::vec(any_step(), 0..40),
    ) {
        let nodes = [Server::new(), Server::new()];
        let (mut mirror, mut at) = (Mirror::default(), 0);

        for step in steps {
            match step {
                Step::Change(change) => nodes.iter().for_each(|it| it.write(&change)),
                Step::Ask => ask(&mut mirror, &nodes[at]),
                Step::AskInVain(which) => {
                    let mut answer = nodes[at].answer(&mirror.request(&wanted(), 0));
                    let changes = answer.services.values_mut().filter(|it| !it.full);
                    let changes: Vec<_> = changes.filter(|it| !it.set.is_empty()).collect();
                    if !changes.is_empty() {
                        let place = which.index(changes.len());
                        changes.into_iter().nth(place).unwrap().set.pop();
                    }
                    mirror.apply(&wanted(), told(&answer), None).unwrap();
                }
                Step::Leave => {
                    at = 1 - at;
                    mirror.leave();
                }
            }
        }
        // Twice: the first answer may show that something was missed.
        ask(&mut mirror, &nodes[at]);
        ask(&mut mirror, &nodes[at]);

        let mut fresh = Mirror::default();
        ask(&mut fresh, &nodes[at]);
        let (said, expected) = (mirror.said(), fresh.said());
        prop_assert_eq!(said.services, expected.services);
        prop_assert!(mirror.services.values().all(|it| !it.is_torn));
    }
}

#[test]
fn a_service_that_ended_while_changes_were_missed_is_not_kept() {
    let server = Server::new();
    let change = |port| Change { service: 0, host: 1, port };
    server.write(&change(1));
    let mut mirror = Mirror::default();
    ask(&mut mirror, &server);
    server.write(&change(2));
    let mut answer = server.answer(&mirror.request(&wanted(), 0));
    answer.services.values_mut().for_each(|it| it.set.clear());
    mirror.apply(&wanted(), told(&answer), None).unwrap();
    let meanwhile = mirror.said().services.len();

    server.write(&change(0));
    ask(&mut mirror, &server);

    assert_eq!((meanwhile, mirror.said().services.len()), (1, 0));
}

#[test]
fn a_service_that_is_not_wanted_is_not_kept() {
    let server = Server::new();
    server.write(&Change { service: 0, host: 1, port: 1 });
    let answer = server.answer(&Mirror::default().request(&wanted(), 0));
    let source = RegistrySource { services: vec!["*.mall".parse().unwrap()], ..source() };
    let mut mirror = Mirror::default();

    mirror.apply(&Wanted::new(&source, "me".into()), told(&answer), None).unwrap();

    assert!(mirror.said().services.is_empty());
}
