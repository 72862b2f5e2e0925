//! How fast streams are reset on a connection that others share.
//!
//! Servers take a peer that resets many streams for an attacker and end its connection, with
//! everyone else's streams on it. hyper does so above 20 resets of streams its application has not
//! seen yet, Netty above 200 in half a minute, we above a hundred. So when many of our requests are
//! given up at once, because one caller left or a deadline passed, only a few are reset at once;
//! whatever still comes on the others is thrown away meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::frame::ErrorCode;

/// Resets in one burst.
const BURST: u32 = 16;
/// Time between two bursts.
const PAUSE: Duration = Duration::from_millis(4);
/// Resets in one run, beyond streams that ended in peace.
const RUN: u32 = 64;
/// Time in which one more is forgiven.
const FORGIVEN: Duration = Duration::from_millis(50);

/// A stream that is to be reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) stream: u32,
    pub(super) code: ErrorCode,
    /// We sent all of our half: once the peer did too, there is nothing to reset.
    pub(super) sent_all: bool,
}

/// The streams of one connection that are to be reset, in order.
#[derive(Debug)]
pub(super) struct Pace {
    waiting: VecDeque<Due>,
    burst: u32,
    burst_at: Option<Instant>,
    run: u32,
    run_at: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), burst: BURST, burst_at: None, run: RUN, run_at: None }
    }
}

impl Pace {
    pub(super) fn push(&mut self, due: Due) {
        self.waiting.push_back(due);
    }

    /// Returns how many streams wait; to the peer they are still open.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The peer ended a stream, or only its own half of it.
    pub(super) fn peer_ended(&mut self, stream: u32, reset: bool) {
        self.waiting.retain(|due| due.stream != stream || !(reset || due.sent_all));
    }

    /// A stream ended in peace.
    pub(super) fn peace(&mut self) {
        self.run = RUN.min(self.run + 1);
    }

    /// Returns the next stream that may be reset now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Due> {
        if self.waiting.is_empty() {
            return None;
        }
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        if since(self.burst_at).is_none_or(|passed| passed >= PAUSE) {
            (self.burst, self.burst_at) = (BURST, Some(now));
        }
        let forgiven = since(self.run_at)
            .map_or(RUN.into(), |passed| passed.as_millis() / FORGIVEN.as_millis());
        if forgiven > 0 {
            let forgiven = u32::try_from(forgiven).unwrap_or(RUN);
            (self.run, self.run_at) = (RUN.min(self.run.saturating_add(forgiven)), Some(now));
        }
        if self.burst == 0 || self.run == 0 {
            return None;
        }
        (self.burst, self.run) = (self.burst - 1, self.run - 1);
        self.waiting.pop_front()
    }

    /// Returns when to look again, if streams wait.
    pub(super) fn again(&self, now: Instant) -> Option<Instant> {
        let pause = if self.run == 0 { FORGIVEN } else { PAUSE };
        (!self.waiting.is_empty()).then(|| now + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(stream: u32) -> Due {
        Due { stream, code: ErrorCode::Cancel, sent_all: true }
    }

    fn pace(streams: std::ops::Range<u32>) -> Pace {
        let mut pace = Pace::default();
        streams.map(due).for_each(|due| pace.push(due));
        pace
    }

    fn drain(pace: &mut Pace, now: Instant) -> usize {
        std::iter::from_fn(|| pace.next(now)).count()
    }

    #[test]
    fn a_few_resets_go_at_once_and_the_others_soon() {
        let (mut pace, now) = (pace(0..50), Instant::now());

        let sent = (0..4).map(|round| drain(&mut pace, now + PAUSE * round)).collect::<Vec<_>>();

        assert_eq!(sent, [16, 16, 16, 2]);
        assert_eq!(pace.again(now), None);
    }

    #[test]
    fn a_long_run_slows_down() {
        let (mut pace, now) = (pace(0..256), Instant::now());

        let first = (0..5).map(|round| drain(&mut pace, now + PAUSE * round)).sum::<usize>();
        let second = drain(&mut pace, now + PAUSE * 5 + Duration::from_secs(1));

        assert_eq!((first, second), (64, 16));
        assert!(pace.again(now).is_some());
    }

    #[test]
    fn streams_that_end_in_peace_pay_for_resets() {
        let (mut pace, now) = (pace(0..100), Instant::now());
        (0..5).for_each(|round| assert!(drain(&mut pace, now + PAUSE * round) <= 16));

        (0..10).for_each(|_| pace.peace());

        assert_eq!(drain(&mut pace, now + PAUSE * 5), 10);
    }

    #[test]
    fn what_the_peer_ended_is_not_reset() {
        let mut pace = pace(0..3);
        pace.push(Due { sent_all: false, ..due(7) });

        pace.peer_ended(0, false);
        pace.peer_ended(1, true);
        pace.peer_ended(7, false);

        let now = Instant::now();
        let left = std::iter::from_fn(|| pace.next(now)).map(|due| due.stream);
        assert_eq!(left.collect::<Vec<_>>(), [2, 7]);
    }
}
