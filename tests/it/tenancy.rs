//! Whose request it is, and what the next hop is told: carriers, claims, conflicts, what is ours only.

use super::harness::app::{App, Seen, answer_with};
use super::harness::caller::{Answer, Caller};
use super::harness::pod::Pod;
use super::harness::side::{Side, table};
use super::harness::{BASELINE, Mesh, Plan};

const USER: &str = "user.shop";

fn user(snippet: &str) -> Plan {
    let lanes = [BASELINE, "alice", "bob"];
    lanes.iter().fold(Mesh::new(snippet), |plan, lane| plan.app(USER, lane))
}

fn told(seen: &Seen) -> (String, String) {
    (seen.header("x-tenant"), seen.header("baggage"))
}

fn pair(header: &str, baggage: &str) -> (String, String) {
    (header.to_owned(), baggage.to_owned())
}

#[tokio::test]
async fn every_carrier_names_the_tenant() {
    let mesh = user("tenant.aliases = [{ header = 'service-lane' }]").start().await;

    for (name, value) in [
        ("x-tenant", "alice"),
        ("baggage", "tenant=alice"),
        ("baggage", "a=1 , tenant=alice;ttl=5"),
        ("baggage", "tenant=%61lice"),
        ("tracestate", "vendor=1,tenant=alice"),
        ("service-lane", "alice"),
    ] {
        assert_eq!(mesh.ask(USER).header(name, value).await.text(), "alice", "{name}: {value}");
    }
}

#[tokio::test]
async fn the_next_hop_is_told_by_baggage_and_by_the_header() {
    let mesh = user("").start().await;

    mesh.ask(USER).header("tracestate", "tenant=alice").await;

    assert_eq!(told(&mesh.app(USER, "alice").only()), pair("alice", "tenant=alice"));
}

#[tokio::test]
async fn the_header_is_left_out_where_the_operator_says_so() {
    let mesh = user("tenant.write_header = false").start().await;

    mesh.lane(USER, "alice").await;

    assert_eq!(told(&mesh.app(USER, "alice").only()).1, "tenant=alice");
}

#[tokio::test]
async fn foreign_members_of_baggage_keep_every_byte() {
    let mesh = user("").start().await;
    let (one, two) = ("k8s.a=1;p=%20 ;q ,  b = 2", ", c=\"3\";x");

    mesh.ask(USER).header("baggage", one).header("baggage", two).tenant("alice").await;

    let seen = mesh.app(USER, "alice").only();
    let lines: Vec<_> = seen.headers.get_all("baggage").iter().collect();
    assert_eq!(lines[0], one);
    assert_eq!(lines[1], ", c=\"3\";x,tenant=alice");
}

