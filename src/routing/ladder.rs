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

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The ladders of all names that the operator wrote down or an instance carries, and of their
/// dotted parents.
///
/// A name is a lane's and a tenant's at once. What a look-up leads to lies in the look-up's own
/// entry, so that the next ones need not wait until the name has come from memory and been
/// compared.
#[derive(Debug, Default)]
pub(super) struct Ladders {
    entries: HashTable<Entry>,
    /// By id.
    names: Vec<LaneName>,
    /// By id.
    climbs: Vec<Climb>,
    rest: Vec<LaneId>,
    hasher: RandomState,
}

/// What we know of one name.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The lane of this name.
    own: LaneId,
    /// The lane a tenant of this name is sent to.
    sent_to: LaneId,
    /// Whether the operator or an instance names it.
    is_known: bool,
    /// Whether the tenant of this name is turned off.
    is_disabled: bool,
    /// Whether the tenant of this name never gets the baseline.
    is_strict: bool,
}

/// What is tried after one lane.
#[derive(Debug, Clone, Copy, Default)]
struct Climb {
    /// Where the other lanes lie in `rest`.
    start: u32,
    /// How many they are: at most 62 parents, for 63 bytes have 62 dots, and 8 of the list.
    length: u8,
    /// How many of them are dotted parents; the others are of the `fallback` list.
    parents: u8,
    /// Whether the baseline is not among them.
    is_strict: bool,
    /// What becomes of a request that finds the lane unhealthy.
    on_unhealthy: OnUnhealthy,
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
            ladders.know((*tenant).into());
            let sent_to = settings.lane.map(|lane| ladders.intern(lane));
            if let Some(entry) = ladders.entry_mut(tenant.as_str()) {
                entry.sent_to = sent_to.unwrap_or(entry.own);
                entry.is_disabled = settings.disabled;
                entry.is_strict = settings.strict;
            }
        }
        ladders.climb(config);
        ladders
    }

    /// Adds a name that may be a label.
    fn know(&mut self, name: LaneName) {
        self.intern(name);
        if let Some(entry) = self.entry_mut(name.as_str()) {
            entry.is_known = true;
        }
    }

    /// Adds a name with its dotted parents, unless it is there.
    fn intern(&mut self, name: LaneName) -> LaneId {
        if let Some(id) = self.find(name.as_str()) {
            return id;
        }
        if let Some(parent) = name.parent() {
            self.intern(parent);
        }
        let own = LaneId(index(self.names.len()));
        self.names.push(name);
        let Self { entries, names, hasher, .. } = self;
        let hash = |it: &Entry| hasher.hash_one(text(names, it.own));
        let known =
            Entry { own, sent_to: own, is_known: false, is_disabled: false, is_strict: false };
        entries.insert_unique(hash(&known), known, hash);
        own
    }

    /// Works out what is tried after each lane, now that all names are there.
    fn climb(&mut self, config: &Config) {
        let mut rest = Vec::with_capacity(self.names.len());
        let mut climbs = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let section = section(config, *name);
            let start = rest.len();
            rest.extend(parents(*name).filter_map(|it| self.find(it.as_str())));
            let parents = rest.len() - start;
            for lane in section.into_iter().flat_map(|it| &it.fallback) {
                let Some(id) = self.find(lane.as_str()) else { continue };
                // A lane is tried once, where it comes first.
                if lane != name && !rest.iter().skip(start).any(|it| *it == id) {
                    rest.push(id);
                }
            }
            climbs.push(Climb {
                start: index(start),
                length: u8::try_from(rest.len() - start).unwrap_or(u8::MAX),
                parents: u8::try_from(parents).unwrap_or(u8::MAX),
                is_strict: section.is_some_and(|it| it.strict),
                on_unhealthy: section.map(|it| it.on_unhealthy).unwrap_or_default(),
            });
        }
        self.rest = rest;
        self.climbs = climbs;
    }

    /// Returns the ladder of a tenant; none if it is turned off.
    pub(super) fn of_tenant(
        &self,
        tenant: &TenantId,
        trail: &mut impl Trail,
    ) -> Option<Ladder<'_>> {
        let Some(entry) = self.entry(tenant.as_str()) else {
            return Some(self.of_stranger(tenant.as_str(), trail));
        };
        if entry.is_disabled {
            return None;
        }
        let ladder = self.from(entry.sent_to, Reason::Exact);
        Some(Ladder { is_strict: ladder.is_strict || entry.is_strict, ..ladder })
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
        let climb = self.climbs.get(lane.index()).copied().unwrap_or_default();
        let start = climb.start as usize;
        Ladder {
            first: Some((lane, reason)),
            rest: self.rest.get(start..start + usize::from(climb.length)).unwrap_or_default(),
            parents: climb.parents.into(),
            is_strict: climb.is_strict,
        }
    }

    /// Returns the lane of that name, if it is of the table.
    pub(super) fn find(&self, name: &str) -> Option<LaneId> {
        self.entry(name).map(|entry| entry.own)
    }

    /// Returns the name of a lane of the table.
    pub(super) fn name(&self, lane: LaneId) -> Option<&LaneName> {
        self.names.get(lane.index())
    }

    /// Returns what becomes of a request that finds the instances of the lane unhealthy.
    pub(super) fn on_unhealthy(&self, lane: LaneId) -> OnUnhealthy {
        self.climbs.get(lane.index()).map(|it| it.on_unhealthy).unwrap_or_default()
    }

    /// Returns whether the operator or an instance names it.
    pub(super) fn is_known(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| entry.is_known)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.find(self.hasher.hash_one(name), |it| text(&self.names, it.own) == name)
    }

    fn entry_mut(&mut self, name: &str) -> Option<&mut Entry> {
        let hash = self.hasher.hash_one(name);
        self.entries.find_mut(hash, |it| text(&self.names, it.own) == name)
    }
}

fn text(names: &[LaneName], id: LaneId) -> &str {
    names.get(id.index()).map_or("", LaneName::as_str)
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
