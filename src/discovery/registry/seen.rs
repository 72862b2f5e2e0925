//! An instance as a registry has it, in the words of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::discovery::said::{Instances, LeftOut, Said, add};
use crate::discovery::usable::{Unusable, address, first, lane, shown, weight};
use crate::model::{Instance, Origin, Scheduler, ServiceName, Status};

/// Metadata that names a lane, first the word of bilibili/discovery.
const LANE: &[&str] = &["color", "lane"];
/// What an instance weighs that says nothing of it, or nothing that makes sense: as in Kratos, so that
/// all who follow one registry share out requests alike.
const WEIGHT: u32 = 10;

/// What a registry says of one instance, in any dialect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) zone: &'a str,
    pub(super) hostname: &'a Arc<str>,
    pub(super) addrs: &'a [Arc<str>],
    pub(super) version: &'a str,
    pub(super) metadata: &'a BTreeMap<Arc<str>, Arc<str>>,
    pub(super) is_up: bool,
    pub(super) slot: Option<u32>,
}

impl Seen<'_> {
    /// Puts it into the catalog's words.
    ///
    /// # Errors
    /// Nobody could send a request there.
    pub(super) fn instance(&self, service: &ServiceName) -> Result<Instance, Unusable> {
        // Some nodes copy a list of addresses as one, joined by commas.
        let addresses = self.addrs.iter().flat_map(|it| it.split(','));
        let text = |text: &str| Some(Arc::from(text)).filter(|it: &Arc<str>| !it.is_empty());
        let said = |key: &str| first(self.metadata, &[key]);
        let taken = ["color", "lane", "cluster", "weight"];
        let metadata = self.metadata.iter().filter(|(key, _)| !taken.contains(&&***key));
        Ok(Instance {
            lane: lane(first(self.metadata, LANE))?,
            weight: said("weight").and_then(weight).unwrap_or(WEIGHT),
            zone: text(self.zone).or_else(|| said("zone").and_then(text)),
            cluster: said("cluster").and_then(text),
            version: text(self.version),
            status: if self.is_up { Status::Up } else { Status::Down },
            origin: Origin::Registry,
            hostname: text(self.hostname),
            slot: self.slot,
            metadata: metadata.map(|(key, it)| (key.to_string(), it.to_string())).collect(),
            ..Instance::new(service.clone(), address(addresses)?)
        })
    }
}

/// How callers are to spread over zones: `from zone → to zone → weight`.
pub(super) type Weights = BTreeMap<Arc<str>, BTreeMap<Arc<str>, u32>>;

/// The instances of one service in the catalog's words.
#[derive(Debug, Clone, Default)]
pub(super) struct Translated {
    /// The name of the service; none if it can have none.
    pub(super) name: Option<ServiceName>,
    /// Another value only if they are others.
    pub(super) instances: Arc<Instances>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Translated {
    /// Adds it to what a source says, with how callers are to spread over zones.
    pub(super) fn add_to(&self, said: &mut Said, spread: &Weights) {
        said.left_out.extend(self.left_out.iter().cloned());
        let Some(name) = &self.name else { return };
        said.add(name, &self.instances);
        if !spread.is_empty() {
            said.schedulers.insert(name.clone(), Scheduler::new(spread.clone()));
        }
    }

    /// Puts what a registry has into the catalog's words; each with its name in the registry.
    pub(super) fn renew<'a>(
        &mut self,
        service: &Arc<str>,
        all: impl IntoIterator<Item = (&'a Arc<str>, Seen<'a>)>,
    ) {
        let mut instances = Instances::new();
        self.left_out.clear();
        let name = ServiceName::new(service);
        for (place, seen) in all {
            let usable = match &name {
                Ok(name) => seen.instance(name),
                Err(why) => Err(Unusable::Service(shown(service), *why)),
            };
            match usable {
                Ok(instance) => add(&mut instances, Arc::new(instance)),
                Err(why) => {
                    let (service, name) = (shown(service), shown(place));
                    self.left_out.push(LeftOut { service, name, why });
                }
            }
        }
        if instances != *self.instances {
            self.instances = Arc::new(instances);
        }
        self.name = name.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(addrs: &[&str], metadata: &[(&str, &str)]) -> Result<Instance, Unusable> {
        let addrs: Vec<Arc<str>> = addrs.iter().map(|it| Arc::from(*it)).collect();
        let metadata = metadata.iter().map(|(key, it)| (Arc::from(*key), Arc::from(*it))).collect();
        let seen = Seen {
            zone: "z1",
            hostname: &"h1".into(),
            addrs: &addrs,
            version: "",
            metadata: &metadata,
            is_up: true,
            slot: None,
        };
        seen.instance(&ServiceName::new("user.shop").unwrap())
    }

    #[test]
    fn metadata_says_lane_cluster_and_weight() {
        let said =
            [("lane", "red"), ("color", "blue"), ("cluster", "c"), ("weight", "7"), ("x", "y")];

        let it = instance(&["grpc://10.0.0.1:9000"], &said).unwrap();

        assert_eq!(it.lane.unwrap().as_str(), "blue");
        assert_eq!((it.cluster.as_deref(), it.weight), (Some("c"), 7));
        assert_eq!((it.zone.as_deref(), it.hostname.as_deref()), (Some("z1"), Some("h1")));
        assert_eq!(it.metadata, BTreeMap::from([("x".to_owned(), "y".to_owned())]));
    }

    #[test]
    fn what_says_nothing_of_itself_is_of_the_baseline_and_weighs_as_in_kratos() {
        for weight in ["", "0", "-3", "much"] {
            let it = instance(&["10.0.0.1:80"], &[("weight", weight), ("color", "")]).unwrap();

            assert_eq!((it.lane, it.weight, it.cluster), (None, 10, None), "{weight}");
        }
    }

    #[test]
    fn addresses_that_were_joined_by_a_peer_are_parted() {
        let it = instance(&["http://10.0.0.1:80,grpc://10.0.0.1:90"], &[]).unwrap();

        assert_eq!(it.address.port(), 90);
    }
}
