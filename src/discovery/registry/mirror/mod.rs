//! What a node of our registry says, kept up by what it tells of changes.
//!
//! Whatever was told is checked by its hash; a service that does not have it is asked for whole.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::discovery::registry::seen::{Seen, Translated};
use crate::discovery::registry::wanted::Wanted;
use crate::discovery::rules::ToldRules;
use crate::discovery::said::Said;
use crate::model::Scheduler;
use crate::registry::record::{Id, Standing};
use crate::registry::wire::{SeenInstance, ServiceChange, WatchRequest};

/// Instances that are kept of one registry at most: some 200 MB.
pub(in crate::discovery) const MOST_INSTANCES: usize = 200_000;

/// An answer to a watch: as [`WatchAnswer`](crate::registry::wire::WatchAnswer), with rules that may
/// be wrong.
#[derive(Debug, Deserialize)]
pub(in crate::discovery) struct Told {
    pub(in crate::discovery) node: Arc<str>,
    pub(in crate::discovery) index: u64,
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
            said.left_out.extend(service.translated.left_out.iter().cloned());
            let Some(name) = &service.translated.name else { continue };
            said.add(name, &service.translated.instances);
            if !service.scheduler.is_empty() {
                said.schedulers.insert(name.clone(), Scheduler::new(service.scheduler.clone()));
            }
        }
        said
    }
}
