//! The way from one machine to another: how long it takes, and whether there is one.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;

/// What lies between the machines.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// From whom nothing comes to whom.
    cuts: BTreeSet<(usize, usize)>,
    /// Whose next parcel to whom breaks its connection.
    breaks: BTreeSet<(usize, usize)>,
    /// How bad it is elsewhere, from 0 to 1.
    pub(super) trouble: f64,
}

impl Network {
    /// Whether anything comes from one to another.
    pub(super) fn carries(&self, from: usize, to: usize) -> bool {
        from == to || !self.cuts.contains(&(from, to))
    }

    /// Whether there is a way to and fro.
    pub(super) fn joins(&self, one: usize, other: usize) -> bool {
        self.carries(one, other) && self.carries(other, one)
    }

    /// Lets nothing through from one to another; the way back stays.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((from, to));
    }

    /// Has the next parcel from one to another break its connection.
    pub(super) fn break_off(&mut self, from: usize, to: usize) {
        self.breaks.insert((from, to));
    }

    /// Whether a parcel sent now breaks its connection.
    pub(super) fn breaks(&mut self, from: usize, to: usize) -> bool {
        self.breaks.remove(&(from, to))
    }

    /// Lets nothing through between `side` and all others of `count` machines.
    pub(super) fn part(&mut self, side: &[usize], count: usize) {
        for one in side {
            for other in (0..count).filter(|it| !side.contains(it)) {
                self.cut(*one, other);
                self.cut(other, *one);
            }
        }
    }

    /// Lets everything through again.
    pub(super) fn mend(&mut self) {
        self.cuts.clear();
        self.trouble = 0.0;
    }

    /// How long what is sent now is under way, for each time that it arrives: not at all, once, or
    /// twice.
    pub(super) fn delays(&self, from: usize, to: usize, random: &mut Rng) -> Vec<Duration> {
        let chance = |random: &mut Rng, most: f64| random.f64() < most * self.trouble;
        if !self.carries(from, to) || chance(random, 0.2) {
            return Vec::new();
        }
        let times = if chance(random, 0.1) { 2 } else { 1 };
        let mut delay = || {
            // Beyond 3 s its sender has given up.
            let slow = if chance(random, 0.3) { random.u64(0..6_000_000) } else { 0 };
            Duration::from_micros(random.u64(100..2_000) + slow)
        };
        (0..times).map(|_| delay()).collect()
    }
}
