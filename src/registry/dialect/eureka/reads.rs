//! What there is: everything, what changed, one application, one instance, one name.
//!
//! Answers are of the moment they are asked for; only when an instance was last heard of may be up
//! to half a minute old in lists. Everything and the changes are made as seldom as that allows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::timeout;

use crate::registry::api::gzip;
use crate::registry::api::reply::{self, Reply};
use crate::registry::dialect::eureka::format::Format;
use crate::registry::dialect::eureka::lists::{self, DELTA_STEP, STEP};
use crate::registry::dialect::eureka::path::Target;
use crate::registry::dialect::eureka::shown::{Row, Shown};
use crate::registry::fingerprint::Fingerprint;
use crate::registry::newest::{Made, Newest};
use crate::registry::node::Node;
use crate::registry::store::{Action, EnvApps, Member, Store};

/// How long a read waits at most for this node to have anything worth reading.
const UNTIL_READABLE: Duration = Duration::from_secs(5);

/// The lists that are shared: by format.
#[derive(Debug, Default)]
pub struct Lists {
    json: Newest,
    xml: Newest,
    json_delta: Newest,
    xml_delta: Newest,
}

impl Lists {
    /// Forgets lists that nobody has asked for in the last two steps: they may be large.
    pub fn sweep(&self, node: &Node) {
        let last = |every| lists::step(node, every).saturating_sub(1);
        for list in [&self.json, &self.xml] {
            list.forget_before(last(STEP));
        }
        for list in [&self.json_delta, &self.xml_delta] {
            list.forget_before(last(DELTA_STEP));
        }
    }
}

/// What a client takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) format: Format,
    pub(super) gzip: bool,
}

impl Taken {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self { format: Format::wanted(headers), gzip: gzip::is_wanted(headers) }
    }

    /// Returns an answer of bytes that are compressed or are not.
    fn reply(self, body: Bytes, is_gzip: bool) -> Reply {
        let mut reply = reply::bytes(StatusCode::OK, self.format.kind(), body);
        reply.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if is_gzip {
            reply.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }

    async fn reply_made(self, node: &Node, made: &Made) -> Reply {
        if self.gzip && made.plain().len() >= gzip::WORTH {
            return self.reply(made.gzip(node.encoded()).await, true);
        }
        self.reply(made.plain(), false)
    }
}

/// Returns a read's answer for as long as this node has nothing worth reading: none otherwise.
pub(super) async fn unreadable(node: &Node) -> Option<Reply> {
    timeout(UNTIL_READABLE, node.readable()).await.is_err().then(|| shed(node, "fetch"))
}

/// `GET apps`.
pub(super) async fn apps(node: &Arc<Node>, taken: Taken) -> Reply {
    let newest = match taken.format {
        Format::Json => &node.eureka().json,
        Format::Xml => &node.eureka().xml,
    };
    let wanted = lists::age(node, STEP);
    if let Some(ready) = newest.ready(wanted) {
        return taken.reply_made(node, &ready).await;
    }
    let Ok(_place) = node.admission().alike.enter().await else {
        return shed(node, "everything");
    };
    let (writer, format) = (Arc::clone(node), taken.format);
    let instances = lists::look(node, |env| env.map_or(0, EnvApps::len));
    let make = move || lists::everything(&writer, format);
    match newest.get(node.encoded(), wanted, instances, make).await {
        Some(list) => taken.reply_made(node, &list).await,
        None => reply::overloaded(),
    }
}

/// `GET apps/delta`.
pub(super) async fn delta(node: &Arc<Node>, taken: Taken) -> Reply {
    let newest = match taken.format {
        Format::Json => &node.eureka().json_delta,
        Format::Xml => &node.eureka().xml_delta,
    };
    let wanted = lists::age(node, DELTA_STEP);
    if let Some(ready) = newest.ready(wanted) {
        return taken.reply_made(node, &ready).await;
    }
    let Ok(_place) = node.admission().alike.enter().await else { return shed(node, "fetch") };
    let (writer, format) = (Arc::clone(node), taken.format);
    let instances = lists::look(node, |env| env.map_or(0, EnvApps::recently));
    let make = move || lists::changes(&writer, format);
    match newest.get(node.encoded(), wanted, instances, make).await {
        Some(list) => taken.reply_made(node, &list).await,
        None => reply::overloaded(),
    }
}

