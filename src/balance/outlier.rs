//! When an endpoint is left alone for failing.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::balance::ramp;
use crate::config::Outlier;

/// Bits of a pause that count how often it was repeated.
const COUNT_BITS: u32 = 8;
/// Where the count stays; a period doubled so often is longer than any bound.
const COUNT_MAX: u64 = 63;

/// A period in which an endpoint is left alone, and how often there was one lately.
///
/// One word: its end in milliseconds since the origin, and the count in the low bits. Zero is an
/// endpoint that was never left alone.
#[derive(Debug, Default)]
pub(super) struct Pause(AtomicU64);

impl Pause {
    /// Returns whether the endpoint is left alone.
    pub(super) fn is_on(&self, now: Duration) -> bool {
        end(self.0.load(Relaxed)) > millis(now)
    }

    /// Begins a pause, unless there is one, and returns whether it did.
    ///
    /// It is twice as long as the last, up to a bound. One that ended longer ago than that
    /// bound is forgotten.
    pub(super) fn start(&self, policy: &Outlier, now: Duration) -> bool {
        let next = |word| {
            let (end, now) = (end(word), millis(now));
            if end > now {
                return None;
            }
            let is_recent = word != 0 && now - end <= millis(policy.max_ejection);
            let count = if is_recent { (word & COUNT_MAX) + 1 } else { 1 }.min(COUNT_MAX);
            Some((now + millis(period(policy, count))) << COUNT_BITS | count)
        };
        self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }

    /// Ends a pause that is on; the slow return begins.
    pub(super) fn cut(&self, now: Duration) {
        let is_on = |word| end(word) > millis(now);
        let next = |word: u64| millis(now) << COUNT_BITS | word & COUNT_MAX;
        // Reading alone is cheaper where nothing is to be done: nearly always.
        if is_on(self.0.load(Relaxed)) {
            let _ = self.0.fetch_update(Relaxed, Relaxed, |it| is_on(it).then(|| next(it)));
        }
    }

    /// Returns the share of its requests an endpoint gets that comes back within `period`.
    pub(super) fn share(&self, now: Duration, period: Option<Duration>) -> f32 {
        let word = self.0.load(Relaxed);
        if word == 0 {
            return 1.0;
        }
        let since = Duration::from_millis(millis(now).saturating_sub(end(word)));
        ramp::share(since, period)
    }
}

/// How long the pause of that count is: the first is 1.
fn period(policy: &Outlier, count: u64) -> Duration {
    let doublings = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    policy.ejection.saturating_mul(factor).min(policy.max_ejection)
}

fn end(word: u64) -> u64 {
    word >> COUNT_BITS
}

/// Whole milliseconds; what does not fit beside the count is some million years away.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(u64::MAX >> (COUNT_BITS + 2))
}
