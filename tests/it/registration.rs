//! Registration: a registry knows of us while our application is well, and never holds us up.

use std::time::Duration;

use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::harness::app::{App, Raw, Response, answer, refusing};
use super::harness::registry::FakeRegistry;
use super::harness::side::{Side, merge, table};
use super::harness::{BASELINE, Body, Mesh, within};

const USER: &str = "user.shop";

/// What a sidecar beside `app` is told so that `registry` knows of it.
fn told(app: &App, registry: &FakeRegistry, snippet: &str) -> toml::Table {
    let base = format!(
        "workload = {{ service = '{USER}', address = '{}' }}
         inbound.listen = '127.0.0.1:0'
         runtime.drain_delay = '0s'
         registration.addresses = ['{}']
         registration.hostname = 'pod-1'
         registration.renew = '1s'
         registration.health.interval = '100ms'",
        app.address(),
        registry.address()
    );
    let mut told = table(&base);
    merge(&mut told, snippet.parse().unwrap());
    told
}

fn well() -> App {
    App::start(async |_| answer(200, "app"))
}

/// An answer of `grpc.health.v1.Health/Check`.
fn health(is_serving: bool) -> Response {
    let message = if is_serving { &[0, 0, 0, 0, 2, 8, 1] } else { &[0, 0, 0, 0, 2, 8, 2] };
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let frames = [Frame::data(bytes::Bytes::from_static(message)), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<_, std::io::Error>);
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test]
async fn an_instance_is_registered_with_all_that_is_said_of_it() {
    let (app, registry) = (well(), FakeRegistry::start());
    let side = Side::start(told(
        &app,
        &registry,
        "workload = { lane = 'alice', cluster = 'c1', zone = 'z1', weight = 7, version = 'v2' }
         registration = { env = 'uat', region = 'eu', metadata = { team = 'a&b=ü' } }",
    ))
    .await;

    registry.until_last("register").await;

    let said = registry.told().remove(0).said;
    let expected = [
        ("appid", USER),
        ("env", "uat"),
        ("region", "eu"),
        ("zone", "z1"),
        ("hostname", "pod-1"),
        ("status", "1"),
        ("version", "v2"),
    ];
    for (key, value) in expected {
        assert_eq!(said[key], value, "{key}");
    }
    assert_eq!(said["addrs"], format!("http://{}", side.inbound()));
    let metadata: serde_json::Value = serde_json::from_str(&said["metadata"]).unwrap();
    let wanted = serde_json::json!(
        { "color": "alice", "cluster": "c1", "weight": "7", "team": "a&b=ü" }
    );
    assert_eq!(metadata, wanted);
    side.until_metric("registered", 1).await;
}

#[tokio::test]
async fn it_is_renewed_and_told_again_when_forgotten() {
    let (app, registry) = (well(), FakeRegistry::start());
    let _side = Side::start(told(&app, &registry, "")).await;

    registry.until_last("renew").await;
    registry.forget();
    registry.until(|it| it.calls().ends_with(&["renew", "register"])).await;

    assert_eq!(registry.known(), ["pod-1"]);
}

#[tokio::test]
async fn eureka_is_told_in_its_own_words() {
    let (app, registry) = (well(), FakeRegistry::start());
    let url = format!("http://{}/eureka", registry.address());
    let snippet = format!(
        "registration = {{ dialect = 'eureka', addresses = ['{url}'] }}\nworkload.lane = 'alice'"
    );
    let side = Side::start(told(&app, &registry, &snippet)).await;
    let id = format!("pod-1:{USER}:{}", side.inbound().port());

    registry.until_last("renew").await;
    registry.forget();
    registry.until(|it| it.calls().ends_with(&["renew", "register"])).await;
    let first = registry.told().remove(0);
    side.stop().await;

    assert_eq!(registry.calls().last(), Some(&"cancel"));
    assert!(registry.told().iter().all(|it| it.who == id), "{:?}", registry.told());
    assert_eq!(first.said["path"], "/eureka/apps/USER.SHOP");
    let body: serde_json::Value = serde_json::from_str(&first.said["body"]).unwrap();
    let instance = &body["instance"];
    assert_eq!(instance["ipAddr"], "127.0.0.1");
    assert_eq!(instance["vipAddress"], USER);
    assert_eq!(instance["metadata"]["color"], "alice");
    assert_eq!(instance["leaseInfo"]["renewalIntervalInSecs"], 1);
}

