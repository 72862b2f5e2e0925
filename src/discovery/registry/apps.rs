//! What a node of bilibili/discovery says, kept up by what its polls bring.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::discovery::loose::{Object, Several, Text, Texts};
use crate::discovery::registry::TooMany;
use crate::discovery::registry::seen::{Seen, Translated};
use crate::discovery::registry::wanted::Wanted;
use crate::discovery::said::{MOST_INSTANCES, Said};
use crate::registry::scheduler::Scheduler;

/// What every answer is wrapped in.
#[derive(Debug, Deserialize)]
pub(in crate::discovery) struct Envelope<T> {
    pub(in crate::discovery) code: i64,
    #[serde(default)]
    pub(in crate::discovery) message: Text,
    #[serde(default = "Option::default")]
    pub(in crate::discovery) data: Option<T>,
    #[serde(default)]
    error: Object<Missing>,
}

/// Services that are not there, as `polls` tells of them.
#[derive(Debug, Deserialize)]
struct Missing {
    #[serde(default, rename = "-404")]
    apps: Option<Vec<Arc<str>>>,
}

impl<T> Envelope<T> {
    /// Takes out the services that are not there.
    pub(in crate::discovery) fn missing(&mut self) -> Vec<Arc<str>> {
        self.error.0.take().and_then(|it| it.apps).unwrap_or_default()
    }
}

/// `fetch/all`: instances by service, of every environment, zone and status.
pub(in crate::discovery) type Everything = BTreeMap<Arc<str>, Several<Instance>>;

/// `fetchs` and `polls`: services by name; one that has gone may be null.
pub(in crate::discovery) type Apps = BTreeMap<Arc<str>, Object<App>>;

/// One service.
#[derive(Debug, Deserialize)]
pub(in crate::discovery) struct App {
    #[serde(default = "Option::default")]
    instances: Option<Zones>,
    #[serde(default = "Option::default")]
    scheduler: Option<Value>,
    #[serde(default)]
    latest_timestamp: i64,
}

/// Instances by zone, or in one list as older servers have it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Zones {
    ByZone(BTreeMap<Arc<str>, Several<Instance>>),
    Flat(Several<Instance>),
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::discovery) struct Instance {
    #[serde(default)]
    env: Text,
    #[serde(default)]
    zone: Text,
    #[serde(default)]
    hostname: Text,
    #[serde(default = "Option::default")]
    addrs: Option<Vec<Arc<str>>>,
    #[serde(default)]
    version: Text,
    #[serde(default)]
    metadata: Texts,
    #[serde(default)]
    status: Text,
}

impl Instance {
    fn is_up(&self) -> bool {
        &*self.status.0 == "1"
    }
}

/// One instance, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    instance: Instance,
    metadata: BTreeMap<Arc<str>, Arc<str>>,
}

/// One service, as it is kept.
#[derive(Debug, Clone, Default)]
struct Service {
    /// By zone and host.
    kept: BTreeMap<Arc<str>, Kept>,
    spread: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
    /// When the node says that it changed last; 0: no matter.
    latest: i64,
    translated: Translated,
}

impl Service {
    /// Takes these in the place of those there were. `all` if they are of every status; those that
    /// take no traffic stay otherwise.
    fn replace(&mut self, name: &Arc<str>, instances: Vec<Instance>, all: bool) {
        self.kept.retain(|_, it| !all && !it.instance.is_up());
        for instance in instances {
            let place = format!("{}/{}", instance.zone.0, instance.hostname.0);
            let texts = instance.metadata.0.iter();
            let metadata = texts.map(|(key, it)| (key.clone(), it.0.clone())).collect();
            self.kept.insert(place.into(), Kept { instance, metadata });
        }
        let all = self.kept.iter().map(|(place, Kept { instance, metadata })| {
            let seen = Seen {
                zone: &instance.zone.0,
                hostname: &instance.hostname.0,
                addrs: instance.addrs.as_deref().unwrap_or_default(),
                version: &instance.version.0,
                metadata,
                is_up: instance.is_up(),
                slot: None,
            };
            (place, seen)
        });
        self.translated.renew(name, all);
    }
}

