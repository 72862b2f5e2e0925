//! Where we are: our zone, our place among the clients, and where the other clients are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::balance::subset::Place;
use crate::config::{Config, Workload};
use crate::model::{Catalog, Instance, ServiceName, Status};

/// Copies of our own service there must be before their zones say where requests come from: fewer
/// say little.
const LEAST_CALLERS: usize = 6;
/// Numbers at the end of a name from which on they are no ordinals.
const ORDINALS: u32 = 10_000;

/// Where we are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Site {
    /// Our zone; none: no zone is preferred.
    pub zone: Option<Arc<str>>,
    /// Our place among the clients of a service.
    pub place: Place,
    /// The copies of our own service that are up, by zone; empty if too few are known.
    callers: BTreeMap<Arc<str>, u32>,
}

impl Site {
    /// Where the workload of `config` is.
    pub fn of(config: &Config, catalog: &Catalog) -> Self {
        let us = Us::of(config);
        let copies = || catalog.instances(us.service).filter(|it| it.status == Status::Up);
        let mut callers = BTreeMap::new();
        if copies().nth(LEAST_CALLERS - 1).is_some() {
            for zone in copies().filter_map(|it| it.zone.clone()) {
                *callers.entry(zone).or_default() += 1;
            }
        }
        let own = catalog.instances(us.service).find(|it| us.is(it));
        let slot = own.and_then(|it| it.slot);
        let place = slot.map_or_else(|| us.place(), Place::numbered);
        Self { zone: config.workload.zone.clone(), place, callers }
    }

    /// The same, in `zone`.
    #[must_use]
    pub fn in_zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    /// The same, at `place` among the clients.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// Returns the share of requests that come from `zone`; none if that is not known.
    pub(super) fn demand(&self, zone: Option<&str>) -> Option<f32> {
        let all: u32 = self.callers.values().sum();
        let there = zone.and_then(|it| self.callers.get(it)).copied().unwrap_or_default();
        (all > 0).then(|| super::float(there) / super::float(all))
    }
}

/// What tells our instance from others.
struct Us<'a> {
    service: &'a ServiceName,
    name: Option<&'a str>,
    zone: Option<&'a str>,
    address: Option<SocketAddr>,
}

impl<'a> Us<'a> {
    /// As a registry is told, else as the workload says.
    fn of(config: &'a Config) -> Self {
        let Workload { service, name, zone, address, .. } = &config.workload;
        let registered = config.registration.as_ref();
        let name = registered.and_then(|it| it.hostname.as_deref()).or(name.as_deref());
        Self {
            service: registered.map_or(service, |it| &it.service),
            name,
            zone: registered.map(|it| &*it.zone).or(zone.as_deref()),
            address: registered.and_then(|it| it.address).or(*address),
        }
    }

    /// Returns whether a copy of our service is our own instance.
    fn is(&self, copy: &Instance) -> bool {
        match (&copy.hostname, self.name) {
            (Some(hostname), Some(name)) => {
                &**hostname == name && (self.zone.is_none() || self.zone == copy.zone.as_deref())
            }
            _ => self.address == Some(copy.address),
        }
    }

    /// Returns our place where we have no slot: by the ordinal our name ends in, as that of a
    /// `StatefulSet`'s pod does, else by the whole name.
    fn place(&self) -> Place {
        let name = self.name.unwrap_or_default();
        let ordinal = name.rsplit_once('-').map(|(_, end)| end);
        let ordinal = ordinal.filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
        match ordinal.and_then(|it| it.parse().ok()) {
            Some(number) if number < ORDINALS => Place::numbered(number),
            _ => Place::named(format!("{}/{name}", self.service).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(workload: &str) -> Config {
        let text = format!("[workload]\nservice = 'here'\n{workload}\n[outbound]\n");
        Config::check("sidecar.toml", &text, &|_| None).unwrap()
    }

    fn copy(port: u16) -> Instance {
        Instance::new(ServiceName::new("here").unwrap(), ([10, 0, 0, 1], port).into())
    }

    #[test]
    fn our_place_is_our_slot_and_else_the_ordinal_of_our_name() {
        let named = config("name = 'order-3'");
        let us = Instance { hostname: Some("order-3".into()), slot: Some(9), ..copy(1) };

        let [by_slot, by_name] =
            [vec![us], vec![]].map(|copies| Site::of(&named, &copies.into_iter().collect()).place);

        assert_eq!((by_slot, by_name), (Place::numbered(9), Place::numbered(3)));
    }

    #[test]
    fn our_place_is_a_hash_of_a_name_without_an_ordinal() {
        let place =
            |name: &str| Site::of(&config(&format!("name = '{name}'")), &Catalog::default()).place;

        assert_eq!(place("order-x2k4q"), place("order-x2k4q"));
        assert_ne!(place("order-x2k4q"), place("order-x2k4r"));
    }

    #[test]
    fn few_copies_say_nothing_of_where_requests_come_from() {
        let copies = |count| (0..count).map(|it| Instance { zone: Some("a".into()), ..copy(it) });
        let site = |count| Site::of(&config(""), &copies(count).collect());

        assert_eq!(site(5).demand(Some("a")), None);
        assert_eq!(site(6).demand(Some("a")), Some(1.0));
        assert_eq!(site(6).demand(Some("b")), Some(0.0));
    }
}
