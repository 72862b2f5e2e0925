//! How long things may take: to connect, to the head, in silence, in all; and callers that leave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use super::harness::app::{Raw, Request, Response, answer, answer_with};
use super::harness::pieces::Pieces;
use super::harness::pod::Pod;
use super::harness::{BASELINE, Mesh, within};

const USER: &str = "user.shop";
/// More than anything here may take, by far.
const SOON: Duration = Duration::from_secs(5);

/// Never answers; counts those that were given up.
async fn hang(_: Request, left: watch::Sender<usize>) -> Response {
    struct Leaving(watch::Sender<usize>);
    impl Drop for Leaving {
        fn drop(&mut self) {
            self.0.send_modify(|it| *it += 1);
        }
    }
    let _leaving = Leaving(left);
    std::future::pending().await
}

/// A mesh whose only instance never answers.
async fn hanging(snippet: &str) -> (Mesh, watch::Receiver<usize>) {
    let left = watch::Sender::new(0);
    let receiver = left.subscribe();
    let plan = Mesh::new(snippet).serve(USER, BASELINE, move |it| hang(it, left.clone()));
    (plan.start().await, receiver)
}

async fn until_left(left: &mut watch::Receiver<usize>, count: usize) {
    within(left.wait_for(|it| *it >= count)).await.unwrap();
}

/// An instance whose kernel takes no more connections, without a word.
struct Full {
    listener: TcpListener,
    _connections: Vec<TcpStream>,
}

impl Full {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let first = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Self { listener, _connections: vec![first] }
    }

    fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

#[tokio::test]
async fn an_instance_that_takes_no_connection_is_given_up() {
    let full = Full::start().await;
    let snippet = "services.'user.shop' = { timeouts.connect = '50ms', retries.attempts = 1 }";
    let mesh = Mesh::new(snippet).at(USER, BASELINE, full.address()).start().await;

    let http = mesh.ask(USER).await;
    let grpc = mesh.ask(USER).grpc().await;

    assert_eq!((http.status, &*http.reason()), (503, "connect"));
    assert_eq!(grpc.grpc(), (200, "14".to_owned(), "connect".to_owned()));
    let series = "upstream_connect_failures_total{cause=\"timeout\",service=\"user.shop\"}";
    assert_eq!(mesh.side.metric(series).await, 2);
}

