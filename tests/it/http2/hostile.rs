//! A whole sidecar against peers that mean harm: each is cut off, and the application behind hardly
//! hears of it.

use std::future::pending;
use std::time::Duration;

use dyelane::http::ErrorCode::{self, *};
use dyelane::http::frame::{self, Settings, flag, kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::wire::{
    GET, Heard, POST, Wire, block, data, head, ping, priority, raw, reset, settings, window,
};
use crate::harness::alone::{is_alone, resident};
use crate::harness::{BASELINE, Mesh, within};

/// Requests that may reach the application before whoever sends them is cut off.
const FEW: usize = 130;

/// A mesh whose application never answers.
async fn mesh() -> Mesh {
    Mesh::new("").serve("app.test", BASELINE, |_| pending()).start().await
}

async fn attacker(mesh: &Mesh) -> Wire {
    Wire::call(mesh.side.outbound(), &Settings::default()).await
}

/// Says these over and over, reading what comes, until cut off. Returns the reason, and how often
/// they were said.
async fn flood(wire: &mut Wire, frames: impl Fn(u32) -> Vec<u8>) -> (ErrorCode, u32) {
    const SAID: u32 = 100_000;
    for round in 0..SAID / 500 {
        let many: Vec<u8> = (0..500).flat_map(|at| frames(500 * round + at)).collect();
        wire.send(&many).await;
        let heard = wire.settled().await;
        if heard.last() == Some(&Heard::Closed) {
            let code = heard.iter().find_map(|it| match it {
                Heard::GoAway { code, .. } => Some(*code),
                _ => None,
            });
            return (code.expect("a last word"), 500 * (round + 1));
        }
    }
    panic!("not cut off after {SAID} times");
}

/// Whoever else uses the sidecar is served all the same.
async fn others_are_served(mesh: &Mesh) {
    let answer = mesh.ask("nobody.test").await;
    assert_eq!((answer.status, &*answer.reason()), (404, "unroutable"));
}

#[tokio::test]
async fn rapid_resets_are_cut_off_before_they_reach_the_application() {
    let mesh = mesh().await;
    let mut wire = attacker(&mesh).await;

    let pair = |at| [head(2 * at + 1, GET, true), reset(2 * at + 1, Cancel)].concat();
    let (code, said) = flood(&mut wire, pair).await;

    assert_eq!((code, said), (EnhanceYourCalm, 500));
    assert!(mesh.app("app.test", BASELINE).seen().len() <= FEW);
    others_are_served(&mesh).await;
}

#[tokio::test]
async fn resets_of_requests_that_got_through_are_cut_off_too() {
    let mesh = mesh().await;
    let app = mesh.app("app.test", BASELINE);
    let mut wire = attacker(&mesh).await;

    let mut cut_off = false;
    for at in 0..1000 {
        wire.send(&head(2 * at + 1, GET, true)).await;
        // It got through, unless the connection is over.
        let heard = wire.settled().await;
        cut_off = heard.last() == Some(&Heard::Closed);
        if cut_off {
            break;
        }
        wire.send(&reset(2 * at + 1, Cancel)).await;
    }

    assert!(cut_off);
    assert!(app.seen().len() <= FEW, "{}", app.seen().len());
    others_are_served(&mesh).await;
}

#[tokio::test]
async fn being_made_to_reset_counts_as_much() {
    const LENGTH_OF_ONE: &[(&str, &str)] = &[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "app.test"),
        ("content-length", "1"),
    ];
    type Fault = fn(u32) -> Vec<u8>;
    let open = |id| head(id, POST, false);
    let closed = |id| head(id, GET, true);
    let _ = (open, closed);
    let variants: [(&str, Fault); 8] = [
        ("a window opened by nothing", |id| [head(id, POST, false), window(id, 0)].concat()),
        ("a window that overflows", |id| {
            let most = (1 << 31) - 1;
            [head(id, POST, false), window(id, most), window(id, most)].concat()
        }),
        ("a head after the end", |id| [head(id, GET, true), head(id, GET, true)].concat()),
        ("a body after the end", |id| [head(id, GET, true), data(id, b"x", true)].concat()),
        ("a priority of four bytes", |id| {
            [head(id, GET, true), raw(kind::PRIORITY, 0, id, &[0; 4])].concat()
        }),
        ("a stream that depends on itself", |id| [head(id, GET, true), priority(id, id)].concat()),
        ("a body that is too long", |id| {
            [head(id, LENGTH_OF_ONE, false), data(id, b"xx", false)].concat()
        }),
        ("trailers with a pseudo-header", |id| {
            [head(id, POST, false), head(id, &[(":path", "/")], true)].concat()
        }),
    ];
    for (what, fault) in variants {
        let mesh = mesh().await;
        let mut wire = attacker(&mesh).await;

        let mut end = None;
        for at in 0..1000 {
            wire.send(&fault(2 * at + 1)).await;
            let heard = wire.settled().await;
            if heard.last() == Some(&Heard::Closed) {
                end = heard.into_iter().find(|it| matches!(it, Heard::GoAway { .. }));
                break;
            }
        }

        let calm = matches!(end, Some(Heard::GoAway { code: EnhanceYourCalm, .. }));
        assert!(calm, "{what}: {end:?}");
        let reached = mesh.app("app.test", BASELINE).seen().len();
        assert!(reached <= FEW, "{what}: {reached}");
        others_are_served(&mesh).await;
    }
}