#[tokio::test]
async fn a_full_baggage_is_left_whole_and_the_header_carries_the_tenant() {
    let mesh = user("tenant.write_header = false").start().await;
    let full: Vec<_> = (0..64).map(|it| format!("k{it}=v")).collect();
    let full = full.join(",");

    let answer = mesh.ask(USER).header("baggage", &full).tenant("alice").await;

    assert_eq!(answer.text(), "alice");
    assert_eq!(told(&mesh.app(USER, "alice").only()), ("alice".to_owned(), full));
    assert_eq!(mesh.side.metric("baggage_no_room_total").await, 1);
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

#[tokio::test]
async fn claims_that_are_not_one_clean_value_are_refused() {
    let mesh = user("").start().await;
    let claim = (400, "claim".to_owned());

    for fields in [
        &[("x-tenant", "alice"), ("x-tenant", "bob")][..],
        &[("x-tenant", "alice,alice")],
        &[("x-tenant", "")],
        &[("x-tenant", "-alice")],
        &[("x-tenant", "alice"), ("baggage", "tenant=bob")],
        &[("baggage", "tenant=alice,tenant=bob")],
        &[("baggage", "tenant=alice"), ("tracestate", "tenant=bob")],
        &[("baggage", "tenant")],
    ] {
        let ask =
            || fields.iter().fold(mesh.ask(USER), |ask, (name, value)| ask.header(name, value));
        let ask_grpc = fields.iter().fold(mesh.ask(USER).grpc(), |it, (n, v)| it.header(n, v));

        let http = ask().await;
        let grpc = ask_grpc.await;

        assert_eq!(refused(&http), claim, "{fields:?}");
        assert_eq!(http.text(), "malformed or contradictory tenant\n");
        assert_eq!(grpc.grpc(), (200, "3".to_owned(), "claim".to_owned()), "{fields:?}");
    }
    assert!(mesh.side.metric("claims_rejected_total{cause=\"conflict\"}").await > 0);
    assert!(mesh.side.metric("claims_rejected_total{cause=\"malformed\"}").await > 0);
    assert_eq!(mesh.ask(USER).tenant("alice").tenant("alice").await.text(), "alice");
}

#[tokio::test]
async fn an_ignored_conflict_goes_on_as_no_tenant_and_lets_no_later_hop_guess() {
    let mesh = user("tenant.on_conflict = 'ignore'").start().await;

    let answer = mesh.ask(USER).tenant("alice").header("baggage", "a=1,tenant=bob").await;

    assert_eq!(answer.text(), BASELINE);
    assert_eq!(told(&mesh.app(USER, BASELINE).only()), pair("", "a=1"));
    assert_eq!(mesh.side.metric("claims_rejected_total{cause=\"conflict\"}").await, 1);
}

#[tokio::test]
async fn an_ignored_conflict_is_nobodys_whatever_else_is_known() {
    let snippet = "tenant.on_conflict = 'ignore'\nworkload.lane = 'alice'";
    let mesh = user(snippet).start().await;

    let conflict = mesh.ask(USER).tenant("alice").header("baggage", "tenant=bob").await;
    let nothing = mesh.ask(USER).await;

    assert_eq!((&*conflict.text(), &*nothing.text()), (BASELINE, "alice"));
}

#[tokio::test]
async fn the_header_counts_in_a_conflict_if_the_operator_says_so_and_no_carrier_says_otherwise_then()
 {
    let snippet = "tenant.on_conflict = 'header'
        tenant.aliases = [{ baggage = 'sd-routing-key' }]";
    let mesh = user(snippet).start().await;

    let answer = mesh.ask(USER).tenant("alice").header("baggage", "tenant=bob,sd-routing-key=carl");
    let answer = answer.await;
    let unclean = mesh.ask(USER).tenant("alice").tenant("bob").await;

    assert_eq!(answer.text(), "alice");
    assert_eq!(told(&mesh.app(USER, "alice").only()), pair("alice", "tenant=alice"));
    assert_eq!(refused(&unclean), (400, "claim".to_owned()));
}

#[tokio::test]
async fn connection_cannot_strip_the_tenant() {
    let mesh = user("").start().await;

    let answer = mesh.ask_http1(USER).tenant("alice").header("connection", "x-tenant, x-other");
    let answer = answer.header("x-other", "1").await;

    assert_eq!(answer.text(), "alice");
    assert_eq!(mesh.app(USER, "alice").only().header("x-other"), "");
}

#[tokio::test]
async fn an_edge_that_strips_believes_nobody() {
    let pod = Pod::start(
        USER,
        "inbound.claims = 'strip'
         tenant.aliases = [{ header = 'service-lane' }]",
    )
    .await;

    let ask = pod.ask().await.tenant("alice").header("baggage", "a=1,tenant=alice");
    let ask = ask.header("tracestate", "tenant=alice").header("service-lane", "alice");
    let answer = ask.header("x-dyelane-echo", "1").header("x-dyelane-rerouted", "1").await;

    assert_eq!(answer.status, 200);
    let seen = pod.last();
    assert_eq!(told(&seen), pair("", "a=1"));
    for name in ["tracestate", "service-lane", "x-dyelane-echo", "x-dyelane-rerouted"] {
        assert_eq!(seen.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn an_edge_that_strips_does_not_mind_a_conflict() {
    let pod = Pod::start(USER, "inbound.claims = 'strip'").await;

    let answer = pod.ask().await.tenant("alice").tenant("bob").await;

    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_application_is_told_of_the_tenant_and_of_nothing_between_sidecars() {
    let pod = Pod::start(USER, "").await;

    pod.ask()
        .await
        .tenant("alice")
        .header("x-dyelane-rerouted", "1")
        .header("x-dyelane-x", "1")
        .await;

    let seen = pod.last();
    assert_eq!(told(&seen), pair("alice", "tenant=alice"));
    assert_eq!((seen.header("x-dyelane-rerouted"), seen.header("x-dyelane-x")), pair("", ""));
}

#[tokio::test]
async fn an_application_cannot_speak_as_a_sidecar() {
    let mesh = user("").start().await;

    mesh.ask(USER).header("x-dyelane-rerouted", "1").await;

    assert_eq!(mesh.app(USER, BASELINE).only().header("x-dyelane-rerouted"), "");
}

/// A baseline instance that hands requests on, and the lane's instance behind a sidecar of its own.
async fn rerouting() -> (Pod, Pod) {
    let lane = Pod::start(USER, "workload.lane = 'alice'\ninbound.reroute = true").await;
    let there = lane.side.inbound();
    let snippet = format!(
        "inbound.reroute = true
         [[services.'{USER}'.instances]]
         address = '{there}'
         lane = 'alice'"
    );
    (Pod::start(USER, &snippet).await, lane)
}

#[tokio::test]
async fn the_baseline_hands_a_request_on_for_a_caller_without_a_sidecar() {
    let (baseline, lane) = rerouting().await;

    let alice = baseline.ask().await.tenant("alice").header("x-dyelane-echo", "1").await;
    let bob = baseline.ask().await.tenant("bob").await;

    assert_eq!((alice.status, bob.status), (200, 200));
    assert_eq!(alice.header("x-dyelane-path"), "user.shop@alice;exact");
    assert_eq!(told(&lane.last()), pair("alice", "tenant=alice"));
    assert_eq!(lane.last().header("x-dyelane-rerouted"), "");
    assert_eq!(told(&baseline.app.only()), pair("bob", "tenant=bob"));
}

#[tokio::test]
async fn a_baseline_that_hands_on_keeps_nothing_that_is_not_for_it() {
    let strict = Pod::start(USER, "inbound.reroute = true\ntenants.alice.strict = true").await;
    strict.side.edit(|table| {
        let nowhere = "127.0.0.1:9".parse().unwrap();
        super::harness::side::add_instance(table, USER, "carl", nowhere);
    });
    strict.side.reload().await.unwrap();

    let alice = strict.ask().await.tenant("alice").await;
    let bob = strict.ask().await.tenant("bob").await;

    assert_eq!((alice.status, &*alice.reason()), (503, "no_instance"));
    assert_eq!(bob.status, 200);
}

#[tokio::test]
async fn a_request_is_handed_on_once() {
    let (baseline, lane) = rerouting().await;

    let answer = baseline.ask().await.tenant("alice").header("x-dyelane-rerouted", "1").await;

    assert_eq!(answer.status, 200);
    assert!(lane.app.seen().is_empty());
    assert_eq!(told(&baseline.last()), pair("alice", "tenant=alice"));
}

#[tokio::test]
async fn two_baselines_that_take_each_other_for_the_lane_do_not_play_ball() {
    let app = App::start(|it| answer_with("app".to_owned(), it));
    let address = app.address();
    let told = |instance: &str| {
        table(&format!(
            "workload = {{ service = '{USER}', address = '{address}' }}
             inbound = {{ listen = '127.0.0.1:0', reroute = true }}
             [[services.'{USER}'.instances]]
             address = '{instance}'
             lane = 'alice'"
        ))
    };
    let one = Side::start(told("127.0.0.1:9")).await;
    let other = Side::start(told(&one.inbound().to_string())).await;
    one.edit(|table| *table = told(&other.inbound().to_string()));
    one.reload().await.unwrap();

    let answer = Caller::http2(one.inbound()).await.ask(USER).tenant("alice").await;

    assert_eq!((answer.status, &*answer.text()), (200, "app"));
    assert_eq!(app.only().header("x-tenant"), "alice");
}
