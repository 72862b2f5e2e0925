//! A whole sidecar whose callers share upstream connections: none hurts another, whatever the
//! upstream or one of them does.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use dyelane::http::ErrorCode::*;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::played::{Played, caller, mesh};
use super::wire::{Fields, GET, Heard, OK, POST, body, data, head, settings, window};
use crate::harness::alone::{is_alone, resident};
use crate::harness::app::{self, Raw};
use crate::harness::{BASELINE, Body, Mesh, within};

const SHARED: &str = "defaults.connections = 1";

/// An independent HTTP/2 server: never reads bodies for `/stuck`, answers everything else at once.
async fn independent(
    builder: h2::server::Builder,
    most: Arc<AtomicUsize>,
) -> (Raw, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let (count, open) = (served.clone(), Arc::new(AtomicUsize::new(0)));
    let raw = Raw::start(move |socket: TcpStream| {
        let (builder, served) = (builder.clone(), count.clone());
        let (open, most) = (open.clone(), most.clone());
        async move {
            let mut connection = builder.handshake::<_, Bytes>(socket).await.unwrap();
            let mut tasks = JoinSet::new();
            while let Some(Ok((request, mut reply))) = connection.accept().await {
                served.fetch_add(1, Relaxed);
                let (open, most) = (open.clone(), most.clone());
                tasks.spawn(async move {
                    most.fetch_max(open.fetch_add(1, Relaxed) + 1, Relaxed);
                    if request.uri().path() == "/stuck" {
                        let _held = (request, reply);
                        return pending().await;
                    }
                    let mut body = request.into_body();
                    while let Some(Ok(bytes)) = body.data().await {
                        let _ = body.flow_control().release_capacity(bytes.len());
                    }
                    tokio::task::yield_now().await;
                    open.fetch_sub(1, Relaxed);
                    let _ = reply.send_response(http::Response::new(()), true);
                });
            }
        }
    });
    (raw.await, served)
}

#[tokio::test]
async fn callers_that_do_not_read_starve_nobody() {
    let mesh = Mesh::new(SHARED)
        .serve("app.test", BASELINE, |request| async move {
            match request.uri().path() {
                "/large" => app::answer(200, &"x".repeat(4_000_000)),
                _ => app::answer(200, "small"),
            }
        })
        .start()
        .await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut wire = caller(&mesh).await;
        for stream in [1, 3, 5, 7] {
            let large: Vec<_> = GET
                .iter()
                .map(
                    |&(name, value)| if name == ":path" { (name, "/large") } else { (name, value) },
                )
                .collect();
            wire.send(&head(stream, &large, true)).await;
        }
        idle.push(wire);
    }
    mesh.app("app.test", BASELINE).until_seen(32).await;

    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(mesh.ask("app.test").await.text(), "small");
        assert_eq!(mesh.ask("app.test").post(vec![7; 20_000]).await.text(), "small");
    }

    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(mesh.app("app.test", BASELINE).connections(), 1);
}

