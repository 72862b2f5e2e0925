//! Time: what is unfinished, unread or unused for too long ends, and nothing else does.

use std::time::Duration;

use bytes::Bytes;
use dyelane::http::frame::{self, Settings, kind};
use dyelane::http::{CallError, Ended, ErrorCode, Options, Pipe};
use dyelane::model::ResponseHead;
use tokio::time::{Instant, sleep};

use super::engine::{Calling, OPTIONS, Serving, answer, failure, local};
use super::wire::{GET, Heard, OK, POST, block, data, head, ping, raw, reset, window};

const HASTY: Options = Options {
    first_frame: Duration::from_millis(400),
    frame: Duration::from_millis(800),
    stall: Duration::from_secs(2),
    ..OPTIONS
};

/// Lets the clock of the test run on.
async fn later(time: Duration) {
    sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_without_pause_is_never_taken_for_an_unfinished_frame() {
    local(async {
        let mut serving = Serving::in_memory(HASTY, &Settings::default()).await;
        serving.wire.send(&head(1, POST, false)).await;
        let incoming = serving.request().await;
        tokio::task::spawn_local(async move { super::engine::read(&incoming.body).await });
        let frame = data(1, &[7; 100], false);
        let (first, second) = frame.split_at(50);

        // Every piece that is sent ends in the middle of a frame.
        serving.wire.send(first).await;
        for _ in 0..40 {
            later(Duration::from_millis(100)).await;
            serving.wire.send(&[second, first].concat()).await;
        }

        assert!(!serving.ended.is_finished());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_ends_a_connection_that_was_at_rest() {
    local(async {
        let mut serving = Serving::in_memory(HASTY, &Settings::default()).await;
        later(Duration::from_secs(60)).await;
        let begun = Instant::now();

        serving.wire.send(&ping([1; 8])[..12]).await;
        let code = serving.wire.last_word().await;

        assert_eq!(code, Some(ErrorCode::EnhanceYourCalm));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(matches!(serving.end().await, Ended::TimedOut(_)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn half_a_head_in_small_pieces_ends_the_connection() {
    local(async {
        let mut serving = Serving::in_memory(HASTY, &Settings::default()).await;
        let begun = Instant::now();

        serving.wire.send(&raw(kind::HEADERS, 0, 1, &block(GET))).await;
        for _ in 0..30 {
            later(Duration::from_millis(100)).await;
            serving.wire.send(&raw(kind::CONTINUATION, 0, 1, &[])).await;
        }
        serving.wire.last_word().await;

        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert!(matches!(serving.end().await, Ended::TimedOut(_)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_preface_byte_by_byte_ends_in_time() {
    local(async {
        let (mut near, far) = tokio::io::duplex(1024);
        let (_server, driver) = dyelane::http::serve(far, HASTY, |_| {});
        let ended = tokio::task::spawn_local(driver);
        let begun = Instant::now();

        for byte in frame::PREFACE {
            later(Duration::from_millis(150)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut near, &[*byte]).await.is_err() {
                break;
            }
        }

        assert!(matches!(ended.await.unwrap(), Ended::TimedOut(_)));
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_takes_no_byte_loses_its_stream_and_nothing_else() {
    local(async {
        let small = Settings { initial_window_size: Some(10), ..Settings::default() };
        let mut serving = Serving::in_memory(HASTY, &small).await;
        later(Duration::from_secs(60)).await;
        serving.wire.send(&head(1, GET, true)).await;
        let incoming = serving.request().await;
        let body = Pipe::full(Bytes::from_static(b"more than ten bytes"), None);
        incoming.reply.answer(ResponseHead::new(200), body.clone());
        let begun = Instant::now();

        let heard = serving.wire.rest_of(1).await;

        assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: ErrorCode::Cancel }));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(begun.elapsed() >= HASTY.stall);
        assert!(body.is_closed());
        assert!(!serving.ended.is_finished());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_nobody_reads_does_not_starve_the_others_for_long() {
    local(async {
        // The server gives the connection no more window than a stream.
        let mut calling = Calling::in_memory(OPTIONS, &Settings::default()).await;
        let body = |length| Pipe::full(Bytes::from(vec![7; length]), None);
        let unread = calling.post(&body(100_000));
        calling
            .wire
            .until(|it| matches!(it, Heard::Data { bytes, .. } if bytes.len() < 16_384))
            .await;
        let other = calling.post(&body(100));
        let begun = Instant::now();

        let heard = calling.wire.until_late(|it| matches!(it, Heard::Reset { .. })).await;
        calling.wire.send(&window(0, 65_535)).await;
        let rest = calling.wire.rest_of(3).await;
        calling.wire.send(&head(3, OK, true)).await;

        assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: ErrorCode::Cancel }));
        assert!(begun.elapsed() < OPTIONS.stall / 20, "{:?}", begun.elapsed());
        assert_eq!(rest.last().unwrap().stream(), 3);
        assert_eq!(answer(&other).await.status, 200);
        assert_eq!(failure(&unread).await, CallError::Reset(ErrorCode::Cancel));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_nobody_reads_may_wait_while_it_starves_nobody() {
    local(async {
        let mut calling = Calling::in_memory(OPTIONS, &Settings::default()).await;
        let _unread = calling.post(&Pipe::full(Bytes::from(vec![7; 100_000]), None));
        let begun = Instant::now();

        calling.wire.until_late(|it| matches!(it, Heard::Reset { .. })).await;

        assert!(begun.elapsed() >= OPTIONS.stall, "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_reads_nothing_at_all_is_not_kept() {
    local(async {
        let (near, far) = tokio::io::duplex(1024);
        let (_server, driver) = dyelane::http::serve(far, HASTY, |_| {});
        let ended = tokio::task::spawn_local(driver);
        let mut wire = super::wire::Wire::new(near);
        wire.greet(&Settings::default()).await;
        let begun = Instant::now();

        // A stream stays open, so that the connection is in use; the answers to pings go nowhere.
        wire.send(&head(1, POST, false)).await;
        for _ in 0..500 {
            wire.send(&ping([1; 8])).await;
        }

        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
        assert!(matches!(ended, Ok(Ok(Ended::TimedOut(_)))), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_ends_in_time_whatever_else_is_said() {
    local(async {
        let options = Options { idle: Duration::from_secs(5), ..HASTY };
        let mut serving = Serving::in_memory(options, &Settings::default()).await;
        let begun = Instant::now();

        while !serving.ended.is_finished() && begun.elapsed() < Duration::from_secs(60) {
            serving.wire.send(&ping([1; 8])).await;
            later(Duration::from_secs(1)).await;
        }

        assert_eq!(serving.wire.last_word().await, Some(ErrorCode::NoError));
        assert_eq!(serving.end().await, Ended::Idle);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_caller_that_never_says_it_understood() {
    local(async {
        let mut serving = Serving::in_memory(HASTY, &Settings::default()).await;
        later(Duration::from_secs(60)).await;
        let begun = Instant::now();

        serving.server.drain();
        let said = serving.wire.until(|heard| *heard == Heard::Closed).await;

        let last = |last| Heard::GoAway { last, code: ErrorCode::NoError };
        assert_eq!(said.first(), Some(&last((1 << 31) - 1)));
        assert!(said.contains(&last(0)), "{said:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_ask_for_ever_whether_we_live() {
    local(async {
        let mut serving = Serving::in_memory(OPTIONS, &Settings::default()).await;
        serving.wire.send(&head(1, POST, false)).await;

        for _ in 0..15_000 {
            later(Duration::from_secs(1)).await;
            serving.wire.send(&ping([1; 8])).await;
            assert_eq!(serving.wire.hear().await, Heard::Pong([1; 8]));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn resets_now_and_then_are_forgiven() {
    local(async {
        let mut serving = Serving::in_memory(OPTIONS, &Settings::default()).await;

        for at in 0..1000 {
            later(Duration::from_millis(50)).await;
            serving.wire.send(&head(2 * at + 1, POST, false)).await;
            serving.wire.send(&reset(2 * at + 1, ErrorCode::Cancel)).await;
        }

        assert!(matches!(serving.wire.settled().await[..], [Heard::Pong(_)]));
    })
    .await;
}
