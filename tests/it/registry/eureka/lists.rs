//! Lists and their hash are of one moment, changes add up, and a crowd is served alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use dyelane::registry::record::{Key, Registration, Standing};
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;

/// A client in delta mode: what it has, by application and id.
#[derive(Default)]
struct Client {
    has: BTreeMap<(String, String), Value>,
}

impl Client {
    fn take(&mut self, list: &Value) {
        for instance in instances(list) {
            let place = (text(&instance["app"]), text(&instance["instanceId"]));
            match instance["actionType"].as_str().unwrap() {
                "ADDED" | "MODIFIED" => drop(self.has.insert(place, instance.clone())),
                "DELETED" => drop(self.has.remove(&place)),
                other => panic!("{other}"),
            }
        }
    }

    /// What it has, without what is of one answer alone.
    fn content(&self) -> Vec<Value> {
        let plain = |it: &Value| {
            let mut it = it.clone();
            it["actionType"] = Value::Null;
            it["leaseInfo"]["lastRenewalTimestamp"] = Value::Null;
            it
        };
        self.has.values().map(plain).collect()
    }

    fn hash(&self) -> String {
        let all: Vec<_> = self.has.values().cloned().collect();
        counted(&json!({ "applications": { "application": [{ "instance": all }] } }))
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Register(usize, usize),
    Discover(usize),
    Cancel(usize),
    Put(usize, usize),
    Take(usize),
    Metadata(usize, u8),
    Ask,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (who, status) = (0..6_usize, 0..4_usize);
    prop_oneof![
        4 => (who.clone(), status.clone()).prop_map(|(who, it)| Deed::Register(who, it)),
        1 => who.clone().prop_map(Deed::Discover),
        2 => who.clone().prop_map(Deed::Cancel),
        2 => (who.clone(), status).prop_map(|(who, it)| Deed::Put(who, it)),
        1 => who.clone().prop_map(Deed::Take),
        1 => (who, any::<u8>()).prop_map(|(who, it)| Deed::Metadata(who, it)),
        3 => Just(Deed::Ask),
    ]
}

async fn does(server: &Server, deed: &Deed) {
    const STATUSES: [&str; 4] = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE"];
    let app = |who: usize| ["A", "B.C"][who % 2];
    let path = |who: usize| format!("apps/{}/h{who}", app(who));
    match *deed {
        Deed::Register(who, status) => {
            let mut one = instance(app(who), &format!("h{who}"));
            one["instance"]["status"] = STATUSES[status].into();
            one["instance"]["lastDirtyTimestamp"] = Value::Null;
            assert_eq!(server.put_in(&one).await.status, 204);
        }
        Deed::Discover(who) => server.register(&app(who).to_lowercase(), &format!("h{who}")).await,
        Deed::Cancel(who) => drop(server.does("DELETE", &path(who)).await),
        Deed::Put(who, status) => {
            let path = format!("{}/status?value={}", path(who), STATUSES[status]);
            server.does("PUT", &path).await;
        }
        Deed::Take(who) => {
            server.does("DELETE", &format!("{}/status?value=UP", path(who))).await;
        }
        Deed::Metadata(who, value) => {
            server.does("PUT", &format!("{}/metadata?a={value}", path(who))).await;
        }
        Deed::Ask => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_first_list_and_all_changes_are_the_last_list(
        deeds in proptest::collection::vec(deed(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::new().await;
            let mut client = Client::default();
            client.take(&server.reads("apps").await);

            for deed in deeds.iter().chain([&Deed::Ask]) {
                does(&server, deed).await;
                if matches!(deed, Deed::Ask) {
                    let delta = server.reads("apps/delta").await;
                    client.take(&delta);
                    let full = server.reads("apps").await;
                    let mut fresh = Client::default();
                    fresh.take(&full);

                    assert_eq!(client.content(), fresh.content());
                    for list in [&delta, &full] {
                        let hash = text(&list["applications"]["apps__hashcode"]);
                        assert_eq!(hash, client.hash());
                    }
                }
            }
        });
    }
}

/// Writes without end, as fast as it goes, until it is told to stop.
fn writer(node: Arc<Node>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let key = |number: u64| {
            let [env, appid, zone, hostname] =
                ["prod", "a", "z", &format!("h{}", number % 16)].map(Arc::from);
            Key { env, appid, zone, hostname }
        };
        let mut random = fastrand::Rng::with_seed(1);
        while !stop.load(Ordering::Relaxed) {
            let key = key(random.u64(..));
            let status = if random.bool() { Standing::Up } else { Standing::Waiting };
            node.write(|store, now| match random.u8(0..3) {
                0 => drop(store.cancel(&key, now)),
                1 => drop(store.alter(&key, now, |it| it.status = status)),
                _ => drop(store.register(
                    key,
                    Registration { status, ..Registration::default() },
                    now,
                )),
            });
            std::thread::yield_now();
        }
    })
}

