//! How a node that starts gets a copy of everything: in pages, from up to two others at a time.

use std::time::Duration;

use crate::registry::peers::protocol::parcel::{BUCKETS, Span};

/// Buckets of a part: what one node is asked for before it takes the next part.
const PART: u16 = 16;
/// Nodes that are copied from at a time.
const SOURCES: usize = 2;
/// How long a node waits for somebody to copy from.
const ALONE: Duration = Duration::from_secs(5);
/// How long it waits for a copy to be complete.
const AT_MOST: Duration = Duration::from_secs(60);

/// A copy under way. Parts not yet asked for are handed out; one that fails is handed out again.
#[derive(Debug)]
pub(super) struct Copy {
    parts: Vec<Span>,
    under_way: usize,
    /// Whether what we have may be shown.
    is_readable: bool,
    /// Whether a part came from a node that need not have heard of everybody itself.
    is_doubtful: bool,
}

/// What the others are like, as seen from a node that wants a copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Others {
    /// How many there are.
    pub(super) known: usize,
    /// How many of them answer.
    pub(super) up: usize,
    /// How many of these have a complete copy.
    pub(super) readable: usize,
}

impl Copy {
    pub(super) fn new() -> Self {
        let starts = (0..BUCKETS).step_by(PART.into());
        let parts = starts.map(|from| Span { from, to: from + PART, after: None }).collect();
        Self { parts, under_way: 0, is_readable: false, is_doubtful: false }
    }

    /// Whether what we have may be shown: it is a complete copy, or there is none to be had.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Takes a part to ask one more node for; none: there is none left, or enough are asked.
    pub(super) fn claim(&mut self) -> Option<Span> {
        if self.is_readable || self.under_way >= SOURCES {
            return None;
        }
        let part = self.parts.pop()?;
        self.under_way += 1;
        Some(part)
    }

    /// Gives back what was not got of a part.
    pub(super) fn give_back(&mut self, rest: Span) {
        self.under_way = self.under_way.saturating_sub(1);
        self.parts.push(rest);
    }

    /// Whether it came whole, from nodes that had heard of everybody.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.is_empty() && self.under_way == 0 && !self.is_doubtful
    }

    /// Notes that a part has come whole; `is_doubtful` if who sent it is filling.
    pub(super) fn finish(&mut self, is_doubtful: bool) {
        self.is_doubtful |= is_doubtful;
        self.under_way = self.under_way.saturating_sub(1);
        self.is_readable |= self.parts.is_empty() && self.under_way == 0;
    }

    /// Gives up waiting for a copy that nobody has: `now` is the time since the start.
    pub(super) fn settle(&mut self, others: Others, now: Duration) {
        let Others { known, up, readable } = others;
        let all_start_with_us = up == known && readable == 0;
        let is_alone = now >= ALONE && self.under_way == 0 && readable == 0;
        self.is_readable |= all_start_with_us || is_alone || now >= AT_MOST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY_READABLE: Others = Others { known: 2, up: 1, readable: 0 };

    #[test]
    fn a_copy_is_complete_when_every_part_has_come() {
        let mut copy = Copy::new();

        let (first, second) = (copy.claim(), copy.claim());
        let third = copy.claim();
        copy.give_back(first.unwrap());
        copy.finish(false);
        let mut parts = 1;
        while copy.claim().is_some() {
            assert!(!copy.is_readable());
            copy.finish(false);
            parts += 1;
        }

        assert!(second.is_some() && third.is_none());
        assert!(copy.is_readable() && copy.is_whole());
        assert_eq!(parts, BUCKETS / PART);
    }

    #[test]
    fn a_copy_of_a_node_that_is_filling_may_be_shown_and_is_not_whole() {
        let mut copy = Copy::new();

        while copy.claim().is_some() {
            copy.finish(true);
        }

        assert!(copy.is_readable() && !copy.is_whole());
    }

    #[test]
    fn a_node_alone_waits_for_five_seconds() {
        let mut copy = Copy::new();

        copy.settle(NOBODY_READABLE, Duration::from_millis(4_999));
        let before = copy.is_readable();
        copy.settle(NOBODY_READABLE, ALONE);

        assert!(!before && copy.is_readable());
    }

    #[test]
    fn a_node_without_others_and_one_of_a_cluster_that_starts_do_not_wait() {
        for others in [(0, 0), (2, 2)] {
            let mut copy = Copy::new();

            copy.settle(Others { known: others.0, up: others.1, readable: 0 }, Duration::ZERO);

            assert!(copy.is_readable());
        }
    }

    #[test]
    fn a_copy_that_comes_is_waited_for() {
        let mut copy = Copy::new();
        let _part = copy.claim();

        copy.settle(NOBODY_READABLE, ALONE * 2);

        assert!(!copy.is_readable());
    }
}
