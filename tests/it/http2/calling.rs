//! The engine as a client: what servers may do to it, and what it does to them.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dyelane::http::ErrorCode::{self, *};
use dyelane::http::frame::{Settings, flag, kind};
use dyelane::http::{Call, CallError, CallEvent, End, Ended, ErrorCode as Code, Pipe};

use super::engine::{Calling, OPTIONS, Serving, answer, event, failure, local, read, request};
use super::wire::{
    Fields, GET, Heard, OK, Wire, block, body, data, go_away, head, ping, priority, raw, reset,
    settings, window,
};

fn anything() -> Settings {
    Settings { enable_connect_protocol: Some(true), ..Settings::default() }
}

/// A calling engine whose first request, on stream 1, was heard.
async fn asked() -> (Calling, Rc<Call>) {
    let mut calling = Calling::begun(OPTIONS, &anything()).await;
    let call = calling.get();
    calling.wire.rest_of(1).await;
    (calling, call)
}

/// What a case lets the engine do.
enum Allowed {
    Gone(&'static [ErrorCode]),
    Broken(u32, ErrorCode),
    Alive,
}
use Allowed::{Alive, Broken, Gone};

/// What h2spec's own list for clients asks, and what else a server can say out of turn.
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn cases() -> Vec<(&'static str, Vec<Vec<u8>>, Allowed)> {
    let begun = |stream, end| raw(kind::HEADERS, u8::from(end), stream, &block(OK));
    let more = |stream, end| {
        let flags = if end { flag::END_HEADERS } else { 0 };
        raw(kind::CONTINUATION, flags, stream, &block(&[("x-dummy", "more")]))
    };
    let zeros = |kind, flags, stream, length| raw(kind, flags, stream, &vec![0; length]);
    let answered = || head(1, OK, false);
    let whole = || head(1, OK, true);
    let test = || data(1, b"test", true);
    vec![
        ("4.1 an unknown frame", vec![zeros(0x16, 0, 0, 8)], Alive),
        ("4.1 an undefined flag", vec![raw(kind::PING, 0x16, 0, &[9; 8])], Alive),
        ("4.2 DATA of 2^14", vec![answered(), data(1, &[7; 16_384], true)], Alive),
        (
            "4.2 DATA too long",
            vec![answered(), data(1, &[7; 16_385], true)],
            Gone(&[FrameSizeError]),
        ),
        ("4.3 no block", vec![raw(kind::HEADERS, 5, 1, &[0x40])], Gone(&[CompressionError])),
        ("5.1 idle: DATA", vec![data(2, b"test", true)], Gone(&[ProtocolError])),
        ("5.1 idle: DATA", vec![data(3, b"test", true)], Gone(&[ProtocolError])),
        ("5.1 idle: RST_STREAM", vec![reset(2, Cancel)], Gone(&[ProtocolError])),
        ("5.1 idle: WINDOW_UPDATE", vec![window(2, 100)], Gone(&[ProtocolError])),
        ("5.1 idle: CONTINUATION", vec![more(2, true)], Gone(&[ProtocolError])),
        ("5.1 idle: HEADERS", vec![head(3, OK, true)], Gone(&[ProtocolError])),
        ("5.1 closed by RST_STREAM: DATA", vec![answered(), reset(1, Cancel), test()], Alive),
        ("5.1 closed by RST_STREAM: HEADERS", vec![answered(), reset(1, Cancel), whole()], Alive),
        ("5.1 closed: DATA", vec![whole(), test()], Alive),
        ("5.1 closed: HEADERS", vec![whole(), whole()], Alive),
        ("5.1 closed: CONTINUATION", vec![whole(), more(1, true)], Gone(&[ProtocolError])),
        ("5.1.1 a stream of the server's", vec![head(2, OK, true)], Gone(&[ProtocolError])),
        ("5.1.1 a stream nobody began", vec![head(101, OK, true)], Gone(&[ProtocolError])),
        ("5.4.1 PING on a stream", vec![zeros(kind::PING, 0, 3, 8)], Gone(&[ProtocolError])),
        ("6.1 DATA on stream 0", vec![data(0, b"test", true)], Gone(&[ProtocolError])),
        ("6.1 DATA before HEADERS", vec![test()], Broken(1, ProtocolError)),
        (
            "6.1 too much padding",
            vec![answered(), raw(kind::DATA, flag::PADDED, 1, b"\x06Test")],
            Gone(&[ProtocolError]),
        ),
        ("6.2 PRIORITY in a block", vec![begun(1, false), priority(1, 0)], Gone(&[ProtocolError])),
        ("6.2 HEADERS on stream 0", vec![head(0, OK, true)], Gone(&[ProtocolError])),
        ("6.3 PRIORITY on stream 0", vec![priority(0, 0)], Gone(&[ProtocolError])),
        (
            "6.3 PRIORITY of four bytes",
            vec![answered(), zeros(kind::PRIORITY, 0, 1, 4)],
            Broken(1, FrameSizeError),
        ),
        ("6.4 RST_STREAM on stream 0", vec![reset(0, Cancel)], Gone(&[ProtocolError])),
        ("6.4 RST_STREAM of three bytes", vec![zeros(3, 0, 1, 3)], Gone(&[FrameSizeError])),
        ("6.5 SETTINGS with ACK and more", vec![zeros(4, 1, 0, 1)], Gone(&[FrameSizeError])),
        ("6.5 SETTINGS on a stream", vec![zeros(4, 0, 1, 6)], Gone(&[ProtocolError])),
        ("6.5 SETTINGS of three bytes", vec![zeros(4, 0, 0, 3)], Gone(&[FrameSizeError])),
        ("6.5.2 ENABLE_PUSH by a server", vec![settings(&[(2, 1)])], Gone(&[ProtocolError])),
        ("6.5.2 a window too large", vec![settings(&[(4, 1 << 31)])], Gone(&[FlowControlError])),
        ("6.5.2 a frame too small", vec![settings(&[(5, 16_383)])], Gone(&[ProtocolError])),
        ("6.5.2 a frame too large", vec![settings(&[(5, 1 << 24)])], Gone(&[ProtocolError])),
        ("6.5.2 an unknown setting", vec![settings(&[(0xff, 1)])], Alive),
        ("6.6 PUSH_PROMISE", vec![raw(5, 4, 1, &[0, 0, 0, 2])], Gone(&[ProtocolError])),
        ("6.7 PING", vec![ping([7; 8])], Alive),
        ("6.7 PING of six bytes", vec![zeros(kind::PING, 0, 0, 6)], Gone(&[FrameSizeError])),
        ("6.8 GOAWAY on a stream", vec![zeros(kind::GOAWAY, 0, 1, 8)], Gone(&[ProtocolError])),
        ("6.9 WINDOW_UPDATE of 0", vec![window(0, 0)], Gone(&[ProtocolError])),
        ("6.9 WINDOW_UPDATE of 0, stream", vec![window(1, 0)], Broken(1, ProtocolError)),
        ("6.9 three bytes", vec![zeros(8, 0, 0, 3)], Gone(&[FrameSizeError])),
        (
            "6.9.1 the connection's window overflows",
            vec![window(0, (1 << 31) - 1), window(0, 1)],
            Gone(&[FlowControlError]),
        ),
        (
            "6.9.1 a stream's window overflows",
            vec![window(1, (1 << 31) - 1), window(1, 1)],
            Broken(1, FlowControlError),
        ),
        ("6.10 several CONTINUATION", vec![begun(1, true), more(1, false), more(1, true)], Alive),
        ("6.10 DATA in a block", vec![begun(1, false), test()], Gone(&[ProtocolError])),
        ("6.10 on stream 0", vec![begun(1, true), more(0, true)], Gone(&[ProtocolError])),
        ("8.1 a second final HEADERS", vec![answered(), answered()], Broken(1, ProtocolError)),
        (
            "8.1 an interim head ends",
            vec![head(1, &[(":status", "103")], true)],
            Broken(1, ProtocolError),
        ),
        ("8.1 101", vec![head(1, &[(":status", "101")], false)], Broken(1, ProtocolError)),
        ("8.1.2 no :status", vec![head(1, &[("x-a", "b")], true)], Broken(1, ProtocolError)),
        (
            "8.1.2 :method",
            vec![head(1, &[OK, &[(":method", "GET")]].concat(), true)],
            Broken(1, ProtocolError),
        ),
        (
            "8.1.2 upper case",
            vec![head(1, &[OK, &[("X-A", "b")]].concat(), true)],
            Broken(1, ProtocolError),
        ),
        (
            "8.1.2.6 a body too long",
            vec![head(1, &[OK, &[("content-length", "1")]].concat(), false), test()],
            Broken(1, ProtocolError),
        ),
        (
            "8.1.2.6 a body too short",
            vec![head(1, &[OK, &[("content-length", "5")]].concat(), false), test()],
            Broken(1, ProtocolError),
        ),
        (
            "8.1.2.6 no body",
            vec![head(1, &[OK, &[("content-length", "5")]].concat(), true)],
            Broken(1, ProtocolError),
        ),
        (
            "8.1.2.6 204 with a body",
            vec![head(1, &[(":status", "204")], false), test()],
            Broken(1, ProtocolError),
        ),
    ]
}

#[tokio::test]
async fn a_server_out_of_turn_loses_the_stream_or_the_connection_and_no_more() {
    for (what, said, allowed) in cases() {
        local(async {
            let (mut calling, _call) = asked().await;
            let Calling { wire, .. } = &mut calling;
            for bytes in said {
                wire.send(&bytes).await;
            }
            match allowed {
                Alive => {
                    let heard = wire.settled().await;
                    assert!(matches!(heard.last(), Some(Heard::Pong(_))), "{what}: {heard:?}");
                    assert!(!heard.iter().any(|it| matches!(it, Heard::GoAway { .. })), "{what}");
                }
                Broken(stream, code) => {
                    let heard = wire.until(|it| it.ends() || matches!(it, Heard::GoAway { .. }));
                    assert_eq!(heard.await.last(), Some(&Heard::Reset { stream, code }), "{what}");
                    // And the next request is answered as if nothing had been.
                    let next = calling.get();
                    calling.wire.rest_of(3).await;
                    calling.wire.send(&head(3, OK, true)).await;
                    assert_eq!(answer(&next).await.status, 200, "{what}");
                }
                Gone(codes) => {
                    let code = wire.last_word().await;
                    assert!(code.is_some_and(|it| codes.contains(&it)), "{what}: {code:?}");
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_comes_with_interim_heads_body_and_trailers() {
    local(async {
        let (mut calling, call) = asked().await;

        calling.wire.send(&head(1, &[(":status", "103"), ("link", "a")], false)).await;
        calling.wire.send(&head(1, OK, false)).await;
        calling.wire.send(&data(1, b"body", false)).await;
        calling.wire.send(&head(1, &[("grpc-status", "0")], true)).await;

        assert!(matches!(event(&call).await, CallEvent::Interim(head) if head.status == 103));
        assert_eq!(answer(&call).await.status, 200);
        let (read, end) = read(&call.body).await;
        let End::Complete(Some(trailers)) = end else { panic!("{end:?}") };
        assert_eq!((&*read, trailers.get(b"grpc-status")), (&b"body"[..], Some(&b"0"[..])));
    })
    .await;
}

#[tokio::test]
async fn answers_without_a_body_may_say_how_long_it_would_be() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &anything()).await;
        let cases = [("HEAD", "200", true), ("GET", "304", true), ("HEAD", "200", false)];
        for (stream, (method, status, at_once)) in (1..).step_by(2).zip(cases) {
            let call = calling.client.call(Rc::new(request(method)), Pipe::empty());
            calling.wire.rest_of(stream).await;

            let fields = [(":status", status), ("content-length", "9")];
            calling.wire.send(&head(stream, &fields, at_once)).await;
            if !at_once {
                calling.wire.send(&data(stream, b"", true)).await;
            }

            assert_eq!(answer(&call).await.fields.get(b"content-length"), Some(&b"9"[..]));
            assert_eq!(read(&call.body).await, (Vec::new(), End::Complete(None)));
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_cut_off_never_looks_complete() {
    for how in 0..5 {
        local(async {
            let (mut calling, call) = asked().await;
            calling.wire.send(&head(1, OK, false)).await;
            calling.wire.send(&data(1, b"half of", false)).await;
            assert_eq!(answer(&call).await.status, 200);

            match how {
                0 => drop(calling.wire),
                1 => calling.wire.send(&reset(1, NoError)).await,
                2 => calling.wire.send(&reset(1, RefusedStream)).await,
                3 => calling.wire.send(&go_away(0, 0)).await,
                _ => calling.ended.abort(),
            }

            let (read, end) = read(&call.body).await;
            assert_eq!((&*read, end), (&b"half of"[..], End::Broken(InternalError)), "{how}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_a_server_says_of_its_application_is_passed_on() {
    for (said, told) in [
        (Cancel, Cancel),
        (EnhanceYourCalm, EnhanceYourCalm),
        (ProtocolError, InternalError),
        (FlowControlError, InternalError),
    ] {
        local(async {
            let (mut calling, call) = asked().await;
            calling.wire.send(&head(1, OK, false)).await;

            calling.wire.send(&reset(1, said)).await;

            answer(&call).await;
            assert_eq!(read(&call.body).await.1, End::Broken(told));
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_declines_the_rest_of_a_request_has_answered_it() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &anything()).await;
        let upload = Pipe::new();
        let call = calling.post(&upload);
        calling.wire.hear().await;

        let mut said = head(1, OK, false);
        said.extend(data(1, b"early", true));
        said.extend(reset(1, NoError));
        calling.wire.send(&said).await;
        calling.wire.settled().await;

        assert_eq!(answer(&call).await.status, 200);
        assert_eq!(read(&call.body).await, (b"early".to_vec(), End::Complete(None)));
        assert!(upload.is_closed());
    })
    .await;
}

#[tokio::test]
async fn goaway_refuses_the_later_streams_and_lets_the_earlier_ones_finish() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &anything()).await;
        let calls = [calling.get(), calling.get(), calling.get()];
        calling.wire.rest_of(5).await;

        calling.wire.send(&go_away((1 << 31) - 1, 0)).await;
        calling.wire.settled().await;
        let late = calling.get();
        calling.wire.send(&go_away(3, 0)).await;
        for stream in [1, 3] {
            calling.wire.send(&head(stream, OK, true)).await;
        }

        assert_eq!(answer(&calls[0]).await.status, 200);
        assert_eq!(answer(&calls[1]).await.status, 200);
        assert_eq!(failure(&calls[2]).await, CallError::LeftOut);
        assert_eq!(failure(&late).await, CallError::NeverSent);
        assert!(calling.client.is_retired());
        assert_eq!(calling.wire.until(|it| *it == Heard::Closed).await, [Heard::Closed]);
        assert_eq!(calling.ended.await.unwrap(), Ended::Closed);
    })
    .await;
}

#[tokio::test]
async fn what_was_not_processed_is_known() {
    for (said, error) in [
        (Some(reset(1, RefusedStream)), CallError::Refused),
        (Some(reset(1, Cancel)), CallError::Reset(Cancel)),
        (Some(go_away(0, 0)), CallError::LeftOut),
        (None, CallError::Lost),
    ] {
        local(async {
            let (mut calling, call) = asked().await;
            match &said {
                Some(bytes) => calling.wire.send(bytes).await,
                None => drop(calling.wire),
            }

            assert_eq!(failure(&call).await, error);
            let safe = matches!(error, CallError::Refused | CallError::LeftOut);
            assert_eq!(error.never_processed(), safe);
        })
        .await;
    }
}

#[tokio::test]
async fn no_more_streams_are_opened_than_the_server_takes() {
    local(async {
        let settings = Settings { max_concurrent_streams: Some(5), ..Settings::default() };
        let mut calling = Calling::begun(OPTIONS, &settings).await;
        let calls: Vec<_> = (0..60).map(|_| calling.get()).collect();
        let mut open = Vec::new();

        for done in 0..60 {
            while open.len() < 5.min(60 - done) {
                let heard = calling.wire.hear().await;
                assert!(heard.ends(), "{heard:?}");
                open.push(heard.stream());
            }
            assert!(matches!(calling.wire.settled().await[..], [Heard::Pong(_)]), "a sixth");
            calling.wire.send(&head(open.remove(done % open.len()), OK, true)).await;
        }

        for call in calls {
            assert_eq!(answer(&call).await.status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn many_calls_given_up_at_once_are_reset_a_few_at_a_time() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &anything()).await;
        let calls: Vec<_> = (0..50).map(|_| calling.get()).collect();
        calling.wire.rest_of(99).await;

        for call in &calls {
            call.cancel(Cancel);
        }
        let first = calling.wire.settled().await;
        let begun = tokio::time::Instant::now();
        let mut reset: Vec<_> = first.iter().filter(|it| it.ends()).map(Heard::stream).collect();
        let burst = reset.len();
        while reset.len() < 50 {
            let heard = calling.wire.hear().await;
            assert!(matches!(heard, Heard::Reset { code: Cancel, .. }), "{heard:?}");
            reset.push(heard.stream());
        }

        assert!((1..=16).contains(&burst), "{burst}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        reset.sort_unstable();
        assert!(reset.iter().copied().eq((1..100).step_by(2)));
    })
    .await;
}

#[tokio::test]
async fn a_call_given_up_looks_broken_even_if_all_of_its_answer_is_here() {
    local(async {
        let (mut calling, call) = asked().await;
        calling.wire.send(&head(1, OK, false)).await;
        calling.wire.send(&data(1, b"all of it", true)).await;
        answer(&call).await;
        calling.wire.settled().await;

        call.cancel(Code::Cancel);

        assert_eq!(read(&call.body).await, (Vec::new(), End::Broken(Cancel)));
    })
    .await;
}

#[tokio::test]
async fn an_answer_given_up_before_it_went_out_does_not_look_empty() {
    local(async {
        let (mut calling, call) = asked().await;
        calling.wire.send(&head(1, OK, false)).await;
        calling.wire.send(&data(1, b"some of it", false)).await;
        let given = answer(&call).await;
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&head(1, GET, true)).await;
        let incoming = serving.request().await;

        incoming.reply.answer(given, call.body.clone());
        call.cancel(Cancel);
        let heard = serving.wire.rest_of(1).await;

        assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: Cancel }));
    })
    .await;
}

#[tokio::test]
async fn an_answer_given_up_while_its_caller_takes_nothing_is_reset_at_once() {
    local(async {
        let (mut calling, call) = asked().await;
        calling.wire.send(&head(1, OK, false)).await;
        let given = answer(&call).await;
        let mut serving = Serving::begun(OPTIONS).await;
        serving.wire.send(&settings(&[(4, 0)])).await;
        serving.wire.send(&head(1, GET, true)).await;
        let incoming = serving.request().await;
        incoming.reply.answer(given, call.body.clone());
        serving.wire.until(|it| it.status().is_some()).await;
        calling.wire.send(&data(1, b"all of it", true)).await;
        calling.wire.settled().await;
        serving.wire.settled().await;

        call.cancel(Cancel);
        let heard = serving.wire.rest_of(1).await;

        assert_eq!(heard.last(), Some(&Heard::Reset { stream: 1, code: Cancel }));
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_goes_out_as_an_extended_connect_and_comes_back_as_101() {
    local(async {
        for method in ["GET", "CONNECT"] {
            let mut calling = Calling::begun(OPTIONS, &anything()).await;
            let mut upgrade = request(method);
            upgrade.protocol = Some("websocket".to_owned());
            upgrade.fields.push(b"sec-websocket-key", b"x3JJHMbDL1EzLkh9GBhXDw==");
            upgrade.fields.push(b"sec-websocket-version", b"13");
            let upload = Pipe::new();
            let call = calling.client.call(Rc::new(upgrade), upload.clone());

            let asked = calling.wire.hear().await;
            calling.wire.send(&head(1, &[OK, &[("content-length", "3")]].concat(), false)).await;
            let agreed = answer(&call).await;
            upload.push(Bytes::from_static(b"there"));
            upload.end(End::Complete(None));
            let heard = calling.wire.rest_of(1).await;
            calling.wire.send(&data(1, b"and back", true)).await;

            assert_eq!(asked.field(":method"), Some("CONNECT"));
            assert_eq!(asked.field(":protocol"), Some("websocket"));
            assert_eq!(asked.field(":path"), Some("/"));
            assert_eq!(asked.field("sec-websocket-version"), Some("13"));
            if method == "GET" {
                assert_eq!(asked.field("sec-websocket-key"), None);
            }
            assert_eq!((agreed.status, agreed.fields.get(b"content-length")), (101, None));
            assert_eq!(body(&heard), b"there");
            assert_eq!(read(&call.body).await, (b"and back".to_vec(), End::Complete(None)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_takes_no_tunnels_is_not_asked_for_one() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &Settings::default()).await;
        let mut upgrade = request("GET");
        upgrade.protocol = Some("websocket".to_owned());

        let call = calling.client.call(Rc::new(upgrade), Pipe::new());

        assert_eq!(failure(&call).await, CallError::NoTunnels);
        assert!(matches!(calling.wire.settled().await[..], [Heard::Pong(_)]));
    })
    .await;
}

#[tokio::test]
async fn a_refused_tunnel_is_an_answer_like_any() {
    local(async {
        let mut calling = Calling::begun(OPTIONS, &anything()).await;
        let mut upgrade = request("GET");
        upgrade.protocol = Some("websocket".to_owned());
        let call = calling.client.call(Rc::new(upgrade), Pipe::new());
        calling.wire.hear().await;

        let fields: Fields = &[(":status", "403"), ("content-length", "2")];
        calling.wire.send(&head(1, fields, false)).await;
        calling.wire.send(&data(1, b"no", true)).await;

        assert_eq!(answer(&call).await.status, 403);
        assert_eq!(read(&call.body).await, (b"no".to_vec(), End::Complete(None)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_nobody_uses_closes() {
    local(async {
        let mut calling = Calling::in_memory(OPTIONS, &Settings::default()).await;

        let said = calling.wire.until_late(|it| *it == Heard::Closed).await;

        assert_eq!(said[0], Heard::GoAway { last: 0, code: NoError });
        assert_eq!(calling.ended.await.unwrap(), Ended::Idle);
        assert!(calling.client.is_retired());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_its_settings_is_given_up() {
    local(async {
        let (near, far) = tokio::io::duplex(1024);
        let (client, driver) = dyelane::http::connect(near, OPTIONS);
        let ended = tokio::task::spawn_local(driver);
        let call = client.call(Rc::new(request("GET")), Pipe::empty());
        let _silent = Wire::new(far);

        assert_eq!(failure(&call).await, CallError::NeverSent);
        assert!(matches!(ended.await.unwrap(), Ended::TimedOut(_)));
    })
    .await;
}
