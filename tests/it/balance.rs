//! Instances and connections: who gets requests, who is left alone, who waits for whom.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::harness::app::{Request, Response, answer, answer_with, refusing};
use super::harness::caller::{Answer, Ask};
use super::harness::{BASELINE, Mesh, Plan, within};

const USER: &str = "user.shop";

/// Sends so many requests at once.
fn at_once(count: usize, ask: impl Fn() -> Ask) -> JoinSet<Answer> {
    (0..count).map(|_| ask().into_future()).collect()
}

async fn statuses(mut asking: JoinSet<Answer>) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(answer) = asking.join_next().await {
        statuses.push(answer.unwrap().status);
    }
    statuses.sort_unstable();
    statuses
}

/// An application that answers as it is let.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    inside: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), inside: Arc::default(), most: Arc::default() }
    }

    async fn pass(self, request: Request) -> Response {
        let inside = self.inside.fetch_add(1, Relaxed) + 1;
        self.most.fetch_max(inside, Relaxed);
        self.open.acquire().await.unwrap().forget();
        self.inside.fetch_sub(1, Relaxed);
        answer_with(BASELINE.to_owned(), request).await
    }

    fn before(&self, snippet: &str) -> Plan {
        let gate = self.clone();
        Mesh::new(snippet).serve(USER, BASELINE, move |request| gate.clone().pass(request))
    }
}

#[tokio::test]
async fn all_instances_get_their_part() {
    let mesh = (0..4).fold(Mesh::new(""), |plan, _| plan.app(USER, BASELINE)).start().await;

    let statuses = statuses(at_once(400, || mesh.ask(USER))).await;

    assert_eq!(statuses, [200; 400]);
    for app in mesh.apps_of(USER, BASELINE) {
        assert!(app.seen().len() > 20, "{}", app.seen().len());
    }
}

#[tokio::test]
async fn requests_of_http2_share_a_connection() {
    let mesh = Mesh::new("").app(USER, BASELINE).start().await;

    let statuses = statuses(at_once(100, || mesh.ask(USER))).await;

    assert_eq!(statuses, [200; 100]);
    assert_eq!(mesh.app(USER, BASELINE).connections(), 1);
}

#[tokio::test]
async fn an_http1_connection_is_kept_for_the_next_request() {
    let mesh = Mesh::new("services.'user.shop'.protocol = 'http/1.1'").app(USER, BASELINE);
    let mesh = mesh.start().await;

    for _ in 0..10 {
        assert_eq!(mesh.ask(USER).post("order").await.status, 200);
    }

    assert_eq!(mesh.app(USER, BASELINE).connections(), 1);
}

#[tokio::test]
async fn lanes_share_no_connection() {
    let mesh = Mesh::new("").app(USER, BASELINE).app(USER, "alice").start().await;

    for tenant in ["", "alice", "", "alice"] {
        mesh.lane(USER, tenant).await;
    }

    for lane in [BASELINE, "alice"] {
        let seen = mesh.app(USER, lane).seen();
        let connections: HashSet<_> = seen.iter().map(|it| it.connection).collect();
        assert_eq!((seen.len(), connections.len()), (2, 1));
    }
}

#[tokio::test]
async fn http1_requests_beyond_the_bound_wait_their_turn() {
    let gate = Gate::new();
    let snippet = "services.'user.shop' = { protocol = 'http/1.1', http1_connections = 3 }";
    let mesh = gate.before(snippet).start().await;
    let asking = at_once(60, || mesh.ask(USER));
    mesh.app(USER, BASELINE).until_seen(3).await;

    gate.open.add_permits(60);

    assert_eq!(statuses(asking).await, [200; 60]);
    assert_eq!(gate.most.load(Relaxed), 3);
    assert_eq!(mesh.app(USER, BASELINE).connections(), 3);
}

