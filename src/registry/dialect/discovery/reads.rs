//! `fetch`, `fetchs`, `fetch/all` and `nodes`: what there is now.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use crate::registry::dialect::discovery::app::{App, Filter, Glance, everything, several};
use crate::registry::dialect::discovery::calls::Fetch;
use crate::registry::dialect::discovery::envelope::{Answer, Code, wrapped};
use crate::registry::dialect::discovery::fields::{Fields, Invalid};
use crate::registry::fingerprint::Fingerprint;
use crate::registry::node::Node;

/// How long a read waits at most for this node to have anything worth reading.
const UNTIL_READABLE: Duration = Duration::from_secs(5);
/// Instances up to which a list is made for each who asks. Longer ones are shared for a second, and
/// may be so far behind in when instances were last heard of; never in what they say.
const FEW: usize = 64;

/// `GET fetch`.
///
/// # Errors
/// The request makes no sense.
pub(super) async fn fetch(
    node: &Arc<Node>,
    fields: &Fields,
    takes_gzip: bool,
) -> Result<Answer, Invalid> {
    let fetch = Fetch::one(fields)?;
    Ok(list(node, &fetch, takes_gzip, |node, filter, apps| {
        let app = apps.first().map(|appid| {
            node.read_spread(|store, schedulers| {
                let is_known = store.service(&filter.env, appid).is_some_and(|it| !it.is_empty());
                is_known.then(|| App::of(store, schedulers, filter, appid))
            })
        });
        match app.flatten() {
            None => (Code::NotFound, b"null".to_vec()),
            Some(app) if app.is_missing() => (Code::NotFound, app.json()),
            Some(app) => (Code::Ok, app.json()),
        }
    })
    .await)
}

/// `GET fetchs`.
///
/// # Errors
/// The request makes no sense.
pub(super) async fn fetchs(
    node: &Arc<Node>,
    fields: &Fields,
    takes_gzip: bool,
) -> Result<Answer, Invalid> {
    let fetch = Fetch::several(fields)?;
    let make: List = |node, filter, apps| (Code::Ok, several(node, filter, apps, false));
    Ok(list(node, &fetch, takes_gzip, make).await)
}

/// What makes a list.
type List = fn(&Node, &Filter, &[Arc<str>]) -> (Code, Vec<u8>);

/// Answers with a list: made anew if it is short, else shared.
async fn list(node: &Arc<Node>, fetch: &Fetch, takes_gzip: bool, make: List) -> Answer {
    if timeout(UNTIL_READABLE, node.readable()).await.is_err() {
        return shed(node, "fetch", Code::Overloaded);
    }
    let filter = Filter { env: fetch.env.clone(), zone: fetch.zone.clone(), status: fetch.status };
    let mut of = Fingerprint::default().text("fetch").text(&filter.env).text(&filter.zone);
    of.add_number(filter.status.into());
    let instances = node.read_spread(|store, schedulers| {
        let glances = fetch.apps.iter().map(|appid| {
            let glance = Glance::at(store, schedulers, &filter, appid);
            of.add_text(appid);
            of.add_number(glance.latest.into());
            glance.instances
        });
        glances.sum::<usize>()
    });
    if instances <= FEW {
        let (code, data) = make(node, &filter, &fetch.apps);
        return Answer::with(code, &data);
    }
    let Ok(place) = node.admission().fetches.enter().await.inspect_err(|_| ()) else {
        return shed(node, "fetch", Code::Overloaded);
    };
    // One service and several are told in other words.
    of.add_number(make as usize as u128);
    of.add_number(node.now().since_start.as_secs().into());
    let (writer, apps) = (Arc::clone(node), fetch.apps.clone());
    let encode = move || {
        let (code, data) = make(&writer, &filter, &apps);
        wrapped(code, &data)
    };
    let body = node.encoded().get_body(of.finish(), instances, takes_gzip, encode).await;
    drop(place);
    Answer::shared(Code::Ok, body)
}

/// `GET fetch/all`.
pub(super) async fn fetch_all(node: &Arc<Node>, takes_gzip: bool) -> Answer {
    if timeout(UNTIL_READABLE, node.readable()).await.is_err() {
        return shed(node, "everything", Code::Overloaded);
    }
    let place = match node.admission().everything.enter().await {
        Ok(place) => place,
        Err(why) => return shed(node, "everything", why.into()),
    };
    let (instances, index) = node.read(|store| (store.len(), store.index()));
    let second = node.now().since_start.as_secs();
    let of = Fingerprint::default().text("fetch/all").number(index.into()).number(second.into());
    let writer = Arc::clone(node);
    let encode = move || wrapped(Code::Ok, &everything(&writer));
    let body = node.encoded().get_body(of.finish(), instances, takes_gzip, encode).await;
    drop(place);
    Answer::shared(Code::Ok, body)
}

fn shed(node: &Node, class: &str, code: Code) -> Answer {
    node.metrics().shed(class);
    Answer::shed(code)
}

#[derive(Serialize)]
struct ShownMember<'a> {
    addr: &'a str,
    status: u8,
    zone: &'a str,
}

/// `GET nodes`: those of our own zone.
pub(super) fn nodes(node: &Node) -> Answer {
    let members = node.members();
    let ours = members.iter().filter(|it| it.zone == node.settings().zone);
    let shown: Vec<_> = ours
        .map(|it| ShownMember { addr: &it.addr, status: u8::from(it.is_lost), zone: &it.zone })
        .collect();
    Answer::with(Code::Ok, &serde_json::to_vec(&shown).unwrap_or_default())
}
