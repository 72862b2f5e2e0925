//! What a server of Eureka's passes on.

use super::*;

async fn batch(server: &Server, list: Value) -> Vec<u64> {
    let told = verdicts(server, list).await;
    told.iter().map(|it| it["statusCode"].as_u64().unwrap()).collect()
}

async fn verdicts(server: &Server, list: Value) -> Vec<Value> {
    let body = json!({ "replicationList": list }).to_string();
    let fields = format!("{SAYS_JSON}{JSON}");
    let told = server.ask("POST", "/eureka/peerreplication/batch/", &fields, &body).await;
    assert_eq!(told.status, 200, "{told:?}");
    told.json()["responseList"].as_array().unwrap().clone()
}

fn item(action: &str, id: &str, dirty: u64) -> Value {
    json!({ "appName": "SHOP", "id": id, "action": action, "lastDirtyTimestamp": dirty,
        "overriddenStatus": "UNKNOWN", "status": "UP" })
}

fn registering(id: &str) -> Value {
    let mut item = item("Register", id, 1000);
    item["instanceInfo"] = instance("SHOP", id)["instance"].take();
    item
}

#[tokio::test]
async fn each_write_of_a_batch_has_its_own_verdict() {
    let server = Server::new().await;
    let mut wrong = registering("x");
    wrong["instanceInfo"]["hostName"] = Value::Null;
    let mut down = item("StatusUpdate", "b", 1000);
    down["status"] = "DOWN".into();
    let mut odd = item("StatusUpdate", "b", 1000);
    odd["status"] = "FINE".into();

    let codes = batch(
        &server,
        json!([
            registering("a"),
            registering("b"),
            wrong,
            item("Heartbeat", "a", 1000),
            item("Heartbeat", "none", 1000),
            item("Heartbeat", "a", 1001),
            item("Heartbeat", "a", 999),
            down,
            odd,
            item("Cancel", "a", 1000),
            item("Cancel", "a", 1000),
            item("Dance", "a", 1000),
            7,
        ]),
    )
    .await;

    assert_eq!(codes, [200, 200, 400, 200, 404, 404, 409, 200, 400, 200, 404, 400, 400]);
    assert_eq!(server.ids("apps").await, ["b"]);
    assert_eq!(server.shown("SHOP", "b").await["overriddenStatus"], "DOWN");
    let mut up = item("DeleteStatusOverride", "b", 1000);
    up["status"] = "UP".into();
    assert_eq!(batch(&server, json!([up])).await, [200]);
    assert_eq!(server.shown("SHOP", "b").await["status"], "UP");
}

#[tokio::test]
async fn a_server_that_is_behind_is_told_what_we_have() {
    let server = Server::new().await;
    server.put_in_plain("SHOP", "a").await;

    let told = verdicts(&server, json!([item("Heartbeat", "a", 7)])).await;

    assert_eq!(told[0]["statusCode"], 409);
    let entity = &told[0]["responseEntity"];
    assert_eq!((&entity["instanceId"], &entity["app"]), (&json!("a"), &json!("SHOP")));
    // It takes that for its own, and passes it on again.
    let mut back = item("Register", "a", 1000);
    back["instanceInfo"] = entity.clone();
    assert_eq!(batch(&server, json!([back])).await, [200]);
    assert_eq!(server.ids("apps").await, ["a"]);
}

#[tokio::test]
async fn what_is_no_batch_is_refused() {
    let server = Server::new().await;

    for body in ["", "{}", "[]", "{\"replicationList\":7}", "<a/>", "{\"replicationList\":["] {
        let told = server.ask("POST", "/eureka/v2/peerreplication/batch", SAYS_JSON, body).await;
        assert_eq!(told.status, 400, "{body}");
    }
    let many = json!({ "replicationList": vec![0; 1001] }).to_string();
    let told = server.ask("POST", "/eureka/peerreplication/batch/", SAYS_JSON, &many).await;
    assert_eq!(told.status, 400);
    assert_eq!(batch(&server, json!([])).await, [0; 0]);
}
