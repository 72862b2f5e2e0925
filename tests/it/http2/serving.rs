//! The engine as a server: requests in, answers out, and every way either can end.

use std::future::poll_fn;

use bytes::Bytes;
use dyelane::http::ErrorCode::{self, *};
use dyelane::http::frame::{Settings, flag, kind};
use dyelane::http::{End, Ended, Gone, Options, Pipe};
use dyelane::model::{Fields, ResponseHead};

use super::engine::{OPTIONS, Serving, echo, local, read};
use super::wire::{
    GET, Heard, POST, body, data, go_away, head, pong, raw, reset, settings, window,
};

const HEAD: &[(&str, &str)] =
    &[(":method", "HEAD"), (":scheme", "http"), (":path", "/"), (":authority", "app.test")];
const WEBSOCKET: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "app.test"),
    ("content-length", "5"),
];

fn ok() -> ResponseHead {
    ResponseHead::new(200)
}

fn last(id: u32, code: ErrorCode) -> Heard {
    Heard::GoAway { last: id, code }
}

async fn gone(reply: &dyelane::http::Reply) -> Gone {
    let gone = tokio::time::timeout(super::wire::PATIENCE, poll_fn(|cx| reply.poll_gone(cx)));
    gone.await.expect("an end in time")
}

#[tokio::test]
async fn trailers_go_both_ways() {
    local(async {
        let (mut wire, ..) = Serving::begun(OPTIONS).await.echo();

        wire.send(&head(1, POST, false)).await;
        wire.send(&data(1, b"body", false)).await;
        wire.send(&head(1, &[("x-sum", "4"), ("content-length", "4")], true)).await;
        let heard = wire.rest_of(1).await;

        assert_eq!(body(&heard), b"body");
        let fields = vec![("x-sum".to_owned(), "4".to_owned())];
        assert_eq!(heard.last(), Some(&Heard::Head { stream: 1, fields, end: true }));
    })
    .await;
}

#[tokio::test]
async fn interim_heads_come_before_the_answer() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, GET, true)).await;
        let incoming = serving.request().await;

        for status in [103, 103, 100] {
            incoming.reply.interim(ResponseHead::new(status));
        }
        incoming.reply.answer(ok(), Pipe::full(Bytes::from_static(b"x"), None));
        incoming.reply.interim(ResponseHead::new(103));
        let heard = serving.wire.rest_of(1).await;

        let heads: Vec<_> = heard.iter().filter_map(Heard::status).collect();
        assert_eq!(heads, ["103", "103", "100", "200"]);
        assert_eq!(body(&heard), b"x");
        assert_eq!(gone(&incoming.reply).await, Gone::Answered);
    })
    .await;
}

#[tokio::test]
async fn answers_without_a_body_have_none_whatever_is_at_hand() {
    for (request, status) in [(HEAD, 200), (HEAD, 404), (GET, 204), (GET, 304)] {
        local(async {
            let mut serving = Serving::begun(OPTIONS).await;
            serving.wire.send(&head(1, request, true)).await;
            let incoming = serving.request().await;
            let mut answer = ResponseHead::new(status);
            answer.fields.push(b"content-length", b"9");

            incoming.reply.answer(answer, Pipe::full(Bytes::from_static(b"no bytes\n"), None));
            let heard = serving.wire.rest_of(1).await;

            assert_eq!(heard.len(), 1, "{heard:?}");
            assert_eq!(heard[0].field("content-length"), Some("9"));
            assert_eq!(gone(&incoming.reply).await, Gone::Answered);
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_its_request_is_whole_and_then_the_rest_is_declined() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, POST, false)).await;
        let incoming = serving.request().await;

        incoming.body.close();
        incoming.reply.answer(ok(), Pipe::full(Bytes::from(vec![7; 50_000]), None));
        let heard = serving.wire.until(|it| matches!(it, Heard::Reset { .. })).await;
        // What was under way meanwhile hurts nobody, nor does it count as a fault.
        for _ in 0..500 {
            serving.wire.send(&data(1, b"late", false)).await;
        }
        serving.wire.send(&head(1, &[("late", "trailers")], true)).await;
        let alive = serving.wire.settled().await;

        assert_eq!(body(&heard).len(), 50_000);
        assert!(heard.iter().any(|it| matches!(it, Heard::Data { end: true, .. })));
        assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: NoError }));
        assert!(matches!(alive[..], [Heard::Pong(_)]), "{alive:?}");
        assert_eq!(gone(&incoming.reply).await, Gone::Answered);
    })
    .await;
}

