//! What clients in all languages send: taken as it is meant, or refused in the words they know.

use super::*;

async fn register(server: &Server, fields: &str, body: &str) -> Told {
    server.ask("POST", "/eureka/apps/SHOP", fields, body).await
}

#[tokio::test]
async fn what_is_missing_is_named_in_the_words_clients_know() {
    let server = Server::new().await;

    for (field, value, said) in [
        ("instanceId", Value::Null, ""),
        ("hostName", Value::Null, "Missing hostname"),
        ("hostName", " ".into(), "Missing hostname"),
        ("ipAddr", Value::Null, "Missing ip address"),
        ("app", Value::Null, "Missing appName"),
        ("app", "OTHER".into(), "Mismatched appName, expecting SHOP but was OTHER"),
        ("dataCenterInfo", Value::Null, "Missing dataCenterInfo"),
        ("dataCenterInfo", json!({}), "Missing dataCenterInfo Name"),
        ("port", json!({ "$": "x" }), "port is no number: \"x\""),
        ("port", "9999999999".into(), "port is no number: \"9999999999\""),
        ("lastDirtyTimestamp", "NaN".into(), "lastDirtyTimestamp is no number: \"NaN\""),
        ("homePageUrl", "x".repeat(2049).into(), "homePageUrl is longer than 2048 bytes"),
        ("instanceId", "x".repeat(1025).into(), "instanceId is longer than 1024 bytes"),
    ] {
        let mut one = instance("SHOP", "h");
        one["instance"][field] = value.clone();

        let told = register(&server, SAYS_JSON, &one.to_string()).await;

        let status = if said.is_empty() { 204 } else { 400 };
        assert_eq!((told.status, told.body.as_str()), (status, said), "{field} {value}");
    }
    let told = register(&server, SAYS_JSON, "{\"instance\":{\"app\":\"SHOP\"}}").await;
    assert_eq!((told.status, told.body.as_str()), (400, "Missing instanceId"));
}

#[tokio::test]
async fn whatever_clients_write_for_a_number_or_a_switch_is_read() {
    let server = Server::new().await;
    let port = |number: i64, on: &str| json!({ "$": number, "@enabled": on });

    for (field, value, shown, seen) in [
        ("port", json!(8080), "port", port(8080, "true")),
        ("port", json!("8080"), "port", port(8080, "true")),
        ("port", json!({ "$": "8080", "@enabled": true }), "port", port(8080, "true")),
        ("port", json!({ "$": 8080, "@enabled": "False" }), "port", port(8080, "false")),
        ("port", Value::Null, "port", port(7001, "true")),
        ("securePort", json!({ "$": -1, "@enabled": false }), "securePort", port(-1, "false")),
        (
            "metadata",
            json!({ "a": 1, "b": true, "c": null, "@class": "x" }),
            "metadata",
            json!({ "a": "1", "b": "true", "c": "" }),
        ),
        ("lastDirtyTimestamp", json!(1_700_000_000), "lastDirtyTimestamp", json!("1700000000")),
        ("lastDirtyTimestamp", json!(2000.9), "lastDirtyTimestamp", json!("2000")),
        ("status", Value::Null, "status", json!("UP")),
        ("status", json!("starting"), "status", json!("STARTING")),
        ("status", json!("FINE"), "status", json!("UNKNOWN")),
        ("overriddenstatus", json!("OUT_OF_SERVICE"), "overriddenStatus", json!("OUT_OF_SERVICE")),
        ("unknown", json!({ "deep": [[[]]] }), "unknown", Value::Null),
        (
            "dataCenterInfo",
            json!({ "@class": "X", "name": "Amazon", "metadata": { "ami-id": "1" } }),
            "dataCenterInfo",
            json!({ "@class": "X", "name": "Amazon", "metadata": { "ami-id": "1" } }),
        ),
    ] {
        let mut one = instance("SHOP", &format!("{field}{value}").replace(['/', '?', '%'], ""));
        one["instance"][field] = value.clone();

        let told = server.put_in(&one).await;

        assert_eq!((told.status, told.body.as_str()), (204, ""), "{field} {value}");
        let list = server.reads("apps/SHOP").await;
        let id = &one["instance"]["instanceId"];
        let all = list["application"]["instance"].as_array().unwrap();
        let it = all.iter().find(|it| it["instanceId"] == *id).unwrap();
        assert_eq!(it[shown], seen, "{field} {value}");
    }
}

