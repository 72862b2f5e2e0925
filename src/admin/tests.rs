//! The operator's routes, asked one by one, and once over a real connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{RulesView, State, Status, routes, serve};
use crate::config::Config;
use crate::live::Live;
use crate::proxy::World;
use crate::telemetry::Metrics;

const FILE: &str = r#"
[workload]
service = "order.shop"

[outbound]

[tenants.bob]
enabled = false

[services."user.shop"]
hosts = ["users:9000"]
[[services."user.shop".instances]]
address = "127.0.0.1:9001"
[[services."user.shop".instances]]
address = "127.0.0.1:9002"
lane = "alice"
weight = 7
"#;

fn state(not_ready: &[&str]) -> Arc<State> {
    let config = Config::parse("sidecar.toml", FILE, &|_| None).unwrap().config;
    let catalog = config.instances.iter().cloned().collect();
    let status = Status {
        file: "/etc/dyelane/sidecar.toml".into(),
        started: SystemTime::UNIX_EPOCH,
        loaded: SystemTime::UNIX_EPOCH,
        last_error: None,
        quarantined: Vec::new(),
        restart_needed: vec!["inbound.listen".to_owned()],
        not_ready: not_ready.iter().map(|it| (*it).to_owned()).collect(),
        sources: Vec::new(),
        rules: RulesView::default(),
    };
    Arc::new(State {
        metrics: Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap()),
        world: Arc::new(Live::new(World::first(config, catalog))),
        status: Arc::new(Live::new(status)),
        now: Box::new(|| Duration::ZERO),
    })
}

/// Asks, and returns status, content type and body.
async fn ask(state: Arc<State>, method: Method, path: &str) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let service = TowerToHyperService::new(routes::router(state));
    let answer = service.call(request).await.unwrap();
    let kind = answer.headers().get("content-type").map(|it| it.to_str().unwrap().to_owned());
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, kind.unwrap_or_default(), String::from_utf8(body.into()).unwrap())
}

async fn get(path: &str) -> (StatusCode, Value) {
    let (status, _, body) = ask(state(&[]), Method::GET, path).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn the_index_names_every_route() {
    let (status, _, body) = ask(state(&[]), Method::GET, "/").await;

    assert_eq!(status, StatusCode::OK);
    for route in ["/metrics", "/healthz", "/readyz", "/config", "/catalog", "/decide"] {
        assert!(body.contains(route), "{body}");
    }
}

#[tokio::test]
async fn metrics_are_in_the_text_format() {
    let (status, kind, body) = ask(state(&[]), Method::GET, "/metrics").await;

    assert_eq!((status, &*kind), (StatusCode::OK, "text/plain; version=0.0.4"));
    assert!(body.contains("# TYPE dyelane_"), "{body}");
}

#[tokio::test]
async fn a_sidecar_that_is_not_ready_says_why_and_is_alive_all_the_same() {
    let ready = ask(state(&[]), Method::GET, "/readyz").await;
    let unready = ask(state(&["draining"]), Method::GET, "/readyz").await;
    let alive = ask(state(&["draining"]), Method::GET, "/healthz").await;

    assert_eq!((ready.0, &*ready.2), (StatusCode::OK, "ready\n"));
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!((unready.0, &*unready.2), (unavailable, "not ready: draining\n"));
    assert_eq!(alive.0, StatusCode::OK);
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_generation_and_values() {
    let (status, shown) = get("/config").await;

    assert_eq!(status, StatusCode::OK);
    assert_eq!((&shown["generation"], &shown["ready"]), (&json!(1), &json!(true)));
    assert_eq!(shown["status"]["file"], "/etc/dyelane/sidecar.toml");
    assert_eq!(shown["status"]["loaded"], "1970-01-01T00:00:00Z");
    assert_eq!(shown["status"]["restart_needed"], json!(["inbound.listen"]));
    assert_eq!(shown["effective"]["tenants"]["bob"]["enabled"], false);
    assert_eq!(shown["effective"]["defaults"]["timeouts"]["connect"], "1s");
    assert_eq!(shown["effective"]["defaults"]["timeouts"]["total"], "off");
}

#[tokio::test]
async fn the_catalog_lists_services_lanes_and_instances() {
    let (_, shown) = get("/catalog").await;

    let service = &shown["services"][0];
    let lanes = &service["lanes"];
    assert_eq!((&service["service"], &shown["generation"]), (&json!("user.shop"), &json!(1)));
    assert_eq!((&lanes[0]["lane"], &lanes[1]["lane"]), (&Value::Null, &json!("alice")));
    assert_eq!(lanes[1]["instances"][0]["address"], "127.0.0.1:9002");
    assert_eq!(lanes[1]["instances"][0]["weight"], 7);
    assert_eq!(lanes[1]["instances"][0]["load"]["in_flight"], 0);
}

#[tokio::test]
async fn a_decision_is_explained_with_its_trail_and_instances() {
    let (status, alice) = get("/decide?service=user.shop&tenant=alice").await;
    let (_, carol) = get("/decide?host=users:9000&header=baggage:%20tenant%3Dcarol").await;

    assert_eq!(status, StatusCode::OK);
    assert_eq!((&alice["lane"], &alice["reason"]), (&json!("alice"), &json!("exact")));
    assert_eq!(alice["instances"][0]["address"], "127.0.0.1:9002");
    assert_eq!((&carol["known_by"], &carol["reason"]), (&json!("baggage"), &json!("absent")));
    assert_eq!(
        carol["trail"],
        json!([{"lane": "carol", "outcome": "absent"}, {"lane": null, "outcome": "taken"}])
    );
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_a_remedy() {
    for (query, status, says) in [
        ("", StatusCode::BAD_REQUEST, "say which service"),
        ("service=user.shp", StatusCode::NOT_FOUND, "there is \"user.shop\""),
        ("service=user.shop&tenant=a%20b", StatusCode::BAD_REQUEST, "is no tenant"),
        ("service=user.shop&tennant=a", StatusCode::BAD_REQUEST, "\"tennant\""),
        ("service=user.shop&header=x", StatusCode::BAD_REQUEST, "header cannot be"),
    ] {
        let (found, answer) = get(&format!("/decide?{query}")).await;

        assert_eq!(found, status, "{query}");
        assert!(answer["error"].as_str().unwrap().contains(says), "{answer}");
    }
}

#[tokio::test]
async fn a_wrong_path_or_method_is_answered_in_json() {
    let (lost, there) = get("/confg").await;
    let (post, _, refused) = ask(state(&[]), Method::POST, "/config").await;

    assert_eq!(lost, StatusCode::NOT_FOUND);
    assert!(there["error"].as_str().unwrap().contains("/config"), "{there}");
    assert_eq!(post, StatusCode::METHOD_NOT_ALLOWED);
    assert!(refused.contains("use GET"), "{refused}");
}

#[tokio::test]
async fn the_listener_answers_and_stops_when_told_though_a_connection_is_idle() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, state(&[]), stop.clone()));

    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    stop.cancel();
    let stopped = timeout(Duration::from_secs(5), serving).await;

    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert!(stopped.unwrap().is_ok());
}
