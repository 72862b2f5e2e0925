//! One store: what is registered by either dialect is seen by both, as one service.

use super::*;

const WHO: &str = "env=prod&appid=user.shop&hostname=pod-1&zone=z1";

async fn fetched(server: &Server, appid: &str) -> Value {
    let target = format!("/discovery/fetch?env=prod&appid={appid}&status=3");
    server.get(&target).await.json()["data"]["instances"].take()
}

#[tokio::test]
async fn what_discovery_registers_eureka_shows() {
    let server = Server::new().await;
    let form = format!(
        "{WHO}&status=1&addrs=grpc://10.0.0.7:9000&addrs=http://10.0.0.7:8000&version=1.4\
         &metadata=%7B%22color%22%3A%22alice%22%2C%22cluster%22%3A%22c1%22%7D"
    );

    assert_eq!(server.post("register", &form).await.code(), 0);

    let shown = server.shown("user.shop", "pod-1").await;
    for (field, value) in [
        ("app", json!("USER.SHOP")),
        ("instanceId", json!("pod-1")),
        ("hostName", json!("10.0.0.7")),
        ("ipAddr", json!("10.0.0.7")),
        ("port", json!({ "$": 8000, "@enabled": "true" })),
        ("securePort", json!({ "$": 443, "@enabled": "false" })),
        ("vipAddress", json!("user.shop")),
        ("secureVipAddress", Value::Null),
        ("status", json!("UP")),
        ("overriddenStatus", json!("UNKNOWN")),
        (
            "metadata",
            json!({ "color": "alice", "cluster": "c1", "zone": "z1", "version": "1.4",
            "gRPC_port": "9000" }),
        ),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(server.ids("vips/user.shop").await, ["pod-1"]);
    assert_eq!(server.ids("apps/delta").await, ["pod-1"]);
}

#[tokio::test]
async fn of_several_addresses_eureka_shows_the_one_its_callers_can_use() {
    let server = Server::new().await;

    for (addrs, host, port, secure) in [
        ("https://h:8443", "h", (0, "false"), (8443, "true")),
        ("https://h:8443,http://g:80", "g", (80, "true"), (8443, "true")),
        ("grpc://g:9000", "g", (9000, "true"), (443, "false")),
        ("http://g/path", "g", (80, "true"), (443, "false")),
        ("tcp://[2001:db8::1]:7", "[2001:db8::1]", (7, "true"), (443, "false")),
        ("x", "x", (0, "false"), (443, "false")),
        ("10.0.0.1:99999", "10.0.0.1", (0, "false"), (443, "false")),
    ] {
        let form = format!("{WHO}&status=1&addrs={addrs}");
        assert_eq!(server.post("register", &form).await.code(), 0);

        let shown = server.shown("USER.SHOP", "pod-1").await;

        let of = |it: (u16, &str)| json!({ "$": it.0, "@enabled": it.1 });
        assert_eq!(shown["hostName"], host, "{addrs}");
        assert_eq!(shown["ipAddr"], host.trim_matches(['[', ']']), "{addrs}");
        assert_eq!((&shown["port"], &shown["securePort"]), (&of(port), &of(secure)), "{addrs}");
    }
}

#[tokio::test]
async fn what_eureka_registers_discovery_shows() {
    let server = Server::new().await;
    let mut one = instance("USER.SHOP", "h:user.shop:80");
    one["instance"]["securePort"] = json!({ "$": 8443, "@enabled": "true" });
    one["instance"]["metadata"] =
        json!({ "zone": "z9", "color": "alice", "gRPC_port": "9000", "version": "1.4" });

    server.put_in(&one).await;

    let all = fetched(&server, "user.shop").await;
    let shown = &all["z9"][0];
    assert_eq!(shown["hostname"], "h:user.shop:80");
    let addrs = ["http://10.0.0.1:80", "https://10.0.0.1:8443", "grpc://10.0.0.1:9000"];
    assert_eq!(shown["addrs"], json!(addrs));
    assert_eq!((&shown["status"], &shown["version"]), (&json!(1), &json!("1.4")));
    assert_eq!(shown["metadata"]["color"], "alice");
}

#[tokio::test]
async fn a_name_that_readers_of_json_may_keep_for_themselves_is_like_any_other() {
    let server = Server::new().await;
    // Our library's, if it were built to: the text would be read as what it says.
    let (name, said) = ("$serde_json::private::RawValue", "{\"color\":\"alice\"}");
    let mut one = instance("SHOP", "h:shop:80");
    one["instance"]["metadata"] = json!({ name: said });

    assert_eq!(server.put_in(&one).await.status, 204);
    let form = format!(
        "zone=z1&env=prod&appid=shop&hostname=pod-1&status=1&addrs=grpc://h:1&metadata={}",
        json!({ name: said })
    );
    assert_eq!(server.post("register", &form).await.code(), 0);

    let by_discovery = &fetched(&server, "shop").await["z1"][0]["metadata"];
    let by_eureka = &server.shown("SHOP", "pod-1").await["metadata"];
    let both = &server.shown("SHOP", "h:shop:80").await["metadata"];
    for metadata in [by_discovery, by_eureka, both] {
        assert_eq!((&metadata[name], &metadata["color"]), (&json!(said), &Value::Null));
    }
}

#[tokio::test]
async fn who_knows_no_zone_is_in_the_nodes() {
    let server = Server::with(Settings { zone: "z7".into(), ..Settings::default() }).await;

    for (id, metadata) in [
        ("none", json!({})),
        ("python", json!({ "zone": "default" })),
        ("java", json!({ "zone": "defaultZone" })),
        ("empty", json!({ "zone": "" })),
    ] {
        let mut one = instance("SHOP", id);
        one["instance"]["metadata"] = metadata;
        server.put_in(&one).await;
    }

    assert_eq!(fetched(&server, "shop").await["z7"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn one_service_registered_by_both_dialects_is_one() {
    let server = Server::new().await;
    server.put_in_plain("USER.SHOP", "e").await;
    server.register("user.shop", "d").await;

    let app = server.reads("apps/USER.SHOP").await;
    let watch = r#"{"env":"prod","services":["*.shop"],"wait_ms":0}"#;
    let watched = server.ask("POST", "/v1/watch", "", watch).await.json();

    assert_eq!(app["application"]["instance"].as_array().unwrap().len(), 2);
    assert_eq!(watched["services"].as_object().unwrap().len(), 1);
    let set = watched["services"]["user.shop"]["set"].as_array().unwrap().iter();
    let hosts: Vec<_> = set.map(|it| text(&it["hostname"])).collect();
    assert_eq!(hosts, ["e", "d"]);
}

#[tokio::test]
async fn a_poller_of_discovery_is_woken_by_what_eureka_registers_and_cancels() {
    let server = Server::new().await;
    let poll = "/discovery/polls?env=prod&appid=shop&hostname=me&latest_timestamp=0";
    let held = server.send("GET", poll, "", "").await;
    server.watchers(1).await;

    server.put_in_plain("SHOP", "h").await;

    let told = answer(held).await.json();
    let app = &told["data"]["shop"];
    assert_eq!(app["instances"]["default"][0]["hostname"], "h");
    let latest = app["latest_timestamp"].as_i64().unwrap();
    let held = server.send("GET", &poll.replace("=0", &format!("={latest}")), "", "").await;
    server.watchers(1).await;
    assert_eq!(server.does("DELETE", "apps/SHOP/h").await, 200);
    assert_eq!(answer(held).await.json()["data"]["shop"]["instances"], json!({}));
}

#[tokio::test]
async fn whatever_takes_no_traffic_waits() {
    let server = Server::new().await;

    for (status, number) in
        [("UP", 1), ("DOWN", 2), ("STARTING", 2), ("OUT_OF_SERVICE", 2), ("UNKNOWN", 2)]
    {
        let mut one = instance("SHOP", "h");
        one["instance"]["status"] = status.into();
        server.put_in(&one).await;

        let all = fetched(&server, "shop").await;
        assert_eq!(all["default"][0]["status"], number, "{status}");
    }
    server.does("PUT", "apps/SHOP/h/status?value=UP").await;
    assert_eq!(fetched(&server, "shop").await["default"][0]["status"], 1);
}

#[tokio::test]
async fn what_discovery_sets_eureka_shows() {
    let server = Server::new().await;
    server.put_in_plain("SHOP", "h").await;
    let set = "env=prod&appid=shop&zone=default&hostname=h";

    for (status, shown) in [(2, "OUT_OF_SERVICE"), (1, "UP")] {
        let told = server.post("set", &format!("{set}&status={status}")).await;

        assert_eq!(told.code(), 0);
        assert_eq!(server.shown("SHOP", "h").await["status"], shown);
        let list = server.reads("apps").await;
        assert_eq!(list["applications"]["apps__hashcode"], format!("{shown}_1_"));
    }
}

#[tokio::test]
async fn a_status_put_over_what_discovery_registered_is_told_and_taken_back() {
    let server = Server::new().await;
    server.post("register", &format!("{WHO}&status=1&addrs=http://h:80")).await;

    server.does("PUT", "apps/USER.SHOP/pod-1/status?value=DOWN").await;
    let down = server.shown("USER.SHOP", "pod-1").await;
    let waits = fetched(&server, "user.shop").await;
    server.does("DELETE", "apps/USER.SHOP/pod-1/status").await;
    let up = server.shown("USER.SHOP", "pod-1").await;

    assert_eq!((&down["status"], &down["overriddenStatus"]), (&json!("DOWN"), &json!("DOWN")));
    assert_eq!((&down["port"]["$"], &down["metadata"]["zone"]), (&json!(80), &json!("z1")));
    assert_eq!(waits["z1"][0]["status"], 2);
    assert_eq!((&up["status"], &up["overriddenStatus"]), (&json!("UP"), &json!("UNKNOWN")));
}

#[tokio::test]
async fn a_status_put_over_it_outlives_registering_again_by_either_dialect_until_another_is_set() {
    let server = Server::new().await;
    let register = async |status: u8| {
        let form = format!("{WHO}&status={status}&addrs=http://h:80");
        assert_eq!(server.post("register", &form).await.code(), 0);
        let shown = server.shown("USER.SHOP", "pod-1").await;
        (text(&shown["status"]), text(&shown["overriddenStatus"]))
    };
    let is = |status: &str, over: &str| (status.to_owned(), over.to_owned());
    register(1).await;
    server.does("PUT", "apps/USER.SHOP/pod-1/status?value=DOWN").await;

    assert_eq!(register(1).await, is("DOWN", "DOWN"));
    assert_eq!(fetched(&server, "user.shop").await["z1"][0]["status"], 2);
    assert_eq!(register(2).await, is("OUT_OF_SERVICE", "DOWN"));
    assert_eq!(register(1).await, is("DOWN", "DOWN"));
    let set = "env=prod&appid=user.shop&zone=z1&hostname=pod-1&status=1";
    assert_eq!(server.post("set", set).await.code(), 0);
    assert_eq!(register(1).await, is("UP", "UNKNOWN"));
}

#[tokio::test]
async fn either_dialect_renews_and_cancels_what_the_other_registered() {
    let server = Server::new().await;
    server.put_in_plain("SHOP", "h").await;
    server.post("register", &format!("{WHO}&status=1&addrs=http://h:80")).await;
    let key = "env=prod&appid=shop&zone=default&hostname=h";

    assert_eq!(server.post("renew", key).await.code(), 0);
    assert_eq!(server.does("PUT", "apps/USER.SHOP/pod-1").await, 200);
    assert_eq!(server.post("cancel", key).await.code(), 0);
    assert_eq!(server.does("DELETE", "apps/USER.SHOP/pod-1").await, 200);
    assert_eq!(server.does("PUT", "apps/SHOP/h").await, 404);
    assert_eq!(server.post("renew", WHO).await.code(), -404);
}

#[tokio::test]
async fn an_instance_that_moves_to_another_zone_is_not_there_twice() {
    let server = Server::new().await;

    for zone in ["z1", "z2"] {
        let mut one = instance("SHOP", "h");
        one["instance"]["metadata"] = json!({ "zone": zone });
        server.put_in(&one).await;
    }

    let all = fetched(&server, "shop").await;
    assert_eq!(all["z2"].as_array().unwrap().len(), 1);
    assert!(all["z1"].as_array().is_none_or(Vec::is_empty), "{all}");
    assert_eq!(server.ids("apps").await, ["h"]);
}
