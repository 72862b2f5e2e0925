//! Whatever strangers send: never a 500, never the end of the node.

use proptest::prelude::*;

use super::*;
use crate::corpus::oracles;

const PATHS: [(&str, &str); 14] = [
    ("POST", "/eureka/apps/A"),
    ("PUT", "/eureka/apps/A/h"),
    ("DELETE", "/eureka/apps/A/h"),
    ("PUT", "/eureka/apps/A/h/status"),
    ("DELETE", "/eureka/apps/A/h/status"),
    ("PUT", "/eureka/apps/A/h/metadata"),
    ("GET", "/eureka/apps"),
    ("GET", "/eureka/v2/apps/delta"),
    ("GET", "/eureka/apps/A"),
    ("GET", "/eureka/apps/A/h"),
    ("GET", "/eureka/instances/h"),
    ("GET", "/eureka/vips/a"),
    ("GET", "/eureka/svips/a"),
    ("POST", "/eureka/peerreplication/batch/"),
];

/// Runs `deeds` against a node that must be well afterwards: all it shows can be read.
fn survives<F: Future<Output = ()>>(deeds: impl FnOnce(Arc<Server>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Arc::new(Server::new().await);
        server.put_in_plain("A", "h").await;
        deeds(Arc::clone(&server)).await;
        let list = server.reads("apps").await;
        assert_eq!(text(&list["applications"]["apps__hashcode"]), counted(&list));
        let xml = server.reads_xml("apps").await;
        assert!(dyelane::registry::dialect::eureka::xml::read(&xml).is_ok(), "{xml}");
    });
}

/// JSON that looks like what is wanted, more or less.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|it| json!(it)),
        any::<String>().prop_map(Value::from),
        proptest::sample::select(vec!["A", "UP", "h", "MyOwn", "true", "80", "-1", "Register"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 12, |inner| {
        let name = proptest::sample::select(vec![
            "instance",
            "instanceId",
            "hostName",
            "app",
            "ipAddr",
            "status",
            "overriddenStatus",
            "port",
            "securePort",
            "$",
            "@enabled",
            "@class",
            "dataCenterInfo",
            "name",
            "leaseInfo",
            "durationInSecs",
            "metadata",
            "zone",
            "vipAddress",
            "lastDirtyTimestamp",
            "replicationList",
            "action",
            "appName",
            "id",
            "instanceInfo",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.prop_map(str::to_owned), inner, 0..12)
                .prop_map(|it| json!(it)),
        ]
    })
}

/// XML that looks like what is wanted, more or less.
fn xml() -> impl Strategy<Value = String> {
    let leaf = "([a-zA-Z0-9 :._\\t\\n]|&(amp|lt|#10|#x41|quot);|<!\\[CDATA\\[<&]]>){0,8}";
    let name = proptest::sample::select(vec![
        "instanceId",
        "hostName",
        "app",
        "ipAddr",
        "status",
        "overriddenstatus",
        "vipAddress",
        "lastDirtyTimestamp",
        "metadata",
        "port enabled=\"true\"",
        "securePort",
        "homePageUrl",
    ]);
    let key = "[a-zA-Z_][a-zA-Z0-9_.-]{0,8}";
    let entries = proptest::collection::vec((key, leaf), 0..6).prop_map(|all| {
        all.iter().map(|(key, text)| format!("<{key}>{text}</{key}>")).collect::<Vec<_>>().concat()
    });
    let parts = proptest::collection::vec((name, leaf), 0..5);
    (parts, entries).prop_map(|(parts, entries)| {
        let parts = parts.iter().map(|(name, text)| {
            let end = name.split(' ').next().unwrap();
            format!("<{name}>{text}</{end}>")
        });
        let head = "<instance><instanceId>h</instanceId><hostName>h</hostName><app>A</app>\
                    <ipAddr>1</ipAddr><dataCenterInfo><name>MyOwn</name></dataCenterInfo>";
        let parts = parts.collect::<Vec<_>>().concat();
        format!("{head}{parts}<metadata>{entries}</metadata></instance>")
    })
}

/// An instance of which some fields are something else.
fn almost() -> impl Strategy<Value = Value> {
    let fields = proptest::collection::vec((0..9_usize, json()), 0..4);
    fields.prop_map(|fields| {
        let mut one = instance("A", "h");
        let names: Vec<_> = one["instance"].as_object().unwrap().keys().cloned().collect();
        for (at, value) in fields {
            one["instance"][&names[at % names.len()]] = value;
        }
        one
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_answered(
        (method, path) in proptest::sample::select(PATHS.to_vec()),
        body in prop_oneof![json(), almost()],
    ) {
        survives(async |server| {
            let told = server.ask(method, path, SAYS_JSON, &body.to_string()).await;

            assert!([200, 204, 400, 404, 405, 413].contains(&told.status), "{told:?}");
        });
    }

    #[test]
    fn an_instance_that_is_read_is_read_again_as_it_is_shown(
        body in prop_oneof![almost().prop_map(|it| it.to_string()), xml()],
    ) {
        oracles::eureka(body.as_bytes());
    }

    #[test]
    fn any_body_is_answered(
        (method, path) in proptest::sample::select(PATHS.to_vec()),
        body: Vec<u8>,
        fields in proptest::sample::select(vec![
            "", SAYS_JSON, "content-type: application/xml\r\n", "content-encoding: gzip\r\n",
        ]),
    ) {
        survives(async |server| {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            let told = ask_at(server.registry.address(), &[head.as_bytes(), &body].concat()).await;

            assert!(told.starts_with(b"HTTP/1.1 "), "{told:?}");
            assert!(!told.starts_with(b"HTTP/1.1 5"), "{told:?}");
        });
    }

    #[test]
    fn any_path_and_query_is_answered(
        method in proptest::sample::select(vec!["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"]),
        path in "(/?(apps|vips|status|A|h|delta|v2|%[0-9a-f]{2}|[a-z]{1,3})){0,6}/?",
        query in "([a-zA-Z=&%+]|value=UP|lastDirtyTimestamp=[0-9]{0,25}){0,6}",
    ) {
        survives(async |server| {
            let target = format!("/eureka/{path}?{query}");
            let told = ask_at(
                server.registry.address(),
                format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .await;

            assert!(told.starts_with(b"HTTP/1.1 "), "{told:?}");
            assert!(!told.starts_with(b"HTTP/1.1 5"), "{target}: {told:?}");
        });
    }
}
