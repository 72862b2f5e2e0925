//! What a node of our registry says, kept up by what it tells of changes.
//!
//! Whatever was told is checked by its hash; a service that does not have it is asked for whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::discovery::registry::seen::{Seen, Translated};
use crate::discovery::registry::wanted::Wanted;
use crate::discovery::rules::ToldRules;
use crate::discovery::said::{MOST_INSTANCES, Said};
use crate::registry::record::{Id, Standing};
use crate::registry::wire::{SeenInstance, ServiceChange, WatchRequest};

/// An answer to a watch: as [`WatchAnswer`](crate::registry::wire::WatchAnswer), with rules that may
/// be wrong.
#[derive(Debug, Deserialize)]
pub(in crate::discovery) struct Told {
    pub(in crate::discovery) node: Arc<str>,
    pub(in crate::discovery) index: u64,
    #[serde(default)]
    pub(super) filling: bool,
    #[serde(default)]
    services: BTreeMap<Arc<str>, ServiceChange>,
    #[serde(default)]
    pub(in crate::discovery) rules: Option<ToldRules>,
}

/// There are more instances than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {MOST_INSTANCES} instances: name the services that are wanted")]
pub(crate) struct TooMany;

/// One service.
#[derive(Debug, Clone, Default)]
struct Mirrored {
    /// By zone and host.
    seen: BTreeMap<Arc<str>, SeenInstance>,
    /// Whether a change of it was missed, so that nothing in `seen` counts.
    is_torn: bool,
    scheduler: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
    translated: Translated,
}

/// What a node said, up to an index.
#[derive(Debug, Clone, Default)]
pub(in crate::discovery) struct Mirror {
    /// The run of the node.
    node: Arc<str>,
    index: u64,
    services: BTreeMap<Arc<str>, Mirrored>,
    /// Instances of all services.
    count: usize,
    known_rules: Option<Id>,
}

impl Mirrored {
    fn hash(&self) -> Id {
        Id(self.seen.values().fold(0, |sum, it| sum ^ it.hash.0))
    }

    fn apply(&mut self, change: ServiceChange) {
        if change.full || self.is_torn {
            self.seen.clear();
        }
        for name in &change.gone {
            self.seen.remove(name);
        }
        for instance in change.set {
            self.seen.insert(SeenInstance::name(&instance.zone, &instance.hostname), instance);
        }
        self.scheduler = change.scheduler;
        // What is told whole needs no comparing.
        self.is_torn = !change.full && self.hash() != change.hash;
    }

    /// Puts it into the catalog's words.
    fn translate(&mut self, service: &Arc<str>) {
        let all = self.seen.iter().map(|(place, it)| {
            let seen = Seen {
                zone: &it.zone,
                hostname: &it.hostname,
                addrs: &it.addrs,
                version: &it.version,
                metadata: &it.metadata,
                is_up: it.status == Standing::Up,
                slot: Some(it.slot),
            };
            (place, seen)
        });
        self.translated.renew(service, all);
    }
}

impl Mirror {
    /// Returns the question whose answer is what is not known yet: `wait_ms` is how long that may
    /// take.
    pub(in crate::discovery) fn request(&self, wanted: &Wanted, wait_ms: u32) -> WatchRequest {
        let whole = || self.services.iter().filter(|(_, it)| !it.is_torn);
        let known = || whole().map(|(name, it)| (name.clone(), it.hash())).collect();
        WatchRequest {
            env: wanted.env.clone(),
            services: wanted.services(),
            consumer: wanted.consumer.clone(),
            zone: wanted.zone.clone(),
            node: self.node.clone(),
            index: self.index,
            known: if self.index == 0 { known() } else { BTreeMap::new() },
            rules: wanted.rules,
            known_rules: self.known_rules,
            wait_ms,
        }
    }

    /// Another node is asked from now on: what is known is told it, so that it tells the rest.
    pub(in crate::discovery) fn leave(&mut self) {
        (self.node, self.index) = (Arc::default(), 0);
    }

    /// Returns the run of the node that was last heard.
    pub(in crate::discovery) fn run(&self) -> &Arc<str> {
        &self.node
    }

    /// Returns whether there is nothing to go on from: the next answer says everything.
    pub(in crate::discovery) fn is_at_start(&self) -> bool {
        self.index == 0
    }

    /// Takes in an answer. Where it turns out that something was missed, the next question is for
    /// all of that.
    ///
    /// # Errors
    /// There is more than is kept; nothing was taken in.
    pub(in crate::discovery) fn apply(
        &mut self,
        wanted: &Wanted,
        told: Told,
        rules: Option<&ToldRules>,
    ) -> Result<(), TooMany> {
        let more: usize = told.services.values().map(|it| it.set.len()).sum();
        // Nearly all of those told are known already, or replace others.
        if self.count.max(more) > MOST_INSTANCES {
            return Err(TooMany);
        }
        if self.index == 0 {
            // An answer to who was nowhere names every service that has a scheduler, and every one
            // that was asked for whole, if there is such a service.
            self.services.retain(|name, it| !it.is_torn || told.services.contains_key(name));
            for service in self.services.values_mut() {
                service.scheduler.clear();
            }
        }
        (self.node, self.index) = (told.node, told.index);
        if let Some(rules) = rules {
            self.known_rules = Some(rules.hash);
        }
        for (name, change) in told.services {
            if !wanted.has(&name) {
                continue;
            }
            let service = self.services.entry(name.clone()).or_default();
            service.apply(change);
            if service.is_torn {
                tracing::debug!(service = &*name, "changes were missed; it is asked for whole");
                self.index = 0;
            } else {
                service.translate(&name);
            }
        }
        self.services.retain(|_, it| it.is_torn || !it.seen.is_empty() || !it.scheduler.is_empty());
        self.count = self.services.values().map(|it| it.seen.len()).sum();
        Ok(())
    }

    /// Returns what is known, in the catalog's words.
    pub(in crate::discovery) fn said(&self) -> Said {
        let mut said = Said::default();
        for service in self.services.values() {
            service.translated.add_to(&mut said, &service.scheduler);
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Config, RegistrySource};
    use crate::registry::node::{Node, Settings};
    use crate::registry::record::{Key, Registration};
    use crate::registry::watch::draft;
    use crate::registry::wire::WatchAnswer;

    const NAMES: [&str; 3] = ["a.shop", "b.shop", "c.mall"];

    fn source() -> RegistrySource {
        let file =
            "[workload]\nservice = 'a.b'\n[outbound]\n[discovery.registry]\naddresses = ['r:1']";
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
}