#[tokio::test]
async fn waiting_leaves_nothing_behind() {
    let gate = Gate::new();
    let snippet = "services.'user.shop' = \
        { protocol = 'http/1.1', http1_connections = 1, pending = 4, retries.attempts = 1 }";
    let mesh = gate.before(snippet).start().await;

    // Ten times as many wait, one after the other, as may wait at a time.
    for round in 0..10 {
        let asking = at_once(4, || mesh.ask(USER));
        mesh.app(USER, BASELINE).until_seen(4 * round + 1).await;
        gate.open.add_permits(4);
        assert_eq!(statuses(asking).await, [200; 4], "round {round}");
    }
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let gate = Gate::new();
    let snippet = "services.'user.shop' = \
        { protocol = 'http/1.1', http1_connections = 1, pending = 2, retries.attempts = 1 }";
    let mesh = gate.before(snippet).start().await;
    let first = at_once(1, || mesh.ask(USER));
    mesh.app(USER, BASELINE).until_seen(1).await;
    let mut more = at_once(4, || mesh.ask(USER));

    let refused = [more.join_next().await, more.join_next().await];
    gate.open.add_permits(5);

    for answer in refused.map(|it| it.unwrap().unwrap()) {
        assert_eq!((answer.status, &*answer.reason()), (503, "connect"));
        assert_eq!(answer.text(), "too many requests wait for a connection\n");
    }
    assert_eq!(statuses(more).await, [200; 2]);
    assert_eq!(statuses(first).await, [200]);
}

#[tokio::test]
async fn whoever_gives_up_waiting_holds_nobody_up() {
    let gate = Gate::new();
    let snippet = "services.'user.shop' = { protocol = 'http/1.1', http1_connections = 1 }";
    let mesh = gate.before(snippet).start().await;
    let first = at_once(1, || mesh.ask(USER));
    mesh.app(USER, BASELINE).until_seen(1).await;
    let active = "streams_active{direction=\"outbound\"}";

    let mut impatient = at_once(5, || mesh.ask(USER));
    mesh.side.until_metric(active, 6).await;
    let patient = at_once(5, || mesh.ask(USER));
    mesh.side.until_metric(active, 11).await;
    impatient.abort_all();
    while impatient.join_next().await.is_some() {}
    mesh.side.until_metric(active, 6).await;
    gate.open.add_permits(6);

    assert_eq!(statuses(first).await, [200]);
    assert_eq!(statuses(patient).await, [200; 5]);
    assert_eq!(mesh.app(USER, BASELINE).seen().len(), 6);
}

#[tokio::test]
async fn an_instance_with_few_streams_fails_nobody() {
    let few = super::harness::app::Raw::start(|stream| async {
        let mut server = h2::server::Builder::new();
        let server = server.max_concurrent_streams(2).handshake::<_, bytes::Bytes>(stream);
        let mut connection = server.await.unwrap();
        let mut active = JoinSet::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            while active.try_join_next().is_some() {}
            active.spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(piece)) = body.data().await {
                    let _ = body.flow_control().release_capacity(piece.len());
                }
                respond.send_response(http::Response::new(()), true)
            });
        }
    });
    let few = few.await;
    let snippet = "services.'user.shop' = { connections = 2, retries.attempts = 1 }";
    let mesh = Mesh::new(snippet).at(USER, BASELINE, few.address).start().await;

    let statuses = statuses(at_once(80, || mesh.ask(USER).post("order"))).await;

    assert_eq!(statuses, [200; 80]);
}

#[tokio::test]
async fn all_who_wait_for_a_connection_learn_that_there_is_none() {
    let (_held, dead) = refusing();
    let snippet = "services.'user.shop' = { retries.attempts = 1, outlier.failures = 'off' }";
    let mesh = Mesh::new(snippet).at(USER, BASELINE, dead).start().await;

    let statuses = statuses(at_once(100, || mesh.ask(USER))).await;

    assert_eq!(statuses, [503; 100]);
}

#[tokio::test]
async fn an_instance_that_dies_under_load_costs_no_request_that_may_be_repeated() {
    let repeat = Mesh::new("defaults.retries = { on = ['reset'], budget = 1.0 }");
    let mesh = (0..3).fold(repeat, |plan, _| plan.app(USER, BASELINE)).start().await;
    let apps: Vec<_> = mesh.apps_of(USER, BASELINE).collect();

    let mut asking = at_once(32, || mesh.ask(USER));
    let mut answered = 0;
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().status, 200, "after {answered}");
        answered += 1;
        if answered == 300 {
            apps[0].kill().await;
        }
        if answered < 1500 {
            asking.spawn(mesh.ask(USER).into_future());
        }
    }

    let before = apps[0].seen().len();
    assert!(before < 400 && apps[1].seen().len() + apps[2].seen().len() > 1000, "{before}");
}

