//! What holds in every world: decisions against a second, naive way to make them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{cases, config, lane};
use crate::config::{Config, Lane, OnUnhealthy, Service, Tenant};
use crate::model::{Catalog, Instance, LaneName, ServiceName, Status, TenantId};
use crate::routing::{Decision, Outcome, Reason, RouteTable, Step, Who, decide};

const NAMES: [&str; 12] = [
    "dev",
    "dev.proj-ab",
    "dev.proj-abc",
    "dev.proj-ab.alice",
    "dev.proj-ab.alice.x",
    "alice",
    "bob",
    "staging",
    "staging.eu",
    "a",
    "a..b",
    "a.",
];
const SERVICES: [&str; 3] = ["user.shop", "order.shop", "order"];

/// What a world is made of.
#[derive(Debug, Clone)]
struct World {
    config: Config,
    instances: Vec<Instance>,
    /// Rungs whose instances are unhealthy.
    sick: BTreeSet<(ServiceName, Option<LaneName>)>,
}

impl World {
    fn decide(&self, service: &ServiceName, who: &Who) -> (Decision, Vec<Step>) {
        let table = RouteTable::build(&self.config, &Catalog::from_iter(self.instances.clone()));
        let is_well = |rung| {
            let rung = table.rung(rung).unwrap();
            let service = &table.service(rung.service).unwrap().name;
            !self.sick.contains(&(service.clone(), rung.lane))
        };
        let id = table.by_name(service.as_str()).unwrap();
        let mut trail = Vec::new();
        let decision = decide(&table, id, who, is_well, &mut trail);
        assert_eq!(decision, decide(&table, id, who, is_well, &mut ()));
        let rung = decision.rung.map(|it| table.rung(it).unwrap());
        if let Some(rung) = rung {
            assert_eq!((rung.service, rung.lane), (id, decision.lane));
            assert!(!rung.instances.is_empty() && is_well(rung.id));
            let is_member = |it: &Instance| {
                it.service == *service && it.lane == rung.lane && it.status == Status::Up
            };
            assert!(rung.instances.iter().all(|it| is_member(it)));
        }
        // The number of a rung means nothing in the next table.
        (Decision { rung: None, ..decision }, trail)
    }

    /// The rungs of a request in order, none being the baseline, each with its reason, and what
    /// becomes of it: written from the words of the documentation, without the table.
    fn naive(&self, service: &ServiceName, who: &Who) -> (Decision, Vec<Step>) {
        let settings = self.config.services.get(service).unwrap_or(&self.config.defaults);
        let tenant = match who {
            Who::Tenant(it) => self.config.tenants.get(it).cloned().unwrap_or_default(),
            _ => Tenant::default(),
        };
        let own = match who {
            Who::Nobody => return self.finish(service, Reason::Baseline, vec![]),
            Who::Tenant(_) if tenant.disabled => {
                return self.finish(service, Reason::Disabled, vec![]);
            }
            Who::Tenant(it) => tenant.lane.unwrap_or((*it).into()),
            Who::Lane(it) => *it,
        };
        let mut rungs = vec![(own, Reason::Exact)];
        rungs.extend(parents(&own).into_iter().map(|it| (it, Reason::Parent)));
        rungs.extend(self.section(&own).fallback.iter().map(|it| (*it, Reason::Fallback)));
        let mut trail = Vec::new();
        let mut reason = Reason::Absent;
        for (lane, why) in rungs {
            if trail.iter().any(|it: &Step| it.lane == Some(lane)) {
                continue;
            }
            let mut outcome = self.look(service, Some(lane));
            if outcome == Outcome::Unhealthy {
                reason = Reason::Unhealthy;
                if self.section(&lane).on_unhealthy == OnUnhealthy::Fail {
                    outcome = Outcome::Failed;
                }
            }
            trail.push(Step { lane: Some(lane), outcome });
            match outcome {
                Outcome::Taken => return (taken(Some(lane), why), trail),
                Outcome::Failed => return (Decision::NO_INSTANCE, trail),
                _ => {}
            }
        }
        if tenant.strict || settings.strict || self.section(&own).strict {
            trail.push(Step { lane: None, outcome: Outcome::Strict });
            return (Decision::NO_INSTANCE, trail);
        }
        self.finish(service, reason, trail)
    }

