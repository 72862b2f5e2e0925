//! Small worlds to decide in, each written as a file and a list of instances.

mod cases;
mod properties;
mod rules;

use std::net::SocketAddr;

use proptest::prelude::ProptestConfig;

use crate::config::Config;
use crate::model::{Catalog, Instance, LaneName, ServiceName, Status, TenantId};
use crate::routing::{Decision, RouteTable, RungId, Step, Who, decide};

/// The file of an operator who said nothing.
pub(super) fn config(text: &str) -> Config {
    let text = format!("[workload]\nservice = \"here\"\n[outbound]\n{text}");
    Config::check("sidecar.toml", &text, &|_| None).unwrap()
}

pub(super) fn lane(name: &str) -> LaneName {
    LaneName::new(name).unwrap()
}

pub(super) fn tenant(name: &str) -> Who {
    Who::Tenant(TenantId::new(name).unwrap())
}

/// `user`, `user@alice`, `user@alice!` (down), each at an address of its own.
pub(super) fn catalog(instances: &[&str]) -> Catalog {
    let instance = |(text, port): (&&str, u16)| {
        let (name, status) =
            text.strip_suffix('!').map_or((*text, Status::Up), |it| (it, Status::Down));
        let (service, lane_name) = name.split_once('@').unzip();
        let service = ServiceName::new(service.unwrap_or(name)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Instance { lane: lane_name.map(lane), status, ..Instance::new(service, address) }
    };
    instances.iter().zip(1..).map(instance).collect()
}

/// A world in which some rungs are unhealthy.
pub(super) struct World {
    pub(super) table: RouteTable,
    sick: Vec<RungId>,
}

impl World {
    pub(super) fn new(text: &str, instances: &[&str]) -> Self {
        Self { table: RouteTable::build(&config(text), &catalog(instances)), sick: Vec::new() }
    }

    /// The same, with the rung `user` or `user@alice` unhealthy.
    pub(super) fn sick(mut self, name: &str) -> Self {
        let (service, lane) = name.split_once('@').map_or((name, None), |(s, l)| (s, Some(l)));
        let id = self.table.by_name(service).unwrap();
        let rungs = self.table.rungs().iter().filter(|it| it.service == id);
        let of_lane = |it: &&crate::routing::Rung| it.lane.as_ref().map(LaneName::as_str) == lane;
        self.sick.extend(rungs.filter(of_lane).map(|it| it.id));
        self
    }

    pub(super) fn decide(&self, service: &str, who: &Who) -> (Decision, Vec<Step>) {
        let id = self.table.by_name(service).unwrap();
        let mut trail = Vec::new();
        let is_well = |rung| !self.sick.contains(&rung);
        let decision = decide(&self.table, id, who, is_well, &mut trail);
        assert_eq!(decision, decide(&self.table, id, who, is_well, &mut ()));
        (decision, trail)
    }

    /// The decision for `user`, as `alice: absent, baseline: taken => baseline;absent`.
    pub(super) fn says(&self, who: &Who) -> String {
        let (decision, trail) = self.decide("user", who);
        let steps: Vec<_> = trail.iter().map(Step::to_string).collect();
        format!("{} => {};{}", steps.join(", "), decision.lane_label(), decision.reason)
    }
}

pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
