//! How an endpoint that is new, or well again, gets its whole share of requests by and by.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The share it begins with.
const FIRST_SHARE: f32 = 0.1;
/// Takes all it can get.
const WARM: u64 = 0;
/// Is new, and nobody looked at it yet.
const NEW: u64 = 1;
/// Before the first millisecond of the words that are moments.
const MOMENTS: u64 = 2;

/// The slow start of an endpoint.
///
/// One word: warm, new, or the moment its slow start began, in milliseconds since the origin. That
/// of a new one begins when it is first looked at: until then nothing could have warmed it.
#[derive(Debug, Default)]
pub(super) struct Ramp(AtomicU64);

impl Ramp {
    /// The slow start of an endpoint that came to others.
    pub(super) fn of_new() -> Self {
        Self(AtomicU64::new(NEW))
    }

    /// Begins a slow start.
    pub(super) fn begin(&self, now: Duration) {
        self.0.store(moment(now), Relaxed);
    }

    /// Returns the share of its requests the endpoint gets, if a slow start takes `period`.
    pub(super) fn share(&self, now: Duration, period: Option<Duration>) -> f32 {
        let word = self.0.load(Relaxed);
        let began = match word {
            WARM => return 1.0,
            NEW => {
                // Whoever comes second finds a moment just as good.
                let _ = self.0.compare_exchange(NEW, moment(now), Relaxed, Relaxed);
                now
            }
            moment => Duration::from_millis(moment - MOMENTS),
        };
        let share = share(now.saturating_sub(began), period);
        if share >= 1.0 {
            // One that began anew meanwhile goes on.
            let _ = self.0.compare_exchange(word, WARM, Relaxed, Relaxed);
        }
        share
    }
}

fn moment(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(MOMENTS)
}

/// Returns the share of its requests that an endpoint gets so long after its return began: a tenth
/// at first, all of them after `period`; none is at once.
pub(super) fn share(since: Duration, period: Option<Duration>) -> f32 {
    let period = period.unwrap_or_default();
    if since >= period {
        return 1.0;
    }
    (since.as_secs_f32() / period.as_secs_f32()).clamp(FIRST_SHARE, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Option<Duration> = Some(Duration::from_secs(30));

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_share_grows_from_a_tenth_to_all() {
        let shares = [0, 3, 15, 30, 99].map(|after| share(seconds(after), PERIOD));

        assert_eq!(shares.map(|it| format!("{it:.1}")), ["0.1", "0.1", "0.5", "1.0", "1.0"]);
    }

    #[test]
    fn without_a_period_all_comes_at_once() {
        assert!(share(Duration::ZERO, None) >= 1.0);
        assert!(share(Duration::ZERO, Some(Duration::ZERO)) >= 1.0);
    }

    #[test]
    fn what_is_new_begins_when_it_is_first_looked_at() {
        let ramp = Ramp::of_new();

        let first = ramp.share(seconds(100), PERIOD);
        let later = ramp.share(seconds(115), PERIOD);
        let warm = ramp.share(seconds(130), PERIOD);

        assert!(first < 0.11 && (0.49..0.51).contains(&later) && warm >= 1.0);
    }

    #[test]
    fn a_slow_start_can_begin_again() {
        let ramp = Ramp::default();
        assert!(ramp.share(seconds(5), PERIOD) >= 1.0);

        ramp.begin(seconds(10));

        assert!(ramp.share(seconds(10), PERIOD) < 0.11);
        assert!(ramp.share(seconds(40), PERIOD) >= 1.0);
        assert!(ramp.share(seconds(0), PERIOD) >= 1.0, "and is over then");
    }
}
