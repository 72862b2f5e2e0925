//! How the requests an application sends are joined to those it received, if it drops the tenant.

use super::harness::BASELINE;
use super::harness::app::{App, answer_with};
use super::harness::caller::{Answer, Ask};
use super::harness::pod::Pod;
use super::harness::side::add_instance;

const ORDER: &str = "order.shop";
const USER: &str = "user.shop";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A pod of `order.shop` that calls `user.shop`, which has an instance in some lanes.
struct Caller {
    pod: Pod,
    apps: Vec<App>,
}

impl Caller {
    async fn start(snippet: &str) -> Self {
        let pod = Pod::start(ORDER, snippet).await;
        let mut apps = Vec::new();
        for lane in [BASELINE, "alice", "bob"] {
            let app = App::start(move |request| answer_with(lane.to_owned(), request));
            pod.side.edit(|table| add_instance(table, USER, lane, app.address()));
            apps.push(app);
        }
        pod.side.reload().await.unwrap();
        Self { pod, apps }
    }

    /// The application is given a request, and sends one of its own.
    async fn through(
        &self,
        inbound: &[(&'static str, &str)],
        outbound: &[(&'static str, &str)],
    ) -> String {
        let with = |ask: Ask, fields: &[(&'static str, &str)]| {
            fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
        };
        assert_eq!(with(self.pod.ask().await, inbound).await.status, 200);
        let answer: Answer = with(self.pod.call(USER).await, outbound).await;
        assert_eq!(answer.status, 200);
        answer.text()
    }

    async fn metric(&self, series: &str) -> u64 {
        self.pod.side.metric(series).await
    }
}

fn traceparent(trace: &str, span: &str) -> String {
    format!("00-{trace}-{span}-01")
}

const IN: &str = "00f067aa0ba902b7";
const OUT: &str = "00f067aa0ba902b8";

#[tokio::test]
async fn each_kind_of_identifier_brings_the_tenant_back() {
    let snippet =
        "tenant.correlation.ids = ['traceparent', 'b3', 'datadog', 'x-request-id', 'x-job']";
    let caller = Caller::start(snippet).await;
    let (inbound, outbound) = (traceparent(TRACE, IN), traceparent(TRACE, OUT));
    let (b3_in, b3_out) = (format!("{TRACE}-{IN}-1"), format!("{TRACE}-{OUT}"));

    for (inbound, outbound) in [
        (("traceparent", &*inbound), ("traceparent", &*outbound)),
        (("b3", &*b3_in), ("b3", &*b3_out)),
        (("b3", &*b3_in), ("x-b3-traceid", TRACE)),
        (("x-b3-traceid", TRACE), ("b3", &*b3_out)),
        (("x-datadog-trace-id", "42"), ("x-datadog-trace-id", "42")),
        (("x-request-id", "r-1"), ("x-request-id", "r-1")),
        (("x-job", "nightly"), ("x-job", "nightly")),
    ] {
        let lane = caller.through(&[("x-tenant", "alice"), inbound], &[outbound]).await;
        assert_eq!(lane, "alice", "{inbound:?} {outbound:?}");
    }
    assert_eq!(caller.metric("correlation_total{outcome=\"tenant\"}").await, 7);
    let careless = format!("propagation_missing_total{{service=\"{ORDER}\"}}");
    assert_eq!(caller.metric(&careless).await, 7);
}

#[tokio::test]
async fn the_next_hop_is_told_of_a_tenant_that_was_brought_back() {
    let caller = Caller::start("").await;

    caller.through(&[("x-tenant", "alice"), ("x-request-id", "r")], &[("x-request-id", "r")]).await;

    let seen = caller.apps[1].only();
    assert_eq!((&*seen.header("x-tenant"), &*seen.header("baggage")), ("alice", "tenant=alice"));
}

#[tokio::test]
async fn an_application_that_forwards_baggage_needs_no_correlation() {
    let caller = Caller::start("").await;
    let fields = [("baggage", "tenant=alice"), ("x-request-id", "r")];

    assert_eq!(caller.through(&fields, &fields).await, "alice");

    let careless = format!("propagation_missing_total{{service=\"{ORDER}\"}}");
    assert_eq!(caller.metric(&careless).await, 0);
}

#[tokio::test]
async fn a_claim_of_its_own_counts_more_than_what_is_remembered() {
    let caller = Caller::start("").await;
    let inbound = [("x-tenant", "alice"), ("x-request-id", "r")];

    let lane = caller.through(&inbound, &[("x-tenant", "bob"), ("x-request-id", "r")]).await;

    assert_eq!(lane, "bob");
}

#[tokio::test]
async fn an_identifier_of_two_tenants_lets_nobody_guess() {
    let caller = Caller::start("").await;
    let of = |tenant| [("x-tenant", tenant), ("x-request-id", "r")];

    assert_eq!(caller.through(&of("alice"), &[("x-request-id", "r")]).await, "alice");
    assert_eq!(caller.through(&of("bob"), &[("x-request-id", "r")]).await, BASELINE);
    assert_eq!(caller.through(&of("alice"), &[("x-request-id", "r")]).await, BASELINE);

    assert_eq!(caller.metric("correlation_total{outcome=\"poisoned\"}").await, 2);
}

#[tokio::test]
async fn no_identifier_and_an_unknown_one_are_nobodys() {
    let caller = Caller::start("").await;

    assert_eq!(caller.through(&[("x-tenant", "alice")], &[]).await, BASELINE);
    assert_eq!(caller.through(&[], &[("x-request-id", "new")]).await, BASELINE);

    assert_eq!(caller.metric("correlation_total{outcome=\"no_id\"}").await, 1);
    assert_eq!(caller.metric("correlation_total{outcome=\"unknown\"}").await, 1);
}

#[tokio::test]
async fn correlation_can_be_turned_off() {
    let caller = Caller::start("tenant.correlation.ids = []").await;
    let inbound = [("x-tenant", "alice"), ("x-request-id", "r")];

    assert_eq!(caller.through(&inbound, &[("x-request-id", "r")]).await, BASELINE);
}

#[tokio::test]
async fn a_claim_the_edge_stripped_is_not_remembered() {
    let caller = Caller::start("inbound.claims = 'strip'").await;
    let inbound = [("x-tenant", "alice"), ("x-request-id", "r")];

    assert_eq!(caller.through(&inbound, &[("x-request-id", "r")]).await, BASELINE);
}

#[tokio::test]
async fn a_tenant_given_by_a_rule_is_remembered() {
    let snippet = "[[rule]]
        name = 'beta'
        match = { headers = { x-beta = 'yes' } }
        set = { tenant = 'alice' }";
    let caller = Caller::start(snippet).await;
    let inbound = [("x-beta", "yes"), ("x-request-id", "r")];

    assert_eq!(caller.through(&inbound, &[("x-request-id", "r")]).await, "alice");
}

#[tokio::test]
async fn a_disabled_tenant_is_remembered_and_carried() {
    let caller = Caller::start("tenants.alice.enabled = false").await;
    let inbound = [("x-tenant", "alice"), ("x-request-id", "r")];

    assert_eq!(caller.through(&inbound, &[("x-request-id", "r")]).await, BASELINE);

    assert_eq!(caller.apps[0].only().header("x-tenant"), "alice");
}

#[tokio::test]
async fn a_sandbox_without_context_takes_its_own_lane() {
    let caller = Caller::start("workload.lane = 'alice'").await;

    assert_eq!(caller.through(&[], &[]).await, "alice");
    assert_eq!(caller.through(&[], &[("x-tenant", "bob")]).await, "bob");

    assert_eq!(caller.apps[1].only().header("baggage"), "tenant=alice");
}

#[tokio::test]
async fn a_sandbox_takes_its_own_lane_whatever_is_said_of_the_tenant_of_its_name() {
    let caller = Caller::start("workload.lane = 'alice'\ntenants.alice.lane = 'bob'").await;

    assert_eq!(caller.through(&[], &[]).await, "alice");
}

#[tokio::test]
async fn own_lane_can_be_turned_off() {
    let caller = Caller::start("workload.lane = 'alice'\ntenant.own_lane = false").await;

    assert_eq!(caller.through(&[], &[]).await, BASELINE);
}
