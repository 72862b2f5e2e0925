//! How loaded an endpoint is: the latency of its answers and the requests it has.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How fast old answers are forgotten: after this long, one counts for a third (1/e).
const DECAY_SECONDS: f32 = 10.0;
/// What an endpoint counts as that has failed and never answered: 1 s, in microseconds.
const FAILED_AT_FIRST: f32 = 1e6;
/// The range of latencies, in microseconds: 1 µs to 1 min. What is slower is slow enough.
const SHORTEST: f32 = 1.0;
const LONGEST: f32 = 60e6;

/// The load of an endpoint: a peak-sensitive moving average of its latency, and its requests in
/// flight.
///
/// The average goes up at once and comes down with time (peak EWMA, as Finagle has it): one slow
/// answer is news, one fast answer is not. Reading it lets it decay too, so that an endpoint that
/// was slow and is avoided is tried again some day.
#[derive(Debug, Default)]
pub(super) struct Load {
    in_flight: AtomicU32,
    /// The average as an [`Average`]; zero as long as nothing is known.
    latency: AtomicU64,
}

/// An average latency and the moment it was taken.
#[derive(Debug, Clone, Copy)]
struct Average {
    micros: f32,
    /// Milliseconds since the origin, wrapping after 49 days.
    at: u32,
}

impl Average {
    fn unpack(packed: u64) -> Option<Self> {
        let [high, low] = [packed >> 32, packed & u64::from(u32::MAX)];
        let [bits, at] = [high, low].map(|it| u32::try_from(it).unwrap_or_default());
        let micros = f32::from_bits(bits);
        // Zero stands for no answer yet: no sample is below a microsecond.
        if micros > 0.0 { Some(Self { micros, at }) } else { None }
    }

    fn pack(self) -> u64 {
        u64::from(self.micros.to_bits()) << 32 | u64::from(self.at)
    }

    /// Returns what is left of the average at `now`, as a factor of it.
    fn left(self, now: Duration) -> f32 {
        // Another thread may have stored a moment later than ours: that is no time at all.
        let elapsed = tick(now).wrapping_sub(self.at).cast_signed().max(0);
        let elapsed = Duration::from_millis(elapsed.unsigned_abs().into());
        (-elapsed.as_secs_f32() / DECAY_SECONDS).exp()
    }
}

impl Load {
    /// Counts a request that begins.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Counts a request that ended; each begins once and ends once.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Returns the requests in flight.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Returns the average in microseconds as of `now`; none if nothing is known.
    pub(super) fn micros(&self, now: Duration) -> Option<f32> {
        let average = Average::unpack(self.latency.load(Relaxed))?;
        Some((average.micros * average.left(now)).max(SHORTEST))
    }

    /// Takes in the latency of an answer.
    pub(super) fn answered(&self, latency: Duration, now: Duration) {
        let new = micros(latency);
        self.update(now, |old, left| match old {
            Some(old) if new < old => Some(old * left + new * (1.0 - left)),
            _ => Some(new),
        });
    }

    /// Takes in a failure. It counts twice the average, so that failing fast does not look fast.
    pub(super) fn failed(&self, latency: Duration, now: Duration) {
        let least = |old: Option<f32>, left| old.map_or(FAILED_AT_FIRST, |old| 2.0 * old * left);
        self.update(now, |old, left| Some(micros(latency).max(least(old, left))));
    }

    /// Knows nothing of latency again.
    pub(super) fn forget(&self) {
        self.latency.store(0, Relaxed);
    }

    /// Takes in that nobody waited longer than that for an answer. It was slow if that is longer
    /// than it usually takes; else it says nothing.
    pub(super) fn abandoned(&self, waited: Duration, now: Duration) {
        let new = micros(waited);
        self.update(now, |old, left| old.filter(|old| new > old * left).map(|_| new));
    }

    /// Replaces the average by what `next` makes of it and of the factor left of it, if anything.
    fn update(&self, now: Duration, next: impl Fn(Option<f32>, f32) -> Option<f32>) {
        let replace = |packed| {
            let old = Average::unpack(packed);
            let left = old.map_or(1.0, |it| it.left(now));
            let micros = next(old.map(|it| it.micros), left)?.clamp(SHORTEST, LONGEST);
            Some(Average { micros, at: tick(now) }.pack())
        };
        // An error only says that there was nothing to replace.
        let _ = self.latency.fetch_update(Relaxed, Relaxed, replace);
    }
}

fn micros(latency: Duration) -> f32 {
    latency.as_secs_f32() * 1e6
}

fn tick(now: Duration) -> u32 {
    u32::try_from(now.as_millis() & u128::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Duration = Duration::from_secs(1_000);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn load(latency: Duration) -> Load {
        let load = Load::default();
        load.answered(latency, T0);
        load
    }

    fn is_near(load: &Load, expected: f32, now: Duration) -> bool {
        load.micros(now).is_some_and(|it| (it - expected).abs() < expected / 100.0)
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let load = Load::default();

        load.abandoned(millis(9), T0);

        assert_eq!(load.micros(T0), None);
    }

    #[test]
    fn the_first_answer_is_taken_whole() {
        assert!(is_near(&load(millis(20)), 20_000.0, T0));
    }

    #[test]
    fn a_slower_answer_counts_at_once_and_a_faster_one_by_and_by() {
        let load = load(millis(20));

        load.answered(millis(100), T0 + millis(1));
        assert!(is_near(&load, 100_000.0, T0 + millis(1)));

        load.answered(millis(10), T0 + millis(2));
        assert!(is_near(&load, 100_000.0, T0 + millis(2)));

        load.answered(millis(10), T0 + millis(10_002));
        assert!(is_near(&load, 10_000.0 + 90_000.0 / std::f32::consts::E, T0 + millis(10_002)));
    }

    #[test]
    fn an_average_decays_while_nothing_happens_and_never_to_nothing() {
        let load = load(millis(100));

        assert!(is_near(&load, 100_000.0 / std::f32::consts::E, T0 + millis(10_000)));
        assert!(is_near(&load, SHORTEST, T0 + Duration::from_secs(3_600)));
    }

    #[test]
    fn failing_fast_does_not_look_fast() {
        let (known, unknown) = (load(millis(20)), Load::default());

        known.failed(millis(1), T0);
        unknown.failed(millis(1), T0);

        assert!(is_near(&known, 40_000.0, T0));
        assert!(is_near(&unknown, FAILED_AT_FIRST, T0));
    }

    #[test]
    fn failing_for_ever_has_a_bound() {
        let load = load(millis(20));

        for _ in 0..1_000 {
            load.failed(Duration::MAX, T0);
        }

        assert!(is_near(&load, LONGEST, T0));
    }

    #[test]
    fn who_gives_up_late_says_it_was_slow_and_who_gives_up_early_says_nothing() {
        let load = load(millis(20));

        load.abandoned(millis(5), T0);
        assert!(is_near(&load, 20_000.0, T0));

        load.abandoned(millis(500), T0);
        assert!(is_near(&load, 500_000.0, T0));
    }

    #[test]
    fn a_moment_that_another_thread_overtook_changes_nothing() {
        let load = Load::default();
        load.answered(millis(20), T0 + millis(5));

        assert!(is_near(&load, 20_000.0, T0));
    }
}
