//! The hybrid logical clock that versions are made of.
//!
//! Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014): physical time where it will do, and one
//! more than the latest heard of where it will not. A clock far ahead of ours is not believed: what
//! it wrote is kept, and what replaces that is written above it, but our clock does not follow.

use std::time::Duration;

use crate::registry::record::{NodeId, Version};

/// No version is later than this: 2116-02-20, in unix nanoseconds. Leaves all the room there may be
/// need of above it, within what the wire's signed 64 bits hold.
pub const LATEST: u64 = 1 << 62;

/// By how much, in nanoseconds, what somebody says is later than what it replaces, at least: so that
/// it goes before what nobody said ([`Clock::over`]) elsewhere of the same, a few times over.
pub(super) const SAID: u64 = 1000;

/// The clock of one node.
#[derive(Debug)]
pub(super) struct Clock {
    node: NodeId,
    /// The latest of what was given out and what was heard of and believed.
    last: u64,
    /// How far ahead a peer may be and still be believed.
    drift: u64,
    /// How many versions were not believed.
    ahead: u64,
}

impl Clock {
    pub(super) fn new(node: NodeId, drift: Duration) -> Self {
        Self { node, last: 0, drift: nanos(drift), ahead: 0 }
    }

    /// Gives out a version: later than every one before, and than `replaced`.
    pub(super) fn next(&mut self, unix: u64, replaced: Option<Version>) -> Version {
        self.last = unix.min(LATEST).max(self.last.saturating_add(1));
        let above = replaced.map_or(0, |it| it.at.saturating_add(SAID));
        Version { at: self.last.max(above), node: self.node }
    }

    /// Returns a version just later than `replaced`: for what nobody has said, so that it goes before
    /// nothing that was said meanwhile.
    pub(super) fn over(&self, replaced: Version) -> Version {
        Version { at: replaced.at.saturating_add(1), node: self.node }
    }

    /// Hears of a peer's version.
    pub(super) fn hear(&mut self, at: u64, unix: u64) {
        if self.is_ahead(at, unix) {
            self.ahead += 1;
        } else {
            self.last = self.last.max(at);
        }
    }

    /// Returns who writes by it.
    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    /// Whether a peer's version is so far ahead that the peer's clock is not believed.
    pub(super) fn is_ahead(&self, at: u64, unix: u64) -> bool {
        at > unix.saturating_add(self.drift)
    }

    /// Returns how many versions were too far ahead of our clock to be followed.
    pub(super) fn ahead(&self) -> u64 {
        self.ahead
    }
}

/// Returns a duration in nanoseconds: at most 584 years.
pub(super) fn nanos(of: Duration) -> u64 {
    u64::try_from(of.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: Duration = Duration::from_secs(300);
    const NOON: u64 = 1_800_000_000_000_000_000;

    #[test]
    fn versions_rise_where_the_clock_stands_still_or_is_put_back() {
        let mut clock = Clock::new(NodeId(1), DRIFT);

        let given = [NOON, NOON, NOON - 5, NOON + 9].map(|unix| clock.next(unix, None).at);

        assert_eq!(given, [NOON, NOON + 1, NOON + 2, NOON + 9]);
    }

    #[test]
    fn a_clock_follows_a_peer_that_is_a_little_ahead() {
        let mut clock = Clock::new(NodeId(1), DRIFT);

        clock.hear(NOON + nanos(DRIFT), NOON);

        assert_eq!(clock.next(NOON, None).at, NOON + nanos(DRIFT) + 1);
    }

    #[test]
    fn a_clock_does_not_follow_a_peer_that_is_far_ahead_and_still_writes_above_it() {
        let mut clock = Clock::new(NodeId(1), DRIFT);
        let far = Version { at: NOON + nanos(DRIFT) + 1, node: NodeId(9) };

        clock.hear(far.at, NOON);

        assert_eq!(clock.next(NOON, Some(far)).at, far.at + SAID);
        assert_eq!(clock.next(NOON, None).at, NOON + 1);
        assert_eq!(clock.ahead(), 1);
    }
}