#[tokio::test]
async fn a_request_may_go_on_after_its_answer() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, POST, false)).await;
        let incoming = serving.request().await;
        incoming.reply.answer(ok(), Pipe::empty());
        serving.wire.rest_of(1).await;

        serving.wire.send(&data(1, b"still", false)).await;
        serving.wire.send(&data(1, b" here", true)).await;
        let read = read(&incoming.body).await;

        assert_eq!(read, (b"still here".to_vec(), End::Complete(None)));
        assert_eq!(gone(&incoming.reply).await, Gone::Answered);
    })
    .await;
}

#[tokio::test]
async fn both_sides_may_talk_at_once() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, POST, false)).await;
        let incoming = serving.request().await;
        let answer = Pipe::new();
        incoming.reply.answer(ok(), answer.clone());

        for round in 0..10_u8 {
            serving.wire.send(&data(1, &[round], false)).await;
            let piece = poll_fn(|cx| incoming.body.poll_take(cx, 100)).await;
            assert!(matches!(piece, dyelane::http::Piece::Data(bytes) if bytes[..] == [round]));
            answer.push(Bytes::from(vec![round]));
            let heard = serving.wire.until(|it| matches!(it, Heard::Data { .. })).await;
            assert_eq!(body(&heard), [round]);
        }
        answer.end(End::Complete(None));
        serving.wire.send(&data(1, b"", true)).await;

        assert_eq!(gone(&incoming.reply).await, Gone::Answered);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_leaves_is_noticed_wherever_the_exchange_is() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&settings(&[(4, 10)])).await;
        let mut requests = Vec::new();
        for (stream, complete) in [(1, false), (3, true), (5, false), (7, true)] {
            serving.wire.send(&head(stream, POST, complete)).await;
            requests.push(serving.request().await);
        }
        let answers = [Pipe::new(), Pipe::full(Bytes::from(vec![7; 100]), None)];
        requests[2].reply.answer(ok(), answers[0].clone());
        requests[3].reply.answer(ok(), answers[1].clone());

        for stream in [1, 3, 5, 7] {
            serving.wire.send(&reset(stream, Cancel)).await;
        }

        for incoming in &requests {
            assert_eq!(gone(&incoming.reply).await, Gone::Left);
        }
        assert_eq!(read(&requests[0].body).await.1, End::Broken(Cancel));
        assert_eq!(read(&requests[1].body).await.1, End::Complete(None));
        assert!(answers.iter().all(|it| it.is_closed()));
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        for (stream, code) in [(1, Cancel), (3, InternalError), (5, EnhanceYourCalm)] {
            serving.wire.send(&head(stream, GET, true)).await;
            let incoming = serving.request().await;
            let answer = Pipe::new();
            answer.push(Bytes::from_static(b"half of"));
            incoming.reply.answer(ok(), answer.clone());

            answer.end(End::Broken(code));
            let heard = serving.wire.rest_of(stream).await;

            assert_eq!(body(&heard), b"half of");
            assert_eq!(heard.last(), Some(&Heard::Reset { stream, code }));
            assert_eq!(gone(&incoming.reply).await, Gone::Broken);
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_lost_takes_its_requests_with_it() {
    for how in 0..3 {
        local(async {
            let mut serving = Serving::begun(OPTIONS).await;
            serving.wire.send(&head(1, POST, false)).await;
            let incoming = serving.request().await;

            match how {
                0 => drop(serving.wire),
                1 => serving.ended.abort(),
                _ => serving.wire.send(&raw(kind::PING, 0, 1, &[0; 8])).await,
            }

            assert_eq!(gone(&incoming.reply).await, Gone::Left);
            assert_eq!(read(&incoming.body).await.1, End::Broken(Cancel));
        })
        .await;
    }
}

#[tokio::test]
async fn a_head_beyond_the_limits_is_answered_431_and_hurts_no_other_stream() {
    local(async {
        let (mut wire, ..) = Serving::begun(OPTIONS).await.echo();
        let value = "v".repeat(10_000);
        let names: Vec<_> = (0..7).map(|at| format!("x-{at}")).collect();
        let mut fields = POST.to_vec();
        fields.extend(names.iter().map(|name| (&**name, &*value)));
        let block = super::wire::block(&fields);
        wire.send(&head(1, POST, false)).await;

        let mut parts = block.chunks(16_384);
        wire.send(&raw(kind::HEADERS, 0, 3, parts.next().unwrap())).await;
        for part in parts {
            wire.send(&raw(kind::CONTINUATION, 0, 3, part)).await;
        }
        wire.send(&raw(kind::CONTINUATION, flag::END_HEADERS, 3, &[])).await;
        let refused = wire.until(|it| matches!(it, Heard::Reset { .. })).await;
        wire.send(&data(3, b"late", true)).await;
        wire.send(&data(1, b"fine", true)).await;
        let other = wire.rest_of(1).await;

        assert_eq!(refused.iter().find_map(Heard::status), Some("431"));
        assert_eq!(refused.last(), Some(&Heard::Reset { stream: 3, code: NoError }));
        assert_eq!(body(&other), b"fine");
    })
    .await;
}

#[tokio::test]
async fn a_grpc_call_beyond_the_limits_is_told_so_in_its_own_words() {
    local(async {
        let (mut wire, ..) = Serving::begun(OPTIONS).await.echo();
        let many = vec![("x", "y"); 200];

        let grpc = [POST, &[("content-type", "application/grpc")], &many].concat();
        wire.send(&head(1, &grpc, true)).await;
        let heard = wire.rest_of(1).await;

        assert_eq!((heard[0].status(), heard[0].field("grpc-status")), (Some("200"), Some("8")));
        assert!(heard[0].ends());
    })
    .await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_go_on() {
    local(async {
        let mut serving = Serving::begun(Options { streams: 3, ..OPTIONS }).await;
        for stream in [1, 3, 5, 7, 9] {
            serving.wire.send(&head(stream, GET, true)).await;
        }
        let heard = serving.wire.settled().await;
        let refused = [7, 9].map(|stream| Heard::Reset { stream, code: RefusedStream });
        assert_eq!(heard[..2], refused);

        let first = serving.request().await;
        echo(first).await;
        serving.wire.rest_of(1).await;
        serving.wire.send(&head(11, GET, true)).await;

        assert!(matches!(serving.wire.settled().await[..], [Heard::Pong(_)]));
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_is_agreed_by_200_and_ends_half_by_half() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        assert_eq!(serving.wire.settings.enable_connect_protocol, Some(true));
        serving.wire.send(&head(1, WEBSOCKET, false)).await;
        let incoming = serving.request().await;
        assert_eq!(incoming.head.protocol.as_deref(), Some("websocket"));
        let answer = Pipe::new();
        let mut agreed = ResponseHead::new(101);
        agreed.fields.push(b"sec-websocket-accept", b"x");

        incoming.reply.answer(agreed, answer.clone());
        serving.wire.send(&data(1, b"longer than five", true)).await;
        let read = read(&incoming.body).await;
        answer.push(Bytes::from_static(b"and back"));
        answer.end(End::Complete(None));
        let heard = serving.wire.rest_of(1).await;

        assert_eq!(heard[0].status(), Some("200"));
        assert_eq!(heard[0].field("sec-websocket-accept"), None);
        assert_eq!(read, (b"longer than five".to_vec(), End::Complete(None)));
        assert_eq!(body(&heard), b"and back");
        assert_eq!(gone(&incoming.reply).await, Gone::Answered);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_agreement_does_not_look_like_one() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        for (stream, status, seen) in [(1, 200, "502"), (3, 403, "403"), (5, 503, "503")] {
            serving.wire.send(&head(stream, WEBSOCKET, false)).await;
            let incoming = serving.request().await;
            incoming.body.close();

            incoming.reply.answer(ResponseHead::new(status), Pipe::empty());

            let heard = serving.wire.rest_of(stream).await;
            assert_eq!(heard[0].status(), Some(seen));
        }
        serving.wire.send(&head(7, GET, true)).await;
        let incoming = serving.request().await;
        incoming.reply.answer(ResponseHead::new(101), Pipe::new());
        let heard = serving.wire.rest_of(7).await;
        assert_eq!(heard, [Heard::Reset { stream: 7, code: InternalError }]);
    })
    .await;
}

#[tokio::test]
async fn a_drain_says_so_twice_finishes_what_is_under_way_and_closes() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, POST, false)).await;
        let first = serving.request().await;

        serving.server.drain();
        let heard = serving.wire.until(|it| matches!(it, Heard::Ping(_))).await;
        assert_eq!(heard[0], last((1 << 31) - 1, NoError));
        let Some(Heard::Ping(opaque)) = heard.last() else { panic!("{heard:?}") };
        // A request that was on its way is served.
        serving.wire.send(&head(3, GET, true)).await;
        serving.wire.send(&pong(*opaque)).await;
        let second = serving.request().await;
        let heard = serving.wire.until(|it| matches!(it, Heard::GoAway { .. })).await;
        assert_eq!(heard.last(), Some(&last(3, NoError)));
        // One that comes later is not, and hurts nobody.
        serving.wire.send(&head(5, POST, false)).await;
        serving.wire.send(&data(5, b"late", true)).await;
        let heard = serving.wire.settled().await;
        assert_eq!(heard[0], Heard::Reset { stream: 5, code: RefusedStream });
        serving.wire.send(&data(1, b"first", true)).await;
        echo(first).await;
        echo(second).await;
        let rest = serving.wire.until(|it| *it == Heard::Closed).await;

        assert_eq!(rest.iter().filter(|it| it.ends()).count(), 2, "{rest:?}");
        assert!(!rest.iter().any(|it| matches!(it, Heard::GoAway { .. })), "{rest:?}");
        assert_eq!(serving.end().await, Ended::Closed);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_says_goodbye_is_served_to_the_end() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, GET, true)).await;
        let incoming = serving.request().await;

        serving.wire.send(&go_away(0, 0)).await;
        // It speaks of streams the server might begin; its own may still come.
        serving.wire.send(&head(3, GET, true)).await;
        let late = serving.request().await;
        echo(incoming).await;
        serving.wire.rest_of(1).await;
        echo(late).await;
        let rest = serving.wire.until(|it| *it == Heard::Closed).await;

        assert_eq!(body(&rest), b"hello");
        assert_eq!(serving.end().await, Ended::Closed);
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_split_as_the_caller_wants_it() {
    local(async {
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&settings(&[(1, 0), (5, 20_000), (4, 1 << 20)])).await;
        serving.wire.send(&window(0, 1 << 20)).await;
        serving.wire.send(&head(1, GET, true)).await;
        let incoming = serving.request().await;
        let mut answer = ok();
        let long = "v".repeat(50_000);
        answer.fields.push(b"x-long", long.as_bytes());
        let mut trailers = Fields::default();
        trailers.push(b"x-last", long.as_bytes());

        let bytes = Bytes::from(vec![7; 300_000]);
        incoming.reply.answer(answer, Pipe::full(bytes.clone(), Some(trailers)));
        let heard = serving.wire.rest_of(1).await;

        assert_eq!(heard[0].field("x-long"), Some(&*long));
        assert_eq!(body(&heard), bytes);
        assert_eq!(heard.last().unwrap().field("x-last"), Some(&*long));
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_reads_late_gets_all_of_it() {
    local(async {
        let (near, far) = tokio::io::duplex(1000);
        let (_server, driver) = dyelane::http::serve(far, OPTIONS, |incoming| {
            let answer = Pipe::full(Bytes::from(vec![7; 40_000]), None);
            incoming.reply.answer(ok(), answer);
        });
        tokio::task::spawn_local(driver);
        let mut wire = super::wire::Wire::new(near);
        wire.greet(&Settings { initial_window_size: Some(1 << 20), ..Settings::default() }).await;
        wire.send(&window(0, 1 << 24)).await;

        // Far more than is ever written ahead.
        for stream in (1..41).step_by(2) {
            wire.send(&head(stream, GET, true)).await;
        }
        let mut bytes = 0;
        while bytes < 20 * 40_000 {
            let Heard::Data { bytes: some, .. } = wire.hear().await else { continue };
            bytes += some.len();
        }
        wire.send(&head(41, GET, true)).await;

        assert_eq!(body(&wire.rest_of(41).await).len(), 40_000);
    })
    .await;
}
