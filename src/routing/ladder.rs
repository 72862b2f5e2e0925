//! The order in which lanes are tried, worked out once for every name we know.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::config::{Config, Lane, OnUnhealthy};
use crate::model::{LaneName, TenantId};
use crate::routing::table::index;
use crate::routing::{Outcome, Reason, Trail};

/// A name of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneId(u32);

impl LaneId {
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// The ladders of all names that the operator wrote down or an instance carries, and of their
/// dotted parents.
///
/// A name is a lane's and a tenant's at once, so that a tenant in the lane of its own name, the
/// usual one, costs one look-up.
#[derive(Debug, Default)]
pub(super) struct Ladders {
    nodes: Vec<Node>,
    by_name: HashTable<u32>,
    rest: Vec<LaneId>,
    hasher: RandomState,
}

/// What we know of one name.
#[derive(Debug)]
struct Node {
    name: LaneName,
    /// The lane a tenant of this name is sent to.
    sent_to: LaneId,
    /// Where the lanes tried after the lane of this name lie in `rest`.
    start: u32,
    /// How many they are: at most 62 parents, for 63 bytes have 62 dots, and 8 of the list.
    length: u8,
    /// How many of them are dotted parents; the others are of the `fallback` list.
    parents: u8,
    is_known: bool,
    is_strict_lane: bool,
    on_unhealthy: OnUnhealthy,
    tenant: Settings,
}

/// What the operator said of the tenant of a name.
#[derive(Debug, Clone, Copy, Default)]
struct Settings {
    is_disabled: bool,
    is_strict: bool,
}

/// The lanes one request may use, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ladder<'a> {
    /// The first lane of the table, and what it is to the request.
    first: Option<(LaneId, Reason)>,
    rest: &'a [LaneId],
    parents: usize,
    /// Whether the baseline is not among them.
    pub(super) is_strict: bool,
}

impl Ladder<'_> {
    /// Returns the lanes of the table in the order in which they are tried.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (LaneId, Reason)> {
        let parents = self.parents;
        let rest = self.rest.iter().enumerate().map(move |(at, lane)| {
            (*lane, if at < parents { Reason::Parent } else { Reason::Fallback })
        });
        self.first.into_iter().chain(rest)
    }
}

impl Ladders {
    /// Works out the ladders of everything `config` names and of the lanes of the catalog.
    pub(super) fn build(config: &Config, lanes: &BTreeSet<LaneName>) -> Self {
        let mut ladders = Self::default();
        for name in lanes.iter().chain(config.lanes.keys()) {
            ladders.know(*name);
        }
        for lane in config.lanes.values() {
            for name in &lane.fallback {
                ladders.intern(*name);
            }
        }
        for (tenant, settings) in &config.tenants {
            let own = ladders.know((*tenant).into());
            let sent_to = settings.lane.map_or(own, |lane| ladders.intern(lane));
            if let Some(node) = ladders.node_mut(own) {
                node.sent_to = sent_to;
                node.tenant =
                    Settings { is_disabled: settings.disabled, is_strict: settings.strict };
            }
        }
        ladders.climb(config);
        ladders
    }

    /// Adds a name that bounds of labels count as known.
    fn know(&mut self, name: LaneName) -> LaneId {
        let id = self.intern(name);
        if let Some(node) = self.node_mut(id) {
            node.is_known = true;
        }
        id
    }

    /// Adds a name with its dotted parents, unless it is there.
    fn intern(&mut self, name: LaneName) -> LaneId {
        if let Some(id) = self.find(name.as_str()) {
            return id;
        }
        if let Some(parent) = name.parent() {
            self.intern(parent);
        }
        let id = index(self.nodes.len());
        self.nodes.push(Node::new(name, LaneId(id)));
        let Self { nodes, by_name, hasher, .. } = self;
        let hash = |id: &u32| hasher.hash_one(text(nodes, *id));
        by_name.insert_unique(hasher.hash_one(name.as_str()), id, hash);
        LaneId(id)
    }

    /// Works out what is tried after each lane, now that all names are there.
    fn climb(&mut self, config: &Config) {
        let mut rest = Vec::with_capacity(self.nodes.len());
        for at in 0..self.nodes.len() {
            let Some(name) = self.nodes.get(at).map(|node| node.name) else { continue };
            let section = section(config, name);
            let start = rest.len();
            rest.extend(parents(name).filter_map(|it| self.find(it.as_str())));
            let parents = rest.len() - start;
            for lane in section.into_iter().flat_map(|it| &it.fallback) {
                let Some(id) = self.find(lane.as_str()) else { continue };
                // A lane is tried once, where it comes first.
                if *lane != name && !rest.iter().skip(start).any(|it| *it == id) {
                    rest.push(id);
                }
            }
            if let Some(node) = self.nodes.get_mut(at) {
                node.start = index(start);
                node.length = u8::try_from(rest.len() - start).unwrap_or(u8::MAX);
                node.parents = u8::try_from(parents).unwrap_or(u8::MAX);
                node.is_strict_lane = section.is_some_and(|it| it.strict);
                node.on_unhealthy = section.map(|it| it.on_unhealthy).unwrap_or_default();
            }
        }
        self.rest = rest;
    }