/// `GET apps/APP`.
pub(super) async fn app(node: &Arc<Node>, taken: Taken, name: &str) -> Reply {
    let Some(app) = lists::look(node, |env| env?.get(name).cloned()) else { return not_found() };
    let Ok(_place) = node.admission().fetches.enter().await else { return shed(node, "fetch") };
    let of = Fingerprint::default().text("eureka/app").text(name).text(taken.format.name());
    let of = of.number(app.version().into()).number(lists::step(node, STEP).into());
    let (writer, format, instances) = (Arc::clone(node), taken.format, app.len());
    let make = move || lists::app(&writer, format, &app);
    shared(node, taken, of.finish(), instances, make).await
}

/// `GET vips/NAME` and `GET svips/NAME`. A name that nobody has is an empty list.
pub(super) async fn vip(node: &Arc<Node>, taken: Taken, name: &str, secure: bool) -> Reply {
    let apps: Vec<_> = lists::look(node, |env| {
        env.into_iter().flat_map(|it| it.by_vip(name, secure)).cloned().collect()
    });
    let Ok(_place) = node.admission().fetches.enter().await else { return shed(node, "fetch") };
    let mut of = Fingerprint::default().text("eureka/vip").text(name).text(taken.format.name());
    of.add_number(u128::from(secure));
    of.add_number(lists::step(node, STEP).into());
    for app in &apps {
        of.add_text(app.name());
        of.add_number(app.version().into());
    }
    let instances = apps.iter().map(|it| it.len()).sum();
    let (writer, format, name) = (Arc::clone(node), taken.format, name.to_owned());
    let make = move || lists::by_vip(&writer, format, &apps, (&name, secure));
    shared(node, taken, of.finish(), instances, make).await
}

fn shed(node: &Node, class: &str) -> Reply {
    node.metrics().shed(class);
    reply::overloaded()
}

/// `GET apps/APP/ID`.
pub(super) fn instance(node: &Node, taken: Taken, target: &Target) -> Reply {
    let row = node.read(|store| {
        let app = store.apps(&node.settings().env)?.get(&target.app)?;
        Some(row_of(store, target.id.clone(), app.get(&target.id)?))
    });
    row.and_then(|row| one(node, taken.format, &row)).map_or_else(not_found, |it| {
        let is_long = taken.gzip && it.len() >= gzip::WORTH;
        let body = if is_long { gzip::compressed(&it).into() } else { it.into() };
        taken.reply(body, is_long)
    })
}

/// `GET instances/ID`: of several applications that of the first name.
pub(super) fn any_instance(node: &Node, taken: Taken, id: &Arc<str>) -> Reply {
    // Looked for outside the lock: there may be thousands of applications.
    let apps: Vec<_> =
        lists::look(node, |env| env.into_iter().flat_map(EnvApps::all).cloned().collect());
    let Some(app) = apps.iter().find(|it| it.get(id).is_some()) else { return not_found() };
    instance(node, taken, &Target { app: app.name().clone(), id: id.clone() })
}

/// Returns one instance in a format; none if it has gone.
pub(super) fn one(node: &Node, format: Format, row: &Row) -> Option<Vec<u8>> {
    Shown::of(row, &lists::view(node, None)).map(|it| format.instance(&it))
}

/// Takes an instance out of the store.
pub(super) fn row_of(store: &Store, name: Arc<str>, member: &Member) -> Row {
    let renewed = store.seen(member.id).map_or(0, |it| it.renewed);
    Row { name, member: member.clone(), renewed, action: Action::Added }
}

pub(super) fn not_found() -> Reply {
    reply::empty(StatusCode::NOT_FOUND)
}

/// Answers with what is encoded, and compressed, once for all who ask the same.
async fn shared<F>(node: &Node, taken: Taken, of: u128, instances: usize, make: F) -> Reply
where
    F: FnOnce() -> Vec<u8> + Send + 'static,
{
    let body = node.encoded().get_body(of, instances, taken.gzip, make).await;
    taken.reply(body.bytes, body.is_gzip)
}
