//! How long a request may take, and the timer that says so.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::model::RequestHead;

/// The longest `grpc-timeout` is eight digits of hours; no request of ours lives that long.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `grpc-timeout`: one to eight digits and a unit (gRPC over HTTP/2, "Timeout").
pub(super) fn grpc_timeout(head: &RequestHead) -> Option<Duration> {
    let value = head.fields.get(b"grpc-timeout")?;
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let time = match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    };
    Some(time.min(FOREVER))
}

/// Writes `grpc-timeout` for what is left, in the finest unit that takes at most eight digits.
pub(super) fn write_grpc_timeout(head: &mut RequestHead, left: Duration) {
    let nanos = left.as_nanos();
    let units: [(u128, char); 6] = [
        (1, 'n'),
        (1_000, 'u'),
        (1_000_000, 'm'),
        (1_000_000_000, 'S'),
        (60_000_000_000, 'M'),
        (3_600_000_000_000, 'H'),
    ];
    let fitting = units.iter().find(|(size, _)| nanos / size <= 99_999_999);
    let (size, unit) = fitting.unwrap_or(&(3_600_000_000_000, 'H'));
    head.fields.set(b"grpc-timeout", format!("{}{unit}", nanos / size).as_bytes());
}

/// One timer for all the times of a request: it is set to whichever comes first.
///
/// A timer costs more than anything else a short request does to its clock, so it is set once and,
/// when a time is put off, left to ring early.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    due: Option<Instant>,
}

impl Timer {
    /// Sets when the timer is due; none is never.
    pub(super) fn set(&mut self, due: Option<Instant>) {
        self.due = due;
        // A later time is left to be found out when the earlier one rings.
        if let (Some(due), Some(sleep)) = (due, &mut self.sleep)
            && due < sleep.deadline()
        {
            sleep.as_mut().reset(due);
        }
    }

    /// Waits until it is due.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }
}

/// Returns the earlier of two times of which each may be none.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(timeout: &str) -> RequestHead {
        let fields = [("grpc-timeout", timeout)].into_iter().collect();
        RequestHead { fields, ..RequestHead::default() }
    }

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, time) in [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999u", Some(Duration::from_micros(99_999_999))),
            ("2H", Some(Duration::from_secs(7200))),
            ("99999999H", Some(FOREVER)),
            ("100000000n", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1 S", None),
        ] {
            assert_eq!(grpc_timeout(&head(text)), time, "{text}");
        }
    }

    #[test]
    fn what_is_left_is_written_as_finely_as_fits() {
        for (left, text) in [
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(200), "200000m"),
            (FOREVER, "31536000S"),
        ] {
            let mut head = head("1S");

            write_grpc_timeout(&mut head, left);

            assert_eq!(head.fields.get(b"grpc-timeout"), Some(text.as_bytes()));
        }
    }
}
