//! What chance makes of it: whatever is said to the engine it neither panics nor hangs nor holds
//! more than it may, and whatever two engines carry between them arrives as it was.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dyelane::http::frame::{self, kind};
use dyelane::http::{
    Call, End, Ended, ErrorCode, Gone, Incoming, Options, Piece, Pipe, Reply, connect, serve,
};
use dyelane::model::{Fields, ResponseHead};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::engine::{OPTIONS, answer, read, request};
use super::wire::{GET, POST, block, data, head, raw, settings, settings_ack};

/// Runs a case on a clock that stands still while anything is to be done.
fn run<T>(case: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, case)
}

/// Something a peer does.
#[derive(Debug, Clone)]
enum Deed {
    Say(Vec<u8>),
    /// Take bytes from the other side.
    Read(usize),
    Wait(Duration),
}

/// Numbers that streams have, mostly.
fn stream() -> impl Strategy<Value = u32> {
    prop_oneof![8 => (0..12_u32).prop_map(|at| 2 * at + 1), 1 => 0..30_u32, 1 => any::<u32>()]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..40_usize, 2 => 0..3000_usize, 1 => 16_000..17_000_usize]
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (stream(), any::<bool>(), any::<bool>()).prop_map(|(stream, post, end)| {
            head(stream, if post { POST } else { GET }, end)
        }),
        6 => (stream(), length(), any::<bool>())
            .prop_map(|(stream, length, end)| data(stream, &vec![7; length], end)),
        2 => (stream(), 0..9_u32).prop_map(|(stream, more)| {
            raw(kind::WINDOW_UPDATE, 0, stream, &(more * more * 1000).to_be_bytes())
        }),
        2 => (stream(), 0..16_u32)
            .prop_map(|(stream, code)| raw(kind::RST_STREAM, 0, stream, &code.to_be_bytes())),
        1 => (1..9_u16, prop_oneof![0..70_000_u32, any::<u32>()])
            .prop_map(|(setting, value)| settings(&[(setting, value)])),
        1 => Just(settings_ack()),
        1 => (stream(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(stream, block)| raw(kind::HEADERS, 4, stream, &block)),
        1 => (stream(), any::<bool>()).prop_map(|(stream, end)| {
            let flags = if end { 4 } else { 0 };
            let first = raw(kind::HEADERS, 0, stream, &block(POST));
            [first, raw(kind::CONTINUATION, flags, stream, &block(&[("x-more", "y")]))].concat()
        }),
        1 => (0..12_u8, any::<u8>(), stream(), prop::collection::vec(any::<u8>(), 0..24))
            .prop_map(|(kind, flags, stream, payload)| raw(kind, flags, stream, &payload)),
        1 => (head_with(), stream()).prop_map(|(fields, stream)| {
            let fields: Vec<_> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
            head(stream, &[POST, &fields].concat(), false)
        }),
    ]
}

fn head_with() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![Just("content-length".to_owned()), "[a-z:A-Z]{0,8}"];
    prop::collection::vec((name, "[ -~]{0,12}"), 0..4)
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        20 => frame().prop_map(Deed::Say),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Deed::Say),
        4 => (1..70_000_usize).prop_map(Deed::Read),
        2 => (0..3000_u64).prop_map(|millis| Deed::Wait(Duration::from_millis(millis))),
    ]
}

/// What the engine gave out, to be looked at while it runs and after its end.
type Seen = Rc<RefCell<Vec<(Rc<Pipe>, Rc<Reply>)>>>;

/// Does with each request something else.
async fn treat(number: usize, incoming: Incoming) {
    let ok = || ResponseHead::new(200);
    match number % 6 {
        0 => super::engine::echo(incoming).await,
        1 => pending().await,
        2 => incoming.reply.reset(ErrorCode::Cancel),
        3 => {
            incoming.body.close();
            incoming.reply.answer(ok(), Pipe::full(Bytes::from(vec![1; 100_000]), None));
        }
        4 => incoming.reply.answer(ok(), incoming.body.clone()),
        _ => {
            incoming.reply.interim(ResponseHead::new(103));
            sleep(Duration::from_millis(100)).await;
            let answer = Pipe::new();
            incoming.reply.answer(ok(), answer.clone());
            sleep(Duration::from_millis(100)).await;
            answer.push(Bytes::from_static(b"half"));
            answer.end(End::Broken(ErrorCode::InternalError));
        }
    }
}

