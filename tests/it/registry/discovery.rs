//! The discovery API, call by call.

use dyelane::registry::scheduler::Schedulers;
use dyelane::registry::store::Store;

use super::*;

const WHO: &str = "zone=z&env=prod&appid=a.b.c&hostname=h1";
const OK: &str = r#"{"code":0,"message":"0","ttl":1}"#;

fn registration() -> String {
    format!(
        "{WHO}&status=1&addrs=grpc://10.0.0.1:9000&addrs=http://10.0.0.1:8000&version=v1&region=r\
         &metadata=%7B%22weight%22%3A10%2C%22color%22%3A%22red%22%7D"
    )
}

#[tokio::test]
async fn an_instance_is_registered_renewed_fetched_and_cancelled() {
    let server = Server::new().await;

    let registered = server.post("register", &registration()).await;
    let renewed = server.post("renew", WHO).await;
    let fetched = server.get("/discovery/fetch?env=prod&appid=a.b.c&status=1").await;
    let cancelled = server.post("cancel", WHO).await;
    let again = server.post("cancel", WHO).await;

    assert_eq!((registered.status, registered.body.as_str()), (200, OK));
    assert_eq!(registered.field("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(registered.field("kratos-status-code"), Some("0"));
    let instance = &renewed.json()["data"];
    assert_eq!(instance["addrs"][1], "http://10.0.0.1:8000");
    assert_eq!(instance["metadata"]["weight"], "10");
    assert_eq!((&instance["status"], &instance["region"]), (&1.into(), &"r".into()));
    let order = [
        "region",
        "zone",
        "env",
        "appid",
        "hostname",
        "addrs",
        "version",
        "metadata",
        "status",
        "reg_timestamp",
        "up_timestamp",
        "renew_timestamp",
        "dirty_timestamp",
        "latest_timestamp",
    ];
    let at: Vec<_> = order.iter().map(|it| fetched.body.find(&format!("\"{it}\":"))).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{}", fetched.body);
    assert!(fetched.json()["data"]["latest_timestamp"].as_i64().unwrap() > 1 << 60);
    assert_eq!(cancelled.body, OK);
    assert_eq!(again.code(), -404);
}

#[tokio::test]
async fn a_post_may_say_everything_in_its_query() {
    let server = Server::new().await;

    let told = server.ask("POST", &format!("/discovery/register?{}", registration()), "", "").await;

    assert_eq!(told.body, OK);
}

#[tokio::test]
async fn what_is_unknown_is_not_found_in_the_words_there_are() {
    let server = Server::new().await;
    server.register("known", "h").await;

    let app = server.post("renew", WHO).await;
    let host = server.post("renew", "zone=z&env=prod&appid=known&hostname=other").await;
    let fetched = server.get("/discovery/fetch?env=prod&appid=none&status=1").await;
    let zone = server.get("/discovery/fetch?env=prod&appid=known&status=1&zone=y").await;
    let several = server.get("/discovery/fetchs?env=prod&appid=x&appid=y&status=1").await;

    let null = r#"{"code":-404,"message":"-404","ttl":1,"data":null}"#;
    assert_eq!((app.body.as_str(), fetched.body.as_str()), (null, null));
    assert_eq!((host.code(), &host.json()["data"]["appid"]), (-404, &"".into()));
    assert_eq!((zone.code(), &zone.json()["data"]["instances"]), (-404, &serde_json::json!({})));
    assert_eq!((several.code(), several.json()["data"].clone()), (0, serde_json::json!({})));
}

#[tokio::test]
async fn lists_may_be_repeated_or_joined() {
    let server = Server::new().await;
    for appid in ["a", "b"] {
        server.register(appid, "h").await;
    }

    for list in ["appid=a&appid=b", "appid=a,b", "appid=a%2Cb&appid="] {
        let told = server.get(&format!("/discovery/fetchs?env=prod&status=1&{list}")).await;

        let data = told.json()["data"].clone();
        assert_eq!(data.as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b"], "{list}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_why() {
    let server = Server::new().await;
    server.post("register", &registration()).await;

    for (call, form) in [
        ("register", "zone=z".to_owned()),
        ("register", format!("{WHO}&status=1")),
        ("register", format!("{WHO}&addrs=a&status=0")),
        ("register", format!("{WHO}&addrs=a&status=3")),
        ("register", format!("{WHO}&addrs=a&status=x")),
        ("register", format!("{WHO}&addrs=a&status=1&metadata=x")),
        ("register", format!("{WHO}&addrs=a&status=1&metadata=[1]")),
        ("register", format!("{WHO}&addrs=a&status=1&dirty_timestamp=now")),
        ("register", format!("{WHO}&addrs=%zz&status=1")),
        ("renew", "zone=z&env=prod&appid=a".to_owned()),
        ("cancel", String::new()),
        ("set", format!("{WHO}&status=1&status=2")),
        ("set", format!("{WHO}&status=7")),
        ("set", "zone=z&env=prod&appid=a.b.c&hostname=nobody&status=2".to_owned()),
    ] {
        let told = server.post(call, &form).await;

        assert_eq!((told.status, told.code()), (200, -400), "{call} {form}");
    }
}

#[tokio::test]
async fn lost_paths_and_methods_are_answered_to_the_letter() {
    let server = Server::new().await;

    for (method, target, status, body) in [
        ("GET", "/discovery/none", 404, "404 page not found"),
        ("GET", "/", 404, "404 page not found"),
        ("GET", "/discovery/register", 405, "Method Not Allowed"),
        ("POST", "/discovery/fetch", 405, "Method Not Allowed"),
        ("PUT", "/discovery/polls", 405, "Method Not Allowed"),
    ] {
        let told = server.ask(method, target, "", "").await;

        assert_eq!((told.status, told.body.as_str()), (status, body), "{method} {target}");
        assert_eq!(told.field("content-type"), Some("text/plain"), "{method} {target}");
    }
}

#[tokio::test]
async fn setting_changes_status_and_merges_metadata_and_is_news() {
    let server = Server::new().await;
    server.post("register", &registration()).await;
    let before = server.latest("a.b.c").await;

    let told =
        server.post("set", &format!("{WHO}&status=2&metadata=%7B%22x%22%3A%22y%22%7D")).await;

    assert_eq!(told.body, OK);
    let up = server.get("/discovery/fetch?env=prod&appid=a.b.c&status=1").await;
    assert_eq!(up.json()["data"]["instances"], serde_json::json!({"z": []}));
    let all = server.get("/discovery/fetch?env=prod&appid=a.b.c&status=3").await.json();
    let instance = &all["data"]["instances"]["z"][0];
    assert_eq!((&instance["status"], &instance["metadata"]["x"]), (&2.into(), &"y".into()));
    assert_eq!(instance["metadata"]["color"], "red");
    assert!(server.latest("a.b.c").await > before);
}

#[tokio::test]
async fn heartbeats_are_no_news() {
    let server = Server::new().await;
    server.post("register", &registration()).await;
    let before = server.latest("a.b.c").await;

    server.post("renew", WHO).await;

    assert_eq!(server.latest("a.b.c").await, before);
}

#[tokio::test]
async fn what_a_peer_passes_on_is_ordered_by_its_time() {
    let server = Server::new().await;
    let passed = |dirty: u64, version: &str| {
        format!("{WHO}&addrs=a&status=1&replication=true&dirty_timestamp={dirty}&version={version}")
    };
    let renew = |dirty: u64| format!("{WHO}&replication=true&dirty_timestamp={dirty}");
    server.post("register", &passed(2000, "second")).await;

    let older = server.post("register", &passed(1000, "first")).await;
    let codes = [
        server.post("renew", &renew(2000)).await.code(),
        server.post("renew", &renew(3000)).await.code(),
        server.post("renew", &renew(1000)).await.code(),
        server.post("renew", &format!("{WHO}&replication=true")).await.code(),
    ];

    assert_eq!(older.code(), 0);
    assert_eq!(codes, [0, -404, -409, -409]);
    let conflict = server.post("renew", &renew(1000)).await.json();
    assert_eq!(conflict["data"]["version"], "second");
    assert_eq!(conflict["data"]["dirty_timestamp"], 2000);
}

#[tokio::test]
async fn a_node_is_an_instance_and_a_member_of_its_registry() {
    let settings = Settings { zone: "z1".into(), host: "node-1".into(), ..Settings::default() };
    let server = Server::with(settings).await;
    let addr = server.registry.address();

    let nodes = server.get("/discovery/nodes").await;
    let polls = "/discovery/polls?env=prod&appid=infra.discovery&hostname=me&latest_timestamp=0";
    let polled = server.get(polls).await.json();
    let all = server.get("/discovery/fetch/all").await.json();

    let expected = format!(
        r#"{{"code":0,"message":"0","ttl":1,"data":[{{"addr":"{addr}","status":0,"zone":"z1"}}]}}"#
    );
    assert_eq!(nodes.body, expected);
    let instance = &polled["data"]["infra.discovery"]["instances"]["z1"][0];
    assert_eq!(instance["hostname"], "node-1");
    assert_eq!(instance["addrs"], serde_json::json!([format!("http://{addr}")]));
    assert_eq!(all["data"]["infra.discovery"][0]["hostname"], "node-1");
}

#[tokio::test]
async fn a_node_that_stops_takes_itself_back_and_lets_pollers_go() {
    let server = Server::new().await;
    let poll = "/discovery/polls?env=prod&appid=none&hostname=me&latest_timestamp=0";
    let held = server.send("GET", poll, "", "").await;
    server.watchers(1).await;
    let (node, address) = (Arc::clone(server.node()), server.registry.address());

    within(server.registry.stop()).await;

    assert_eq!(answer(held).await.code(), -304);
    assert_eq!(node.read(Store::len), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn schedulers_are_told_with_the_service_and_wake_its_pollers() {
    let place = tempfile::tempdir().unwrap();
    let directory = Some(place.path().to_owned());
    let server = Server::with(Settings { schedulers: directory, ..Settings::default() }).await;
    server.register("a", "h").await;
    let before = server.get("/discovery/fetch?env=prod&appid=a&status=1").await;
    let latest = server.latest("a").await;
    let poll = format!("/discovery/poll?env=prod&appid=a&hostname=me&latest_timestamp={latest}");
    let held = server.send("GET", &poll, "", "").await;
    server.watchers(1).await;

    let said = r#"{"app_id":"a","env":"prod","remark":"x",
                   "clients":{"z":{"zones":{"y":{"weight":9}}}}}"#;
    std::fs::write(place.path().join("new"), said).unwrap();
    std::fs::rename(place.path().join("new"), place.path().join("a.json")).unwrap();
    let told = answer(held).await.json();

    assert!(before.json()["data"].get("scheduler").is_none());
    let expected =
        serde_json::json!({"clients": {"z": {"zones": {"y": {"weight": 9}}}}, "remark": "x"});
    assert_eq!(told["data"]["scheduler"], expected);
}

#[tokio::test]
async fn a_scheduler_that_was_read_before_a_change_is_news_after_it() {
    let place = tempfile::tempdir().unwrap();
    let said = r#"{"app_id":"a","env":"prod","clients":{"z":{"zones":{"y":{"weight":9}}}}}"#;
    std::fs::write(place.path().join("a.json"), said).unwrap();
    let (schedulers, changed) = Schedulers::default().next(place.path()).unwrap();
    let server = Server::new().await;
    server.register("a", "h").await;
    let latest = server.latest("a").await;
    let poll = format!("/discovery/poll?env=prod&appid=a&hostname=me&latest_timestamp={latest}");
    let held = server.send("GET", &poll, "", "").await;
    server.watchers(1).await;

    server.node().publish_schedulers(schedulers, changed);
    let told = answer(held).await.json();

    assert_eq!(told["data"]["scheduler"]["clients"]["z"]["zones"]["y"]["weight"], 9);
    assert!(told["data"]["latest_timestamp"].as_i64().unwrap() > latest);
}

#[tokio::test]
async fn an_operator_and_probes_are_answered() {
    let server = Server::new().await;
    server.register("a", "h").await;

    for (target, part) in [
        ("/healthz", "alive"),
        ("/readyz", "ready"),
        ("/metrics", "dyelane_registry_instances 2"),
        ("/v1/status", "\"instances\":2"),
    ] {
        let told = server.get(target).await;

        assert_eq!(told.status, 200, "{target}");
        assert!(told.body.contains(part), "{target}: {}", told.body);
    }
}

#[tokio::test]
async fn a_node_whose_name_another_has_taken_is_registered_by_its_address() {
    let server = Server::with(Settings { host: "same".into(), ..Settings::default() }).await;
    let other = "zone=default&env=prod&appid=infra.discovery&hostname=same&status=1";

    server.post("register", &format!("{other}&addrs=http://10.0.0.9:7171")).await;

    let own = format!("same/{}", server.registry.address());
    let target = "/discovery/fetch?env=prod&appid=infra.discovery&status=1";
    within(async { while !server.get(target).await.body.contains(&own) {} }).await;
    assert!(server.get(target).await.body.contains("http://10.0.0.9:7171"));
}