#[tokio::test]
async fn frames_to_no_end_are_cut_off() {
    type Frames = fn(u32) -> Vec<u8>;
    let floods: [(&str, Frames); 11] = [
        ("PING", |_| ping([7; 8])),
        ("answers to PING", |_| raw(kind::PING, flag::ACK, 0, &[7; 8])),
        ("SETTINGS", |_| settings(&[])),
        ("SETTINGS of windows", |at| settings(&[(4, 65_535 + at % 2)])),
        ("answers to SETTINGS", |_| raw(kind::SETTINGS, flag::ACK, 0, &[])),
        ("PRIORITY", |_| priority(1, 0)),
        ("WINDOW_UPDATE", |_| window(0, 1)),
        ("WINDOW_UPDATE of a stream", |_| window(1, 1)),
        ("unknown frames", |_| raw(0x55, 0, 0, b"what?")),
        ("empty DATA", |_| data(1, b"", false)),
        ("DATA of padding", |_| raw(kind::DATA, flag::PADDED, 1, &[0])),
    ];
    for (what, frames) in floods {
        let mesh = mesh().await;
        let mut wire = attacker(&mesh).await;
        wire.send(&head(1, POST, false)).await;

        let (code, said) = flood(&mut wire, frames).await;

        assert_eq!(code, EnhanceYourCalm, "{what}");
        assert!(said <= 11_000, "{what}: {said}");
        others_are_served(&mesh).await;
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    for piece in [&b""[..], b"\x00\x03x-a\x01b", &[0x82; 16_000]] {
        let mesh = mesh().await;
        let mut wire = attacker(&mesh).await;
        wire.send(&raw(kind::HEADERS, 0, 1, &block(GET))).await;

        let mut pieces = 0;
        for _ in 0..1000 {
            wire.send(&raw(kind::CONTINUATION, 0, 1, piece)).await;
            pieces += 1;
        }
        let code = wire.last_word().await;

        assert!(matches!(code, Some(EnhanceYourCalm) | None), "{code:?}");
        assert_eq!(pieces, 1000);
        assert!(mesh.app("app.test", BASELINE).seen().is_empty());
        others_are_served(&mesh).await;
    }
}

#[tokio::test]
async fn a_block_that_unpacks_to_much_is_refused_and_not_held() {
    if !is_alone(module_path!(), "a_block_that_unpacks_to_much_is_refused_and_not_held") {
        return;
    }
    let mesh = mesh().await;
    let mut wire = attacker(&mesh).await;
    // A field of 4,000 bytes into the table, then 16,000 references of one byte to it.
    let mut bomb = block(GET);
    bomb.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
    bomb.extend([b'v'; 4000]);
    bomb.extend([0xbe; 12_000]);
    let before = resident();

    let bombs = |at: u32| {
        let flags = flag::END_HEADERS | flag::END_STREAM;
        raw(kind::HEADERS, flags, 2 * at + 1, &bomb)
    };
    let mut end = Vec::new();
    for at in 0..1000 {
        wire.send(&bombs(at)).await;
        end = wire.settled().await;
        if end.last() == Some(&Heard::Closed) {
            break;
        }
        assert_eq!(end[0].status(), Some("431"), "{end:?}");
    }

    let calm = |it: &Heard| matches!(it, Heard::GoAway { code: EnhanceYourCalm, .. });
    assert!(end.iter().any(calm), "{end:?}");
    assert!(mesh.app("app.test", BASELINE).seen().is_empty());
    assert!(resident() < before + 32 * 1024 * 1024, "{before} {}", resident());
    others_are_served(&mesh).await;
}

#[tokio::test]
async fn names_of_no_length_reach_nobody() {
    let mesh = mesh().await;
    let mut wire = attacker(&mesh).await;
    let fields: Vec<_> = GET.iter().copied().chain([("", ""); 100]).collect();

    let (code, _) = flood(&mut wire, |at| head(2 * at + 1, &fields, true)).await;

    assert_eq!(code, EnhanceYourCalm);
    assert!(mesh.app("app.test", BASELINE).seen().is_empty());
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_then_cut_off() {
    let mesh = mesh().await;
    let mut wire = attacker(&mesh).await;

    let (code, said) = flood(&mut wire, |at| head(2 * at + 1, GET, true)).await;

    assert_eq!((code, said), (EnhanceYourCalm, 500));
    others_are_served(&mesh).await;
}

#[tokio::test]
async fn every_start_that_is_not_finished_ends() {
    let limits = "limits = { detect_timeout = '200ms', header_timeout = '300ms',
        connection_idle = '1s', stall_timeout = '1s' }";
    let mesh = Mesh::new(limits).serve("app.test", BASELINE, |_| pending()).start().await;
    let greeting = [&frame::PREFACE[..], &settings(&[])].concat();
    let starts = [
        ("no bytes", Vec::new()),
        ("half a preface", frame::PREFACE[..12].to_vec()),
        ("no settings", frame::PREFACE.to_vec()),
        ("half a frame", [&greeting[..], &ping([0; 8])[..12]].concat()),
        ("half a frame of a body", {
            [&greeting[..], &head(1, POST, false), &data(1, &[7; 100], true)[..50]].concat()
        }),
        ("half a head", [&greeting[..], &raw(kind::HEADERS, 0, 1, &block(GET))].concat()),
        ("nothing more", greeting.clone()),
    ];
    let mut open = Vec::new();
    for (what, bytes) in starts {
        let mut socket = TcpStream::connect(mesh.side.outbound()).await.unwrap();
        socket.write_all(&bytes).await.unwrap();
        open.push((what, socket));
    }
    let begun = Instant::now();

    for (what, mut socket) in open {
        let mut said = Vec::new();
        let _ = within(socket.read_to_end(&mut said)).await;

        assert!(begun.elapsed() < Duration::from_secs(6), "{what}: {:?}", begun.elapsed());
    }
    assert_eq!(mesh.app("app.test", BASELINE).seen().len(), 1);
}
