//! One service as clients of this dialect see it, and its JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::registry::dialect::discovery::calls::ANY_STATUS;
use crate::registry::node::Node;
use crate::registry::record::{Record, Registration, Standing};
use crate::registry::scheduler::{Scheduler, Schedulers};
use crate::registry::store::{Seen, ServiceView, Store};

/// An instance, taken out of the store.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    record: Arc<Record>,
    /// When it was last heard of, in unix nanoseconds.
    renewed: u64,
}

impl Instance {
    /// Takes an instance out of the store.
    pub(super) fn of(seen: &Seen<'_>) -> Self {
        Self { record: Arc::clone(seen.record), renewed: seen.renewed }
    }

    /// An instance that was just renewed.
    pub(super) fn renewed((record, renewed): (Arc<Record>, u64)) -> Self {
        Self { record, renewed }
    }

    /// Returns the time of its version, in unix nanoseconds.
    pub(super) fn written(&self) -> u64 {
        self.record.version.at
    }

    /// Returns its JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.shown()).unwrap_or_default()
    }

    fn shown(&self) -> Option<Shown<'_>> {
        let live = self.record.live()?;
        let key = &self.record.key;
        let written = time(self.record.version.at);
        Some(Shown {
            region: &live.region,
            zone: &key.zone,
            env: &key.env,
            appid: &key.appid,
            hostname: &key.hostname,
            addrs: &live.addrs,
            version: &live.version,
            metadata: &live.metadata,
            status: status(live),
            reg_timestamp: time(live.registered),
            up_timestamp: time(live.up_since),
            renew_timestamp: time(self.renewed),
            dirty_timestamp: written,
            latest_timestamp: written,
        })
    }
}

/// The instance that a caller is shown who asks for one that there is not: it has nothing.
pub(super) const NOBODY: &[u8] = br#"{"region":"","zone":"","env":"","appid":"","hostname":"","addrs":null,"version":"","metadata":null,"status":0,"reg_timestamp":0,"up_timestamp":0,"renew_timestamp":0,"dirty_timestamp":0,"latest_timestamp":0}"#;

/// An instance, in the order in which its fields have always been.
#[derive(Serialize)]
struct Shown<'a> {
    region: &'a str,
    zone: &'a str,
    env: &'a str,
    appid: &'a str,
    hostname: &'a str,
    addrs: &'a [Arc<str>],
    version: &'a str,
    metadata: &'a BTreeMap<Arc<str>, Arc<str>>,
    status: u32,
    reg_timestamp: i64,
    up_timestamp: i64,
    renew_timestamp: i64,
    dirty_timestamp: i64,
    latest_timestamp: i64,
}

/// Returns a time as clients read it: signed.
pub(super) fn time(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}

fn status(live: &Registration) -> u32 {
    match live.status {
        Standing::Up => 1,
        Standing::Waiting => 2,
    }
}

/// What is wanted of a service.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// The environment.
    pub(super) env: Arc<str>,
    /// The zone; empty: all.
    pub(super) zone: Arc<str>,
    /// The bits of the statuses.
    pub(super) status: u32,
}

impl Filter {
    fn has_zone(&self, zone: &str) -> bool {
        self.zone.is_empty() || *self.zone == *zone
    }
}

/// A service, taken out of the store.
#[derive(Debug)]
pub(super) struct App {
    zones: BTreeMap<Arc<str>, Vec<Instance>>,
    scheduler: Option<Arc<Scheduler>>,
    latest: u64,
}

#[derive(Serialize)]
struct ShownApp<'a> {
    instances: BTreeMap<&'a str, Vec<Shown<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<&'a Scheduler>,
    latest_timestamp: i64,
}