    fn finish(
        &self,
        service: &ServiceName,
        reason: Reason,
        mut trail: Vec<Step>,
    ) -> (Decision, Vec<Step>) {
        let outcome = self.look(service, None);
        trail.push(Step { lane: None, outcome });
        let is_taken = outcome == Outcome::Taken;
        (if is_taken { taken(None, reason) } else { Decision::NO_INSTANCE }, trail)
    }

    fn look(&self, service: &ServiceName, lane: Option<LaneName>) -> Outcome {
        let mut there =
            self.instances.iter().filter(|it| it.service == *service && it.lane == lane).peekable();
        if there.peek().is_none() {
            return Outcome::Absent;
        }
        let is_up = there.any(|it| it.status == Status::Up);
        let is_sick = self.sick.contains(&(service.clone(), lane));
        if is_up && !is_sick { Outcome::Taken } else { Outcome::Unhealthy }
    }

    fn section(&self, lane: &LaneName) -> Lane {
        let mut names = vec![*lane];
        names.extend(parents(lane));
        names.iter().find_map(|it| self.config.lanes.get(it)).cloned().unwrap_or_default()
    }
}

fn taken(lane: Option<LaneName>, reason: Reason) -> Decision {
    Decision { rung: None, lane, reason }
}

/// Every proper prefix that ends before a dot, longest first.
fn parents(name: &LaneName) -> Vec<LaneName> {
    let text = name.as_str();
    let dots = text.char_indices().filter(|(_, it)| *it == '.').map(|(at, _)| at);
    let mut parents: Vec<_> = dots.map(|at| lane(&text[..at])).collect();
    parents.reverse();
    parents
}

fn lanes() -> impl Strategy<Value = LaneName> {
    select(&NAMES[..]).prop_map(lane)
}

fn services() -> impl Strategy<Value = ServiceName> {
    select(&SERVICES[..]).prop_map(|it| ServiceName::new(it).unwrap())
}

fn whos() -> impl Strategy<Value = Who> {
    let free = "[ab](\\.|[ab]){0,6}".prop_map(|it| lane(&it));
    let name = prop_oneof![3 => lanes(), 1 => free].boxed();
    prop_oneof![
        1 => Just(Who::Nobody),
        6 => name.clone().prop_map(|it| Who::Tenant(it.into())),
        2 => name.prop_map(Who::Lane),
    ]
}

fn tenants() -> impl Strategy<Value = Tenant> {
    (option::of(lanes()), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(lane, disabled, strict)| Tenant { lane, disabled, strict })
}

fn sections() -> impl Strategy<Value = Lane> {
    let on_unhealthy = select(vec![OnUnhealthy::Fallback, OnUnhealthy::Fail]);
    (vec(lanes(), 0..4), prop::bool::weighted(0.3), on_unhealthy)
        .prop_map(|(fallback, strict, on_unhealthy)| Lane { fallback, strict, on_unhealthy })
}

fn instances() -> impl Strategy<Value = Vec<Instance>> {
    let one = (services(), option::weighted(0.7, lanes()), prop::bool::weighted(0.8));
    vec(one, 0..25).prop_map(|all| {
        let new = |((service, lane, is_up), port)| {
            let status = if is_up { Status::Up } else { Status::Down };
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            Instance { lane, status, ..Instance::new(service, address) }
        };
        all.into_iter().zip(1..).map(new).collect()
    })
}

