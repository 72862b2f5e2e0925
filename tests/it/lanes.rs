//! Which lane serves a request: ladders, switches and rules, by real sockets.

use tokio::task::JoinSet;

use super::harness::app::refusing;
use super::harness::{BASELINE, Mesh, Plan};

const USER: &str = "user.shop";

fn user(snippet: &str, lanes: &[&str]) -> Plan {
    lanes.iter().fold(Mesh::new(snippet), |plan, lane| plan.app(USER, lane))
}

#[tokio::test]
async fn a_tenant_reaches_its_own_lane_and_others_the_baseline() {
    let mesh = user("", &[BASELINE, "alice"]).start().await;

    assert_eq!(mesh.lane(USER, "alice").await, "alice");
    assert_eq!(mesh.lane(USER, "bob").await, BASELINE);
    assert_eq!(mesh.lane(USER, "").await, BASELINE);
}

#[tokio::test]
async fn http1_callers_are_routed_as_well() {
    let mesh = user("", &[BASELINE, "alice"]).start().await;

    let alice = mesh.ask_http1(USER).tenant("alice").await;
    let nobody = mesh.ask_http1(USER).await;

    assert_eq!((alice.text(), nobody.text()), ("alice".to_owned(), BASELINE.to_owned()));
    assert_eq!(mesh.app(USER, "alice").only().version, http::Version::HTTP_11);
}

#[tokio::test]
async fn a_tenant_is_sent_to_the_lane_the_operator_says() {
    let mesh = user("tenants.alice.lane = 'beta'", &[BASELINE, "alice", "beta"]).start().await;

    assert_eq!(mesh.lane(USER, "alice").await, "beta");
    assert_eq!(mesh.lane(USER, "beta").await, "beta");
}

#[tokio::test]
async fn a_lane_falls_back_to_its_dotted_parents_and_never_to_a_namesake() {
    let mesh = user("", &[BASELINE, "dev.p1", "dev.proj-ab"]).start().await;

    assert_eq!(mesh.lane(USER, "dev.p1.alice").await, "dev.p1");
    assert_eq!(mesh.lane(USER, "dev.p1.a.b.c").await, "dev.p1");
    assert_eq!(mesh.lane(USER, "dev.p2.alice").await, BASELINE);
    assert_eq!(mesh.lane(USER, "dev.proj-abc").await, BASELINE);
    assert_eq!(mesh.lane(USER, "dev").await, BASELINE);
}

#[tokio::test]
async fn a_lane_falls_back_along_its_list_before_the_baseline() {
    let snippet = "lanes.alice.fallback = ['qa', 'staging']";
    let mesh = user(snippet, &[BASELINE, "staging", "bob"]).start().await;

    let answer = mesh.ask(USER).tenant("alice").header("x-dyelane-echo", "1").await;

    assert_eq!(answer.text(), "staging");
    assert_eq!(answer.header("x-dyelane-path"), "user.shop@staging;fallback");
}

#[tokio::test]
async fn a_fallback_forwards_the_tenant_and_not_the_lane_that_serves_it() {
    let mesh = user("lanes.alice.fallback = ['staging']", &["staging"]).start().await;

    mesh.lane(USER, "alice").await;

    let seen = mesh.app(USER, "staging").only();
    assert_eq!(seen.header("x-tenant"), "alice");
    assert_eq!(seen.header("baggage"), "tenant=alice");
}

#[tokio::test]
async fn strict_is_an_error_instead_of_the_baseline() {
    for snippet in [
        "tenants.alice.strict = true",
        "lanes.alice.strict = true",
        "services.'user.shop'.strict = true",
    ] {
        let mesh = user(snippet, &[BASELINE, "bob"]).start().await;

        let http = mesh.ask(USER).tenant("alice").await;
        let grpc = mesh.ask(USER).grpc().tenant("alice").await;

        assert_eq!((http.status, &*http.reason()), (503, "no_instance"), "{snippet}");
        assert_eq!(http.text(), "no instance for this tenant\n");
        assert_eq!(grpc.grpc(), (200, "14".to_owned(), "no_instance".to_owned()));
        assert_eq!(mesh.lane(USER, "").await, BASELINE, "{snippet}");
        assert!(mesh.app(USER, "bob").seen().is_empty());
    }
}

#[tokio::test]
async fn a_disabled_tenant_goes_to_the_baseline_and_is_carried_onward() {
    let mesh = user("tenants.alice.enabled = false", &[BASELINE, "alice"]).start().await;

    let answer = mesh.ask(USER).tenant("alice").header("x-dyelane-echo", "1").await;

    assert_eq!(answer.text(), BASELINE);
    assert_eq!(answer.header("x-dyelane-path"), "user.shop@baseline;disabled");
    assert_eq!(mesh.app(USER, BASELINE).only().header("baggage"), "tenant=alice");
}