#[tokio::test]
async fn an_instance_that_dies_costs_no_more_than_it_had_in_hand() {
    let mesh = (0..3).fold(Mesh::new(""), |plan, _| plan.app(USER, BASELINE)).start().await;
    let apps: Vec<_> = mesh.apps_of(USER, BASELINE).collect();

    let mut asking = at_once(16, || mesh.ask(USER).post("order"));
    let (mut answered, mut failed) = (0, 0);
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        answered += 1;
        if answer.status != 200 {
            assert_eq!((answer.status, &*answer.reason()), (502, "interrupted"));
            failed += 1;
        }
        if answered == 200 {
            apps[0].kill().await;
        }
        if answered < 1000 {
            asking.spawn(mesh.ask(USER).post("order").into_future());
        }
    }

    assert!(failed <= 16, "{failed}");
}

#[tokio::test]
async fn an_instance_that_comes_back_gets_requests_again() {
    let snippet = "services.'user.shop'.retries.attempts = 2
        services.'user.shop'.outlier = { failures = 1, ejection = '100ms', max_ejection = '100ms' }";
    let mesh = Mesh::new(snippet).app(USER, BASELINE).app(USER, BASELINE).start().await;
    let app = mesh.apps_of(USER, BASELINE).next().unwrap();
    app.kill().await;
    for _ in 0..50 {
        assert_eq!(mesh.ask(USER).await.status, 200);
    }
    assert!(app.seen().is_empty());

    app.revive();

    let until_back = async {
        while app.seen().is_empty() {
            assert_eq!(mesh.ask(USER).await.status, 200);
        }
    };
    within(until_back).await;
}

#[tokio::test]
async fn an_instance_that_fails_is_left_alone() {
    let snippet = "services.'user.shop' = \
        { balance = 'random', outlier = { failures = 3, ejection = '1h', max_ejection = '1h' }, retries.attempts = 1 }";
    let plan = Mesh::new(snippet).app(USER, BASELINE);
    let mesh = plan.serve(USER, BASELINE, async |_| answer(503, "no")).start().await;
    let bad = mesh.apps_of(USER, BASELINE).nth(1).unwrap();
    let until_ejected = async {
        while bad.seen().len() < 3 {
            mesh.ask(USER).await;
        }
    };
    within(until_ejected).await;

    for _ in 0..50 {
        assert_eq!(mesh.lane(USER, "").await, BASELINE);
    }

    assert_eq!(bad.seen().len(), 3);
    let catalog = mesh.side.admin_json("/catalog").await.to_string();
    assert!(catalog.contains("\"ejected\":true"), "{catalog}");
}

#[tokio::test]
async fn the_last_instance_of_a_lane_is_never_left_alone() {
    let snippet = "services.'user.shop' = \
        { outlier = { failures = 1, max_percent = 100 }, retries.attempts = 1 }";
    let mesh = Mesh::new(snippet).app(USER, BASELINE);
    let mesh = mesh.serve(USER, "alice", async |_| answer(503, "no")).start().await;

    for _ in 0..20 {
        assert_eq!(mesh.ask(USER).tenant("alice").await.text(), "no");
    }

    assert_eq!(mesh.app(USER, "alice").seen().len(), 20);
    assert!(mesh.app(USER, BASELINE).seen().is_empty());
}

#[tokio::test]
async fn what_ended_is_in_flight_no_more_however_it_ended() {
    let snippet = "services.'user.shop' = { timeouts = { connect = '50ms', head = '50ms' } }";
    let mesh =
        Mesh::new(snippet).serve(USER, BASELINE, async |it: Request| match it.uri().path() {
            "/hang" => std::future::pending().await,
            _ => answer(503, "no"),
        });
    let mesh = mesh.start().await;

    let left = tokio::spawn(mesh.ask(USER).path("/hang").send());
    mesh.app(USER, BASELINE).until_seen(1).await;
    left.abort();
    for path in ["/hang", "/", "/", "/"] {
        mesh.ask(USER).path(path).await;
    }

    mesh.side.until_metric("streams_active{direction=\"outbound\"}", 0).await;
    let catalog = mesh.side.admin_json("/catalog").await;
    let catalog = catalog.to_string();
    assert!(catalog.contains("\"in_flight\":0"), "{catalog}");
}
