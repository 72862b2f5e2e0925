//! Which requests are sent again, and where: only what is safe, only within the rung, only whole.

use std::future::{Ready, ready};

use bytes::Bytes;
use h2::Reason;
use http::Method;
use tokio::net::TcpStream;

use super::harness::app::{Raw, Response, answer, answer_with, refusing};
use super::harness::caller::Answer;
use super::harness::pieces::Pieces;
use super::harness::pod::Pod;
use super::harness::{BASELINE, Body, Mesh, Plan, within};

const USER: &str = "user.shop";
/// Enough requests that a pick of two instances meets both.
const MANY: usize = 24;

/// A mesh whose operator says that all of this is safe to send again.
fn generous(snippet: &str) -> Plan {
    Mesh::new(&format!("defaults.retries.on = [503, 'reset', 'grpc:14']\n{snippet}"))
}

/// A mesh with one instance that answers as it should, and what else the plan gets.
fn beside_a_good_one(snippet: &str) -> Plan {
    // Chance says who is asked first: a retry for each request leaves nothing to it.
    let each = "defaults.retries.budget = 1.0";
    generous(&format!("{each}\nservices.'{USER}'.outlier.failures = 'off'\n{snippet}"))
        .app(USER, BASELINE)
}

fn unavailable() -> Ready<Response> {
    ready(answer(503, "not now"))
}

/// Speaks HTTP/2 on a raw connection; `handler` answers each request by hand.
async fn h2<H>(stream: TcpStream, handler: H)
where
    H: Fn(http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>),
{
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        handler(request, respond);
    }
}

async fn retries(mesh: &Mesh, outcome: &str) -> u64 {
    let series = format!("retries_total{{outcome=\"{outcome}\",service=\"{USER}\"}}");
    mesh.side.metric(&series).await
}

#[tokio::test]
async fn what_an_application_answered_is_not_sent_again_unless_the_operator_says_so() {
    let mesh = Mesh::new("").serve(USER, BASELINE, |_| unavailable()).start().await;

    let answer = mesh.ask(USER).await;

    assert_eq!(answer.status, 503);
    assert_eq!(mesh.app(USER, BASELINE).seen().len(), 1);
}

#[tokio::test]
async fn what_could_not_connect_is_sent_to_another_instance_whatever_it_is() {
    let (_held, dead) = refusing();
    let mesh = beside_a_good_one("").at(USER, BASELINE, dead).start().await;

    for _ in 0..MANY {
        let answer = mesh.ask(USER).post("hello").await;
        assert_eq!((answer.status, &*answer.header("x-bytes")), (200, "5"));
    }

    assert!(retries(&mesh, "sent").await > 0);
}

#[tokio::test]
async fn a_lane_nobody_can_connect_to_is_passed_over_from_the_first_request_on() {
    let (_held, dead) = refusing();
    let mesh = Mesh::new("").app(USER, BASELINE).at(USER, "alice", dead).start().await;

    let first = mesh.ask(USER).tenant("alice").post("order").await;

    assert_eq!((first.status, &*first.text()), (200, BASELINE));
    assert_eq!(retries(&mesh, "sent").await, 1);
}

#[tokio::test]
async fn who_may_not_leave_a_lane_that_nobody_can_connect_to_is_told_so() {
    let (_held, dead) = refusing();

    for snippet in ["tenants.alice.strict = true", "lanes.alice.on_unhealthy = 'fail'"] {
        let mesh = Mesh::new(snippet).app(USER, BASELINE).at(USER, "alice", dead).start().await;

        let answer = mesh.ask(USER).tenant("alice").post("order").await;

        assert_eq!((answer.status, &*answer.reason()), (503, "connect"), "{snippet}");
        assert!(mesh.app(USER, BASELINE).seen().is_empty(), "{snippet}");
    }
}

#[tokio::test]
async fn connect_failures_do_not_use_the_budget_up() {
    let (_held, dead) = refusing();
    let snippet = "services.'user.shop'.retries.budget = 0.0";
    let mesh = beside_a_good_one(snippet).at(USER, BASELINE, dead).start().await;

    for _ in 0..MANY {
        assert_eq!(mesh.ask(USER).post("hello").await.status, 200);
    }
}

