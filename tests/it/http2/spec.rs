//! RFC 9113 and RFC 7541 to the letter: every section's cases, put to the engine alone and to a
//! whole sidecar.

use dyelane::http::ErrorCode::*;
use dyelane::http::frame::Settings;

use super::engine::{OPTIONS, Serving, local};
use super::sections::{Allowed::*, Case, Step, Step::*, all, get};
use super::wire::{Heard, Wire, ping, settings_ack, window};
use crate::harness::{BASELINE, Mesh};

/// Puts one case to a server, and returns what it did wrong.
async fn judge(wire: &mut Wire, case: &Case) -> Result<(), String> {
    for step in &case.steps {
        match step {
            Step::Say(bytes) => wire.send(bytes).await,
            Ended(stream) => drop(wire.rest_of(*stream).await),
            Settled => drop(wire.settled().await),
            SomeData => drop(wire.until(|heard| matches!(heard, Heard::Data { .. })).await),
        }
    }
    let alive = |heard: &[Heard]| matches!(heard.last(), Some(Heard::Pong(_)));
    let away = |heard: &[Heard]| {
        heard.iter().find_map(|it| match it {
            Heard::GoAway { code, .. } => Some(*code),
            _ => None,
        })
    };
    let heard = match &case.allowed {
        Answer(wanted) => {
            wire.until(|it| matches!(it, Heard::Head { stream, .. } if stream == wanted)).await
        }
        Data(_) => wire.until(|it| matches!(it, Heard::Data { .. })).await,
        Reset(wanted, _) | Broken(wanted, _) => {
            let broken = |it: &Heard| {
                matches!(it, Heard::Reset { stream, .. } if stream == wanted)
                    || matches!(it, Heard::GoAway { .. })
            };
            wire.until(broken).await
        }
        Gone(_) => wire.until(|it| *it == Heard::Closed).await,
        Alive | AliveOrClosed => wire.settled().await,
        Acked => wire.until(|it| *it == Heard::SettingsAck).await,
    };
    let last = heard.last();
    let good = match &case.allowed {
        Answer(_) | Acked => last != Some(&Heard::Closed),
        Data(length) => matches!(last, Some(Heard::Data { bytes, .. }) if bytes.len() == *length),
        Reset(_, wanted) => {
            matches!(last, Some(Heard::Reset { code, .. }) if code == wanted)
                && alive(&wire.settled().await)
        }
        Broken(_, codes) => match last {
            Some(Heard::Reset { code, .. } | Heard::GoAway { code, .. }) => codes.contains(code),
            _ => false,
        },
        Gone(codes) => away(&heard).is_some_and(|code| codes.contains(&code)),
        Alive => alive(&heard) && away(&heard).is_none(),
        AliveOrClosed => away(&heard).is_none_or(|code| code == NoError),
    };
    if good {
        return Ok(());
    }
    let Case { section, what, allowed, .. } = case;
    Err(format!("{section} {what}: {allowed:?} is allowed, but heard {heard:?}"))
}

#[tokio::test]
async fn the_engine_keeps_every_section() {
    let mut wrong = Vec::new();
    for case in all() {
        let outcome = local(async {
            let (mut wire, _server, _ended) = Serving::begun(OPTIONS).await.echo();
            judge(&mut wire, &case).await
        });
        wrong.extend(outcome.await.err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_sidecar_keeps_every_section() {
    let mesh = Mesh::new("limits.streams = 100").app("app.test", BASELINE).start().await;
    let mut wrong = Vec::new();
    for case in all() {
        let mut wire = Wire::call(mesh.side.outbound(), &Settings::default()).await;
        wrong.extend(judge(&mut wire, &case).await.err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_servers_first_frame_is_its_settings() {
    local(async {
        let mut serving = Serving::silent(OPTIONS).await;

        let first = serving.wire.hear().await;

        assert!(matches!(first, Heard::Settings(_)), "{first:?}");
    })
    .await;
}

#[tokio::test]
async fn an_invalid_preface_ends_the_connection() {
    for start in [&b"INVALID CONNECTION PREFACE\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        local(async {
            let mut serving = Serving::silent(OPTIONS).await;

            serving.wire.send(start).await;

            assert_eq!(serving.wire.last_word().await, Some(ProtocolError));
        })
        .await;
    }
}

#[tokio::test]
async fn the_first_frame_must_be_settings() {
    for first in [ping([0; 8]), get(), settings_ack(), window(0, 1)] {
        local(async {
            let mut serving = Serving::silent(OPTIONS).await;

            serving.wire.send(&[&dyelane::http::frame::PREFACE[..], &first].concat()).await;

            assert_eq!(serving.wire.last_word().await, Some(ProtocolError));
        })
        .await;
    }
}