fn worlds() -> impl Strategy<Value = World> {
    let base = config("");
    (
        btree_map(lanes().prop_map(TenantId::from), tenants(), 0..6),
        btree_map(lanes(), sections(), 0..6),
        // Every service is configured, so that each is there without an instance too.
        SERVICES.map(|_| prop::bool::weighted(0.3)),
        instances(),
        btree_set((services(), option::of(lanes())), 0..8),
    )
        .prop_map(move |(tenants, lanes, strict, instances, sick)| {
            let named = SERVICES.map(|it| ServiceName::new(it).unwrap()).into_iter().zip(strict);
            let service = |strict| Service { strict, ..base.defaults.clone() };
            let services = named.map(|(name, strict)| (name, service(strict))).collect();
            World { config: Config { tenants, lanes, services, ..base.clone() }, instances, sick }
        })
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_decision_is_what_the_documentation_says(
        world in worlds(), service in services(), who in whos(),
    ) {
        prop_assert_eq!(world.decide(&service, &who), world.naive(&service, &who));
    }

    #[test]
    fn without_a_tenant_there_is_only_the_baseline(world in worlds(), service in services()) {
        let (decision, trail) = world.decide(&service, &Who::Nobody);

        prop_assert_eq!(decision.lane, None);
        prop_assert!(matches!(decision.reason, Reason::Baseline | Reason::NoInstance));
        prop_assert!(trail.iter().all(|it| it.lane.is_none()));
    }

    #[test]
    fn a_tenant_never_leaves_its_ladder(world in worlds(), service in services(), who in whos()) {
        let own = match &who {
            Who::Nobody => None,
            Who::Tenant(it) => {
                let lane = world.config.tenants.get(it).and_then(|it| it.lane);
                Some(lane.unwrap_or((*it).into()))
            }
            Who::Lane(it) => Some(*it),
        };
        let listed = own.map(|it| world.section(&it).fallback).unwrap_or_default();

        let (decision, trail) = world.decide(&service, &who);

        for lane in trail.iter().map(|it| it.lane).chain([decision.lane]).flatten() {
            let own = own.unwrap();
            let is_above = own == lane || own.as_str().starts_with(&format!("{lane}."));
            prop_assert!(is_above || listed.contains(&lane), "{} of {}", lane, own);
        }
    }

    #[test]
    fn what_is_strict_never_yields_the_baseline(
        world in worlds(), service in services(), name in lanes(),
    ) {
        let mut world = world;
        let tenant = TenantId::from(name);
        world.config.tenants.entry(tenant).or_default().strict = true;
        world.config.tenants.entry(tenant).or_default().disabled = false;

        let (decision, _) = world.decide(&service, &Who::Tenant(tenant));

        prop_assert!(decision.lane.is_some() || decision.reason == Reason::NoInstance);
    }

    #[test]
    fn a_disabled_tenant_goes_where_nobody_goes(
        world in worlds(), service in services(), name in lanes(),
    ) {
        let mut world = world;
        let tenant = TenantId::from(name);
        world.config.tenants.entry(tenant).or_default().disabled = true;

        let (disabled, by_tenant) = world.decide(&service, &Who::Tenant(tenant));
        let (nobody, by_nobody) = world.decide(&service, &Who::Nobody);

        prop_assert_eq!(disabled.lane, nobody.lane);
        prop_assert_eq!(disabled.reason == Reason::NoInstance, nobody.reason == Reason::NoInstance);
        prop_assert_eq!(by_tenant, by_nobody);
    }

    #[test]
    fn what_others_have_changes_no_decision(
        world in worlds(), more in worlds(), service in services(), who in whos(),
    ) {
        let mut fuller = world.clone();
        let port = |it: Instance| {
            Instance { address: ([127, 0, 0, 2], it.address.port()).into(), ..it }
        };
        let others = more.instances.into_iter().filter(|it| it.service != service).map(port);
        fuller.instances.extend(others);
        for (tenant, settings) in more.config.tenants {
            if who != Who::Tenant(tenant) {
                fuller.config.tenants.insert(tenant, settings);
            }
        }
        for (name, settings) in more.config.services {
            if name != service {
                fuller.config.services.insert(name, settings);
            }
        }

        prop_assert_eq!(fuller.decide(&service, &who), world.decide(&service, &who));
    }

    #[test]
    fn a_reason_is_true(world in worlds(), service in services(), who in whos()) {
        let (decision, trail) = world.decide(&service, &who);

        let last = trail.last().map(|it| it.outcome);
        let is_sick = trail.iter().any(|it| it.outcome == Outcome::Unhealthy);
        match decision.reason {
            Reason::NoInstance => prop_assert!(last != Some(Outcome::Taken)),
            Reason::Exact => prop_assert_eq!(trail.len(), 1),
            Reason::Baseline | Reason::Disabled => prop_assert_eq!(trail.len(), 1),
            Reason::Absent => prop_assert!(!is_sick && decision.lane.is_none()),
            Reason::Unhealthy => prop_assert!(is_sick && decision.lane.is_none()),
            Reason::Parent | Reason::Fallback => prop_assert!(decision.lane.is_some()),
        }
        if decision.reason != Reason::NoInstance {
            let end = Step { lane: decision.lane, outcome: Outcome::Taken };
            prop_assert_eq!(trail.last(), Some(&end));
            prop_assert_eq!(trail.iter().filter(|it| it.outcome == Outcome::Taken).count(), 1);
        }
    }
}