impl App {
    /// Takes a service out of the store, whatever of it is there.
    pub(super) fn of(
        store: &Store,
        schedulers: &Schedulers,
        filter: &Filter,
        appid: &Arc<str>,
    ) -> Self {
        let mut zones = BTreeMap::<Arc<str>, Vec<Instance>>::new();
        let view = store.service(&filter.env, appid);
        for (id, record) in view.into_iter().flat_map(ServiceView::members) {
            if !filter.has_zone(&record.key.zone) {
                continue;
            }
            let zone = zones.entry(Arc::clone(&record.key.zone)).or_default();
            let is_wanted = record.live().is_some_and(|it| status(it) & filter.status != 0);
            if let Some(seen) = store.seen(id).filter(|_| is_wanted) {
                zone.push(Instance::of(&seen));
            }
        }
        let in_force = schedulers.of(&filter.env, appid);
        let since = in_force.map_or(0, |it| it.since);
        let latest = view.map_or(0, ServiceView::index).max(since);
        Self { zones, scheduler: in_force.and_then(|it| it.scheduler.clone()), latest }
    }

    /// Whether there is nothing of it where it is looked for.
    pub(super) fn is_missing(&self) -> bool {
        self.zones.is_empty()
    }

    /// Returns its JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.shown()).unwrap_or_default()
    }

    fn shown(&self) -> ShownApp<'_> {
        let zones = self
            .zones
            .iter()
            .map(|(zone, all)| (&**zone, all.iter().filter_map(Instance::shown).collect()));
        ShownApp {
            instances: zones.collect(),
            scheduler: self.scheduler.as_deref(),
            latest_timestamp: time(self.latest),
        }
    }
}

/// What can be told of a service without taking it out of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Glance {
    /// The timestamp of its last change; 0: this node has never heard of it.
    pub(super) latest: u64,
    /// How many instances it has where it is looked for.
    pub(super) instances: usize,
    /// Whether any of them takes traffic.
    pub(super) is_up: bool,
}

impl Glance {
    /// Looks at a service.
    pub(super) fn at(
        store: &Store,
        schedulers: &Schedulers,
        filter: &Filter,
        appid: &Arc<str>,
    ) -> Self {
        let since = schedulers.of(&filter.env, appid).map_or(0, |it| it.since);
        let Some(view) = store.service(&filter.env, appid) else { return Self::default() };
        let there = || view.instances().filter(|it| filter.has_zone(&it.key.zone));
        // Of all zones at once nothing is counted: thousands may look, each time it changes.
        let instances = if filter.zone.is_empty() { view.len() } else { there().count() };
        let is_up = there().any(|it| it.live().is_some_and(|it| it.status == Standing::Up));
        Self { latest: view.index().max(since), instances, is_up }
    }
}

/// Returns the JSON of several services by name; those without anything are in it only if `missing`.
pub(super) fn several(node: &Node, filter: &Filter, apps: &[Arc<str>], missing: bool) -> Vec<u8> {
    let taken = node.read_spread(|store, schedulers| {
        let of = |appid| App::of(store, schedulers, filter, appid);
        apps.iter().map(|appid| (appid, of(appid))).collect::<Vec<_>>()
    });
    let shown = taken.iter().filter(|(_, app)| missing || !app.is_missing());
    let shown: BTreeMap<&str, _> = shown.map(|(appid, app)| (&***appid, app.shown())).collect();
    serde_json::to_vec(&shown).unwrap_or_default()
}

/// Returns the JSON of everything there is: every environment, zone and status.
///
/// Services are read some at a time, so that no writer waits for long.
pub(super) fn everything(node: &Node) -> Vec<u8> {
    const SLICE: usize = 64;
    let keys: Vec<_> = node.read(|store| store.services().map(|(key, _)| key.clone()).collect());
    let mut apps = BTreeMap::<Arc<str>, Vec<Instance>>::new();
    for slice in keys.chunks(SLICE) {
        node.read(|store| {
            for key in slice {
                let filter = Filter { env: key.env.clone(), zone: "".into(), status: ANY_STATUS };
                let app = App::of(store, &Schedulers::default(), &filter, &key.appid);
                if !app.is_missing() {
                    let all = app.zones.into_values().flatten();
                    apps.entry(key.appid.clone()).or_default().extend(all);
                }
            }
        });
    }
    let shown: BTreeMap<&str, Vec<_>> = apps
        .iter()
        .map(|(appid, all)| (&**appid, all.iter().filter_map(Instance::shown).collect()))
        .collect();
    serde_json::to_vec(&shown).unwrap_or_default()
}