#[tokio::test]
async fn every_list_has_the_hash_of_what_is_in_it_whatever_is_written_meanwhile() {
    let server = Server::new().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(Arc::clone(server.node()), Arc::clone(&stop));

    let mut client = Client::default();
    for _ in 0..200 {
        let full = server.reads("apps").await;
        client.take(&server.reads("apps/delta").await);
        assert_eq!(text(&full["applications"]["apps__hashcode"]), counted(&full));
    }
    let mut hashes = Vec::new();
    for _ in 0..200 {
        let delta = server.reads("apps/delta").await;
        client.take(&delta);
        hashes.push((text(&delta["applications"]["apps__hashcode"]), client.hash()));
    }
    stop.store(true, Ordering::Relaxed);
    writing.join().unwrap();

    for (told, has) in hashes {
        assert_eq!(told, has);
    }
}

#[tokio::test]
async fn changes_are_told_by_what_became_of_each_instance() {
    let server = Server::new().await;
    let told = async || {
        let list = server.reads("apps/delta").await;
        let all = instances(&list)
            .map(|it| format!("{} {}", text(&it["actionType"]), text(&it["instanceId"])));
        (all.collect::<Vec<_>>(), text(&list["applications"]["versions__delta"]))
    };

    server.put_in_plain("A", "a").await;
    server.put_in_plain("A", "b").await;
    let (first, one) = told().await;
    server.does("PUT", "apps/A/a/metadata?x=y").await;
    server.does("DELETE", "apps/A/b").await;
    let (then, two) = told().await;
    server.put_in_plain("A", "b").await;
    let (last, three) = told().await;

    assert_eq!(first, ["ADDED a", "ADDED b"]);
    assert_eq!(then, ["MODIFIED a", "DELETED b"]);
    // A client that has not heard of the end replaces what it has.
    assert_eq!(last, ["MODIFIED a", "MODIFIED b"]);
    let versions = [one, two, three].map(|it| it.parse::<u64>().unwrap());
    assert!(versions.is_sorted_by(|one, other| one < other), "{versions:?}");
}

fn fill(server: &Server, count: usize) {
    server.node().write(|store, now| {
        for number in 0..count {
            let appid = format!("app-{}", number / 20);
            let [env, appid, zone, hostname] =
                ["prod", &appid, "z", &format!("h{number}")].map(Arc::from);
            let addrs = vec![format!("http://10.0.0.1:{}", 1 + number % 60_000).into()];
            let registration = Registration { addrs, ..Registration::default() };
            store.register(Key { env, appid, zone, hostname }, registration, now).unwrap();
        }
    });
}

/// Asks with `accept-encoding`, and returns the head and the body as it was before.
async fn zipped(server: &Server, target: &str, fields: &str) -> (String, Vec<u8>) {
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\
         accept-encoding: gzip, deflate\r\n\r\n"
    );
    let told = exchange(server, &[request.as_bytes()]).await;
    let end = told.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(told[..end].to_vec()).unwrap().to_lowercase();
    let body = told[end..].to_vec();
    if head.contains("content-encoding: gzip") {
        return (head, gzip::read(&body, 64 << 20).unwrap());
    }
    (head, body)
}

#[tokio::test]
async fn lists_are_compressed_for_those_who_take_it_and_say_the_same() {
    let server = Server::new().await;
    fill(&server, 2000);

    for fields in [JSON, ""] {
        for path in ["apps", "apps/delta", "apps/APP-1", "vips/app-1"] {
            let target = format!("/eureka/{path}");
            let (head, small) = zipped(&server, &target, fields).await;
            let plain = server.ask("GET", &target, fields, "").await;

            assert!(head.contains("content-encoding: gzip"), "{path}: {head}");
            assert_eq!(plain.field("content-encoding"), None);
            assert_eq!(String::from_utf8(small).unwrap(), plain.body, "{path}");
        }
    }
    let (head, _) = zipped(&server, "/eureka/apps/APP-1/h20", JSON).await;
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn a_crowd_is_given_the_whole_list_while_heartbeats_are_answered() {
    let server = Arc::new(Server::new().await);
    fill(&server, 1000);
    let (mut crowd, mut hearts) = (JoinSet::new(), JoinSet::new());

    for number in 0..24 {
        let server = Arc::clone(&server);
        if number % 8 == 0 {
            hearts.spawn(async move {
                server.put_in_plain("BEAT", &format!("b{number}")).await;
                server.does("PUT", &format!("apps/BEAT/b{number}")).await
            });
        } else {
            crowd.spawn(async move { zipped(&server, "/eureka/apps", JSON).await });
        }
    }

    assert_eq!(within(hearts.join_all()).await, [200; 3]);
    let told: BTreeSet<_> = within(crowd.join_all()).await.into_iter().collect();
    for (head, body) in told {
        let list: Value = serde_json::from_slice(&body).unwrap();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(text(&list["applications"]["apps__hashcode"]), counted(&list));
        assert!(instances(&list).count() >= 1000);
    }
    assert_eq!(instances(&server.reads("apps").await).count(), 1003);
}

#[tokio::test]
async fn who_is_unable_to_read_yet_says_when_to_come_back() {
    let peer: Arc<str> = "127.0.0.1:1".into();
    let server = Server::with(Settings { peers: vec![peer], ..Settings::default() }).await;
    server.put_in_plain("A", "h").await;

    let told = server.ask("GET", "/eureka/apps", JSON, "").await;

    // It waits for a while for another's copy, and then is alone and answers.
    assert!(matches!(told.status, 200 | 503), "{told:?}");
    assert_eq!(told.status == 503, told.field("retry-after").is_some());
    assert_eq!(server.does("PUT", "apps/A/h").await, 200);
}
