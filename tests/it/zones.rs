//! Zones and clusters: sidecars of three zones, one of which fails and comes back.

use toml::{Table, Value};

use super::harness::app::{App, answer_with};
use super::harness::caller::Caller;
use super::harness::side::{Side, table};
use super::harness::within;

const USER: &str = "user.shop";
const ZONES: [&str; 3] = ["a", "b", "c"];

/// An instance, and where it runs.
struct Copy {
    zone: &'static str,
    app: App,
}

/// Starts so many instances in each zone; each answers with its zone.
fn copies(each: usize) -> Vec<Copy> {
    let copy = |zone: &'static str| {
        let app = App::start(move |request| answer_with(zone.to_owned(), request));
        Copy { zone, app }
    };
    ZONES.iter().flat_map(|zone| (0..each).map(move |_| copy(zone))).collect()
}

/// What a sidecar is told of them; each is in the cluster of its zone's name.
fn told(snippet: &str, copies: &[Copy]) -> Table {
    let mut told = table(snippet);
    let services = told.entry("services").or_insert_with(|| Table::new().into());
    let user = services.as_table_mut().unwrap().entry(USER).or_insert_with(|| Table::new().into());
    let instances = copies.iter().map(|copy| -> Value {
        let address = copy.app.address().to_string().into();
        let pairs =
            [("address", address), ("zone", copy.zone.into()), ("cluster", copy.zone.into())];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Table>().into()
    });
    user.as_table_mut().unwrap().insert("instances".into(), instances.collect::<Vec<_>>().into());
    told
}

/// A sidecar, and its application as a caller.
struct Client {
    side: Side,
    caller: Caller,
}

impl Client {
    async fn start(snippet: &str, copies: &[Copy]) -> Self {
        let side = Side::start(told(snippet, copies)).await;
        let caller = Caller::http2(side.outbound()).await;
        Self { side, caller }
    }

    /// Sends so many requests one after the other, and counts those that each zone answered.
    async fn ask(&self, count: usize) -> [usize; 3] {
        let mut answers = [0; 3];
        for _ in 0..count {
            let answer = self.caller.ask(USER).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let text = answer.text();
            answers[ZONES.iter().position(|zone| *zone == text).unwrap()] += 1;
        }
        answers
    }

    /// The part of its requests that a zone gets, as the operator is shown it.
    async fn share(&self, zone: &str) -> f64 {
        let catalog = self.side.admin_json("/catalog").await;
        let zones = catalog["services"][0]["lanes"][0]["zones"].as_array().unwrap().clone();
        zones.iter().find(|it| it["zone"] == zone).unwrap()["share"].as_f64().unwrap()
    }
}

fn in_zone(zone: &str) -> String {
    format!(
        "workload.zone = '{zone}'
         [services.'{USER}']
         slow_start = 'off'
         outlier = {{ failures = 1, ejection = '100ms', max_ejection = '100ms' }}"
    )
}

#[tokio::test]
async fn a_zone_that_fails_overflows_into_the_others_and_gets_its_requests_back() {
    let copies = copies(2);
    let [a, b, c] = ZONES.map(in_zone);
    let [a, b, c] = [
        Client::start(&a, &copies).await,
        Client::start(&b, &copies).await,
        Client::start(&c, &copies).await,
    ];
    assert_eq!(a.ask(30).await, [30, 0, 0]);
    assert_eq!(b.ask(30).await, [0, 30, 0]);
    assert_eq!(c.ask(30).await, [0, 0, 30]);
    assert_eq!(a.side.metric("cross_zone_requests_total{service=\"user.shop\"}").await, 0);

    for copy in copies.iter().filter(|it| it.zone == "a") {
        copy.app.kill().await;
    }
    let [own, other, third] = a.ask(100).await;
    let from_b = b.ask(30).await;

    assert_eq!(own, 0);
    assert!(other > 20 && third > 20, "{other} and {third}");
    assert_eq!(from_b, [0, 30, 0], "it is no business of zone b");
    assert!(a.side.metric("cross_zone_requests_total{service=\"user.shop\"}").await >= 100);

    for copy in copies.iter().filter(|it| it.zone == "a") {
        copy.app.revive();
    }
    let back = async { while a.ask(20).await != [20, 0, 0] {} };
    within(back).await;
    assert!(a.share("a").await > 0.99);
}

#[tokio::test]
async fn a_zone_that_half_fails_keeps_what_it_has_room_for() {
    let copies = copies(2);
    let long = in_zone("a").replace("100ms", "1h");
    let a = Client::start(&long, &copies).await;
    copies[0].app.kill().await;
    let found = async {
        while !a.side.admin("/catalog").await.text().contains("\"unreachable\": true") {
            a.ask(5).await;
        }
    };
    within(found).await;
    let shared = async {
        while a.share("a").await > 0.99 {
            a.ask(1).await;
        }
    };
    within(shared).await;

    let share = a.share("a").await;

    // One of two is well here, and five of six in all: 1.4 × (1/5) / (1/3).
    assert!((share - 0.84).abs() < 0.01, "{share}");
    let percent = a.side.metric("zone_share_percent{service=\"user.shop\",zone=\"a\"}").await;
    assert_eq!(percent, 84);
}

#[tokio::test]
async fn only_the_clusters_that_are_named_take_requests() {
    let copies = copies(1);
    let snippet = "services.'user.shop'.clusters = ['b', 'c']";

    let caller = Client::start(snippet, &copies).await;

    let [first, ..] = caller.ask(60).await;
    assert_eq!(first, 0);
    let catalog = caller.side.admin("/catalog").await.text();
    assert!(catalog.contains("\"left_out\": \"cluster\""), "{catalog}");
    caller.side.turn("services.'user.shop'.clusters = ['a']").await;
    assert_eq!(caller.ask(10).await, [10, 0, 0]);
    caller.side.turn("services.'user.shop'.clusters = ['nowhere']").await;
    let answer = caller.caller.ask(USER).await;
    assert_eq!((answer.status, &*answer.reason()), (503, "no_instance"));
}

#[tokio::test]
async fn sidecars_share_out_the_instances_of_a_service() {
    let copies = copies(4);
    let mut clients = Vec::new();
    for number in 0..6 {
        let snippet = format!("workload.name = 'order-{number}'\nservices.'{USER}'.subset = 2");
        clients.push(Client::start(&snippet, &copies).await);
    }

    for client in &clients {
        client.ask(30).await;
    }

    // Six clients of two instances each, and twelve instances: about one client for each.
    let used = copies.iter().map(|it| it.app.connections());
    assert!(used.clone().all(|it| it <= 2), "{:?}", used.collect::<Vec<_>>());
    assert!(used.clone().filter(|it| *it > 0).count() >= 9, "{:?}", used.collect::<Vec<_>>());
    let left = "endpoints{service=\"user.shop\",state=\"left\"}";
    assert_eq!(clients[0].side.metric(left).await, 10);
}
