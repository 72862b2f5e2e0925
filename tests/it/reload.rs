//! The file changes while requests pass: all of a change or none of it, and no request lost.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::harness::app::{Request, Response, answer, refusing};
use super::harness::caller::Caller;
use super::harness::side::{Side, add_instance, table};
use super::harness::{BASELINE, Mesh, Plan, within};

const USER: &str = "user.shop";

fn user(snippet: &str) -> Plan {
    let lanes = [BASELINE, "alice", "beta"];
    lanes.iter().fold(Mesh::new(snippet), |plan, lane| plan.app(USER, lane))
}

#[tokio::test]
async fn a_tenant_flips_with_the_next_request() {
    let mesh = user("tenants.alice.enabled = true").start().await;

    for (snippet, lane) in [
        ("tenants.alice.enabled = false", BASELINE),
        ("tenants.alice.enabled = true", "alice"),
        ("tenants.alice.lane = 'beta'", "beta"),
        ("tenants.alice.lane = 'nowhere'\nlanes.nowhere.fallback = ['alice']", "alice"),
    ] {
        mesh.side.turn(snippet).await;
        assert_eq!(mesh.lane(USER, "alice").await, lane, "{snippet}");
    }
}

#[tokio::test]
async fn flips_under_load_lose_no_request_and_send_none_the_wrong_way() {
    let mesh = user("tenants.alice.lane = 'alice'\nruntime.workers = 2").start().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for http1 in [false, false, false, true] {
        let through = mesh.side.outbound();
        let over = over.clone();
        load.spawn(async move {
            let caller = if http1 { Caller::http1(through) } else { Caller::http2(through).await };
            let mut count = 0;
            while !over.load(Relaxed) {
                let alice = caller.ask(USER).tenant("alice").post(Bytes::from_static(b"order"));
                let (alice, bob) =
                    tokio::join!(alice.into_future(), caller.ask(USER).tenant("bob").into_future());
                assert_eq!((alice.status, bob.status), (200, 200));
                assert!(["alice", "beta"].contains(&&*alice.text()), "{alice:?}");
                assert_eq!(bob.text(), BASELINE);
                count += 2;
            }
            count
        });
    }

    for flip in 0..60 {
        let lane = ["beta", "alice"][flip % 2];
        mesh.side.turn(&format!("tenants.alice.lane = '{lane}'")).await;
        for _ in 0..5 {
            assert_eq!(mesh.lane(USER, "alice").await, lane, "after flip {flip}");
        }
    }
    over.store(true, Relaxed);

    let mut count = 0;
    while let Some(done) = load.join_next().await {
        count += done.unwrap();
    }
    assert!(count > 100, "{count}");
}

#[tokio::test]
async fn a_request_under_way_ends_where_it_began() {
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = move |_: Request| {
        let mut released = released.clone();
        async move {
            released.wait_for(|it| *it).await.unwrap();
            answer(200, "slow")
        }
    };
    let mesh = user("").serve(USER, "carl", slow).start().await;
    let under_way = tokio::spawn(mesh.ask(USER).tenant("carl").into_future());
    mesh.app(USER, "carl").until_seen(1).await;

    mesh.side.turn("tenants.carl.enabled = false").await;
    let after = mesh.lane(USER, "carl").await;
    release.send(true).unwrap();

    assert_eq!(after, BASELINE);
    assert_eq!(within(under_way).await.unwrap().text(), "slow");
}

#[tokio::test]
async fn the_file_is_looked_at_by_itself() {
    let mesh = user("runtime.poll = '100ms'").start().await;

    mesh.side.say("tenants.alice.enabled = false");
    mesh.side.until_generation(2).await;

    assert_eq!(mesh.lane(USER, "alice").await, BASELINE);
    assert_eq!(mesh.side.metric("config_generation").await, 2);
}