/// An application that is well or not, as the test has it, and asked in some way how it is: it is
/// registered while it is.
async fn follows_health(kind: &str) {
    let (is_well, asked) = watch::channel(false);
    let app = App::start(move |request| {
        let (is_well, is_grpc) = (*asked.borrow(), request.uri().path().starts_with("/grpc."));
        async move {
            let status = if is_well { 200 } else { 503 };
            if is_grpc { health(is_well) } else { answer(status, "") }
        }
    });
    let registry = FakeRegistry::start();
    let snippet = format!("registration.health = {{ kind = '{kind}', unhealthy = 2 }}");
    let side = Side::start(told(&app, &registry, &snippet)).await;

    let before = side.until("/readyz", |it| it.text().contains("is not well")).await;
    let calls_before = registry.calls();
    is_well.send_replace(true);
    registry.until(|it| !it.known().is_empty()).await;
    side.until("/readyz", |it| it.status == 200).await;
    is_well.send_replace(false);
    registry.until_last("cancel").await;
    side.until("/readyz", |it| it.status == 503).await;
    is_well.send_replace(true);
    registry.until(|it| !it.known().is_empty()).await;

    assert_eq!((before.status, calls_before), (503, vec![]));
}

#[tokio::test]
async fn an_application_is_registered_while_its_http_check_is_good() {
    follows_health("http").await;
}

#[tokio::test]
async fn an_application_is_registered_while_its_grpc_check_is_good() {
    follows_health("grpc").await;
}

#[tokio::test]
async fn an_application_is_registered_while_it_takes_connections() {
    let (app, registry) = (well(), FakeRegistry::start());
    let side = Side::start(told(&app, &registry, "")).await;
    registry.until_last("register").await;

    app.kill().await;
    registry.until_last("cancel").await;
    side.until("/readyz", |it| it.status == 503).await;
    app.revive();

    registry.until_last("register").await;
}

#[tokio::test]
async fn one_bad_answer_is_no_illness() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let app = App::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move { answer(if number % 3 == 2 { 500 } else { 200 }, "") }
    });
    let registry = FakeRegistry::start();
    let snippet = "registration.health = { kind = 'http', unhealthy = 2 }";
    let _side = Side::start(told(&app, &registry, snippet)).await;

    app.until_seen(12).await;

    assert!(!registry.calls().contains(&"cancel"));
}

#[tokio::test]
async fn another_node_is_told_when_one_fails() {
    let (app, one, two) = (well(), FakeRegistry::start(), FakeRegistry::start());
    let (_held, nobody) = refusing();
    one.fail(true);
    let snippet =
        format!("registration.addresses = ['{nobody}', '{}', '{}']", one.address(), two.address());
    let _side = Side::start(told(&app, &one, &snippet)).await;

    two.until_last("renew").await;
    one.fail(false);
    two.fail(true);
    one.until(|it| !it.known().is_empty()).await;

    assert_eq!(one.calls(), ["renew", "register"]);
}

#[tokio::test]
async fn a_registry_that_returns_empty_is_told_again() {
    let (app, registry) = (well(), FakeRegistry::start());
    let side = Side::start(told(&app, &registry, "")).await;
    registry.until_last("renew").await;

    registry.app.kill().await;
    side.until("/metrics", |it| it.text().contains("dyelane_registered 0")).await;
    let is_ready = side.admin("/readyz").await.status;
    registry.forget();
    registry.app.revive();
    registry.until(|it| !it.known().is_empty()).await;

    assert_eq!(is_ready, 200);
    side.until_metric("registered", 1).await;
}

