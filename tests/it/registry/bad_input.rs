//! Whatever strangers send: never a 500, never the end of the node.

use proptest::prelude::*;

use super::*;

const CALLS: [(&str, &str); 16] = [
    ("POST", "/discovery/register"),
    ("POST", "/discovery/renew"),
    ("POST", "/discovery/cancel"),
    ("POST", "/discovery/set"),
    ("GET", "/discovery/fetch"),
    ("GET", "/discovery/fetchs"),
    ("GET", "/discovery/fetch/all"),
    ("GET", "/discovery/poll"),
    ("GET", "/discovery/polls"),
    ("GET", "/discovery/nodes"),
    ("POST", "/v1/watch"),
    ("GET", "/v1/rules/tenants/x"),
    ("PUT", "/v1/rules/tenants/x"),
    ("GET", "/v1/status"),
    ("GET", "/metrics"),
    ("POST", "/v1/peer/x"),
];

fn brief() -> Settings {
    let hold = std::time::Duration::from_millis(1);
    Settings { hold, token: Some("secret".into()), ..Settings::default() }
}

/// Names and values that mean something somewhere, and some that do not.
fn field() -> impl Strategy<Value = String> {
    let names = ["zone", "env", "appid", "hostname", "status", "addrs", "metadata", "replication"];
    let more = ["dirty_timestamp", "latest_timestamp", "from_zone", "region", "version", "x"];
    let name = proptest::sample::select([names.as_slice(), &more].concat());
    let value = prop_oneof![
        proptest::sample::select(vec![
            "",
            "0",
            "1",
            "2",
            "3",
            "-1",
            "99999999999999999999",
            "true",
            "a",
            "a,b",
            ",",
            "%",
            "%zz",
            "%00",
            "%ff",
            "{}",
            "[]",
            "null",
            "%7B%22a%22%3A1%7D",
            "infra.discovery",
            "z",
            "prod",
        ])
        .prop_map(str::to_owned),
        "[!-\"$-~]{0,12}".prop_map(|it| it),
    ];
    (name, value).prop_map(|(name, value)| format!("{name}={value}"))
}

/// Runs `deeds` against a node that must be alive afterwards.
fn survives<F: Future<Output = ()>>(deeds: impl FnOnce(Arc<Server>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Arc::new(Server::with(brief()).await);
        deeds(Arc::clone(&server)).await;
        assert_eq!(server.get("/healthz").await.status, 200);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_fields_are_answered(
        call in proptest::sample::select(CALLS.to_vec()),
        query in proptest::collection::vec(field(), 0..9),
        body in proptest::collection::vec(field(), 0..9),
        json: bool,
    ) {
        let (query, body) = (query.join("&"), body.join("&"));

        survives(async |server| {
            let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
            let fields = format!("content-type: {kind}\r\nauthorization: Bearer secret\r\n");
            let told = server.ask(call.0, &format!("{}?{query}", call.1), &fields, &body).await;

            assert!([200, 400, 404, 405].contains(&told.status), "{told:?}");
            if call.1.starts_with("/discovery/") && told.status == 200 {
                assert!([0, -304, -400, -404, -409].contains(&told.code()), "{told:?}");
            }
        });
    }

    #[test]
    fn any_body_is_answered(
        call in proptest::sample::select(CALLS.to_vec()),
        body: Vec<u8>,
        json: bool,
    ) {
        survives(async |server| {
            let kind = if json { "application/json" } else { "" };
            let head = format!(
                "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}\r\n\
                 content-length: {}\r\n\r\n",
                call.1,
                body.len()
            );
            let told = ask_at(server.registry.address(), &[head.as_bytes(), &body].concat()).await;

            assert!(told.starts_with(b"HTTP/1.1 "), "{told:?}");
            assert!(!told.starts_with(b"HTTP/1.1 5"), "{told:?}");
        });
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>) {
        survives(async |server| {
            let told = ask_at(server.registry.address(), &bytes).await;

            assert!(!told.starts_with(b"HTTP/1.1 5"), "{told:?}");
        });
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let server = Server::with(Settings { body: 1000, ..Settings::default() }).await;
    let long = "x".repeat(2000);

    let sized = server.ask("POST", "/discovery/register", "", &long).await;
    let name = format!("zone={long}&env=e&appid=a&hostname=h");
    let named = server.ask("POST", &format!("/discovery/renew?{name}"), "", "").await;
    let chunked = format!(
        "POST /discovery/renew HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n7d0\r\n{long}\r\n0\r\n\r\n"
    );
    let chunked = ask_at(server.registry.address(), chunked.as_bytes()).await;

    assert_eq!((sized.status, named.code()), (413, -400));
    assert!(chunked.starts_with(b"HTTP/1.1 413"), "{:?}", String::from_utf8_lossy(&chunked));
}
