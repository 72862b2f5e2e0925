//! The clock of a connection: what is unfinished, unread or unused for too long.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::http::connection::{CHATTER, Closing, Connection, Ended};
use crate::http::exchange::Incoming;
use crate::http::options::Options;

/// Buffers are given back after this long without a byte.
const SHRINK_AFTER: Duration = Duration::from_secs(5);

/// What the connection's clock goes by. Nothing here is looked at but when the tick rings: what
/// moves leaves a mark, and the time is read once for all of it.
pub(super) struct Clock {
    pub(super) tick: Pin<Box<Sleep>>,
    every: Duration,
    /// Nothing was under way when it rang last: it is set for long, until something is.
    resting: bool,
    began: Instant,
    /// Bytes came or went since the last tick.
    pub(super) active: bool,
    last_active: Instant,
    /// When the last stream was seen.
    last_busy: Instant,
    /// `finished` when it was looked at, and since when a frame is unfinished.
    partial: (u32, Option<Instant>),
    /// Bytes written when they were looked at, and since when no more were while some waited.
    unwritten: (u64, Option<Instant>),
    /// Until when what is long ago was taken back.
    forgiven: Instant,
}

impl Clock {
    pub(super) fn new(options: &Options) -> Self {
        let now = Instant::now();
        let every = options.tick();
        Self {
            tick: Box::pin(tokio::time::sleep_until(now + every)),
            every,
            resting: false,
            began: now,
            active: false,
            last_active: now,
            last_busy: now,
            partial: (0, None),
            unwritten: (0, None),
            forgiven: now,
        }
    }
}

/// What the clock said.
pub(super) enum Rang {
    /// Nothing yet.
    No,
    /// It was time to look; there may be something to write.
    Yes,
    /// The connection is to end.
    Last(Ended),
}

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    /// Whether nothing is under way that could take too long.
    fn is_at_rest(&self) -> bool {
        self.streams.is_empty()
            && self.input.is_empty()
            && self.output.is_empty()
            && self.unfinished.is_none()
            && self.first_frame_seen
            && self.closing == Closing::No
    }

    /// Sets the clock for what came under way since it was set.
    pub(super) fn set_clock(&mut self) {
        let roused = self.clock.resting && !self.is_at_rest();
        if !roused && self.pace.len() == 0 {
            return;
        }
        let now = Instant::now();
        if roused {
            self.clock.resting = false;
            self.clock.last_busy = now;
            self.clock.partial.1 = None;
            self.clock.unwritten.1 = None;
        }
        let due = self.pace.again(now).unwrap_or(now + self.clock.every);
        if due < self.clock.tick.deadline() {
            self.clock.tick.as_mut().reset(due);
        }
    }

    /// Looks at the clock.
    pub(super) fn poll_clock(&mut self, cx: &mut Context<'_>) -> Rang {
        if self.clock.tick.as_mut().poll(cx).is_pending() {
            return Rang::No;
        }
        let now = Instant::now();
        if std::mem::take(&mut self.clock.active) {
            self.clock.last_active = now;
        }
        if let Some(why) = self.overdue(now) {
            return Rang::Last(why);
        }
        self.clock.resting = self.is_at_rest();
        let next = if !self.clock.resting {
            now + self.clock.every
        } else if now < self.clock.last_active + SHRINK_AFTER {
            self.clock.last_active + SHRINK_AFTER
        } else {
            self.shrink();
            self.clock.last_busy + self.options.idle
        };
        self.clock.tick.as_mut().reset(next.max(now + Duration::from_millis(1)));
        Rang::Yes
    }

    /// Gives the buffers of a quiet connection back.
    fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        self.streams.shrink_to_fit();
    }

    /// Returns why the connection is to end now, if it took too long over something; does what else
    /// is due.
    fn overdue(&mut self, now: Instant) -> Option<Ended> {
        let late = |since: Instant, limit: Duration| now.duration_since(since) >= limit;
        if !self.first_frame_seen && late(self.clock.began, self.options.first_frame) {
            return Some(Ended::TimedOut("no settings"));
        }
        let partial = !self.input.is_empty() || self.unfinished.is_some();
        if !partial || self.clock.partial.0 != self.finished {
            self.clock.partial = (self.finished, partial.then_some(now));
        } else if late(*self.clock.partial.1.get_or_insert(now), self.options.frame) {
            return Some(Ended::TimedOut("an unfinished frame"));
        }
        let written = self.written_before + self.written as u64;
        if self.output.is_empty() || self.clock.unwritten.0 != written {
            self.clock.unwritten = (written, (!self.output.is_empty()).then_some(now));
        } else if late(*self.clock.unwritten.1.get_or_insert(now), self.options.stall) {
            return Some(Ended::TimedOut("a peer that reads nothing"));
        }
        if !self.streams.is_empty() {
            self.clock.last_busy = now;
        } else if late(self.clock.last_busy, self.options.idle) {
            return Some(Ended::Idle);
        }
        if let Closing::Announced { since } = self.closing
            && late(since, Duration::from_secs(1))
        {
            self.announce_last();
        }
        self.forgive(now);
        self.reset_stalled(now);
        None
    }

    /// Takes back what is long ago: for each second a quarter of the faults that are allowed, and a
    /// hundredth of the frames that move nothing, so that a peer may ask for ever whether we live.
    fn forgive(&mut self, now: Instant) {
        let seconds = now.duration_since(self.clock.forgiven).as_secs();
        if seconds > 0 {
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            let faults = (self.options.resets / 4).max(1).saturating_mul(seconds);
            self.faults = self.faults.saturating_sub(faults);
            self.chatter = self.chatter.saturating_sub((CHATTER / 100).saturating_mul(seconds));
            self.clock.forgiven = now;
        }
    }
}