#[tokio::test]
async fn the_id_may_be_that_of_amazon_or_the_host() {
    let server = Server::new().await;
    let mut one = instance("SHOP", "");
    server.put_in(&one).await;
    let by_host = server.ids("apps").await;
    one["instance"]["dataCenterInfo"] = json!({ "name": "Amazon", "metadata": { "instance-id": "i-1", "availability-zone": "eu-1a" } });

    server.put_in(&one).await;

    assert_eq!(by_host, ["host-1"]);
    assert_eq!(server.ids("apps").await, ["host-1", "i-1"]);
    let fetched = server.get("/discovery/fetch?env=prod&appid=shop&status=1").await.json();
    assert_eq!(fetched["data"]["instances"]["eu-1a"][0]["hostname"], "i-1");
}

#[tokio::test]
async fn an_instance_may_come_as_xml() {
    let server = Server::new().await;
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<instance>\n  <instanceId>h:1</instanceId>\n\
        <hostName>host-1</hostName><app>shop</app><ipAddr>10.0.0.1</ipAddr><status>UP</status>\
        <port enabled=\"true\">8080</port><securePort enabled=\"true\">8443</securePort>\
        <dataCenterInfo class=\"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo\"><name>MyOwn\
        </name></dataCenterInfo><leaseInfo><renewalIntervalInSecs>5</renewalIntervalInSecs>\
        <durationInSecs>15</durationInSecs></leaseInfo><metadata><my__key>a &amp; b</my__key>\
        <zone>z9</zone></metadata><vipAddress>shop</vipAddress></instance>";

    for kind in
        ["content-type: application/xml\r\n", "content-type: text/xml; charset=utf-8\r\n", ""]
    {
        let told = register(&server, kind, body).await;

        assert_eq!((told.status, told.body.as_str()), (204, ""), "{kind}");
        let shown = server.shown("SHOP", "h:1").await;
        assert_eq!(shown["port"], json!({ "$": 8080, "@enabled": "true" }));
        assert_eq!(shown["securePort"], json!({ "$": 8443, "@enabled": "true" }));
        assert_eq!(shown["metadata"], json!({ "my_key": "a & b", "zone": "z9" }));
        assert_eq!(shown["leaseInfo"]["durationInSecs"], 15);
        assert_eq!(shown["leaseInfo"]["renewalIntervalInSecs"], 5);
        assert_eq!(server.does("DELETE", "apps/SHOP/h:1").await, 200);
    }
}

#[tokio::test]
async fn a_document_that_would_grow_is_refused() {
    let server = Server::new().await;
    let laughs = "<!DOCTYPE l [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;&a;\">]>\
        <instance><app>&b;</app></instance>";
    let outside =
        "<!DOCTYPE l [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><instance>&a;</instance>";
    let deep = "<a>".repeat(100_000 / 3);

    for body in [laughs, outside, &deep] {
        let told = register(&server, "content-type: application/xml\r\n", body).await;
        assert_eq!(told.status, 400, "{told:?}");
    }
}

#[tokio::test]
async fn a_body_may_be_compressed_but_no_bomb() {
    let server = Server::new().await;
    let send = async |body: &[u8], coding: &str| {
        let head = format!(
            "POST /eureka/apps/SHOP HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{SAYS_JSON}\
             content-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let told = exchange(&server, &[head.as_bytes(), body]).await;
        String::from_utf8_lossy(&told).split(' ').nth(1).unwrap().to_owned()
    };
    let body = instance("SHOP", "h").to_string();
    let small = gzip::compressed(body.as_bytes());
    let bomb = gzip::compressed(&vec![b' '; 4 << 20]);

    assert_eq!(send(&small, "gzip").await, "204");
    assert_eq!(send(&bomb, "gzip").await, "413");
    assert_eq!(send(&small[..small.len() / 2], "gzip").await, "400");
    assert_eq!(send(body.as_bytes(), "gzip").await, "400");
    assert_eq!(send(body.as_bytes(), "br").await, "415");
    assert_eq!(server.ids("apps").await, ["h"]);
}

#[tokio::test]
async fn an_instance_that_says_too_much_is_refused() {
    let server = Server::new().await;
    let mut one = instance("SHOP", "h");
    one["instance"]["metadata"] = json!({ "a": "x".repeat(65 << 10) });
    let metadata = server.put_in(&one).await;
    one["instance"]["metadata"] = json!({});
    one["instance"]["more"] = "x".repeat(256 << 10).into();

    let more = server.put_in(&one).await;

    assert_eq!(
        (metadata.status, metadata.body.as_str()),
        (400, "metadata is longer than 65536 bytes")
    );
    assert_eq!(more.status, 413);
}
