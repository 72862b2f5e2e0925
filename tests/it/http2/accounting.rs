//! Flow control: whatever happens to a stream, the windows stay true.

use bytes::Bytes;
use dyelane::http::frame::{Settings, flag, kind};
use dyelane::http::{End, ErrorCode, Options, Pipe};
use dyelane::model::ResponseHead;

use super::engine::{Calling, OPTIONS, Serving, answer, echo, local, read};
use super::wire::{GET, Heard, OK, POST, data, head, raw, reset, window};

/// A connection that may hold as little as any.
const NARROW: Options = Options { connection_buffer: 65_535, ..OPTIONS };

/// What a peer may still send, as it understands what it hears.
struct Allowance {
    connection: i64,
}

impl Allowance {
    fn new() -> Self {
        Self { connection: 65_535 }
    }

    /// Waits until the connection allows that many bytes, and takes them.
    async fn take(&mut self, serving: &mut Serving, bytes: i64) {
        while self.connection < bytes {
            self.note(&[serving.wire.hear().await]);
        }
        self.connection -= bytes;
    }

    fn note(&mut self, heard: &[Heard]) {
        for heard in heard {
            match heard {
                Heard::Window { stream: 0, more } => self.connection += i64::from(*more),
                Heard::GoAway { code, .. } => panic!("sent away: {code}"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_is_read_after_its_end_gives_the_connection_its_window_back() {
    local(async {
        let mut serving = Serving::begun(NARROW).await;
        let mut allowance = Allowance::new();

        for stream in (1..200).step_by(2) {
            allowance.take(&mut serving, 4096).await;
            serving.wire.send(&head(stream, POST, false)).await;
            serving.wire.send(&data(stream, &[7; 4096], true)).await;
            let incoming = serving.request().await;
            allowance.note(&serving.wire.settled().await);
            echo(incoming).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_gives_the_connection_its_window_back() {
    local(async {
        let mut serving = Serving::begun(NARROW).await;
        let mut allowance = Allowance::new();

        for stream in (1..200).step_by(2) {
            allowance.take(&mut serving, 8192).await;
            serving.wire.send(&head(stream, POST, false)).await;
            serving.wire.send(&data(stream, &[7; 4096], false)).await;
            let incoming = serving.request().await;
            match stream % 8 {
                // The request's task ends in four ways.
                1 => incoming.reply.answer(ResponseHead::new(200), Pipe::empty()),
                3 => {
                    serving.wire.send(&reset(stream, ErrorCode::Cancel)).await;
                    allowance.note(&serving.wire.settled().await);
                    incoming.body.close();
                }
                5 => {
                    incoming.body.close();
                    incoming.reply.answer(ResponseHead::new(200), Pipe::empty());
                }
                _ => incoming.reply.reset(ErrorCode::InternalError),
            }
            if stream % 8 == 3 {
                allowance.connection += 4096;
            } else {
                serving.wire.send(&data(stream, &[7; 4096], stream % 8 == 1)).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn padding_gives_both_windows_back() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, POST, false)).await;
        let incoming = serving.request().await;
        let reader = tokio::task::spawn_local(async move { read(&incoming.body).await });
        let mut allowed = i64::from(serving.wire.settings.initial_window_size.unwrap());
        let mut padded = vec![0; 256 + 1];
        (padded[0], padded[1]) = (255, b'x');

        for _ in 0..1000 {
            while allowed < 257 {
                if let Heard::Window { stream: 1, more } = serving.wire.hear().await {
                    allowed += i64::from(more);
                }
            }
            allowed -= 257;
            serving.wire.send(&raw(kind::DATA, flag::PADDED, 1, &padded)).await;
        }
        serving.wire.send(&data(1, b"", true)).await;

        assert_eq!(reader.await.unwrap(), (vec![b'x'; 1000], End::Complete(None)));
    })
    .await;
}

#[tokio::test]
async fn what_comes_after_a_cancel_gives_the_connection_its_window_back() {
    local(async {
        let settings = Settings::default();
        let mut calling = Calling::begun(NARROW, &settings).await;
        let mut allowed = 65_535_i64;

        for round in 0..50_u32 {
            let call = calling.get();
            let stream = 2 * round + 1;
            calling.wire.until(|heard| heard.stream() == stream && heard.ends()).await;
            calling.wire.send(&head(stream, OK, false)).await;
            answer(&call).await;
            // Bytes and the cancel cross.
            let mut bytes = data(stream, &[1; 4096], false);
            bytes.extend(data(stream, &[2; 4096], false));
            calling.wire.send(&bytes).await;
            call.cancel(ErrorCode::Cancel);
            allowed -= 8192;
            let told = |heard: &Heard| matches!(heard, Heard::Reset { .. });
            for heard in calling.wire.until(told).await {
                if let Heard::Window { stream: 0, more } = heard {
                    allowed += i64::from(more);
                }
            }
            while allowed < 8192 {
                match calling.wire.hear().await {
                    Heard::Window { stream: 0, more } => allowed += i64::from(more),
                    other => panic!("no window, but {other:?}"),
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_window_says_so_and_says_when_it_is_over() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &Settings::default()).await;
        let body = Pipe::full(Bytes::from(vec![7; 100_000]), None);
        calling.wire.send(&window(0, 1)).await;
        let _call = calling.post(&body);
        let mut heard = 0;
        while heard < 65_535 {
            if let Heard::Data { bytes, .. } = calling.wire.hear().await {
                heard += bytes.len();
            }
        }
        calling.wire.send(&window(1, 100_000)).await;
        let _ = calling.wire.settled().await;

        let blocked = calling.client.is_blocked();
        calling.wire.send(&window(0, 100_000)).await;
        calling.wire.rest_of(1).await;

        assert!(blocked, "while the window is used up");
        assert!(!calling.client.is_blocked(), "when it opened");
    })
    .await;
}

#[tokio::test]
async fn streams_that_wait_for_the_connection_take_turns() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        for stream in [1, 3, 5, 7] {
            serving.wire.send(&head(stream, GET, true)).await;
            let incoming = serving.request().await;
            let body = Pipe::full(Bytes::from(vec![7; 60_000]), None);
            incoming.reply.answer(ResponseHead::new(200), body);
        }
        let mut had = [0_usize; 4];

        for _ in 0..20 {
            for heard in serving.wire.settled().await {
                if let Heard::Data { stream, bytes, .. } = heard {
                    had[stream as usize / 2] += bytes.len();
                }
            }
            serving.wire.send(&window(0, 8000)).await;
        }

        let (least, most) = (had.iter().min().unwrap(), had.iter().max().unwrap());
        assert!(most - least <= 16_384, "{had:?}");
    })
    .await;
}
