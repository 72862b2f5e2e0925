//! A registry of both dialects, as far as instances tell it of themselves: remembers what it was
//! told, in order, and can forget, fail or go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use tokio::sync::watch;

use super::app::{App, Request, Response, answer};
use super::within;

/// What an instance told a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// `register`, `renew` or `cancel`.
    pub(crate) call: &'static str,
    /// Which instance: its host, of either dialect.
    pub(crate) who: String,
    /// What else was said: the fields of a form, or the body as it came under `body`.
    pub(crate) said: BTreeMap<String, String>,
}

/// What it keeps.
#[derive(Default)]
struct Kept {
    told: Vec<Told>,
    known: BTreeMap<String, BTreeMap<String, String>>,
    fails: bool,
}

/// A registry. Dropped, it is gone.
pub(crate) struct FakeRegistry {
    pub(crate) app: App,
    kept: Arc<Mutex<Kept>>,
    changed: watch::Sender<()>,
}

impl FakeRegistry {
    pub(crate) fn start() -> Self {
        let kept = Arc::new(Mutex::<Kept>::default());
        let changed = watch::Sender::new(());
        let (keeps, tells) = (kept.clone(), changed.clone());
        let app = App::start(move |request| {
            let (keeps, tells) = (keeps.clone(), tells.clone());
            async move {
                let answer = take(request, &keeps).await;
                tells.send_replace(());
                answer
            }
        });
        Self { app, kept, changed }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// Returns what it was told, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.kept.lock().unwrap().told.clone()
    }

    /// Returns the calls it was asked, in order.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.told().iter().map(|it| it.call).collect()
    }

    /// Returns the instances it knows.
    pub(crate) fn known(&self) -> Vec<String> {
        self.kept.lock().unwrap().known.keys().cloned().collect()
    }

    /// Is gone, with every connection.
    pub(crate) async fn die(&self) {
        self.app.kill().await;
    }

    /// Is there again.
    pub(crate) fn revive(&self) {
        self.app.revive();
    }

    /// Forgets every instance.
    pub(crate) fn forget(&self) {
        self.kept.lock().unwrap().known.clear();
    }

    /// Answers that it cannot, from now on or no longer.
    pub(crate) fn fail(&self, fails: bool) {
        self.kept.lock().unwrap().fails = fails;
    }

    /// Waits until what it was told is as `wanted`.
    pub(crate) async fn until(&self, wanted: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        within(async {
            while !wanted(self) {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits until it was asked that as its last call.
    pub(crate) async fn until_last(&self, call: &str) {
        self.until(|it| it.calls().last().is_some_and(|last| *last == call)).await;
    }
}

async fn take(request: Request, kept: &Mutex<Kept>) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return answer(400, "broken off") };
    let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let path = head.uri.path();
    let mut kept = kept.lock().unwrap();
    if kept.fails {
        return answer(503, "no");
    }
    if let Some(call) = path.strip_prefix("/discovery/") {
        let said = form(&body);
        let code = if keep(&mut kept, call, said["hostname"].clone(), said) { 0 } else { -404 };
        return answer(200, &format!("{{\"code\":{code},\"message\":\"{code}\",\"ttl\":1}}"));
    }
    let said =
        BTreeMap::from([("body".to_owned(), body.clone()), ("path".to_owned(), path.into())]);
    let call = match head.method.as_str() {
        "POST" => "register",
        "PUT" => "renew",
        _ => "cancel",
    };
    let who = if call == "register" {
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        told["instance"]["instanceId"].as_str().unwrap().to_owned()
    } else {
        unescape(path.rsplit('/').next().unwrap())
    };
    let is_known = keep(&mut kept, call, who, said);
    answer(
        if !is_known {
            404
        } else if call == "register" {
            204
        } else {
            200
        },
        "",
    )
}

/// Keeps a call; returns whether the instance is known.
fn keep(kept: &mut Kept, call: &str, who: String, said: BTreeMap<String, String>) -> bool {
    let call = match call {
        "register" => "register",
        "renew" => "renew",
        "cancel" => "cancel",
        other => panic!("an instance does not ask {other}"),
    };
    kept.told.push(Told { call, who: who.clone(), said: said.clone() });
    match call {
        "renew" => kept.known.contains_key(&who),
        "cancel" => kept.known.remove(&who).is_some(),
        _ => {
            kept.known.insert(who, said);
            true
        }
    }
}

fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|it| it.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), unescape(value))).collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}
