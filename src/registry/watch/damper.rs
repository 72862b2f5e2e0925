//! Telling who asks the same again and again, and is told the same: it is made to wait.
//!
//! Some clients do not store what an answer without instances says, and ask again at once; some lose
//! the last digits of a timestamp and never have the right one. Thousands of requests a second came
//! from one of them. A change ends the waiting, so it costs them nothing.

use std::collections::HashMap;
use std::time::Duration;

/// Who is remembered at a time: two generations of so many.
const MOST: usize = 1 << 16;
/// How long after an answer the same question counts as a repetition.
const MEMORY: Duration = Duration::from_secs(60);
/// How long the first damped repetition waits; each further one twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// How long any of them waits at most.
const LONGEST: Duration = Duration::from_secs(30);

/// A question, and what it would be answered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The fingerprint of the question and of who asks it.
    pub question: u128,
    /// The fingerprint of the answer.
    pub answer: u128,
    /// How often the two may be repeated freely.
    pub free: u32,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    answer: u128,
    times: u32,
    last: Duration,
}

/// Who asked what, lately.
#[derive(Debug, Default)]
pub struct Damper {
    young: HashMap<u128, Seen>,
    old: HashMap<u128, Seen>,
}

impl Damper {
    /// Returns how long to wait before giving this answer, unless it changes meanwhile: none if it
    /// is new. `now` is since the start.
    pub fn wait(&mut self, repeat: Repeat, now: Duration) -> Duration {
        let seen = self.young.get(&repeat.question).or_else(|| self.old.get(&repeat.question));
        let same = seen.filter(|it| {
            it.answer == repeat.answer && now.saturating_sub(it.last) < MEMORY + LONGEST
        });
        let times = same.map_or(0, |it| it.times.saturating_add(1));
        self.remember(repeat.question, Seen { answer: repeat.answer, times, last: now });
        match times.checked_sub(repeat.free + 1) {
            None => Duration::ZERO,
            Some(more) => FIRST.saturating_mul(1 << more.min(8)).min(LONGEST),
        }
    }

    fn remember(&mut self, question: u128, seen: Seen) {
        if self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Repeat = Repeat { question: 1, answer: 7, free: 0 };

    fn waits(damper: &mut Damper, repeat: Repeat, times: usize) -> Vec<u64> {
        (0..times).map(|_| damper.wait(repeat, Duration::ZERO).as_secs()).collect()
    }

    #[test]
    fn who_repeats_itself_waits_longer_each_time() {
        let mut damper = Damper::default();

        assert_eq!(waits(&mut damper, EMPTY, 8), [0, 1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn some_repetitions_are_free() {
        let mut damper = Damper::default();

        assert_eq!(waits(&mut damper, Repeat { free: 3, ..EMPTY }, 6), [0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn another_question_or_answer_does_not_wait() {
        let mut damper = Damper::default();
        waits(&mut damper, EMPTY, 3);

        let answer = waits(&mut damper, Repeat { answer: 8, ..EMPTY }, 2);
        let question = waits(&mut damper, Repeat { question: 2, ..EMPTY }, 1);
        let later = damper.wait(EMPTY, Duration::from_secs(100));

        assert_eq!((answer, question, later.as_secs()), (vec![0, 1], vec![0], 0));
    }

    #[test]
    fn no_crowd_is_too_large() {
        let mut damper = Damper::default();

        for question in 0..3 * MOST as u128 {
            damper.wait(Repeat { question, ..EMPTY }, Duration::ZERO);
        }

        assert!(damper.young.len() + damper.old.len() <= 2 * MOST);
    }
}
