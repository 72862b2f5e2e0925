//! A catalog of ten thousand instances is made beside the requests, not before them.

use std::time::{Duration, Instant};

use super::*;

const SERVICES: usize = 100;
const EACH: usize = 100;

#[tokio::test]
async fn a_large_catalog_does_not_make_requests_wait() {
    let registry = node().await;
    let app = app("baseline");
    register(&registry, USER, "1", app.address(), BASELINE);
    for service in 0..SERVICES {
        for host in 0..EACH {
            let address = format!("10.{}.{}.1:80", service + 1, host).parse().unwrap();
            register(&registry, &format!("s{service}.large"), &host.to_string(), address, BASELINE);
        }
    }
    let side = caller(&[&registry], "").await;
    side.until_metric("catalog_instances", (SERVICES * EACH + 1).try_into().unwrap()).await;
    let caller = Caller::http2(side.outbound()).await;
    caller.ask(USER).await;

    let mut quiet = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        assert_eq!(caller.ask(USER).await.status, 200);
        quiet.push(began.elapsed());
    }
    let (mut busy, before) = (Vec::new(), side.generation());
    while side.generation() < before + 20 {
        let address = format!("10.200.{}.1:80", busy.len() % 250).parse().unwrap();
        register(&registry, "s0.large", "one-more", address, BASELINE);
        let began = Instant::now();
        assert_eq!(caller.ask(USER).await.status, 200);
        busy.push(began.elapsed());
    }

    quiet.sort();
    busy.sort();
    let part = |all: &[Duration], percent: usize| all[all.len() * percent / 100];
    let [before, during] = [&quiet, &busy].map(|it| (part(it, 50), part(it, 99)));
    println!("half and 99 % of requests: {before:?}, while worlds are made {during:?}");
    // More than one in a hundred requests meets a world in the making, which takes longer than this.
    assert!(during.1 < Duration::from_millis(100), "{during:?} of {}", busy.len());
}