async fn suffer(deeds: Vec<Deed>, greeted: bool) {
    let options = Options {
        streams: 8,
        connection_buffer: 100_000,
        frame: Duration::from_secs(1),
        first_frame: Duration::from_secs(1),
        stall: Duration::from_secs(3),
        idle: Duration::from_secs(5),
        ..OPTIONS
    };
    let (mut near, far) = tokio::io::duplex(20_000);
    let seen = Seen::default();
    let given = seen.clone();
    let (_server, driver) = serve(far, options, move |incoming| {
        let mut seen = given.borrow_mut();
        seen.push((incoming.body.clone(), incoming.reply.clone()));
        spawn_local(treat(seen.len(), incoming));
    });
    let ended = spawn_local(driver);
    let held = || seen.borrow().iter().map(|(body, _)| body.buffered()).sum::<usize>();
    if greeted {
        let _ = near.write_all(&[&frame::PREFACE[..], &settings(&[])].concat()).await;
    }

    let mut room = vec![0; 70_000];
    for deed in deeds {
        match deed {
            // Who neither reads nor is read waits in vain.
            Deed::Say(bytes) => {
                let _ = timeout(Duration::from_millis(10), near.write_all(&bytes)).await;
            }
            Deed::Read(bytes) => {
                let _ = timeout(Duration::from_millis(1), near.read(&mut room[..bytes])).await;
            }
            Deed::Wait(time) => sleep(time).await,
        }
        assert!(held() <= 100_000, "{} bytes held", held());
    }
    drop(near);

    let ended = timeout(Duration::from_secs(30), ended).await;
    let _: Ended = ended.expect("an end").expect("no panic");
    for (body, reply) in seen.borrow().iter() {
        assert!(reply.gone().is_some(), "a reply whose caller is gone and does not know");
        assert!(body.with_end(|end| end.is_some()), "a body that never ends");
    }
}

/// A message to carry: its body in pieces, with a pause before each, and whether it has trailers.
type Message = (Vec<(usize, u64)>, bool);

fn message() -> impl Strategy<Value = Message> {
    let piece = (prop_oneof![3 => 0..50_usize, 1 => 0..30_000_usize], 0..3_u64);
    (prop::collection::vec(piece, 0..6), any::<bool>())
}

/// Writes a message into a pipe, and returns its bytes.
async fn write(pipe: Rc<Pipe>, (pieces, trailers): Message, fill: u8) -> Vec<u8> {
    let mut whole = Vec::new();
    for (at, (length, pause)) in pieces.into_iter().enumerate() {
        sleep(Duration::from_millis(pause)).await;
        if poll_fn(|cx| pipe.poll_room(cx)).await.is_err() {
            break;
        }
        let bytes: Vec<u8> = (0..length).map(|it| (it + at).to_le_bytes()[0] ^ fill).collect();
        whole.extend_from_slice(&bytes);
        pipe.push(Bytes::from(bytes));
    }
    let mut fields = Fields::default();
    fields.push(b"x-last", b"yes");
    pipe.end(End::Complete(trailers.then_some(fields)));
    whole
}