#[tokio::test]
async fn a_lane_nobody_can_reach_counts_as_unhealthy_and_not_as_absent() {
    let (_held, dead) = refusing();
    let snippet = "services.'user.shop'.outlier.failures = 1
        services.'user.shop'.retries.attempts = 1";
    let mesh = user(snippet, &[BASELINE]).at(USER, "alice", dead).start().await;
    let ask = || mesh.ask(USER).tenant("alice").header("x-dyelane-echo", "1");

    let first = ask().await;
    let second = ask().await;

    assert_eq!((first.status, &*first.reason()), (503, "connect"));
    assert_eq!(second.header("x-dyelane-path"), "user.shop@baseline;unhealthy");
    let series = "fallback_total{reason=\"unhealthy\",service=\"user.shop\"}";
    assert_eq!(mesh.side.metric(series).await, 1);
}

#[tokio::test]
async fn on_unhealthy_fail_is_an_error() {
    let (_held, dead) = refusing();
    let snippet = "lanes.alice.on_unhealthy = 'fail'
        services.'user.shop'.outlier.failures = 1
        services.'user.shop'.retries.attempts = 1";
    let mesh = user(snippet, &[BASELINE]).at(USER, "alice", dead).start().await;
    mesh.ask(USER).tenant("alice").await;

    let answer = mesh.ask(USER).tenant("alice").await;

    assert_eq!((answer.status, &*answer.reason()), (503, "no_instance"));
    assert_eq!(mesh.lane(USER, "").await, BASELINE);
}

#[tokio::test]
async fn a_baseline_that_cannot_be_reached_is_tried_all_the_same() {
    let snippet = "services.'user.shop'.outlier.failures = 1
        services.'user.shop'.retries.attempts = 1";
    let mesh = user(snippet, &[BASELINE]).start().await;
    mesh.app(USER, BASELINE).kill().await;
    assert_eq!(mesh.ask(USER).await.reason(), "connect");

    mesh.app(USER, BASELINE).revive();

    assert_eq!(mesh.lane(USER, "").await, BASELINE);
}

#[tokio::test]
async fn every_request_is_counted_by_tenant_lane_and_reason() {
    let mesh = user("tenants.carl.strict = true", &[BASELINE, "alice"]).start().await;

    for tenant in ["alice", "", "stranger", "carl"] {
        mesh.ask(USER).tenant(tenant).await;
    }

    for (code, lane, reason, tenant) in [
        ("200", "alice", "exact", "alice"),
        ("200", "baseline", "baseline", ""),
        ("200", "baseline", "absent", "other"),
        ("503", "", "no_instance", "carl"),
    ] {
        let series = format!(
            "requests_total{{code=\"{code}\",direction=\"outbound\",lane=\"{lane}\",\
             reason=\"{reason}\",service=\"{USER}\",tenant=\"{tenant}\"}}"
        );
        mesh.side.until_metric(&series, 1).await;
    }
}

