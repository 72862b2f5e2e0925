//! Tenant rules over HTTP: who may write them, and that they outlive the process.

use super::*;

const TOKEN: &str = "authorization: Bearer secret\r\n";
const OFF: &str = r#"{"enabled": false}"#;

fn kept(place: &tempfile::TempDir) -> Settings {
    Settings {
        token: Some("secret".into()),
        data: Some(place.path().to_owned()),
        ..Settings::default()
    }
}

#[tokio::test]
async fn rules_outlive_the_process() {
    let place = tempfile::tempdir().unwrap();
    let first = Server::with(kept(&place)).await;

    let written = first.ask("PUT", "/v1/rules/tenants/alice", TOKEN, OFF).await;
    first.ask("PUT", "/v1/rules/lanes/dev", TOKEN, r#"{"fallback": ["baseline"]}"#).await;
    let before = first.get("/v1/rules").await;
    let id = first.node().id();
    within(first.registry.stop()).await;
    let second = Server::with(kept(&place)).await;

    assert_eq!((written.status, &written.json()["durable"]), (200, &true.into()));
    assert_eq!(second.get("/v1/rules").await.body, before.body);
    assert_eq!(second.node().id(), id);
    let one = second.get("/v1/rules/tenants/alice").await;
    assert_eq!((one.status, &one.json()["enabled"]), (200, &false.into()));
}

#[tokio::test]
async fn a_rule_that_is_removed_stays_so() {
    let place = tempfile::tempdir().unwrap();
    let first = Server::with(kept(&place)).await;
    first.ask("PUT", "/v1/rules/tenants/alice", TOKEN, OFF).await;

    let removed = first.ask("DELETE", "/v1/rules/tenants/alice", TOKEN, "").await;
    within(first.registry.stop()).await;
    let second = Server::with(kept(&place)).await;

    assert_eq!(removed.status, 200);
    assert_eq!(second.get("/v1/rules/tenants/alice").await.status, 404);
}

#[tokio::test]
async fn a_damaged_file_stops_the_node_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let first = Server::with(kept(&place)).await;
    first.ask("PUT", "/v1/rules/tenants/alice", TOKEN, OFF).await;
    within(first.registry.stop()).await;
    let file = place.path().join("rules");
    let whole = std::fs::read(&file).unwrap();
    let torn = &whole[..whole.len() - 3];
    std::fs::write(&file, torn).unwrap();

    let refused = Registry::start(kept(&place)).await;

    assert!(refused.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), torn);
}

#[tokio::test]
async fn nobody_writes_without_the_token() {
    let open = Server::new().await;
    let closed =
        Server::with(Settings { token: Some("secret".into()), ..Settings::default() }).await;
    let path = "/v1/rules/tenants/alice";

    let nobody = open.ask("PUT", path, TOKEN, OFF).await;
    let nameless = closed.ask("PUT", path, "", OFF).await;
    let stranger = closed.ask("DELETE", path, "authorization: Bearer other\r\n", "").await;

    assert_eq!((nobody.status, nameless.status, stranger.status), (403, 401, 403));
    assert_eq!(nameless.field("www-authenticate"), Some("Bearer"));
    assert_eq!(closed.get(path).await.status, 404);
}

#[tokio::test]
async fn what_is_no_rule_is_refused() {
    let server =
        Server::with(Settings { token: Some("secret".into()), ..Settings::default() }).await;

    for (target, body) in [
        ("/v1/rules/tenants/alice", ""),
        ("/v1/rules/tenants/alice", "[]"),
        ("/v1/rules/tenants/alice", r#"{"enabled": 7}"#),
        ("/v1/rules/tenants/%41", OFF),
        ("/v1/rules/tenants/alice?for=", OFF),
        ("/v1/rules/tenants/alice?for=1ms", OFF),
        ("/v1/rules/tenants/alice?for=x", OFF),
        ("/v1/rules/lanes/", "{}"),
        ("/v1/rules/lanes/a", r#"{"fallback": ["a"]}"#),
    ] {
        let told = server.ask("PUT", target, TOKEN, body).await;

        assert_eq!(told.status, 400, "{target} {body}");
        assert!(told.json()["error"].is_string());
    }
    assert_eq!(server.ask("PUT", "/v1/rules", TOKEN, OFF).await.status, 405);
    assert_eq!(server.get("/v1/rules/others/x").await.status, 404);
}

#[tokio::test]
async fn a_rule_may_hold_for_a_time() {
    let server =
        Server::with(Settings { token: Some("secret".into()), ..Settings::default() }).await;
    let path = "/v1/rules/tenants/alice";

    let written = server.ask("PUT", &format!("{path}?for=1s"), TOKEN, OFF).await;
    let meanwhile = server.get(path).await;

    assert_eq!((written.status, meanwhile.status), (200, 200));
    within(async { while server.get(path).await.status != 404 {} }).await;
}
