//! Services as Eureka's callers see them: applications, how many instances have which status, and
//! what changed lately. Kept up to date with every write, so that a list, its hash and its changes
//! are of one moment.
//!
//! An instance is known by its service and its id, which is its host name. Eureka knows no zones:
//! where several zones have a host of that name, one of them goes by it alone, and the others by
//! `host:service:zone`. Of several that registered by Eureka's API, and so are one, the one last
//! written is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use crate::registry::eureka::{StatusCounts, app_of};
use crate::registry::record::{Id, Moment, OWN_SERVICE, Record};
use crate::registry::store::news::{Action, Changed, News};

/// How many colons of an id are looked at from its end: a host's name may have some too.
const MOST_PARTS: usize = 16;

/// A live record and its short name.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its short name.
    pub id: Id,
    /// What is registered.
    pub record: Arc<Record>,
}

/// The instances of one application.
#[derive(Debug, Clone)]
pub struct App {
    name: Arc<str>,
    version: u64,
    /// By host name.
    hosts: BTreeMap<Arc<str>, Vec<Member>>,
}

impl App {
    /// Returns its name, in capitals.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the index of its last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns its instances by id.
    pub fn instances(&self) -> impl Iterator<Item = (Arc<str>, &Member)> {
        self.hosts.iter().flat_map(|(host, group)| named(host, group))
    }

    /// Returns about how many instances there are: those included of whom another is seen.
    pub fn len(&self) -> usize {
        self.hosts.values().map(Vec::len).sum()
    }

    /// Whether there is no instance.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Returns an instance by its id.
    pub fn get(&self, id: &str) -> Option<&Member> {
        if let Some((host, group)) = self.hosts.get_key_value(id) {
            return named(host, group).into_iter().next().map(|(_, member)| member);
        }
        let colons = id.rmatch_indices(':').take(MOST_PARTS);
        colons.filter_map(|(at, _)| self.hosts.get_key_value(id.get(..at)?)).find_map(
            |(host, group)| {
                named(host, group).into_iter().find(|(name, _)| **name == *id).map(|(_, it)| it)
            },
        )
    }
}

/// Returns those of one host name who are seen, each with its id: who goes by the name alone first.
fn named<'a>(host: &Arc<str>, group: &'a [Member]) -> Vec<(Arc<str>, &'a Member)> {
    let said = |it: &&Member| it.record.live().is_some_and(|live| live.said().is_some());
    let latest = group.iter().filter(said).max_by_key(|it| it.record.version);
    let Some(first) = latest.or_else(|| group.first()) else { return Vec::new() };
    let others = group.iter().filter(|it| it.id != first.id && !said(it)).map(|member| {
        let key = &member.record.key;
        (format!("{host}:{}:{}", key.appid, key.zone).into(), member)
    });
    [(host.clone(), first)].into_iter().chain(others).collect()
}

/// The applications of one environment.
#[derive(Debug, Default)]
pub struct EnvApps {
    version: u64,
    apps: BTreeMap<Arc<str>, Arc<App>>,
    counts: StatusCounts,
    vips: Index,
    secure_vips: Index,
    news: News,
}

/// Which applications have an instance of a name, and how many: by that name in capitals.
#[derive(Debug, Default)]
struct Index(HashMap<Box<str>, BTreeMap<Arc<str>, usize>>);

impl Index {
    fn add(&mut self, list: &str, app: &Arc<str>) {
        for name in names(list) {
            *self.0.entry(name.into()).or_default().entry(app.clone()).or_default() += 1;
        }
    }

    fn remove(&mut self, list: &str, app: &Arc<str>) {
        for name in names(list) {
            let Some(apps) = self.0.get_mut(name.as_str()) else { continue };
            match apps.get_mut(app) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(apps.remove(app)),
            }
            if apps.is_empty() {
                self.0.remove(name.as_str());
            }
        }
    }
}

/// Returns the names of a comma list, in capitals, each once.
fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(str::trim).filter(|it| !it.is_empty()).map(app_of).collect()
}

/// Returns whether a comma list has a name, whatever the case of either.
pub fn has_name(list: &str, name: &str) -> bool {
    let name = app_of(name);
    list.split(',').any(|it| app_of(it.trim()) == name)
}

