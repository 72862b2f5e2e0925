//! What is turned away, how, and what never is.

use super::*;

const POLL: &str = "/discovery/polls?env=prod&appid=none&hostname=me&latest_timestamp=0";

#[tokio::test]
async fn there_are_so_many_pollers_and_no_more() {
    let server = Server::with(Settings { watchers: 2, ..Settings::default() }).await;
    let held = [server.send("GET", POLL, "", "").await, server.send("GET", POLL, "", "").await];
    server.watchers(2).await;

    let polled = server.get(POLL).await;
    let watch = r#"{"env":"prod","services":["*"],"wait_ms":1000}"#;
    let watched = server.ask("POST", "/v1/watch", "", watch).await;

    assert_eq!((polled.status, polled.code(), watched.status), (503, -509, 503));
    for told in [&polled, &watched] {
        assert_eq!(told.field("retry-after"), Some("1"));
    }
    server.register("a", "h").await;
    drop(held);
    server.watchers(0).await;
}

#[tokio::test]
async fn heartbeats_and_registrations_are_answered_while_fetches_wait() {
    let server = Server::new().await;
    server.register("a", "h").await;
    let gate = &server.node().admission().everything;
    let places = [gate.enter().await.unwrap(), gate.enter().await.unwrap()];
    let waiting = server.send("GET", "/discovery/fetch/all", "", "").await;

    let renewed = server.post("renew", "zone=z&env=prod&appid=a&hostname=h").await;
    server.register("b", "h").await;
    drop(places);

    assert_eq!(renewed.code(), 0);
    assert_eq!(answer(waiting).await.code(), 0);
}

#[tokio::test]
async fn a_full_registry_says_so_and_renews_who_is_there() {
    let mut settings = Settings::default();
    settings.store.capacity = 2;
    let server = Server::with(settings).await;
    server.register("a", "h").await;

    let refused = server
        .post("register", "zone=z&env=prod&appid=b&hostname=h&status=1&addrs=grpc://x:1")
        .await;

    assert_eq!((refused.status, refused.code()), (503, -509));
    let renewed = server.post("renew", "zone=z&env=prod&appid=a&hostname=h").await;
    assert_eq!(renewed.code(), 0);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_their_turn() {
    let server = Server::with(Settings { connections: 1, ..Settings::default() }).await;
    let held = server.send("GET", POLL, "", "").await;
    server.watchers(1).await;
    let waiting = server.send("GET", "/healthz", "", "").await;

    drop(held);

    assert_eq!(answer(waiting).await.status, 200);
}

#[tokio::test]
async fn some_connections_are_kept_for_those_who_do_not_wait() {
    let server = Server::with(Settings { connections: 10, ..Settings::default() }).await;
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(server.send("GET", POLL, "", "").await);
    }
    server.watchers(9).await;

    let one_more = server.get(POLL).await;
    server.register("a", "h").await;

    assert_eq!(one_more.code(), -509);
}