/// Reads at most `limit` bytes at a time, with pauses.
async fn read_slowly(pipe: &Pipe, limit: usize) -> (Vec<u8>, End) {
    let mut whole = Vec::new();
    loop {
        match poll_fn(|cx| pipe.poll_take(cx, limit)).await {
            Piece::Data(bytes) => whole.extend_from_slice(&bytes),
            Piece::End(end) => return (whole, end),
            Piece::Wait => {}
        }
        if whole.len() % 7 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[derive(Debug, Clone)]
struct Road {
    buffer: usize,
    windows: (u32, u32),
    connections: (u32, u32),
    streams: u32,
    read: usize,
}

fn road() -> impl Strategy<Value = Road> {
    let window = || prop_oneof![200..4000_u32, Just(65_535), Just(1_000_000)];
    let connection = || prop_oneof![Just(65_535_u32), 65_535..200_000_u32];
    let windows = (window(), window());
    let connections = (connection(), connection());
    (100..100_000_usize, windows, connections, 1..10_u32, 20..20_000_usize).prop_map(
        |(buffer, windows, connections, streams, read)| Road {
            buffer,
            windows,
            connections,
            streams,
            read,
        },
    )
}

async fn carry(road: Road, messages: Vec<(Message, Message)>) {
    let (near, far) = tokio::io::duplex(road.buffer);
    let options = |window, buffer| Options {
        stream_window: window,
        connection_buffer: buffer,
        streams: road.streams,
        stall: Duration::from_secs(100_000),
        frame: Duration::from_secs(100_000),
        ..OPTIONS
    };
    let (mut parts, mut told): (Vec<_>, Vec<_>) = messages
        .iter()
        .map(|(_, answer)| {
            let (tell, told) = oneshot::channel();
            (Some((answer.clone(), tell)), told)
        })
        .unzip();
    let limit = road.read;
    let served = options(road.windows.0, road.connections.0);
    let (_server, driver) = serve(far, served, move |incoming: Incoming| {
        let number: usize = incoming.head.path[1..].parse().unwrap();
        let (answer, tell) = parts[number].take().unwrap();
        spawn_local(async move {
            let body = Pipe::new();
            incoming.reply.answer(ResponseHead::new(200), body.clone());
            let both = (read_slowly(&incoming.body, limit), write(body, answer, 1));
            tell.send(tokio::join!(both.0, both.1)).unwrap();
            let gone = poll_fn(|cx| incoming.reply.poll_gone(cx)).await;
            assert_eq!(gone, Gone::Answered);
        });
    });
    spawn_local(driver);
    let (client, driver) = connect(near, options(road.windows.1, road.connections.1));
    spawn_local(driver);

    let mut calls = JoinSet::new();
    for (number, (message, (_, trailers))) in messages.into_iter().enumerate().rev() {
        let (client, told) = (client.clone(), told.pop().unwrap());
        calls.spawn_local(async move {
            let mut head = request("POST");
            head.path = format!("/{number}");
            let body = Pipe::new();
            let sent_trailers = message.1;
            let writing = write(body.clone(), message, 0);
            let call: Rc<Call> = client.call(Rc::new(head), body);
            let reading = async {
                answer(&call).await;
                read_slowly(&call.body, limit).await
            };
            let (sent, (got, end)) = tokio::join!(writing, reading);
            let ((arrived, arrived_end), written) = told.await.unwrap();
            assert_eq!((&arrived, &got), (&sent, &written));
            let has = |end: &End| matches!(end, End::Complete(Some(_)));
            assert_eq!((has(&arrived_end), has(&end)), (sent_trailers, trailers));
        });
    }
    let all = async {
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    };
    timeout(Duration::from_secs(10_000), all).await.expect("no message waits for ever");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_frames_panic_hang_or_fill_the_engine(
        deeds in prop::collection::vec(deed(), 0..80),
        greeted in prop::bool::weighted(0.95),
    ) {
        run(suffer(deeds, greeted));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_arrive_as_they_were_however_narrow_the_road(
        road in road(),
        messages in prop::collection::vec((message(), message()), 1..8),
    ) {
        run(carry(road, messages));
    }
}

#[test]
fn a_body_taken_twice_is_the_same_body() {
    proptest!(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }, |(
        pieces in prop::collection::vec(0..3000_usize, 1..20),
        first in 0..20_usize,
        limit in 1..5000_usize,
    )| {
        let pipe = Pipe::new();
        pipe.keep(1 << 20);
        let mut whole = Vec::new();
        for (at, length) in pieces.iter().enumerate() {
            let bytes = vec![at.to_le_bytes()[0]; *length];
            whole.extend_from_slice(&bytes);
            pipe.push(Bytes::from(bytes));
            if at < first {
                drop(pipe.take(limit));
            }
        }
        pipe.end(End::Complete(None));
        prop_assert!(pipe.rewind());
        let again = run(read(&pipe));
        prop_assert_eq!(again, (whole, End::Complete(None)));
        prop_assert_eq!(pipe.buffered(), 0);
    });
}

#[test]
fn a_writer_that_waits_for_room_goes_on_when_the_body_is_taken_again() {
    run(async {
        let pipe = Pipe::new();
        pipe.keep(1 << 20);
        pipe.push(Bytes::from(vec![7; Pipe::ROOM]));
        drop(pipe.take(usize::MAX));
        assert!(pipe.rewind());

        let writing = spawn_local({
            let pipe = pipe.clone();
            async move {
                poll_fn(|cx| pipe.poll_room(cx)).await.unwrap();
                pipe.end(End::Complete(None));
            }
        });
        let (body, _) = read(&pipe).await;
        writing.await.unwrap();

        assert_eq!(body.len(), Pipe::ROOM);
    });
}