#[tokio::test]
async fn another_instance_takes_what_one_does_not_take_in_time() {
    let full = Full::start().await;
    let mesh = Mesh::new("services.'user.shop'.timeouts.connect = '50ms'").app(USER, BASELINE);
    let mesh = mesh.at(USER, BASELINE, full.address()).start().await;

    for _ in 0..10 {
        assert_eq!(mesh.ask(USER).post("order").await.status, 200);
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_of_http2_is_given_up() {
    let silent = Raw::start(async |stream| {
        let _kept = stream;
        std::future::pending::<()>().await;
    });
    let silent = silent.await;
    let snippet = "services.'user.shop' = { timeouts.connect = '50ms', retries.attempts = 1 }";
    let mesh = Mesh::new(snippet).at(USER, BASELINE, silent.address).start().await;

    let answer = mesh.ask(USER).grpc().await;

    assert_eq!(answer.grpc(), (200, "14".to_owned(), "connect".to_owned()));
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_given_up_and_the_instance_told() {
    let (mesh, mut left) =
        hanging("services.'user.shop'.timeouts = { connect = '50ms', head = '50ms' }").await;

    let http = mesh.ask(USER).await;
    until_left(&mut left, 1).await;
    let grpc = mesh.ask(USER).grpc().await;
    until_left(&mut left, 2).await;

    assert_eq!((http.status, &*http.reason()), (504, "deadline"));
    assert_eq!(http.text(), "no answer in time\n");
    assert_eq!(grpc.grpc(), (200, "4".to_owned(), "deadline".to_owned()));
    assert_eq!(mesh.app(USER, BASELINE).seen().len(), 2);
}

#[tokio::test]
async fn an_http1_upstream_is_given_up_as_well() {
    let snippet = "services.'user.shop' = { timeouts = { connect = '50ms', head = '50ms' }, protocol = 'http/1.1' }";
    let (mesh, mut left) = hanging(snippet).await;

    let answer = mesh.ask(USER).post("order").await;

    assert_eq!((answer.status, &*answer.reason()), (504, "deadline"));
    until_left(&mut left, 1).await;
    mesh.app(USER, BASELINE).until_open(0).await;
}

#[tokio::test]
async fn the_time_to_the_head_begins_when_the_request_is_all_there() {
    let plan = Mesh::new("services.'user.shop'.timeouts = { connect = '50ms', head = '50ms' }")
        .serve(USER, BASELINE, async |it: Request| {
            if it.uri().path() == "/hang" {
                std::future::pending().await
            } else {
                answer_with(BASELINE.to_owned(), it).await
            }
        });
    let mesh = plan.start().await;
    let (pieces, body) = Pieces::new();
    let upload = tokio::spawn(mesh.ask(USER).post_stream(body).into_future());
    assert!(pieces.send("first ").await);

    for _ in 0..3 {
        assert_eq!(mesh.ask(USER).path("/hang").await.status, 504);
    }
    assert!(pieces.send("and last").await);
    drop(pieces);

    let answer = within(upload).await.unwrap();
    assert_eq!((answer.status, &*answer.header("x-bytes")), (200, "14"));
}

#[tokio::test]
async fn a_request_that_is_all_there_late_is_still_given_up() {
    let (mesh, _left) =
        hanging("services.'user.shop'.timeouts = { connect = '50ms', head = '50ms' }").await;
    let (pieces, body) = Pieces::new();
    let upload = tokio::spawn(mesh.ask(USER).post_stream(body).into_future());
    mesh.app(USER, BASELINE).until_seen(1).await;
    assert_eq!(mesh.ask(USER).await.status, 504);

    drop(pieces);

    assert_eq!(within(upload).await.unwrap().status, 504);
}

#[tokio::test]
async fn a_request_that_stops_half_way_is_given_up() {
    let snippet =
        "services.'user.shop'.timeouts = { connect = '50ms', head = '50ms', idle = '1s' }";
    let mesh = Mesh::new(snippet).app(USER, BASELINE).start().await;
    let (pieces, body) = Pieces::new();
    let upload = mesh.ask(USER).post_stream(body);
    assert!(pieces.send("first ").await);

    let answer = upload.await;

    assert_eq!((answer.status, &*answer.reason()), (504, "deadline"));
}

/// Answers with a head and a few bytes, and then nothing.
async fn falter(_: Request) -> Response {
    let (pieces, body) = Pieces::new();
    assert!(pieces.send("some").await);
    tokio::spawn(async move { pieces.closed().await });
    Response::new(body)
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_broken_off_and_does_not_look_complete() {
    for protocol in ["h2", "http/1.1"] {
        let snippet =
            format!("services.'{USER}' = {{ protocol = '{protocol}', timeouts.idle = '1s' }}");
        let mesh = Mesh::new(&snippet).serve(USER, BASELINE, falter).start().await;

        for ask in [mesh.ask(USER), mesh.ask_http1(USER)] {
            let answer = within(ask.send()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(within(answer.into_body().collect()).await.is_err(), "{protocol}");
        }
        mesh.app(USER, BASELINE).until_open(usize::from(protocol == "h2")).await;
    }
}

#[tokio::test]
async fn the_whole_may_take_no_longer_than_its_time() {
    let (mesh, mut left) = hanging(
        "services.'user.shop'.timeouts = { connect = '50ms', head = 'off', total = '50ms' }",
    )
    .await;

    let answer = mesh.ask(USER).await;

    assert_eq!((answer.status, &*answer.reason()), (504, "deadline"));
    until_left(&mut left, 1).await;
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_the_whole_time_is_broken_off() {
    let mesh = Mesh::new(
        "services.'user.shop'.timeouts = { connect = '50ms', head = '50ms', total = '100ms' }",
    );
    let mesh = mesh.serve(USER, BASELINE, falter).start().await;

    let answer = within(mesh.ask(USER).send()).await.unwrap();

    assert!(within(answer.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn a_callers_time_runs_while_a_connection_is_waited_for() {
    let full = Full::start().await;
    let snippet = "services.'user.shop'.timeouts.connect = '30s'";
    let mesh = Mesh::new(snippet).at(USER, BASELINE, full.address()).start().await;

    let answer = mesh.ask(USER).grpc().header("grpc-timeout", "50m").await;

    assert_eq!(answer.grpc(), (200, "4".to_owned(), "deadline".to_owned()));
}

#[tokio::test]
async fn a_grpc_timeout_is_honoured() {
    let (mesh, mut left) = hanging("").await;
    let begun = Instant::now();

    let answer = mesh.ask(USER).grpc().header("grpc-timeout", "50m").await;

    assert_eq!(answer.grpc(), (200, "4".to_owned(), "deadline".to_owned()));
    assert!((Duration::from_millis(50)..SOON).contains(&begun.elapsed()));
    until_left(&mut left, 1).await;
}

/// The time a `grpc-timeout` says, in nanoseconds.
fn nanos(timeout: &str) -> u128 {
    let (count, unit) = timeout.split_at(timeout.len() - 1);
    let unit = match unit {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "S" => 1_000_000_000,
        "M" => 60_000_000_000,
        "H" => 3_600_000_000_000,
        _ => panic!("{timeout}"),
    };
    count.parse::<u128>().unwrap() * unit
}

#[tokio::test]
async fn a_grpc_timeout_is_passed_on_shortened() {
    let mesh = Mesh::new("").app(USER, BASELINE).start().await;
    let caller = mesh.ask(USER).grpc();

    caller.header("grpc-timeout", "10S").await;
    mesh.ask(USER).grpc().await;
    mesh.ask(USER).header("grpc-timeout", "10S").await;

    let seen = mesh.app(USER, BASELINE).seen();
    let told = nanos(&seen[0].header("grpc-timeout"));
    assert!((5_000_000_000..10_000_000_000).contains(&told), "{told}");
    assert_eq!(seen[1].header("grpc-timeout"), "");
    // No call of gRPC's: the field means nothing to us.
    assert_eq!(seen[2].header("grpc-timeout"), "10S");
}

#[tokio::test]
async fn the_shorter_of_two_times_counts_and_is_what_the_instance_is_told() {
    let mesh = Mesh::new("services.'user.shop'.timeouts = { head = '2s', total = '2s' }")
        .app(USER, BASELINE);
    let mesh = mesh.start().await;

    mesh.ask(USER).grpc().header("grpc-timeout", "10S").await;

    let told = nanos(&mesh.app(USER, BASELINE).only().header("grpc-timeout"));
    assert!(told < 2_000_000_000, "{told}");
}

#[tokio::test]
async fn a_retry_has_what_is_left_of_the_time() {
    let full = Full::start().await;
    let snippet = "services.'user.shop'.timeouts.connect = '50ms'
        services.'user.shop'.outlier.failures = 'off'";
    let mesh = Mesh::new(snippet).app(USER, BASELINE).at(USER, BASELINE, full.address());
    let mesh = mesh.start().await;

    let retried = async || {
        let series = "retries_total{outcome=\"sent\",service=\"user.shop\"}";
        mesh.side.metric(series).await
    };
    while retried().await == 0 {
        mesh.ask(USER).grpc().header("grpc-timeout", "10S").await;
    }

    let seen = mesh.app(USER, BASELINE).seen();
    let told = nanos(&seen.last().unwrap().header("grpc-timeout"));
    assert!(told <= 9_950_000_000, "{told}");
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_request_along() {
    for protocol in ["h2", "http/1.1"] {
        let (mesh, mut left) = hanging(&format!("services.'{USER}'.protocol = '{protocol}'")).await;

        for (count, ask) in [(1, mesh.ask(USER)), (2, mesh.ask_http1(USER))] {
            let asking = tokio::spawn(ask.send());
            mesh.app(USER, BASELINE).until_seen(count).await;
            asking.abort();
            until_left(&mut left, count).await;
        }
    }
}

#[tokio::test]
async fn a_caller_that_leaves_an_answer_stops_it_at_its_source() {
    let stopped = Arc::new(Semaphore::new(0));
    let source = stopped.clone();
    let endless = move |_| {
        let source = source.clone();
        async move {
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                while pieces.send("more").await {}
                source.add_permits(1);
            });
            Response::new(body)
        }
    };
    let mesh = Mesh::new("").serve(USER, BASELINE, endless).start().await;

    for ask in [mesh.ask(USER), mesh.ask_http1(USER)] {
        let answer = within(ask.send()).await.unwrap();
        drop(answer);
        within(stopped.acquire()).await.unwrap().forget();
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_does_not_look_complete() {
    let may_break = Arc::new(Semaphore::new(0));
    let signal = may_break.clone();
    let breaks = move |_| {
        let signal = signal.clone();
        async move {
            let (pieces, body) = Pieces::new();
            assert!(pieces.send("half").await);
            tokio::spawn(async move {
                signal.acquire().await.unwrap().forget();
                pieces.break_off().await;
            });
            Response::new(body)
        }
    };
    for protocol in ["h2", "http/1.1"] {
        let snippet = format!("services.'{USER}'.protocol = '{protocol}'");
        let mesh = Mesh::new(&snippet).serve(USER, BASELINE, breaks.clone()).start().await;

        for ask in [mesh.ask(USER), mesh.ask_http1(USER)] {
            let mut body = within(ask.send()).await.unwrap().into_body();
            let half = within(body.frame()).await.unwrap().unwrap();
            assert_eq!(half.into_data().unwrap(), "half");
            may_break.add_permits(1);
            assert!(within(body.collect()).await.is_err(), "{protocol}");
        }
    }
}

/// Sends half a request by HTTP/2, and resets it once it has come through.
async fn half_by_http2(mesh: &Mesh, seen: usize) {
    let stream = TcpStream::connect(mesh.side.outbound()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{USER}/")).body(()).unwrap();
    let (_answer, mut half) = client.send_request(request, false).unwrap();
    half.send_data(Bytes::from_static(b"half"), false).unwrap();
    mesh.app(USER, BASELINE).until_seen(seen).await;
    half.send_reset(h2::Reason::CANCEL);
}

/// Sends half a request by HTTP/1.1, and leaves once it has come through.
async fn half_by_http1(mesh: &Mesh, seen: usize) {
    let mut stream = TcpStream::connect(mesh.side.outbound()).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: {USER}\r\ncontent-length: 8\r\n\r\nhalf");
    stream.write_all(head.as_bytes()).await.unwrap();
    mesh.app(USER, BASELINE).until_seen(seen).await;
}

/// Says in the end whether a request was whole: one whose handler is given up is not.
struct Verdict {
    whole: bool,
    judge: mpsc::UnboundedSender<bool>,
}

impl Drop for Verdict {
    fn drop(&mut self) {
        let _ = self.judge.send(self.whole);
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_does_not_look_complete() {
    for protocol in ["h2", "http/1.1"] {
        let (judge, mut judged) = mpsc::unbounded_channel();
        let reads = move |request: Request| {
            let mut verdict = Verdict { whole: false, judge: judge.clone() };
            async move {
                // The whole of it, to be dropped with this request and not before.
                let verdict = &mut verdict;
                verdict.whole = request.into_body().collect().await.is_ok();
                answer(200, "")
            }
        };
        let snippet = format!("services.'{USER}'.protocol = '{protocol}'");
        let mesh = Mesh::new(&snippet).serve(USER, BASELINE, reads).start().await;

        half_by_http2(&mesh, 1).await;
        assert_eq!(within(judged.recv()).await, Some(false), "{protocol}");
        half_by_http1(&mesh, 2).await;
        assert_eq!(within(judged.recv()).await, Some(false), "{protocol}");
    }
}

#[tokio::test]
async fn an_answer_of_ours_reaches_a_caller_that_still_sends() {
    let mesh = Mesh::new("").start().await;
    let body = vec![7; 1 << 20];

    for ask in [mesh.ask("nobody.shop"), mesh.ask_http1("nobody.shop")] {
        let answer = ask.post(body.clone()).await;
        assert_eq!((answer.status, &*answer.text()), (404, "no such service\n"));
    }
    assert_eq!(mesh.ask("nobody.shop").await.status, 404);
}

#[tokio::test]
async fn an_answer_of_ours_to_head_has_no_body() {
    let mesh = Mesh::new("").start().await;

    for ask in [mesh.ask("nobody.shop"), mesh.ask_http1("nobody.shop")] {
        let answer = ask.method(Method::HEAD).await;
        assert_eq!((answer.status, answer.body.len()), (404, 0));
        assert_eq!(answer.header("content-length"), "16");
    }
    assert_eq!(mesh.ask("nobody.shop").await.status, 404);
}

#[tokio::test]
async fn an_application_that_is_not_there_is_unavailable() {
    let pod = Pod::start(USER, "").await;
    pod.app.kill().await;

    let http = pod.ask().await.await;
    let grpc = pod.ask().await.grpc().await;

    assert_eq!((http.status, &*http.reason()), (503, "connect"));
    assert_eq!(grpc.grpc(), (200, "14".to_owned(), "connect".to_owned()));
}

#[tokio::test]
async fn connect_is_not_served() {
    let mesh = Mesh::new("").app(USER, BASELINE).start().await;

    let answer = mesh.ask(USER).method(Method::CONNECT).path("").await;

    assert_eq!((answer.status, &*answer.reason()), (400, "malformed"));
    assert_eq!(answer.text(), "CONNECT is not served here\n");
}

#[tokio::test]
async fn interim_answers_and_an_empty_answer_pass() {
    let mesh = Mesh::new("").serve(USER, BASELINE, async |_| answer(204, "")).start().await;

    let answer = mesh.ask(USER).await;

    assert_eq!((answer.status, answer.body.len()), (204, 0));
}
