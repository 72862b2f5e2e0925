//! Long polls: no wake-up is lost or stolen, nothing stays of who is gone, repetition is damped.

use std::time::Duration;

use super::*;

fn polls(apps: &[(&str, i64)]) -> String {
    let apps = apps.iter().map(|(appid, at)| format!("&appid={appid}&latest_timestamp={at}"));
    format!("/discovery/polls?env=prod&hostname=me{}", apps.collect::<String>())
}

fn poll(appid: &str, at: i64) -> String {
    format!("/discovery/poll?env=prod&hostname=me&appid={appid}&latest_timestamp={at}")
}

fn brief() -> Settings {
    Settings { hold: Duration::from_millis(200), ..Settings::default() }
}

/// The names of the instances of a service in an answer of `polls`.
fn hosts(told: &Told, appid: &str) -> Vec<String> {
    let json = told.json();
    let zones = json["data"][appid]["instances"].as_object().unwrap().clone();
    let all = zones.values().flat_map(|zone| zone.as_array().unwrap().clone());
    all.map(|it| it["hostname"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_one_does_not_have_is_told_at_once() {
    let server = Server::new().await;
    server.register("a", "h").await;
    let latest = server.latest("a").await;

    let one = server.get(&poll("a", 0)).await;
    let ahead = server.get(&poll("a", latest + 1)).await;
    let several = server.get(&polls(&[("a", 0), ("none", 0)])).await;
    let missing = server.get(&poll("none", 0)).await;

    assert_eq!((one.code(), one.json()["data"]["latest_timestamp"].as_i64()), (0, Some(latest)));
    assert_eq!(ahead.code(), 0, "the timestamp of another node");
    assert!(several.body.starts_with(r#"{"code":0,"data":{"a":{"instances":{"z":[{"#));
    assert!(several.body.ends_with(r#","error":{"-404":["none"]},"message":"0"}"#));
    assert_eq!(missing.body, r#"{"code":-404,"message":"none not found"}"#);
}

#[tokio::test]
async fn without_news_the_end_of_the_wait_says_so() {
    let server = Server::with(brief()).await;
    server.register("a", "h").await;
    let latest = server.latest("a").await;

    for target in [poll("a", latest), polls(&[("a", latest)]), polls(&[("none", 0)])] {
        let told = server.get(&target).await;

        assert_eq!(told.body, r#"{"code":-304,"message":"-304","ttl":1}"#, "{target}");
        assert_eq!(told.code(), -304);
    }
}

#[tokio::test]
async fn a_client_may_wait_for_less() {
    let server = Server::new().await;

    let told = server.ask("GET", &polls(&[("none", 0)]), "x1-bmspy-timeout: 120\r\n", "").await;

    assert_eq!(told.code(), -304);
}

#[tokio::test]
async fn every_poller_of_one_host_is_told_what_it_waits_for() {
    let server = Server::new().await;
    let mut held = Vec::new();
    for number in 0..20 {
        let apps = [("shared", 0), (&*format!("own-{}", number % 4), 0)];
        held.push(server.send("GET", &polls(&apps), "", "").await);
    }
    server.watchers(20).await;

    server.register("shared", "h").await;

    for held in held {
        assert_eq!(hosts(&answer(held).await, "shared"), ["h"]);
    }
    server.watchers(0).await;
}

#[tokio::test]
async fn nothing_stays_of_who_hangs_up_and_it_takes_nobodys_news() {
    let server = Server::new().await;
    for _ in 0..5 {
        let ghost = server.send("GET", &polls(&[("a", 0)]), "", "").await;
        server.watchers(1).await;
        drop(ghost);
        server.watchers(0).await;
    }
    let ghost = server.send("GET", &polls(&[("a", 0)]), "", "").await;
    let alive = server.send("GET", &polls(&[("a", 0)]), "", "").await;
    server.watchers(2).await;
    drop(ghost);

    server.register("a", "h").await;

    assert_eq!(hosts(&answer(alive).await, "a"), ["h"]);
}

#[tokio::test]
async fn changes_while_one_comes_back_are_not_lost() {
    let server = Server::new().await;
    server.register("a", "h0").await;
    let mut latest = server.latest("a").await;

    let mut seen = Vec::new();
    for number in 1..20 {
        let early = server.send("GET", &polls(&[("a", latest)]), "", "").await;
        if number % 2 == 0 {
            server.watchers(1).await;
        }
        server.register("a", &format!("h{number}")).await;
        let told = answer(early).await;
        latest = told.json()["data"]["a"]["latest_timestamp"].as_i64().unwrap();
        seen.push(hosts(&told, "a").len());
    }

    assert_eq!(seen, (2..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_kind_of_change_is_told() {
    let server = Server::new().await;
    server.register("a", "h1").await;
    let who = "zone=z&env=prod&appid=a&hostname=h1";

    for (call, form, expected) in [
        ("register", format!("{who}&status=1&addrs=x&version=2"), vec!["h1"]),
        ("set", format!("{who}&status=2"), vec![]),
        ("set", format!("{who}&status=1"), vec!["h1"]),
        ("cancel", who.to_owned(), vec![]),
        ("register", format!("{who}&status=1&addrs=x"), vec!["h1"]),
    ] {
        let latest = server.node().read(|store| store.service("prod", "a").unwrap().index());
        let latest = i64::try_from(latest).unwrap();
        let held = server.send("GET", &polls(&[("a", latest)]), "", "").await;
        server.watchers(1).await;

        server.post(call, &form).await;

        assert_eq!(hosts(&answer(held).await, "a"), expected, "{call} {form}");
    }
}

#[tokio::test]
async fn the_end_of_a_service_is_told_to_who_knew_it() {
    let server = Server::new().await;
    server.register("a", "h").await;
    let latest = server.latest("a").await;
    let held = server.send("GET", &polls(&[("a", latest)]), "", "").await;
    server.watchers(1).await;

    server.cancel("a", "h").await;
    let told = answer(held).await;

    assert_eq!(hosts(&told, "a"), [""; 0]);
    assert_eq!(told.json()["error"]["-404"], serde_json::json!(["a"]));
}

#[tokio::test]
async fn a_zone_alone_may_be_polled() {
    let server = Server::new().await;
    server.register("a", "h").await;

    let ours = server.get(&format!("{}&zone=z", polls(&[("a", 0)]))).await;
    let other = server.get(&format!("{}&zone=y", poll("a", 0))).await;

    assert_eq!(hosts(&ours, "a"), ["h"]);
    assert_eq!(other.code(), -404);
}

#[tokio::test]
async fn who_asks_the_same_again_and_again_is_made_to_wait_until_it_changes() {
    let server = Server::new().await;
    let who = "zone=z&env=prod&appid=a&hostname=h&addrs=x";
    server.post("register", &format!("{who}&status=2")).await;
    let first = server.get(&polls(&[("a", 0)])).await;

    let again = server.send("GET", &polls(&[("a", 0)]), "", "").await;
    server.watchers(1).await;
    server.post("register", &format!("{who}&status=1")).await;
    let told = answer(again).await;

    assert_eq!(first.json()["data"]["a"]["instances"], serde_json::json!({"z": []}));
    assert_eq!(hosts(&told, "a"), ["h"]);
    assert_eq!(server.node().metrics().damped.get(), 1);
}