#[tokio::test]
async fn a_host_no_service_has_is_unroutable() {
    let mesh = user("", &[BASELINE]).start().await;

    let http = mesh.ask("nobody.shop").await;
    let http1 = mesh.ask_http1("nobody.shop").await;
    let grpc = mesh.ask("nobody.shop").grpc().await;

    for answer in [http, http1] {
        assert_eq!((answer.status, &*answer.reason()), (404, "unroutable"));
        assert_eq!(answer.text(), "no such service\n");
    }
    assert_eq!(grpc.grpc(), (200, "12".to_owned(), "unroutable".to_owned()));
    assert_eq!(grpc.header("grpc-message"), "no such service");
    assert_eq!(grpc.header("content-type"), "application/grpc");
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_refused() {
    let mesh = user("limits.header_list = '4KiB'", &[BASELINE]).start().await;
    let large = "v".repeat(5000);

    let http = mesh.ask(USER).header("x-large", &large).await;
    let http1 = mesh.ask_http1(USER).header("x-large", &large).await;
    let grpc = mesh.ask(USER).grpc().header("x-large", &large).await;

    for answer in [http, http1] {
        assert_eq!((answer.status, &*answer.reason()), (431, "malformed"));
    }
    assert_eq!(grpc.grpc(), (200, "8".to_owned(), "malformed".to_owned()));
    assert!(mesh.app(USER, BASELINE).seen().is_empty());
}

#[tokio::test]
async fn a_service_is_found_by_its_hosts_and_by_a_listener_of_its_own() {
    let snippet = "[services.'user.shop']
        hosts = ['users:9000']
        listen = '127.0.0.1:0'";
    let mesh = user(snippet, &[BASELINE, "alice"]).start().await;
    let own = super::harness::caller::Caller::http1(mesh.side.listener_of(USER));

    let by_host = mesh.ask("users:9000").tenant("alice").await;
    let by_listener = own.ask("whatever").tenant("alice").await;

    assert_eq!((by_host.text(), by_listener.text()), ("alice".to_owned(), "alice".to_owned()));
}

#[tokio::test]
async fn many_tenants_on_one_connection_each_go_to_their_own_lane() {
    let lanes = [BASELINE, "a", "b", "c", "d"];
    let mesh = user("", &lanes).start().await;
    let mut asking = JoinSet::new();

    for number in 0..400 {
        let lane = lanes[number % lanes.len()];
        let ask = mesh.ask(USER).tenant(if lane == BASELINE { "" } else { lane });
        asking.spawn(async move { (lane, ask.post(vec![7; number * 100]).await) });
    }

    while let Some(answered) = asking.join_next().await {
        let (lane, answer) = answered.unwrap();
        assert_eq!((answer.status, &*answer.text()), (200, lane));
    }
    for lane in lanes {
        assert_eq!(mesh.app(USER, lane).seen().len(), 80);
    }
}

#[tokio::test]
async fn the_echo_names_service_lane_and_reason() {
    let mesh = user("", &[BASELINE, "alice"]).start().await;
    let path = |tenant: &str| {
        let asking = mesh.ask(USER).tenant(tenant).header("x-dyelane-echo", "1");
        async { asking.await.header("x-dyelane-path") }
    };

    assert_eq!(path("alice").await, "user.shop@alice;exact");
    assert_eq!(path("bob").await, "user.shop@baseline;absent");
    assert_eq!(path("").await, "user.shop@baseline;baseline");
    assert_eq!(mesh.ask(USER).await.header("x-dyelane-path"), "");
}

#[tokio::test]
async fn the_echo_tells_of_a_request_that_found_no_instance() {
    let mesh = user("tenants.alice.strict = true", &[BASELINE]).start().await;

    let answer = mesh.ask(USER).tenant("alice").header("x-dyelane-echo", "1").await;

    assert_eq!(answer.header("x-dyelane-path"), "user.shop@none;no_instance");
}

#[tokio::test]
async fn the_echo_adds_to_what_the_hops_behind_it_say() {
    let plan = Mesh::new("").serve(USER, BASELINE, async |_| {
        let mut answer = super::harness::app::answer(200, "");
        let path = "order.shop@alice;exact".parse().unwrap();
        answer.headers_mut().insert("x-dyelane-path", path);
        answer
    });
    let mesh = plan.start().await;

    let answer = mesh.ask(USER).tenant("alice").header("x-dyelane-echo", "1").await;

    let path = "user.shop@baseline;absent, order.shop@alice;exact";
    assert_eq!(answer.header("x-dyelane-path"), path);
    assert_eq!(mesh.app(USER, BASELINE).only().header("x-dyelane-echo"), "1");
}

#[tokio::test]
async fn the_echo_can_be_turned_off() {
    let mesh = user("outbound.echo = false", &[BASELINE]).start().await;

    let answer = mesh.ask(USER).header("x-dyelane-echo", "1").await;

    assert_eq!(answer.header("x-dyelane-path"), "");
    assert_eq!(mesh.app(USER, BASELINE).only().header("x-dyelane-echo"), "");
}

#[tokio::test]
async fn a_rule_colors_the_requests_it_matches() {
    let snippet = "[[rule]]
        name = 'beta'
        match = { path_prefix = '/cart', headers = { x-beta = 'yes' } }
        set = { tenant = 'beta' }";
    let mesh = user(snippet, &[BASELINE, "alice", "beta"]).start().await;
    let ask = |path: &str| mesh.ask(USER).path(path).header("x-beta", "yes");

    assert_eq!(ask("/cart/1").await.text(), "beta");
    assert_eq!(ask("/carts").await.text(), BASELINE);
    assert_eq!(ask("/cart").tenant("alice").await.text(), "alice");
    assert_eq!(mesh.app(USER, "beta").only().header("baggage"), "tenant=beta");
}

#[tokio::test]
async fn a_rule_that_overrides_leaves_no_trace_of_the_tenant_before() {
    let snippet = "tenant.aliases = [{ baggage = 'sd-routing-key' }]
        [[rule]]
        name = 'all'
        match = {}
        set = { tenant = 'beta', override = true }";
    let mesh = user(snippet, &[BASELINE, "alice", "beta"]).start().await;

    let answer = mesh.ask(USER).tenant("alice").header("baggage", "sd-routing-key=alice,k=v").await;

    assert_eq!(answer.text(), "beta");
    let seen = mesh.app(USER, "beta").only();
    assert_eq!((&*seen.header("x-tenant"), &*seen.header("baggage")), ("beta", "k=v,tenant=beta"));
}

#[tokio::test]
async fn a_share_of_the_requests_is_stable_by_its_key() {
    let snippet = "[[rule]]
        name = 'some'
        percent = 30.0
        by = 'header:x-user-id'
        match = {}
        set = { tenant = 'beta' }";
    let mesh = user(snippet, &[BASELINE, "beta"]).start().await;
    let ask =
        async |user: usize| mesh.ask(USER).header("x-user-id", &user.to_string()).await.text();

    let mut colored = 0;
    for user in 0..200 {
        let lane = ask(user).await;
        assert_eq!(ask(user).await, lane, "user {user} changes sides");
        colored += usize::from(lane == "beta");
    }

    assert!((35..=85).contains(&colored), "{colored} of 200");
}
