//! How a sidecar begins and ends: ready when its application is, in peace when asked, at once when
//! dropped.

use std::net::SocketAddr;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::harness::app::{App, Request, Response, answer, refusing};
use super::harness::caller::Caller;
use super::harness::pieces::Pieces;
use super::harness::pod::Pod;
use super::harness::side::{Side, table};
use super::harness::{BASELINE, Mesh, within};

const USER: &str = "user.shop";

/// An application whose answers go on for as long as the test has it.
struct Endless {
    mesh: Mesh,
    pieces: mpsc::Receiver<Pieces>,
}

impl Endless {
    async fn start(snippet: &str) -> Self {
        let (hand_out, pieces) = mpsc::channel(8);
        let endless = move |_: Request| {
            let hand_out = hand_out.clone();
            async move {
                let (pieces, body) = Pieces::new();
                assert!(pieces.send("begun ").await);
                hand_out.send(pieces).await.ok().unwrap();
                Response::new(body)
            }
        };
        let mesh = Mesh::new(snippet).serve(USER, BASELINE, endless).start().await;
        Self { mesh, pieces }
    }
}

async fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_err()
}

async fn until_refused(address: SocketAddr) {
    within(async {
        while !is_refused(address).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_is_ready_when_its_application_answers() {
    let (held, application) = refusing();
    let told = format!(
        "workload = {{ service = '{USER}', address = '{application}' }}
         inbound.listen = '127.0.0.1:0'"
    );
    let side = Side::start(table(&told)).await;

    let before = side.admin("/readyz").await;
    let listener = held.listen(8).unwrap();
    let after = side.until("/readyz", |it| it.status == 200).await;

    assert_eq!(before.status, 503);
    assert_eq!(before.text(), "not ready: the application does not answer yet\n");
    assert_eq!(after.text(), "ready\n");
    assert_eq!(side.admin("/healthz").await.status, 200);
    drop(listener);
}

#[tokio::test]
async fn a_sidecar_without_inbound_waits_for_nobody() {
    let mesh = Mesh::new("").start().await;

    assert_eq!(mesh.side.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn streams_under_way_are_finished_and_nothing_new_is_taken() {
    let mut endless = Endless::start("").await;
    let through = endless.mesh.side.outbound();
    let by_http2 = within(endless.mesh.ask(USER).send()).await.unwrap();
    let by_http1 = within(endless.mesh.ask_http1(USER).send()).await.unwrap();
    let pieces = [endless.pieces.recv().await.unwrap(), endless.pieces.recv().await.unwrap()];
    let (sidecar, _directory) = endless.mesh.side.into_sidecar();

    let stopping = tokio::spawn(sidecar.stop());
    until_refused(through).await;
    assert!(!stopping.is_finished());
    for sender in pieces {
        assert!(sender.send("and ended").await);
    }

    for answer in [by_http2, by_http1] {
        let body = within(answer.into_body().collect()).await.unwrap();
        assert_eq!(body.to_bytes(), "begun and ended");
    }
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_connection_without_requests_is_ended_in_peace() {
    let mesh = Mesh::new("").app(USER, BASELINE).start().await;
    mesh.lane(USER, "").await;
    let address = mesh.side.outbound();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: user.shop\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    within(idle.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    mesh.side.stop().await;

    let mut rest = Vec::new();
    within(idle.read_to_end(&mut rest)).await.unwrap();
    assert!(is_refused(address).await);
}

#[tokio::test]
async fn connections_the_kernel_took_for_us_are_served_before_the_end() {
    // One connection at a time: the others wait where we have not seen them.
    let mut endless = Endless::start("limits.connections = 1").await;
    let first = within(endless.mesh.ask(USER).send()).await.unwrap();
    let pieces = endless.pieces.recv().await.unwrap();
    let mut second = TcpStream::connect(endless.mesh.side.outbound()).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: nobody.shop\r\n\r\n").await.unwrap();
    let (sidecar, _directory) = endless.mesh.side.into_sidecar();

    let stopping = tokio::spawn(sidecar.stop());
    let mut answer = Vec::new();
    within(second.read_to_end(&mut answer)).await.unwrap();
    drop(pieces);

    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    within(first.into_body().collect()).await.unwrap();
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn unreadiness_comes_first_and_requests_are_taken_meanwhile() {
    let pod = Pod::start(USER, "runtime.drain_delay = '1s'").await;
    let side = &pod.side;
    side.until("/readyz", |it| it.status == 200).await;
    let (admin, inbound) = (side.admin_address(), side.inbound());
    let (sidecar, _directory) = pod.side.into_sidecar();

    let stopping = tokio::spawn(sidecar.stop());
    let unready = within(async {
        loop {
            let answer = Caller::http1(admin).ask("admin").path("/readyz").await;
            if answer.status == 503 {
                return answer;
            }
        }
    });
    let unready = unready.await;
    let meanwhile = Caller::http2(inbound).await.ask(USER).await;

    assert_eq!(unready.text(), "not ready: draining\n");
    assert_eq!(meanwhile.status, 200);
    within(stopping).await.unwrap();
    assert!(is_refused(inbound).await);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_broken_off() {
    let mut endless = Endless::start("runtime.drain_timeout = '100ms'").await;
    let answer = within(endless.mesh.ask(USER).send()).await.unwrap();
    let _pieces = endless.pieces.recv().await.unwrap();

    endless.mesh.side.stop().await;

    assert!(within(answer.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn a_dropped_sidecar_is_gone_at_once() {
    let mut endless = Endless::start("").await;
    let by_http2 = within(endless.mesh.ask(USER).send()).await.unwrap();
    let by_http1 = within(endless.mesh.ask_http1(USER).send()).await.unwrap();
    let pieces = [endless.pieces.recv().await.unwrap(), endless.pieces.recv().await.unwrap()];
    let through = endless.mesh.side.outbound();

    drop(endless.mesh.side);

    for answer in [by_http2, by_http1] {
        assert!(within(answer.into_body().collect()).await.is_err());
    }
    for sender in pieces {
        within(sender.closed()).await;
    }
    until_refused(through).await;
}

#[tokio::test]
async fn a_rolling_release_under_load_fails_nobody() {
    rolling_release("h2").await;
}

#[tokio::test]
async fn a_rolling_release_under_load_of_http1_fails_nobody() {
    rolling_release("http/1.1").await;
}

/// Two pods behind a caller's sidecar; one ends while requests pass.
async fn rolling_release(protocol: &str) {
    let one = Pod::start(USER, "").await;
    let two = Pod::start(USER, "").await;
    let snippet = format!("services.'{USER}'.protocol = '{protocol}'");
    let mesh = Mesh::new(&snippet).at(USER, BASELINE, one.side.inbound());
    let mesh = mesh.at(USER, BASELINE, two.side.inbound()).start().await;
    let mut asking: tokio::task::JoinSet<_> =
        (0..16).map(|_| mesh.ask(USER).post("order").into_future()).collect();
    let (sidecar, _directory) = one.side.into_sidecar();
    let mut sidecar = Some(sidecar);
    let mut stopping = None;

    let mut answered = 0;
    while let Some(answer) = asking.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "after {answered}: {answer:?}");
        answered += 1;
        if answered == 200 {
            stopping = sidecar.take().map(|it| tokio::spawn(it.stop()));
        }
        if answered < 2000 {
            asking.spawn(mesh.ask(USER).post("order").into_future());
        }
    }

    within(stopping.unwrap()).await.unwrap();
    assert!(two.app.seen().len() > 1000);
}

#[tokio::test]
async fn several_workers_share_one_port() {
    let mesh = Mesh::new("runtime.workers = 4").app(USER, BASELINE).start().await;
    let through = mesh.side.outbound();

    for _ in 0..40 {
        assert_eq!(Caller::http1(through).ask(USER).await.status, 200);
    }

    mesh.side.stop().await;
    assert!(is_refused(through).await);
}

#[tokio::test]
async fn a_port_that_is_taken_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidecar.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let other = Mesh::new("").start().await;
    let theirs = other.side.outbound();

    for (key, address) in
        [("admin.listen", taken), ("outbound.listen", taken), ("outbound.listen", theirs)]
    {
        let told = table(&format!("{key} = '{address}'"));
        std::fs::write(&file, told.to_string()).unwrap();
        let error = dyelane::app::Sidecar::start(&file).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
    }
}

#[tokio::test]
async fn a_bad_file_starts_nothing_and_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sidecar.toml");
    std::fs::write(&file, "[workload]\nservise = 'a'\n").unwrap();

    let bad = dyelane::app::Sidecar::start(&file).await.unwrap_err();
    let missing = dyelane::app::Sidecar::start(&directory.path().join("gone")).await.unwrap_err();

    assert!(bad.to_string().contains("servise"), "{bad}");
    assert!(missing.to_string().starts_with("cannot read "), "{missing}");
}

#[tokio::test]
async fn an_application_of_a_draining_pod_answers_its_last_callers() {
    let app = App::start(async |_| answer(200, "app"));
    let told = format!(
        "workload = {{ service = '{USER}', address = '{}' }}
         inbound.listen = '127.0.0.1:0'
         runtime.drain_delay = '1s'",
        app.address()
    );
    let side = Side::start(table(&told)).await;
    let caller = Caller::http2(side.inbound()).await;
    let (sidecar, _directory) = side.into_sidecar();

    let stopping = tokio::spawn(sidecar.stop());
    let mut answered = 0;
    while let Ok(answer) = caller.ask(USER).attempt().await {
        assert_eq!(answer.text(), "app");
        answered += 1;
    }

    assert!(answered > 0);
    within(stopping).await.unwrap();
}