#[tokio::test]
async fn what_changes_of_an_instance_is_told_at_once() {
    let (app, registry) = (well(), FakeRegistry::start());
    let side = Side::start(told(&app, &registry, "registration.renew = '5m'")).await;
    registry.until_last("register").await;

    side.turn("registration.metadata = { team = 'b' }").await;
    registry.until(|it| it.calls().len() == 2).await;
    side.turn("registration.enabled = false").await;
    registry.until_last("cancel").await;
    side.turn("registration = { enabled = true, hostname = 'pod-2' }").await;
    registry.until(|it| it.known() == ["pod-2"]).await;
    side.turn("registration.hostname = 'pod-3'").await;
    registry.until(|it| it.known() == ["pod-3"]).await;

    let again = ["register", "register", "cancel", "register", "cancel", "register"];
    assert_eq!(registry.calls(), again);
}

#[tokio::test]
async fn an_instance_is_taken_back_before_it_is_unready() {
    let (app, registry) = (well(), FakeRegistry::start());
    let side = Side::start(told(&app, &registry, "runtime.drain_delay = '2s'")).await;
    registry.until_last("register").await;
    side.until("/readyz", |it| it.status == 200).await;
    let (admin, inbound) = (side.admin_address(), side.inbound());
    let (sidecar, _directory) = side.into_sidecar();

    let stopping = tokio::spawn(sidecar.stop());
    let calls = within(async {
        loop {
            let caller = super::harness::caller::Caller::http1(admin);
            if caller.ask("admin").path("/readyz").await.status == 503 {
                return registry.calls();
            }
        }
    });
    let calls = calls.await;
    let meanwhile = super::harness::caller::Caller::http2(inbound).await.ask(USER).await;

    assert_eq!(calls.last(), Some(&"cancel"));
    assert_eq!(meanwhile.status, 200);
    within(stopping).await.unwrap();
    assert_eq!(registry.calls().last(), Some(&"cancel"));
    assert!(registry.known().is_empty());
}

#[tokio::test]
async fn a_registry_that_hangs_does_not_keep_us_from_ending() {
    let app = well();
    let silent = Raw::start(|mut stream| async move {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
    })
    .await;
    let registry = FakeRegistry::start();
    let snippet = format!("registration.addresses = ['{}']", silent.address);
    let side = Side::start(told(&app, &registry, &snippet)).await;
    side.until("/readyz", |it| it.status == 200).await;

    let began = std::time::Instant::now();
    side.stop().await;

    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn nobody_waits_for_a_registry_that_never_knew_us() {
    let app = well();
    let (_held, nobody) = refusing();
    let registry = FakeRegistry::start();
    let snippet = format!(
        "registration.addresses = ['{nobody}']
         runtime.drain_delay = 'auto'"
    );
    let side = Side::start(told(&app, &registry, &snippet)).await;
    side.until("/metrics", |it| !it.text().contains("registration_failures_total 0")).await;

    let began = std::time::Instant::now();
    side.stop().await;

    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_instance_that_probes_find_unhealthy_is_spared_until_it_is_well() {
    let (is_well, asked) = watch::channel(true);
    let sick = App::start(move |request| {
        let status = if request.uri().path() == "/up" && !*asked.borrow() { 500 } else { 200 };
        async move { answer(status, "sick") }
    });
    let mesh = Mesh::new(&format!(
        "services.'{USER}'.probe = {{ kind = 'http', path = '/up', interval = '100ms', unhealthy = 2 }}
         services.'{USER}'.slow_start = 'off'"
    ));
    let mesh = mesh.app(USER, BASELINE).at(USER, BASELINE, sick.address()).start().await;

    is_well.send_replace(false);
    let unhealthy = format!("endpoints_unhealthy{{service=\"{USER}\"}}");
    mesh.side.until_metric(&unhealthy, 1).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(mesh.lane(USER, "").await);
    }
    is_well.send_replace(true);
    mesh.side.until_metric(&unhealthy, 0).await;

    assert!(answers.iter().all(|it| it == BASELINE));
    within(async { while mesh.lane(USER, "").await != "sick" {} }).await;
}