/// What a node said.
#[derive(Debug, Clone, Default)]
pub(in crate::discovery) struct Mirror {
    services: BTreeMap<Arc<str>, Service>,
}

impl Mirror {
    /// Another node is asked from now on: its times are its own.
    pub(in crate::discovery) fn leave(&mut self) {
        for service in self.services.values_mut() {
            service.latest = 0;
        }
    }

    /// Returns when each of `names` changed last, as the node has it; 0 for one that it never told
    /// of.
    pub(in crate::discovery) fn latest(&self, name: &str) -> i64 {
        self.services.get(name).map_or(0, |it| it.latest)
    }

    /// Returns the services there are.
    pub(in crate::discovery) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.services.keys()
    }

    /// Takes in everything there is.
    ///
    /// # Errors
    /// There is more than is kept; nothing was taken in.
    pub(in crate::discovery) fn take_everything(
        &mut self,
        wanted: &Wanted,
        told: Everything,
    ) -> Result<(), TooMany> {
        let ours = told.into_iter().filter(|(name, _)| wanted.has(name)).map(|(name, all)| {
            let all = all.0.into_iter().filter(|it| it.env.0 == wanted.env);
            (name, all.collect::<Vec<_>>())
        });
        let mut ours: BTreeMap<_, _> = ours.filter(|(_, all)| !all.is_empty()).collect();
        if ours.values().map(Vec::len).sum::<usize>() > MOST_INSTANCES {
            return Err(TooMany);
        }
        self.services.retain(|name, _| ours.contains_key(name));
        for (name, all) in std::mem::take(&mut ours) {
            self.services.entry(name.clone()).or_default().replace(&name, all, true);
        }
        Ok(())
    }

    /// Takes in what is told of some services; `all` if there are no others, and instances of every
    /// status. Those `missing` are gone.
    ///
    /// # Errors
    /// There is more than is kept; nothing was taken in.
    pub(in crate::discovery) fn take(
        &mut self,
        wanted: &Wanted,
        told: Apps,
        missing: &[Arc<str>],
        all: bool,
    ) -> Result<(), TooMany> {
        let told = told.into_iter().filter(|(name, _)| wanted.has(name));
        let told: BTreeMap<_, _> = told
            .map(|(name, app)| (name, app.0.map(App::taken_apart).unwrap_or_default()))
            .collect();
        let more: usize = told.values().map(|it| it.instances.len()).sum();
        let kept: usize = self.services.values().map(|it| it.kept.len()).sum();
        if more > MOST_INSTANCES || (!all && kept > MOST_INSTANCES) {
            return Err(TooMany);
        }
        if all {
            self.services.retain(|name, _| told.contains_key(name));
        }
        for (name, parts) in told {
            let service = self.services.entry(name.clone()).or_default();
            (service.latest, service.spread) = (parts.latest, parts.spread);
            service.replace(&name, parts.instances, all);
        }
        for name in missing {
            // Its time stays: a node asked with none would tell of it again and again.
            if let Some(service) = self.services.get_mut(name) {
                service.replace(name, Vec::new(), true);
            }
        }
        Ok(())
    }

    /// Returns what is known, in the catalog's words.
    pub(in crate::discovery) fn said(&self) -> Said {
        let mut said = Said::default();
        for service in self.services.values() {
            service.translated.add_to(&mut said, &service.spread);
        }
        said
    }
}

/// A service taken apart.
#[derive(Debug, Default)]
struct Parts {
    instances: Vec<Instance>,
    spread: BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
    latest: i64,
}

impl App {
    fn taken_apart(self) -> Parts {
        // Older servers write it as a list, of which nobody speaks any more.
        let scheduler = self.scheduler.and_then(|it| serde_json::from_value::<Scheduler>(it).ok());
        let instances = match self.instances {
            Some(Zones::ByZone(zones)) => zones.into_values().flat_map(|it| it.0).collect(),
            Some(Zones::Flat(all)) => all.0,
            None => Vec::new(),
        };
        let spread = scheduler.map(|it| it.weights()).unwrap_or_default();
        Parts { instances, spread, latest: self.latest_timestamp }
    }
}
