//! A whole sidecar before an upstream that is played frame by frame: whatever it does, its callers
//! are told the truth.

use std::time::Duration;

use dyelane::http::ErrorCode::*;
use dyelane::http::frame::{flag, kind};
use tokio::time::Instant;

use super::played::{Played, caller, mesh};
use super::wire::{
    Fields, GET, Heard, OK, POST, block, body, data, go_away, head, raw, reset, settings,
};
use crate::harness::within;

#[tokio::test]
async fn an_answer_that_breaks_off_upstream_is_a_reset() {
    for how in 0..4 {
        let played = Played::new().await;
        let mesh = mesh("", played.address()).await;
        let mut wire = caller(&mesh).await;
        wire.send(&head(1, GET, true)).await;
        let mut upstream = played.connection().await;
        upstream.rest_of(1).await;

        upstream.send(&head(1, &[OK, &[("content-length", "100")]].concat(), false)).await;
        upstream.send(&data(1, b"half of", false)).await;
        match how {
            0 => drop(upstream),
            1 => upstream.send(&reset(1, NoError)).await,
            2 => upstream.send(&data(1, b"it", true)).await,
            _ => upstream.send(&raw(kind::PING, 0, 1, &[0; 8])).await,
        }
        let heard = wire.rest_of(1).await;

        assert_eq!(body(&heard), b"half of", "{how}");
        assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: InternalError }), "{how}");
        assert!(matches!(wire.settled().await[..], [Heard::Pong(_)]));
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_is_heard_upstream_within_milliseconds() {
    let played = Played::new().await;
    let mesh = mesh("", played.address()).await;
    let mut wire = caller(&mesh).await;
    let mut times = Vec::new();
    wire.send(&head(1, POST, false)).await;
    let mut upstream = played.connection().await;
    for at in 0..20 {
        let stream = 2 * at + 1;
        if at > 0 {
            wire.send(&head(stream, POST, false)).await;
        }
        upstream.until(|it| matches!(it, Heard::Head { .. })).await;
        // Half of them have their answer's head already.
        if at % 2 == 0 {
            upstream.send(&head(stream, OK, false)).await;
            wire.until(|it| it.status().is_some()).await;
        }

        let begun = Instant::now();
        wire.send(&reset(stream, Cancel)).await;
        let heard = upstream.until(|it| matches!(it, Heard::Reset { .. })).await;

        assert_eq!(heard.last(), Some(&Heard::Reset { stream, code: Cancel }));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    assert!(times[10] < Duration::from_millis(50), "{times:?}");
}

#[tokio::test]
async fn an_upstream_that_goes_away_loses_no_request() {
    let played = Played::new().await;
    let mesh = mesh("defaults.connections = 1", played.address()).await;
    let mut wire = caller(&mesh).await;
    for at in 0..60 {
        wire.send(&head(2 * at + 1, GET, true)).await;
    }
    let mut first = played.connection().await;
    first.rest_of(119).await;

    // Ten are finished, fifty were never looked at.
    first.send(&go_away(19, 0)).await;
    let mut second = played.connection().await;
    for at in 0..10 {
        first.send(&head(2 * at + 1, OK, true)).await;
    }
    for at in 0..50 {
        second.rest_of(2 * at + 1).await;
        second.send(&head(2 * at + 1, OK, true)).await;
    }
    wire.send(&head(121, GET, true)).await;
    second.rest_of(101).await;
    second.send(&head(101, OK, true)).await;

    let mut answered = 0;
    while answered < 61 {
        let heard = wire.hear().await;
        assert_eq!(heard.status(), Some("200"), "{heard:?}");
        answered += 1;
    }
    assert_eq!(first.until(|it| *it == Heard::Closed).await, [Heard::Closed]);
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_body_and_all() {
    let played = Played::new().await;
    let mesh = mesh("", played.address()).await;
    let mut wire = caller(&mesh).await;
    wire.send(&head(1, POST, false)).await;
    wire.send(&data(1, b"once", false)).await;
    let mut upstream = played.connection().await;
    upstream.until(|it| matches!(it, Heard::Data { .. })).await;

    upstream.send(&reset(1, RefusedStream)).await;
    upstream.until(|it| matches!(it, Heard::Data { stream: 3, .. })).await;
    wire.send(&data(1, b" more", true)).await;
    let again = upstream.rest_of(3).await;
    upstream.send(&head(3, OK, true)).await;

    assert_eq!(body(&again), b" more");
    assert_eq!(wire.rest_of(1).await[0].status(), Some("200"));
}

#[tokio::test]
async fn an_answer_cut_off_by_its_deadline_never_looks_complete() {
    let played = Played::new().await;
    let mesh =
        mesh("defaults.timeouts = { connect = '1s', head = '1s', total = '1s' }", played.address())
            .await;
    let mut wire = caller(&mesh).await;
    wire.send(&settings(&[(4, 0)])).await;
    wire.send(&head(1, GET, true)).await;
    let mut upstream = played.connection().await;
    upstream.rest_of(1).await;

    // All of it is here, but the caller takes none of it in time.
    upstream.send(&head(1, OK, false)).await;
    upstream.send(&data(1, b"the whole answer", true)).await;
    let heard = wire.rest_of(1).await;

    assert!(matches!(heard.last(), Some(Heard::Reset { .. })), "{heard:?}");
}

#[tokio::test]
async fn a_tunnel_goes_from_end_to_end() {
    const CHAT: Fields<'_> = &[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "app.test"),
        ("sec-websocket-version", "13"),
    ];
    let played = Played::new().await;
    let mesh = mesh("", played.address()).await;
    let mut wire = caller(&mesh).await;
    wire.send(&head(1, CHAT, false)).await;
    let mut upstream = played.connection().await;

    let asked = upstream.hear().await;
    upstream.send(&head(1, OK, false)).await;
    let agreed = wire.until(|it| it.status().is_some()).await;
    wire.send(&data(1, b"ping", false)).await;
    let there = upstream.until(|it| matches!(it, Heard::Data { .. })).await;
    upstream.send(&data(1, b"pong", true)).await;
    let back = wire.rest_of(1).await;
    wire.send(&data(1, b"bye", true)).await;
    let last = upstream.rest_of(1).await;

    assert_eq!(asked.field(":method"), Some("CONNECT"));
    assert_eq!(asked.field(":protocol"), Some("websocket"));
    assert_eq!(agreed.last().unwrap().status(), Some("200"));
    assert_eq!((body(&there), body(&back)), (b"ping".to_vec(), b"pong".to_vec()));
    assert_eq!(body(&last), b"bye");
}

#[tokio::test]
async fn a_sidecar_that_stops_finishes_what_is_under_way() {
    let played = Played::new().await;
    let mesh = mesh("", played.address()).await;
    let mut wire = caller(&mesh).await;
    wire.send(&head(1, GET, true)).await;
    let mut upstream = played.connection().await;
    upstream.rest_of(1).await;

    let (sidecar, _directory) = mesh.side.into_sidecar();
    let stopping = tokio::spawn(sidecar.stop());
    let heard = wire.until(|it| matches!(it, Heard::Ping(_))).await;
    assert_eq!(heard[0], Heard::GoAway { last: (1 << 31) - 1, code: NoError });
    let Some(Heard::Ping(opaque)) = heard.last() else { panic!("{heard:?}") };
    wire.send(&super::wire::pong(*opaque)).await;
    let heard = wire.until(|it| matches!(it, Heard::GoAway { .. })).await;
    assert_eq!(heard.last(), Some(&Heard::GoAway { last: 1, code: NoError }));
    upstream.send(&head(1, OK, false)).await;
    upstream.send(&data(1, b"to the end", true)).await;
    let rest = wire.until(|it| *it == Heard::Closed).await;

    assert_eq!(body(&rest), b"to the end");
    assert!(rest.iter().any(|it| matches!(it, Heard::Data { end: true, .. })), "{rest:?}");
    drop(wire);
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_block_in_pieces_arrives_whole() {
    let played = Played::new().await;
    let mesh = mesh("", played.address()).await;
    let mut wire = caller(&mesh).await;
    let value = "v".repeat(30_000);
    let whole = block(&[GET, &[("x-long", &*value)]].concat());
    let (first, rest) = whole.split_at(16_384);
    wire.send(&raw(kind::HEADERS, flag::END_STREAM, 1, first)).await;
    wire.send(&raw(kind::CONTINUATION, flag::END_HEADERS, 1, rest)).await;

    let mut upstream = played.connection().await;
    let asked = upstream.hear().await;

    assert_eq!(asked.field("x-long"), Some(&*value));
}