    /// Returns the ladder of a tenant; none if it is turned off.
    pub(super) fn of_tenant(
        &self,
        tenant: &TenantId,
        trail: &mut impl Trail,
    ) -> Option<Ladder<'_>> {
        let Some(node) = self.find(tenant.as_str()).and_then(|id| self.node(id)) else {
            return Some(self.of_stranger(tenant.as_str(), trail));
        };
        if node.tenant.is_disabled {
            return None;
        }
        let ladder = self.from(node.sent_to, Reason::Exact);
        Some(Ladder { is_strict: ladder.is_strict || node.tenant.is_strict, ..ladder })
    }

    /// Returns the ladder of a lane.
    pub(super) fn of_lane(&self, lane: &LaneName, trail: &mut impl Trail) -> Ladder<'_> {
        match self.find(lane.as_str()) {
            Some(id) => self.from(id, Reason::Exact),
            None => self.of_stranger(lane.as_str(), trail),
        }
    }

    /// Returns the ladder of a name that is not in the table: that of its nearest dotted parent
    /// which is, for lanes that are not have neither instances nor a section.
    fn of_stranger(&self, name: &str, trail: &mut impl Trail) -> Ladder<'_> {
        let mut name = name;
        loop {
            if let Some(lane) = heard(name, trail) {
                trail.tried(Some(&lane), Outcome::Absent);
            }
            let Some((parent, _)) = name.rsplit_once('.') else {
                return Ladder { first: None, rest: &[], parents: 0, is_strict: false };
            };
            if let Some(id) = self.find(parent) {
                return self.from(id, Reason::Parent);
            }
            name = parent;
        }
    }

    /// Returns the ladder that begins with a lane of the table.
    fn from(&self, lane: LaneId, reason: Reason) -> Ladder<'_> {
        let first = Some((lane, reason));
        let Some(node) = self.node(lane) else {
            return Ladder { first, rest: &[], parents: 0, is_strict: false };
        };
        let start = node.start as usize;
        let rest = self.rest.get(start..start + usize::from(node.length)).unwrap_or_default();
        Ladder { first, rest, parents: usize::from(node.parents), is_strict: node.is_strict_lane }
    }

    /// Returns a name of the table.
    pub(super) fn find(&self, name: &str) -> Option<LaneId> {
        let hash = self.hasher.hash_one(name);
        self.by_name.find(hash, |id| text(&self.nodes, *id) == name).copied().map(LaneId)
    }

    /// Returns the text of a name of the table.
    pub(super) fn name(&self, lane: LaneId) -> Option<&LaneName> {
        self.node(lane).map(|node| &node.name)
    }

    /// Returns what becomes of a request that finds the instances of the lane unhealthy.
    pub(super) fn on_unhealthy(&self, lane: LaneId) -> OnUnhealthy {
        self.node(lane).map(|node| node.on_unhealthy).unwrap_or_default()
    }

    /// Returns whether the operator or an instance names it.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.find(name).and_then(|id| self.node(id)).is_some_and(|node| node.is_known)
    }

    fn node(&self, lane: LaneId) -> Option<&Node> {
        self.nodes.get(lane.0 as usize)
    }

    fn node_mut(&mut self, lane: LaneId) -> Option<&mut Node> {
        self.nodes.get_mut(lane.0 as usize)
    }
}

impl Node {
    fn new(name: LaneName, own: LaneId) -> Self {
        Self {
            name,
            sent_to: own,
            start: 0,
            length: 0,
            parents: 0,
            is_known: false,
            is_strict_lane: false,
            on_unhealthy: OnUnhealthy::Fallback,
            tenant: Settings::default(),
        }
    }
}

fn text(nodes: &[Node], id: u32) -> &str {
    nodes.get(id as usize).map_or("", |node| node.name.as_str())
}

/// The dotted parents of a lane, nearest first.
fn parents(name: LaneName) -> impl Iterator<Item = LaneName> {
    std::iter::successors(name.parent(), LaneName::parent)
}

/// What the operator wrote of a lane, or of its nearest dotted parent of which they wrote at all.
fn section(config: &Config, name: LaneName) -> Option<&Lane> {
    std::iter::once(name).chain(parents(name)).find_map(|it| config.lanes.get(&it))
}

/// The name as a lane, if anyone listens.
fn heard<T: Trail>(name: &str, _: &T) -> Option<LaneName> {
    if T::LISTENS { LaneName::new(name).ok() } else { None }
}