#[tokio::test]
async fn a_service_nobody_can_connect_to_is_unavailable() {
    let (_held, dead) = refusing();
    let mesh = generous("").at(USER, BASELINE, dead).start().await;

    let http = mesh.ask(USER).await;
    let grpc = mesh.ask(USER).grpc().await;

    assert_eq!((http.status, &*http.reason()), (503, "connect"));
    assert_eq!(http.text(), "cannot connect\n");
    assert_eq!(grpc.grpc(), (200, "14".to_owned(), "connect".to_owned()));
    assert_eq!(retries(&mesh, "sent").await, 4);
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_after_a_503() {
    let mesh = beside_a_good_one("").serve(USER, BASELINE, |_| unavailable()).start().await;

    for _ in 0..MANY {
        assert_eq!(mesh.ask(USER).await.status, 200);
        assert_eq!(mesh.ask(USER).method(Method::DELETE).await.status, 200);
    }

    assert!(retries(&mesh, "sent").await > 0);
}

#[tokio::test]
async fn a_503_to_what_is_not_safe_to_repeat_is_passed_on() {
    let mesh = generous("").serve(USER, BASELINE, |_| unavailable()).start().await;

    let answer = mesh.ask(USER).post("order").await;

    assert_eq!((answer.status, &*answer.text(), &*answer.reason()), (503, "not now", ""));
    assert_eq!(mesh.app(USER, BASELINE).seen().len(), 1);
}

#[tokio::test]
async fn a_grpc_call_that_was_unavailable_is_sent_again_with_its_message() {
    let unavailable = async |_| {
        let mut answer = Response::new(Body::empty());
        answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        answer.headers_mut().insert("grpc-status", "14".parse().unwrap());
        answer
    };
    let mesh = beside_a_good_one("").serve(USER, BASELINE, unavailable).start().await;

    for _ in 0..MANY {
        let answer = mesh.ask(USER).grpc().await;
        assert_eq!((answer.status, &*answer.header("x-bytes")), (200, "5"), "{answer:?}");
    }
    assert!(retries(&mesh, "sent").await > 0);
}

#[tokio::test]
async fn a_retry_stays_on_its_rung() {
    let snippet = "services.'user.shop'.retries.attempts = 10";
    let mesh = beside_a_good_one(snippet).app(USER, "alice.a");
    let mesh = mesh.serve(USER, "alice", |_| unavailable()).start().await;

    let answer = mesh.ask(USER).tenant("alice").await;

    assert_eq!((answer.status, &*answer.text()), (503, "not now"));
    assert_eq!(mesh.app(USER, "alice").seen().len(), 10);
    assert!(mesh.app(USER, BASELINE).seen().is_empty());
    assert!(mesh.app(USER, "alice.a").seen().is_empty());
}

#[tokio::test]
async fn an_upstream_that_fails_everything_sees_a_fifth_more() {
    let mesh = generous("").serve(USER, BASELINE, |_| unavailable()).start().await;

    for _ in 0..100 {
        assert_eq!(mesh.ask(USER).await.status, 503);
    }

    let seen = mesh.app(USER, BASELINE).seen().len();
    assert!((120..=131).contains(&seen), "{seen}");
    assert!(retries(&mesh, "no_budget").await > 0);
}

#[tokio::test]
async fn one_attempt_is_no_retry() {
    let snippet = "services.'user.shop'.retries.attempts = 1";
    let mesh = generous(snippet).serve(USER, BASELINE, |_| unavailable()).start().await;

    mesh.ask(USER).await;

    assert_eq!(mesh.app(USER, BASELINE).seen().len(), 1);
}

#[tokio::test]
async fn a_policy_of_nothing_still_sends_what_was_never_sent() {
    let (_held, dead) = refusing();
    let mesh = beside_a_good_one("services.'user.shop'.retries.on = []");
    let mesh = mesh.at(USER, BASELINE, dead).start().await;

    for _ in 0..MANY {
        assert_eq!(mesh.ask(USER).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_beyond_the_buffer_is_not_sent_again_and_the_answer_passed_on() {
    let reads = async |request| {
        answer_with(String::new(), request).await;
        unavailable().await
    };
    let snippet = "services.'user.shop'.retries.buffer = '1KiB'";
    let mesh = generous(snippet).serve(USER, BASELINE, reads).start().await;

    let small = mesh.ask(USER).post(vec![1; 1024]).method(Method::PUT).await;
    let large = mesh.ask(USER).post(vec![1; 1025]).method(Method::PUT).await;

    assert_eq!((small.status, large.status), (503, 503));
    assert_eq!(mesh.app(USER, BASELINE).seen().len(), 4);
    assert_eq!(retries(&mesh, "no_body").await, 1);
}

/// Has an instance answer 503 while the caller still sends, and returns what a caller is told whose
/// request was sent to it first and then to a good one.
async fn answered_early(bad: Raw, protocol: &str) -> (Answer, Mesh) {
    let snippet = format!("services.'{USER}'.protocol = '{protocol}'");
    let mesh = beside_a_good_one(&snippet).at(USER, BASELINE, bad.address).start().await;
    loop {
        let before = retries(&mesh, "sent").await;
        let seen = mesh.app(USER, BASELINE).seen().len();
        let (pieces, body) = Pieces::new();
        let asking = mesh.ask(USER).post_stream(body).method(Method::PUT);
        let asking = tokio::spawn(asking.into_future());
        assert!(pieces.send("first ").await);
        mesh.app(USER, BASELINE).until_seen(seen + 1).await;
        assert!(pieces.send("and last").await);
        drop(pieces);
        let answer = within(asking).await.unwrap();
        if retries(&mesh, "sent").await > before {
            return (answer, mesh);
        }
    }
}

#[tokio::test]
async fn a_body_still_on_its_way_is_sent_again_whole() {
    let bad = Raw::start(|stream| {
        h2(stream, |request, mut respond| {
            let head = http::Response::builder().status(503).body(()).unwrap();
            let answer = respond.send_response(head, false).unwrap();
            // Neither the request nor the answer is ended.
            tokio::spawn(async move {
                let _kept = (request, answer);
                std::future::pending::<()>().await;
            });
        })
    });

    let (answer, _mesh) = answered_early(bad.await, "h2").await;

    assert_eq!((answer.status, &*answer.header("x-bytes")), (200, "14"));
}

#[tokio::test]
async fn a_body_still_on_its_way_by_http1_is_sent_again_whole() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bad = Raw::start(async |mut stream| {
        let _ = stream.read_u8().await;
        let head = b"HTTP/1.1 503 No\r\ncontent-length: 10\r\n\r\n12345";
        stream.write_all(head).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });

    let (answer, _mesh) = answered_early(bad.await, "http/1.1").await;

    assert_eq!((answer.status, &*answer.header("x-bytes")), (200, "14"));
}

#[tokio::test]
async fn an_answer_that_refuses_the_rest_of_the_body_never_leads_to_half_a_request() {
    // hyper answers and asks for no more of the body in one breath.
    let mesh = beside_a_good_one("").serve(USER, BASELINE, |_| unavailable()).start().await;

    for _ in 0..MANY {
        let (pieces, body) = Pieces::new();
        let asking = mesh.ask(USER).post_stream(body).method(Method::PUT);
        let asking = tokio::spawn(asking.into_future());
        for _ in 0..10 {
            pieces.send("0123456789").await;
            tokio::task::yield_now().await;
        }
        drop(pieces);
        let answer = within(asking).await.unwrap();

        let whole = answer.status == 200 && answer.header("x-bytes") == "100";
        assert!(whole || answer.text() == "not now", "{answer:?}");
    }
}

/// An instance that breaks every stream off.
async fn resetting(reason: Reason) -> Raw {
    Raw::start(move |stream| h2(stream, move |_, mut respond| respond.send_reset(reason))).await
}

#[tokio::test]
async fn a_refused_stream_is_sent_again_whatever_it_is() {
    let bad = resetting(Reason::REFUSED_STREAM).await;
    let mesh = beside_a_good_one("").at(USER, BASELINE, bad.address).start().await;

    for _ in 0..MANY {
        assert_eq!(mesh.ask(USER).post("order").await.status, 200);
    }
    assert!(retries(&mesh, "sent").await > 0);
}

#[tokio::test]
async fn a_stream_that_broke_is_sent_again_if_that_is_safe() {
    let bad = resetting(Reason::INTERNAL_ERROR).await;
    let mesh = beside_a_good_one("").at(USER, BASELINE, bad.address).start().await;

    for _ in 0..MANY {
        assert_eq!(mesh.ask(USER).await.status, 200);
    }
    assert!(retries(&mesh, "sent").await > 0);
}

#[tokio::test]
async fn a_stream_that_broke_fails_if_it_is_not_safe_to_repeat() {
    let bad = resetting(Reason::INTERNAL_ERROR).await;
    let mesh = generous("").at(USER, BASELINE, bad.address).start().await;

    let answer = mesh.ask(USER).post("order").await;

    assert_eq!((answer.status, &*answer.reason()), (502, "interrupted"));
    assert_eq!(answer.text(), "the service broke off\n");
    assert_eq!(retries(&mesh, "sent").await, 0);
}

#[tokio::test]
async fn a_grpc_call_that_broke_is_unavailable() {
    let bad = resetting(Reason::INTERNAL_ERROR).await;
    let mesh = generous("").at(USER, BASELINE, bad.address).start().await;

    let answer = mesh.ask(USER).grpc().await;

    assert_eq!(answer.grpc(), (200, "14".to_owned(), "interrupted".to_owned()));
}

#[tokio::test]
async fn what_a_goaway_leaves_out_is_sent_again_whatever_it_is() {
    // Each connection takes one request, and says that it looked at none.
    let bad = Raw::start(async |stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let _kept = connection.accept().await;
        connection.abrupt_shutdown(Reason::NO_ERROR);
        let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
    });
    let bad = bad.await;
    let mesh = beside_a_good_one("").at(USER, BASELINE, bad.address).start().await;

    let mut statuses = Vec::new();
    for _ in 0..MANY {
        statuses.push(mesh.ask(USER).post("order").await.status);
    }

    // h2 counts the stream it handed out as looked at: that one may have been processed.
    assert!(statuses.iter().all(|it| [200, 502].contains(it)), "{statuses:?}");
    assert!(statuses.contains(&200));
}

#[tokio::test]
async fn a_connection_lost_under_a_request_fails_it_if_it_is_not_safe_to_repeat() {
    let bad = Raw::start(async |stream| {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let _kept = connection.accept().await;
    });
    let bad = bad.await;
    let mesh = generous("").at(USER, BASELINE, bad.address).start().await;

    let answer = mesh.ask(USER).post("order").await;

    assert_eq!((answer.status, &*answer.reason()), (502, "interrupted"));
    assert_eq!(retries(&mesh, "sent").await, 0);
}

#[tokio::test]
async fn the_application_beside_us_is_not_asked_twice_for_its_503() {
    let pod = Pod::serve(USER, "", |_| unavailable()).await;

    let answer = pod.ask().await.await;

    assert_eq!((answer.status, &*answer.text()), (503, "not now"));
    assert_eq!(pod.app.seen().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_ended_is_no_failure() {
    for protocol in ["h2", "http/1.1"] {
        let snippet =
            format!("services.'{USER}' = {{ protocol = '{protocol}', retries.attempts = 1 }}");
        let mesh = generous(&snippet).app(USER, BASELINE).start().await;
        let app = mesh.app(USER, BASELINE);

        for _ in 0..5 {
            assert_eq!(mesh.ask(USER).post("order").await.status, 200);
            app.kill().await;
            app.revive();
        }

        assert_eq!(app.seen().len(), 5, "{protocol}");
        assert_eq!(app.connections(), 5, "{protocol}");
    }
}

#[tokio::test]
async fn many_requests_at_once_survive_an_instance_that_is_not_there() {
    let (_held, dead) = refusing();
    let mesh = beside_a_good_one("").at(USER, BASELINE, dead).start().await;
    let mut asking = tokio::task::JoinSet::new();

    for _ in 0..200 {
        asking.spawn(mesh.ask(USER).post("order").into_future());
    }

    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
}