impl EnvApps {
    /// Returns the applications by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// Returns an application by its name in capitals.
    pub fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(name)
    }

    /// Returns the applications of which an instance has that name among its plain or its secure
    /// ones, whatever the case.
    pub fn by_vip(&self, name: &str, secure: bool) -> impl Iterator<Item = &Arc<App>> {
        let index = if secure { &self.secure_vips } else { &self.vips };
        let apps = index.0.get(app_of(name.trim()).as_str());
        apps.into_iter().flat_map(BTreeMap::keys).filter_map(|it| self.apps.get(it))
    }

    /// Returns how many instances there are.
    pub fn len(&self) -> usize {
        self.counts.sum()
    }

    /// Whether there is no instance.
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }

    /// Returns what Eureka calls a hash: how many instances have which status, as `DOWN_1_UP_12_`.
    pub fn hash(&self) -> String {
        self.counts.to_string()
    }

    /// Returns what changed in the last three minutes, in the order of the changes: of each instance
    /// the last one, and the ends of those of its name that were reached elsewhere.
    pub fn recent(&self, now: Moment) -> impl Iterator<Item = &Changed> {
        self.news.since(now)
    }

    /// Returns about how many instances changed in the last three minutes: no fewer.
    pub fn recently(&self) -> usize {
        self.news.len()
    }

    fn put(&mut self, before: Option<&Record>, member: &Member, index: u64, now: Moment) {
        let key = &member.record.key;
        let name: Arc<str> = app_of(&key.appid).into();
        let app = self
            .apps
            .entry(name.clone())
            .or_insert_with(|| Arc::new(App { name, version: 0, hosts: BTreeMap::new() }));
        let app = Arc::make_mut(app);
        let (host, mut group) =
            app.hosts.remove_entry(&key.hostname).unwrap_or_else(|| (key.hostname.clone(), vec![]));
        let old = owned(&host, &group);
        if before.is_some() {
            group.retain(|it| it.id != member.id);
        }
        if member.record.live().is_some() {
            group.push(member.clone());
            group.sort_by(|one, other| place(one).cmp(&place(other)));
        }
        let new = owned(&host, &group);
        (app.version, self.version) = (index, index);
        let name = app.name.clone();
        if !group.is_empty() {
            app.hosts.insert(host, group);
        }
        if app.hosts.is_empty() {
            self.apps.remove(&name);
        }
        self.account(&name, &old, &new, now);
    }

    /// Takes what is seen of one host name from the old to the new.
    fn account(
        &mut self,
        app: &Arc<str>,
        old: &BTreeMap<Arc<str>, Member>,
        new: &BTreeMap<Arc<str>, Member>,
        now: Moment,
    ) {
        for member in old.values() {
            let Some(live) = member.record.live() else { continue };
            let [plain, secure] = live.vips(&member.record.key);
            self.vips.remove(plain, app);
            self.secure_vips.remove(secure, app);
            self.counts.remove(live.eureka_status());
        }
        for member in new.values() {
            let Some(live) = member.record.live() else { continue };
            let [plain, secure] = live.vips(&member.record.key);
            self.vips.add(plain, app);
            self.secure_vips.add(secure, app);
            self.counts.add(live.eureka_status());
        }
        for (name, member) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            self.news.push(app, name, member, Action::Deleted, now);
        }
        for (name, member) in new {
            match old.get(name) {
                None => self.news.push(app, name, member, Action::Added, now),
                Some(was) if Arc::ptr_eq(&was.record, &member.record) => {}
                Some(was) if reach(was) == reach(member) => {
                    self.news.push(app, name, member, Action::Modified, now);
                }
                Some(was) => {
                    // Clients that know it by where it is reached would keep the old one.
                    self.news.push(app, name, was, Action::Deleted, now);
                    self.news.push(app, name, member, Action::Added, now);
                }
            }
        }
    }
}

fn owned(host: &Arc<str>, group: &[Member]) -> BTreeMap<Arc<str>, Member> {
    named(host, group).into_iter().map(|(name, member)| (name, member.clone())).collect()
}

/// Returns where a member is reached.
pub(super) fn reach(member: &Member) -> String {
    member.record.live().map(|it| it.reach()).unwrap_or_default()
}

fn place(member: &Member) -> (&str, &str) {
    (&member.record.key.zone, &member.record.key.appid)
}

/// The applications of every environment.
#[derive(Debug, Default)]
pub(super) struct Apps {
    envs: HashMap<Arc<str>, EnvApps>,
    /// The index of the last change of any.
    version: u64,
}

impl Apps {
    pub(super) fn env(&self, env: &str) -> Option<&EnvApps> {
        self.envs.get(env)
    }

    /// Returns the index of the last change of an environment; of one that is forgotten, one no
    /// earlier.
    pub(super) fn version(&self, env: &str) -> u64 {
        self.env(env).map_or(self.version, |it| it.version)
    }

    /// Takes a record in the place of what there was of its key. `index` is that of the change. The
    /// registry's own nodes are no application.
    pub(super) fn put(
        &mut self,
        before: Option<&Record>,
        member: &Member,
        index: u64,
        now: Moment,
    ) {
        let before = before.filter(|it| it.live().is_some());
        let record = &member.record;
        if *record.key.appid == *OWN_SERVICE || (before.is_none() && record.live().is_none()) {
            return;
        }
        self.version = index;
        self.envs.entry(record.key.env.clone()).or_default().put(before, member, index, now);
    }

    /// Forgets what changed long ago, and environments of which nothing is left.
    pub(super) fn sweep(&mut self, now: Moment) {
        self.envs.retain(|_, env| {
            env.news.prune(now);
            !env.is_empty() || !env.news.is_empty()
        });
    }
}
