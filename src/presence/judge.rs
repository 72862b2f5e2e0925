//! How many answers in a row it takes to change a judgement.

use crate::config::Probe;

/// A judgement, and the answers in a row that speak against it.
#[derive(Debug)]
pub(super) struct Judge {
    is_well: bool,
    against: u32,
}

impl Judge {
    pub(super) fn new(is_well: bool) -> Self {
        Self { is_well, against: 0 }
    }

    pub(super) fn is_well(&self) -> bool {
        self.is_well
    }

    /// Takes in an answer; returns whether the judgement changes.
    pub(super) fn hear(&mut self, is_good: bool, probe: &Probe) -> bool {
        if is_good == self.is_well {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if is_good { probe.healthy } else { probe.unhealthy } {
            return false;
        }
        *self = Self::new(is_good);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judgement_changes_after_enough_answers_in_a_row() {
        let probe = Probe { healthy: 2, unhealthy: 3, ..Probe::default() };
        let mut judge = Judge::new(true);
        let mut hear = |answers: &str| {
            let mut judged = |it| {
                judge.hear(it == '+', &probe);
                if judge.is_well() { '+' } else { '-' }
            };
            answers.chars().map(&mut judged).collect::<String>()
        };

        let falls = hear("--+---");
        let rises = hear("+-++");

        assert_eq!((&*falls, &*rises), ("+++++-", "---+"));
    }
}