#[cfg(unix)]
#[tokio::test]
async fn a_configmap_whose_link_is_swapped_is_taken_up() {
    use std::os::unix::fs::symlink;
    let mesh = user("").start().await;
    let mut told = table("runtime.poll = '100ms'");
    for lane in [BASELINE, "alice"] {
        add_instance(&mut told, USER, lane, mesh.app(USER, lane).address());
    }
    // As the kubelet does it: the file is a link through `..data`, which is swapped whole.
    let volume = tempfile::tempdir().unwrap();
    let version = |name: &str, text: String| {
        fs::create_dir(volume.path().join(name)).unwrap();
        fs::write(volume.path().join(name).join("sidecar.toml"), text).unwrap();
        symlink(name, volume.path().join("..new")).unwrap();
        fs::rename(volume.path().join("..new"), volume.path().join("..data")).unwrap();
    };
    version("..one", told.to_string());
    let file = volume.path().join("sidecar.toml");
    symlink("..data/sidecar.toml", &file).unwrap();
    let side = Side::start_at(file, tempfile::tempdir().unwrap(), told.clone()).await;
    let caller = Caller::http2(side.outbound()).await;
    assert_eq!(caller.ask(USER).tenant("alice").await.text(), "alice");

    version("..two", format!("{told}\n[tenants.alice]\nenabled = false\n"));
    fs::remove_dir_all(volume.path().join("..one")).unwrap();
    side.until_generation(2).await;

    assert_eq!(caller.ask(USER).tenant("alice").await.text(), BASELINE);
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_one_and_is_shown() {
    let mesh = user("tenants.alice.lane = 'beta'").start().await;

    fs::write(mesh.side.file(), "[tenants.alice]\nlane = 'alice'\n[outbond]\n").unwrap();
    let report = mesh.side.reload().await.unwrap_err();
    let shown = mesh.side.admin_json("/config").await;

    assert!(report.contains("outbond"), "{report}");
    assert_eq!(mesh.lane(USER, "alice").await, "beta");
    assert_eq!(shown["generation"], 1);
    assert_eq!(shown["status"]["last_error"]["report"], report);
    assert_eq!(mesh.side.metric("config_last_reload_successful").await, 0);
    assert_eq!(mesh.side.metric("config_reloads_total{outcome=\"rejected\"}").await, 1);
    assert_eq!(mesh.side.admin("/readyz").await.status, 200);

    mesh.side.restore();
    mesh.side.reload().await.unwrap();

    assert!(mesh.side.admin_json("/config").await["status"]["last_error"].is_null());
    assert_eq!(mesh.side.metric("config_last_reload_successful").await, 1);
}

#[tokio::test]
async fn a_bad_file_is_counted_once_however_often_it_is_looked_at() {
    let mesh = user("").start().await;
    fs::write(mesh.side.file(), "nonsense").unwrap();

    for _ in 0..3 {
        mesh.side.reload().await.unwrap_err();
    }

    assert_eq!(mesh.side.metric("config_reloads_total{outcome=\"rejected\"}").await, 1);
}

#[tokio::test]
async fn bytes_that_are_no_text_change_nothing() {
    let mesh = user("").start().await;

    fs::write(mesh.side.file(), [0xff, 0xfe, 0]).unwrap();

    assert!(mesh.side.reload().await.unwrap_err().contains("no text"));
    assert_eq!(mesh.lane(USER, "alice").await, "alice");
}

#[tokio::test]
async fn a_bad_tenant_stays_as_it_was_while_another_flips() {
    let mesh = user("tenants.alice.lane = 'beta'\ntenants.bob.lane = 'alice'").start().await;

    let file = fs::read_to_string(mesh.side.file()).unwrap();
    let spoilt = "[tenants.alice]\nlane = \"not a lane\"";
    let spoilt = file.replace("[tenants.alice]\nlane = \"beta\"", spoilt);
    let spoilt =
        spoilt.replace("[tenants.bob]\nlane = \"alice\"", "[tenants.bob]\nlane = \"beta\"");
    fs::write(mesh.side.file(), &spoilt).unwrap();
    let generation = mesh.side.reload().await.unwrap();
    let shown = mesh.side.admin_json("/config").await;

    assert_eq!(generation, 2, "{spoilt}");
    assert_eq!(mesh.lane(USER, "alice").await, "beta");
    assert_eq!(mesh.lane(USER, "bob").await, "beta");
    assert_eq!(shown["status"]["quarantined"][0]["entry"], "tenant alice");
    assert_eq!(mesh.side.metric("config_quarantined").await, 1);
}

#[tokio::test]
async fn a_file_that_vanishes_changes_nothing_and_one_that_returns_is_taken_up() {
    let mesh = user("tenants.alice.lane = 'beta'").start().await;

    fs::remove_file(mesh.side.file()).unwrap();
    let report = mesh.side.reload().await.unwrap_err();

    assert!(report.contains("cannot read the file"), "{report}");
    assert_eq!(mesh.lane(USER, "alice").await, "beta");
    assert_eq!(mesh.side.generation(), 1);

    mesh.side.turn("tenants.alice.lane = 'alice'").await;
    assert_eq!(mesh.lane(USER, "alice").await, "alice");
}

#[tokio::test]
async fn a_file_that_says_the_same_makes_no_new_world() {
    let mesh = user("").start().await;

    let text = fs::read_to_string(mesh.side.file()).unwrap();
    fs::write(mesh.side.file(), format!("# a remark\n{text}")).unwrap();

    assert_eq!(mesh.side.reload().await, Ok(1));
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named_and_the_rest_counts() {
    let mesh = user("").start().await;

    mesh.side
        .turn("outbound.listen = '127.0.0.1:1'\nruntime.workers = 3\ntenants.alice.enabled = false")
        .await;

    let shown = mesh.side.admin_json("/config").await;
    let named = serde_json::json!(["outbound.listen", "runtime.workers"]);
    assert_eq!(shown["status"]["restart_needed"], named);
    assert_eq!(mesh.lane(USER, "alice").await, BASELINE);
}

#[tokio::test]
async fn what_was_learned_of_an_instance_outlives_a_reload() {
    let (_held, dead) = refusing();
    let snippet = "services.'user.shop' = { outlier.failures = 1, retries.attempts = 1 }";
    let mesh = user(snippet).at(USER, "carl", dead).start().await;
    let ask = async || {
        let answer = mesh.ask(USER).tenant("carl").header("x-dyelane-echo", "1").await;
        (answer.status, answer.header("x-dyelane-path"))
    };
    assert_eq!(ask().await.0, 503);

    mesh.side.turn("tenants.bob.enabled = false").await;

    assert_eq!(ask().await, (200, "user.shop@baseline;unhealthy".to_owned()));
}

#[tokio::test]
async fn correlation_outlives_a_reload() {
    let pod = super::harness::pod::Pod::start(USER, "outbound.unknown = 'reject'").await;
    let next = super::harness::app::App::start(async |_| answer(200, ""));
    pod.side.edit(|table| add_instance(table, "next.shop", BASELINE, next.address()));
    pod.side.reload().await.unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    pod.ask().await.tenant("alice").header("traceparent", trace).await;

    pod.side.turn("tenants.bob.enabled = false").await;
    pod.call("next.shop").await.header("traceparent", trace).await;

    assert_eq!(next.only().header("x-tenant"), "alice");
}

#[tokio::test]
async fn connections_to_an_instance_that_left_are_let_go_when_their_last_request_ended() {
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = move |it: Request| {
        let mut released = released.clone();
        async move {
            if it.uri().path() == "/slow" {
                released.wait_for(|it| *it).await.unwrap();
            }
            answer(200, "leaving")
        }
    };
    for protocol in ["h2", "http/1.1"] {
        let snippet = format!("services.'{USER}'.protocol = '{protocol}'");
        let mesh = Mesh::new(&snippet).serve(USER, BASELINE, slow.clone()).start().await;
        let leaving = mesh.app(USER, BASELINE);
        let staying = super::harness::app::App::start(async |_| answer(200, "staying"));
        release.send_replace(false);
        mesh.lane(USER, "").await;
        let under_way = tokio::spawn(mesh.ask(USER).path("/slow").into_future());
        leaving.until_seen(2).await;

        mesh.side.edit(|table| {
            table["services"][USER].as_table_mut().unwrap().remove("instances");
            add_instance(table, USER, BASELINE, staying.address());
        });
        mesh.side.reload().await.unwrap();

        assert_eq!(mesh.lane(USER, "").await, "staying");
        release.send_replace(true);
        assert_eq!(within(under_way).await.unwrap().text(), "leaving", "{protocol}");
        leaving.until_open(0).await;
        assert_eq!(leaving.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_service_with_its_own_listener_that_left_is_unroutable() {
    let mesh = user("services.'user.shop'.listen = '127.0.0.1:0'").start().await;
    let own = Caller::http1(mesh.side.listener_of(USER));

    mesh.side.edit(|table| drop(table.remove("services")));
    mesh.side.reload().await.unwrap();

    let answer = own.ask(USER).await;
    assert_eq!((answer.status, &*answer.reason()), (404, "unroutable"));
}

#[tokio::test]
async fn a_reload_under_load_of_instances_that_come_and_go_fails_nobody() {
    fn named(name: &'static str) -> impl Fn(Request) -> std::future::Ready<Response> {
        move |_| std::future::ready(answer(200, name))
    }
    let mesh = Mesh::new("").serve(USER, BASELINE, named("one")).start().await;
    let (one, two) =
        (mesh.app(USER, BASELINE).address(), super::harness::app::App::start(named("two")));
    let over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (caller, over) = (Caller::http2(mesh.side.outbound()).await, over.clone());
        load.spawn(async move {
            while !over.load(Relaxed) {
                let asked = (0..8).map(|_| caller.ask(USER).post("order").into_future());
                let mut asked: JoinSet<_> = asked.collect();
                while let Some(answer) = asked.join_next().await {
                    assert_eq!(answer.unwrap().status, 200);
                }
            }
        });
    }

    for turn in 0..20 {
        let (address, name) = if turn % 2 == 0 { (two.address(), "two") } else { (one, "one") };
        mesh.side.edit(|table| {
            table["services"][USER].as_table_mut().unwrap().remove("instances");
            add_instance(table, USER, BASELINE, address);
        });
        mesh.side.reload().await.unwrap();
        assert_eq!(mesh.lane(USER, "").await, name);
    }
    over.store(true, Relaxed);

    while let Some(done) = load.join_next().await {
        done.unwrap();
    }
}