#[tokio::test]
async fn slow_uploads_starve_nobody() {
    let mesh = Mesh::new(SHARED).app("app.test", BASELINE).start().await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut wire = caller(&mesh).await;
        for stream in [1, 3, 5, 7] {
            wire.send(&head(stream, POST, false)).await;
            wire.send(&data(stream, b"a", false)).await;
        }
        slow.push(wire);
    }
    mesh.app("app.test", BASELINE).until_seen(32).await;

    let begun = Instant::now();
    for _ in 0..50 {
        let answer = mesh.ask("app.test").post(vec![7; 20_000]).await;
        assert_eq!(answer.header("x-bytes"), "20000");
    }

    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_upstream_that_does_not_read_some_bodies_starves_no_other_request() {
    // Its window for the connection is no larger than that of one stream.
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(65_535).initial_connection_window_size(65_535);
    let (upstream, served) = independent(builder, Arc::default()).await;
    let mesh = mesh("", upstream.address).await;
    let mut stuck = JoinSet::new();
    for count in 1..=3 {
        let upload = mesh.ask("app.test").path("/stuck").post(vec![7; 1_000_000]);
        stuck.spawn(upload.attempt());
        within(async {
            while served.load(Relaxed) < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(mesh.ask("app.test").post(vec![7; 1000]).await.status, 200);
    }

    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_upstream_that_takes_five_streams_fails_none_of_sixty_requests() {
    let most = Arc::new(AtomicUsize::new(0));
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(5);
    let (upstream, served) = independent(builder, most.clone()).await;
    let mesh = mesh("defaults.connections = 2", upstream.address).await;

    let mut requests = JoinSet::new();
    for at in 0..60 {
        let ask = mesh.ask("app.test");
        let ask = if at % 2 == 0 { ask.post(vec![7; 5000]) } else { ask };
        requests.spawn(within(ask.attempt()));
    }
    while let Some(answer) = requests.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }

    assert_eq!(served.load(Relaxed), 60);
    assert!(most.load(Relaxed) <= 10, "{}", most.load(Relaxed));
}

#[tokio::test]
async fn a_malformed_answer_hurts_no_other_stream() {
    const ODD: [Fields<'_>; 3] =
        [&[("x-a", "no status")], &[(":status", "200"), ("X-A", "b")], &[(":status", "20")]];
    let played = Played::new().await;
    let mesh = mesh(SHARED, played.address()).await;
    let (mut one, mut other) = (caller(&mesh).await, caller(&mesh).await);
    other.send(&head(1, GET, true)).await;
    let mut upstream = played.connection().await;
    upstream.rest_of(1).await;
    upstream.send(&head(1, OK, false)).await;
    other.until(|it| it.status().is_some()).await;

    for (stream, odd) in (3..).step_by(2).zip(ODD) {
        one.send(&head(stream - 2, POST, true)).await;
        upstream.until(|it| matches!(it, Heard::Head { .. })).await;
        upstream.send(&head(stream, odd, true)).await;
        let answer = one.rest_of(stream - 2).await;
        assert_eq!(answer[0].status(), Some("502"), "{odd:?}");
    }
    upstream.send(&data(1, b"unharmed", true)).await;

    assert_eq!(body(&other.rest_of(1).await), b"unharmed");
}

#[tokio::test]
async fn one_caller_that_leaves_with_many_streams_costs_the_others_nothing() {
    let mesh = Mesh::new(SHARED)
        .serve("app.test", BASELINE, |request| async move {
            match request.uri().path() {
                "/slow" => pending().await,
                _ => app::answer_with("fine".to_owned(), request).await,
            }
        })
        .start()
        .await;
    let app = mesh.app("app.test", BASELINE);
    let slow: Vec<_> = GET
        .iter()
        .map(|&(name, value)| if name == ":path" { (name, "/slow") } else { (name, value) })
        .collect();
    let (sender, receiver) =
        tokio::sync::mpsc::channel::<Result<Bytes, std::convert::Infallible>>(1);
    let upload = http_body_util::StreamBody::new(tokio_stream::StreamExt::map(
        tokio_stream::wrappers::ReceiverStream::new(receiver),
        |bytes| bytes.map(http_body::Frame::data),
    ));
    let under_way = tokio::spawn(mesh.ask("app.test").post_stream(Body::new(upload)).attempt());
    app.until_seen(1).await;

    for round in 0..3 {
        let mut leaving = caller(&mesh).await;
        for at in 0..50 {
            leaving.send(&head(2 * at + 1, &slow, true)).await;
        }
        // Now and then it leaves before the application looked at any.
        if round > 0 {
            app.until_seen(1 + 50 * round).await;
        }
        drop(leaving);
        assert_eq!(mesh.ask("app.test").await.text(), "fine");
    }
    sender.send(Ok(Bytes::from_static(b"done"))).await.unwrap();
    drop(sender);

    let answer = within(under_way).await.unwrap().unwrap();
    assert_eq!((answer.status, &*answer.header("x-bytes")), (200, "4"));
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn stalled_streams_hold_no_more_than_their_windows() {
    const STREAMS: u32 = 40;
    if !is_alone(module_path!(), "stalled_streams_hold_no_more_than_their_windows") {
        return;
    }
    let played = Played::new().await;
    let mesh = mesh(SHARED, played.address()).await;
    let mut wire = caller(&mesh).await;
    for at in 0..STREAMS {
        wire.send(&head(2 * at + 1, POST, false)).await;
    }
    let mut upstream = played.connection().await;
    upstream.send(&settings(&[(4, 0)])).await;
    upstream
        .until(|it| matches!(it, Heard::Head { stream, .. } if *stream == 2 * STREAMS - 1))
        .await;
    upstream.settled().await;
    let window = wire.settings.initial_window_size.unwrap();
    let before = resident();

    // Byte by byte: what is held must not be more than what was sent, by much.
    for at in 0..STREAMS {
        let one = data(2 * at + 1, b"x", false);
        for _ in 0..window / 4096 {
            wire.send(&one.repeat(4096)).await;
        }
    }
    let alive = wire.settled().await;

    assert!(matches!(alive.last(), Some(Heard::Pong(_))), "{alive:?}");
    let held = resident().saturating_sub(before);
    assert!(held < (3 * STREAMS * window) as usize, "{held}");
    wire.send(&data(1, b"x", false)).await;
    let heard = wire.until(|it| matches!(it, Heard::Reset { .. } | Heard::GoAway { .. })).await;
    assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: FlowControlError }));
}

#[tokio::test]
async fn an_upstream_is_asked_for_no_more_than_a_stalled_caller_may_hold() {
    let played = Played::new().await;
    let mesh = mesh(SHARED, played.address()).await;
    let mut wire = caller(&mesh).await;
    wire.send(&settings(&[(4, 0)])).await;
    wire.send(&head(1, GET, true)).await;
    let mut upstream = played.connection().await;
    upstream.rest_of(1).await;
    upstream.send(&head(1, OK, false)).await;
    wire.until(|it| it.status().is_some()).await;

    let mut allowed = upstream.settings.initial_window_size.unwrap() as usize;
    while allowed > 0 {
        let bytes = allowed.min(16_384);
        upstream.send(&data(1, &vec![7; bytes], false)).await;
        allowed -= bytes;
        for heard in upstream.settled().await {
            assert!(!matches!(heard, Heard::Window { stream: 1, .. }), "{heard:?}");
        }
    }
    wire.send(&window(1, 1 << 20)).await;
    let heard = upstream.until(|it| matches!(it, Heard::Window { stream: 1, .. })).await;

    assert!(matches!(heard.last(), Some(Heard::Window { .. })));
}
