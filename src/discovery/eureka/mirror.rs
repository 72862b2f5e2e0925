//! What a Eureka server says, kept up by its deltas.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::discovery::eureka::apps::{Applications, Instance, Keys, sum};
use crate::discovery::said::{Instances, LeftOut, MOST_INSTANCES, Said, add};
use crate::discovery::usable::{Unusable, shown};
use crate::model;
use crate::model::ServiceName;

/// There are more instances than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {MOST_INSTANCES} instances")]
pub(in crate::discovery) struct TooMany;

/// One instance.
#[derive(Debug, Clone)]
struct Kept {
    status: String,
    usable: Result<Arc<model::Instance>, Unusable>,
}

/// What a server said.
#[derive(Debug, Clone, Default)]
pub(in crate::discovery) struct Mirror {
    /// By application and id, without regard to the case of the former.
    apps: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Kept>>,
    /// Those of `said`, to be shared where nothing changed.
    services: HashMap<ServiceName, Arc<Instances>>,
}

impl Mirror {
    /// Takes in everything there is.
    ///
    /// # Errors
    /// There is more than is kept; nothing was taken in.
    pub(in crate::discovery) fn take_everything(
        &mut self,
        told: &Applications,
        keys: &Keys,
    ) -> Result<(), TooMany> {
        let count: usize = told.application.0.iter().map(|it| it.instance.0.len()).sum();
        if count > MOST_INSTANCES {
            return Err(TooMany);
        }
        self.apps.clear();
        self.put(told, keys);
        Ok(())
    }

    /// Takes in what changed.
    ///
    /// # Errors
    /// There is more than is kept; nothing was taken in.
    pub(in crate::discovery) fn take_delta(
        &mut self,
        told: &Applications,
        keys: &Keys,
    ) -> Result<(), TooMany> {
        let more: usize = told.application.0.iter().map(|it| it.instance.0.len()).sum();
        let count: usize = self.apps.values().map(BTreeMap::len).sum();
        if more.max(count) > MOST_INSTANCES {
            return Err(TooMany);
        }
        self.put(told, keys);
        Ok(())
    }

    fn put(&mut self, told: &Applications, keys: &Keys) {
        for app in &told.application.0 {
            let name: Arc<str> = app.name.0.to_uppercase().into();
            let kept = self.apps.entry(Arc::clone(&name)).or_default();
            for it in &app.instance.0 {
                if it.action_type.0.eq_ignore_ascii_case("DELETED") {
                    kept.remove(it.id());
                } else {
                    kept.insert(Arc::clone(it.id()), Kept::of(it, &name, keys));
                }
            }
        }
        self.apps.retain(|_, kept| !kept.is_empty());
    }

    /// Returns what its instances sum up to, as servers write it.
    pub(in crate::discovery) fn sum(&self) -> String {
        sum(self.apps.values().flat_map(|it| it.values()).map(|it| &*it.status))
    }

    /// Returns what is known, in the catalog's words.
    pub(in crate::discovery) fn said(&mut self) -> Said {
        let mut services = BTreeMap::<ServiceName, Instances>::new();
        let mut left_out = Vec::new();
        for (app, kept) in &self.apps {
            for (id, it) in kept {
                match &it.usable {
                    Ok(instance) => {
                        let service = services.entry(instance.service.clone()).or_default();
                        add(service, Arc::clone(instance));
                    }
                    Err(why) => {
                        let (service, name) = (shown(app), shown(id));
                        left_out.push(LeftOut { service, name, why: why.clone() });
                    }
                }
            }
        }
        let shared = |(name, instances): (ServiceName, Instances)| {
            let before = self.services.get(&name).filter(|it| ***it == instances);
            let instances = before.cloned().unwrap_or_else(|| Arc::new(instances));
            (name, instances)
        };
        let services: BTreeMap<_, _> = services.into_iter().map(shared).collect();
        self.services = services.iter().map(|(name, it)| (name.clone(), Arc::clone(it))).collect();
        Said { services, left_out, ..Said::default() }
    }

    /// Returns the addresses of a service.
    #[cfg(test)]
    fn addresses(&mut self, service: &str) -> Vec<std::net::SocketAddr> {
        let said = self.said();
        let all = said.services.get(&ServiceName::new(service).unwrap());
        all.into_iter().flat_map(|it| it.keys().copied()).collect()
    }
}

impl Kept {
    fn of(it: &Instance, app: &str, keys: &Keys) -> Self {
        Self { status: it.status(), usable: it.instance(app, keys).map(Arc::new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::eureka::apps::Answer;

    fn told(instances: &str) -> Applications {
        let text = format!(
            r#"{{"applications":{{"apps__hashcode":"","application":[{{"name":"User","instance":[{instances}]}}]}}}}"#
        );
        serde_json::from_str::<Answer>(&text).unwrap().applications.0.unwrap()
    }

    fn instance(id: u8, action: &str, status: &str) -> String {
        format!(
            r#"{{"instanceId":"i-{id}","ipAddr":"10.0.0.{id}","port":80,"status":"{status}",
                "actionType":"{action}"}}"#
        )
    }

    #[test]
    fn a_delta_adds_changes_and_removes() {
        let mut mirror = Mirror::default();
        let first = [instance(1, "ADDED", "UP"), instance(2, "ADDED", "UP")].join(",");
        mirror.take_everything(&told(&first), &Keys::default()).unwrap();

        let delta = [
            instance(1, "DELETED", "UP"),
            instance(2, "MODIFIED", "DOWN"),
            instance(3, "ADDED", "UP"),
        ];
        mirror.take_delta(&told(&delta.join(",")), &Keys::default()).unwrap();
        let again = mirror.take_delta(&told(&delta.join(",")), &Keys::default());

        assert_eq!(again, Ok(()));
        assert_eq!(mirror.sum(), "DOWN_1_UP_1_");
        let addresses = mirror.addresses("user");
        assert_eq!(addresses, ["10.0.0.2:80", "10.0.0.3:80"].map(|it| it.parse().unwrap()));
    }

    #[test]
    fn what_did_not_change_is_shared() {
        let mut mirror = Mirror::default();
        mirror.take_everything(&told(&instance(1, "ADDED", "UP")), &Keys::default()).unwrap();
        let before = mirror.said();

        mirror.take_delta(&told(&instance(1, "ADDED", "UP")), &Keys::default()).unwrap();
        let after = mirror.said();

        let service = ServiceName::new("user").unwrap();
        assert!(Arc::ptr_eq(&before.services[&service], &after.services[&service]));
    }
}
