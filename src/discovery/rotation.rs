//! Which of a source's nodes is asked, and how soon after failures.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::discovery::feed::Heard;

/// The pause after every node has failed once; it doubles from round to round.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause, on average.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one node is asked, on average, before another is: they even out after a restart.
const STAY: Duration = Duration::from_secs(30 * 60);
/// How long after a node was left because it was doubted the next one is asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(5);
/// How often within that time nodes are left because of new doubts: one may not have heard yet what
/// the other knows.
const AT_ONCE: usize = 4;

/// The nodes of a source in an order of our own, so that not everybody asks the same.
#[derive(Debug)]
pub(super) struct Rotation {
    order: Vec<usize>,
    at: usize,
    /// Failures since a node last answered.
    failures: usize,
    /// When nodes were left because they were doubted, the last few times.
    doubted: VecDeque<Instant>,
}

impl Rotation {
    /// An order of `count` nodes, of which there must be one.
    pub(super) fn new(count: usize, random: &mut fastrand::Rng) -> Self {
        let mut order: Vec<_> = (0..count.max(1)).collect();
        random.shuffle(&mut order);
        Self { order, at: 0, failures: 0, doubted: VecDeque::new() }
    }

    /// Returns how long a node is asked before another is.
    pub(super) fn stay(random: &mut fastrand::Rng) -> Duration {
        STAY.mul_f32(0.5 + random.f32())
    }

    /// Returns which node is asked.
    pub(super) fn current(&self) -> usize {
        self.order.get(self.at).copied().unwrap_or_default()
    }

    /// Returns whether there is another node.
    fn has_others(&self) -> bool {
        self.order.len() > 1
    }

    /// Returns whether no node has answered since each was asked.
    pub(super) fn is_out(&self) -> bool {
        self.failures >= self.order.len()
    }

    /// The current node has answered. Returns whether it is left for another: as its answer is doubted,
    /// or as it was asked for long enough, which it was from `until` on.
    pub(super) fn answered(&mut self, heard: Heard, now: Instant, until: Instant) -> bool {
        self.failures = 0;
        let is_left = match heard {
            Heard::Doubted => self.doubt(true, now),
            Heard::Doubtful => self.doubt(false, now),
            Heard::News | Heard::Nothing => false,
        };
        if is_left {
            return true;
        }
        let is_over = now >= until && self.has_others();
        if is_over {
            self.move_on();
        }
        is_over
    }

    fn move_on(&mut self) {
        self.at = (self.at + 1) % self.order.len().max(1);
    }

    /// Leaves a node whose answer is doubted for another that may know better: at once if the doubt is
    /// new, else every few seconds. Not without end, as two nodes may each lack what the other has.
    /// Returns whether it is left.
    fn doubt(&mut self, is_new: bool, now: Instant) -> bool {
        let is_soon = |it: &Instant| now < *it + AGAIN;
        let is_out = self.doubted.len() >= AT_ONCE && self.doubted.front().is_some_and(is_soon);
        let is_early = !is_new && self.doubted.back().is_some_and(is_soon);
        if !self.has_others() || is_out || is_early {
            return false;
        }
        self.doubted.push_back(now);
        if self.doubted.len() > AT_ONCE {
            self.doubted.pop_front();
        }
        self.move_on();
        true
    }

    /// Leaves a node that has failed; returns the pause before the next is asked: none before each
    /// has failed.
    pub(super) fn fail(&mut self, random: &mut fastrand::Rng) -> Duration {
        self.move_on();
        self.failures = self.failures.saturating_add(1);
        let count = self.order.len().max(1);
        if !self.failures.is_multiple_of(count) {
            return Duration::ZERO;
        }
        let round = u32::try_from(self.failures / count).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(1 << round.saturating_sub(1).min(16));
        pause.min(LONGEST_PAUSE).mul_f32(0.5 + random.f32())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_tried_at_once_and_then_ever_more_slowly() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut rotation = Rotation::new(3, &mut random);

        let first = [0, 1, 2].map(|_| (rotation.current(), rotation.fail(&mut random)));
        let out = rotation.is_out();
        let later: Vec<_> = (0..60).map(|_| rotation.fail(&mut random)).collect();

        let mut asked = first.map(|it| it.0);
        asked.sort_unstable();
        assert_eq!((asked, out), ([0, 1, 2], true));
        assert_eq!((first[0].1, first[1].1), (Duration::ZERO, Duration::ZERO));
        assert!(first[2].1 >= FIRST_PAUSE / 2 && first[2].1 < FIRST_PAUSE * 3 / 2);
        assert!(later.iter().all(|it| *it < LONGEST_PAUSE * 3 / 2));
        assert!(*later.last().unwrap() >= LONGEST_PAUSE / 2);
    }

    #[test]
    fn nodes_that_are_doubted_in_turn_are_not_left_all_the_time() {
        let mut random = fastrand::Rng::with_seed(1);
        let [mut two, mut one] = [2, 1].map(|it| Rotation::new(it, &mut random));
        let now = Instant::now();

        let at = |rotation: &mut Rotation, is_new, at| {
            rotation.doubt(is_new, now + Duration::from_secs(at))
        };
        let again = [0, 1, 4, 5, 9, 10].map(|it| at(&mut two, false, it));
        let new = [20, 20, 20, 20, 20, 24, 25].map(|it| at(&mut two, true, it));

        assert_eq!(again, [true, false, false, true, false, true]);
        assert_eq!(new, [true, true, true, true, false, false, true]);
        assert!(!at(&mut one, true, 0));
    }

    #[test]
    fn a_node_that_was_asked_for_long_enough_is_left_if_there_is_another() {
        let mut random = fastrand::Rng::with_seed(1);
        let [mut two, mut one] = [2, 1].map(|it| Rotation::new(it, &mut random));
        let (now, before) = (Instant::now(), two.current());

        let early = two.answered(Heard::News, now, now + AGAIN);
        let late = two.answered(Heard::News, now + AGAIN, now + AGAIN);

        assert!(!early && late && two.current() != before);
        assert!(!one.answered(Heard::News, now, now));
    }

    #[test]
    fn an_answer_makes_the_next_failure_the_first() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut rotation = Rotation::new(2, &mut random);
        for _ in 0..9 {
            rotation.fail(&mut random);
        }

        let now = Instant::now();
        let is_left = rotation.answered(Heard::Nothing, now, now + AGAIN);

        assert!(!is_left && !rotation.is_out());
        assert_eq!(rotation.fail(&mut random), Duration::ZERO);
    }
}
