//! A registry that speaks the calls of bilibili/discovery and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::harness::app::{Request, Response, answer};

/// What it knows: services with the time of their last change and their instances.
type Known = BTreeMap<String, (i64, Vec<Value>)>;

/// A node of bilibili/discovery, as far as consumers ask it.
struct Foreign {
    app: App,
    known: Arc<Mutex<Known>>,
    changed: watch::Sender<i64>,
}

impl Foreign {
    fn start() -> Self {
        let (known, changed) = (Arc::<Mutex<Known>>::default(), watch::Sender::new(0));
        let (told, wakes) = (known.clone(), changed.clone());
        let app = App::start(move |request| answer_to(request, told.clone(), wakes.subscribe()));
        Self { app, known, changed }
    }

    /// Writes what is known of a service; wakes who polls for it.
    fn say(&self, appid: &str, instances: &[Value]) {
        let now = *self.changed.borrow() + 1;
        self.known.lock().unwrap().insert(appid.to_owned(), (now, instances.to_vec()));
        self.changed.send_replace(now);
    }

    /// Forgets a service, of which the polls of this registry tell nobody.
    fn forget(&self, appid: &str) {
        self.known.lock().unwrap().remove(appid);
    }
}

fn instance(env: &str, host: &str, addrs: &Value, status: u8) -> Value {
    json!({
        "region": "sh", "zone": "sh001", "env": env, "appid": "", "hostname": host, "addrs": addrs,
        "version": "1", "metadata": null, "status": status, "reg_timestamp": 1_525_948_301_833_084_700_i64,
        "latest_timestamp": 1_525_948_301_833_084_700_i64,
    })
}

fn up(host: u8) -> Value {
    instance("prod", &format!("h{host}"), &json!([format!("grpc://10.0.0.{host}:9000")]), 1)
}

fn values<'a>(query: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&').filter_map(|it| it.split_once('='));
    pairs.filter(move |(name, _)| *name == key).map(|(_, value)| value)
}

async fn answer_to(
    request: Request,
    known: Arc<Mutex<Known>>,
    mut changed: watch::Receiver<i64>,
) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let envelope = |code: i64, data: Value| {
        answer(200, &json!({"code": code, "message": "0", "ttl": 1, "data": data}).to_string())
    };
    let by_zone = |latest: i64, all: Vec<Value>| json!({"instances": {"sh001": all}, "latest_timestamp": latest});
    let is_up = |it: &Value| it["status"] == 1;
    match request.uri().path() {
        "/discovery/fetch/all" => {
            let known = known.lock().unwrap();
            let all: BTreeMap<_, _> = known.iter().map(|(appid, (_, all))| (appid, all)).collect();
            envelope(0, json!(all))
        }
        "/discovery/fetchs" => {
            let known = known.lock().unwrap();
            let all = values(&query, "appid").filter_map(|it| Some((it, known.get(it)?.clone())));
            let all: BTreeMap<_, _> =
                all.map(|(appid, (latest, all))| (appid, by_zone(latest, all))).collect();
            envelope(0, json!(all))
        }
        "/discovery/polls" => {
            let hold = request.headers()["x1-bmspy-timeout"].to_str().unwrap().parse().unwrap();
            let asked: Vec<_> = values(&query, "appid")
                .zip(values(&query, "latest_timestamp"))
                .map(|(appid, latest)| (appid.to_owned(), latest.parse::<i64>().unwrap()))
                .collect();
            let news = async {
                loop {
                    changed.mark_unchanged();
                    let known = known.lock().unwrap().clone();
                    let newer = asked.iter().filter_map(|(appid, theirs)| {
                        let (latest, all) = known.get(appid)?;
                        let all = all.iter().filter(|it| is_up(it)).cloned().collect();
                        (latest > theirs).then(|| (appid, by_zone(*latest, all)))
                    });
                    let newer: BTreeMap<_, _> = newer.collect();
                    if !newer.is_empty() {
                        let missing = asked.iter().map(|(appid, _)| appid);
                        let missing: Vec<_> =
                            missing.filter(|it| !known.contains_key(*it)).collect();
                        return json!({"code": 0, "data": newer, "error": {"-404": missing},
                            "message": "0"});
                    }
                    changed.changed().await.unwrap();
                }
            };
            match tokio::time::timeout(Duration::from_millis(hold), news).await {
                Ok(news) => answer(200, &news.to_string()),
                Err(_) => answer(200, r#"{"code":-304,"message":"-304","ttl":1}"#),
            }
        }
        _ => answer(404, "404 page not found"),
    }
}

#[tokio::test]
async fn named_services_are_polled() {
    let registry = Foreign::start();
    registry.say(USER, &[up(1), instance("prod", "h2", &json!(["grpc://10.0.0.2:9000"]), 2)]);
    let named = format!("discovery.registry.services = ['{USER}', 'not.there']");
    let side = Side::start(following(&[registry.app.address()], &named)).await;

    side.until_known(USER, ["10.0.0.1:9000", "10.0.0.2:9000"].map(str::to_owned)).await;
    let waiting = shown(&side.admin("/catalog").await.body, USER);
    registry.say(USER, &[up(1), up(3)]);
    side.until_known(USER, ["10.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000"].map(str::to_owned))
        .await;
    registry.say("not.there", &[up(9)]);
    side.until_known("not.there", ["10.0.0.9:9000".to_owned()]).await;

    let down: Vec<_> = waiting.iter().filter(|it| it["up"] == false).collect();
    assert_eq!(down.len(), 1, "{waiting:?}");
    let source = side.until_source(|it| it["dialect"] == "discovery").await;
    assert_eq!(source["up"], true);
}

#[tokio::test]
async fn patterns_are_fetched_and_other_environments_and_odd_shapes_do_no_harm() {
    let registry = Foreign::start();
    let joined = json!(["http://10.0.0.2:80,grpc://10.0.0.2:9000"]);
    registry.say(
        USER,
        &[
            up(1),
            instance("prod", "h2", &joined, 1),
            instance("uat", "h3", &json!(["grpc://10.0.0.3:1"]), 1),
        ],
    );
    registry.say("cart.mall", &[instance("prod", "h4", &Value::Null, 1)]);
    let told = "discovery.registry.dialect = 'discovery'";

    let side = Side::start(following(&[registry.app.address()], told)).await;

    side.until_known(USER, ["10.0.0.1:9000", "10.0.0.2:9000"].map(str::to_owned)).await;
    let source = side.until_source(|it| it["left_out"] == 1).await;
    registry.say(USER, &[up(1), up(5)]);
    side.until_known(USER, ["10.0.0.1:9000", "10.0.0.5:9000"].map(str::to_owned)).await;
    assert!(source["left_out_examples"][0].as_str().unwrap().contains("it has no address"));
}

#[tokio::test]
async fn a_service_that_polls_do_not_tell_the_end_of_ends_all_the_same() {
    let registry = Foreign::start();
    registry.say(USER, &[up(1)]);
    registry.say("cart.mall", &[up(2), up(3), up(4)]);
    let told = "discovery.confirm = '1s'";
    let side = Side::start(following(&[registry.app.address()], told)).await;
    side.until_metric("catalog_instances", 4).await;

    registry.forget(USER);
    // What wakes the polls, and has the sidecar told who is missing.
    registry.say("cart.mall", &[up(2), up(3), up(5)]);
    side.until_known(USER, []).await;

    side.until_metric("catalog_instances", 3).await;
}
