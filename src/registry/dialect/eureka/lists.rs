//! Lists of applications, taken out of the store and worded.
//!
//! What a list tells, and its hash, are taken at one look. When instances were last heard of is
//! looked up afterwards and some at a time, so that no writer waits for long.

use std::collections::HashMap;
use std::sync::Arc;

use crate::registry::dialect::eureka::format::{Format, Listing};
use crate::registry::dialect::eureka::shown::{Row, Shown, View};
use crate::registry::eureka::StatusCounts;
use crate::registry::newest::Age;
use crate::registry::node::Node;
use crate::registry::record::Id;
use crate::registry::store::{Action, App, EnvApps, Member, has_name};

/// How old what is known of heartbeats may be in a list, in seconds.
pub(super) const STEP: u64 = 30;
/// How long the changes of the last three minutes may be told after they are older, in seconds.
pub(super) const DELTA_STEP: u64 = 10;
/// Instances whose heartbeats are looked up in one go.
const SLICE: usize = 256;

/// An instance to be told of: its id, what is registered, and what became of it.
type Told = (Arc<str>, Member, Action);

/// Looks at the applications of the node's environment.
pub(super) fn look<R>(node: &Node, look: impl FnOnce(Option<&EnvApps>) -> R) -> R {
    node.read(|store| look(store.apps(&node.settings().env)))
}

/// Returns how many steps of so many seconds the node has run.
pub(super) fn step(node: &Node, every: u64) -> u64 {
    node.now().since_start.as_secs() / every
}

/// Returns how new a list is that is made now.
pub(super) fn age(node: &Node, every: u64) -> Age {
    let version = node.read(|store| store.apps_version(&node.settings().env));
    Age { version, step: step(node, every) }
}

/// Returns how the node shows instances.
pub(super) fn view(node: &Node, app: Option<&Arc<str>>) -> View {
    View { app: app.cloned(), lease: node.settings().store.lease.as_secs() }
}

/// Returns everything there is.
pub(super) fn everything(node: &Node, format: Format) -> (Age, Vec<u8>) {
    let step = step(node, STEP);
    let own_env = &node.settings().env;
    let (version, hash, apps) = node.read(|store| {
        let env = store.apps(own_env);
        let apps = env.into_iter().flat_map(EnvApps::all).cloned().collect::<Vec<_>>();
        (store.apps_version(own_env), env.map(EnvApps::hash).unwrap_or_default(), apps)
    });
    let mut out = String::new();
    format.push_head(&Listing { version: 1, hash: &hash }, &mut out);
    for (at, app) in apps.iter().enumerate() {
        push(node, format, app.name(), members(app), at == 0, &mut out);
    }
    format.push_tail(&mut out);
    (Age { version, step }, out.into_bytes())
}

/// Returns what changed lately.
pub(super) fn changes(node: &Node, format: Format) -> (Age, Vec<u8>) {
    let (now, step) = (node.now(), step(node, DELTA_STEP));
    let own_env = &node.settings().env;
    let (version, hash, changed) = node.read(|store| {
        let env = store.apps(own_env);
        let changed = env.into_iter().flat_map(|it| it.recent(now)).cloned().collect::<Vec<_>>();
        (store.apps_version(own_env), env.map(EnvApps::hash).unwrap_or_default(), changed)
    });
    let mut places = HashMap::<Arc<str>, usize>::new();
    let mut apps = Vec::<(Arc<str>, Vec<Told>)>::new();
    for it in changed {
        let place = *places.entry(it.app.clone()).or_insert_with(|| {
            apps.push((it.app.clone(), Vec::new()));
            apps.len() - 1
        });
        if let Some((_, told)) = apps.get_mut(place) {
            told.push((it.name, it.member, it.action));
        }
    }
    let listing = Listing { version, hash: &hash };
    (Age { version, step }, listed(node, format, &listing, apps))
}

/// Returns those instances of some applications that have a name.
pub(super) fn by_vip(
    node: &Node,
    format: Format,
    apps: &[Arc<App>],
    (name, secure): (&str, bool),
) -> Vec<u8> {
    let has_it = |(_, member, _): &Told| {
        let vips = member.record.live().map(|it| it.vips(&member.record.key));
        vips.is_some_and(|[plain, secret]| has_name(if secure { secret } else { plain }, name))
    };
    let told = |app: &Arc<App>| members(app).into_iter().filter(has_it).collect::<Vec<_>>();
    let apps = apps.iter().map(|app| (app.name().clone(), told(app)));
    let apps: Vec<_> = apps.filter(|(_, told)| !told.is_empty()).collect();
    let mut counts = StatusCounts::default();
    for (_, member, _) in apps.iter().flat_map(|(_, told)| told) {
        member.record.live().into_iter().for_each(|it| counts.add(it.eureka_status()));
    }
    listed(node, format, &Listing { version: 1, hash: &counts.to_string() }, apps)
}

/// Returns one application.
pub(super) fn app(node: &Node, format: Format, app: &App) -> Vec<u8> {
    let (rows, view) = (rows(node, members(app)), view(node, Some(app.name())));
    format.app(app.name(), rows.iter().filter_map(|it| Shown::of(it, &view)))
}

fn listed(
    node: &Node,
    format: Format,
    listing: &Listing<'_>,
    apps: Vec<(Arc<str>, Vec<Told>)>,
) -> Vec<u8> {
    let mut out = String::new();
    format.push_head(listing, &mut out);
    for (at, (name, told)) in apps.into_iter().enumerate() {
        push(node, format, &name, told, at == 0, &mut out);
    }
    format.push_tail(&mut out);
    out.into_bytes()
}

fn push(
    node: &Node,
    format: Format,
    name: &Arc<str>,
    told: Vec<Told>,
    is_first: bool,
    out: &mut String,
) {
    let (rows, view) = (rows(node, told), view(node, Some(name)));
    format.push_app(name, rows.iter().filter_map(|it| Shown::of(it, &view)), is_first, out);
}

fn members(app: &App) -> Vec<Told> {
    app.instances().map(|(name, it)| (name, it.clone(), Action::Added)).collect()
}

/// Looks up when instances were last heard of, some at a time.
fn rows(node: &Node, told: Vec<Told>) -> Vec<Row> {
    let ids: Vec<Id> = told.iter().map(|(_, member, _)| member.id).collect();
    let mut renewed = Vec::with_capacity(ids.len());
    for slice in ids.chunks(SLICE) {
        node.read(|store| {
            renewed.extend(slice.iter().map(|id| store.seen(*id).map(|it| it.renewed)));
        });
    }
    let rows = told.into_iter().zip(renewed);
    let row = |((name, member, action), renewed): (Told, Option<u64>)| {
        let renewed = renewed.unwrap_or(member.record.version.at);
        Row { name, member, renewed, action }
    };
    rows.map(row).collect()
}
