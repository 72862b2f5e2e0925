//! The pass: who has been silent for too long goes, a few at a time; what has been gone for long
//! is forgotten.

use std::time::Duration;

use crate::registry::record::{Id, Moment, Record, State};
use crate::registry::store::clock::nanos;
use crate::registry::store::protect::Losses;
use crate::registry::store::table::Entry;
use crate::registry::store::{Origin, Settings, Store};

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// How many it evicted.
    pub evicted: usize,
    /// How many it would have, but for self-protection.
    pub held: usize,
    /// How many it left to the next pass, for having evicted its share.
    pub left: usize,
    /// How many that had long been gone it forgot.
    pub forgotten: usize,
    /// By how much it was late; every lease was made longer by that.
    pub late: Duration,
}

/// Time as leases count it: without the times in which this node stood still and could hear nobody.
#[derive(Debug, Default)]
pub(super) struct LeaseTime {
    stood: Duration,
    last_pass: Option<Duration>,
}

impl LeaseTime {
    /// Returns what time it is.
    pub(super) fn at(&self, now: Moment) -> Duration {
        now.since_start.saturating_sub(self.stood)
    }

    /// Notes a pass. Returns by how much it is late, if that is more than a fifth of the time
    /// between passes and so no mere delay.
    fn pass(&mut self, now: Moment, every: Duration) -> Duration {
        let since = self.last_pass.map_or(Duration::ZERO, |it| now.since_start.saturating_sub(it));
        self.last_pass = Some(now.since_start);
        let late = since.saturating_sub(every);
        if late <= every / 5 {
            return Duration::ZERO;
        }
        self.stood += late;
        late
    }
}

/// What a look at all records finds.
#[derive(Default)]
struct Found {
    /// Those whose lease ran out, their group, and whether that was longer ago than any protection
    /// reaches.
    silent: Vec<(Id, usize, bool)>,
    losses: Losses,
    forgettable: Vec<Id>,
}

impl Store {
    /// Evicts those who have been silent for longer than their lease, forgets those who have been
    /// gone for longer than tombstones are kept, and judges anew who is protected.
    ///
    /// At most a share of the registry goes in one pass, at random: if the fault is ours after all,
    /// it shows before much is lost.
    pub fn pass(&mut self, now: Moment, random: &mut fastrand::Rng) -> Pass {
        let late = self.time.pass(now, self.settings.pass);
        let found = self.look(now);
        self.groups.judge(&found.losses, &self.settings);

        let silent = found.silent.len();
        let mut candidates: Vec<Id> = found
            .silent
            .iter()
            .filter(|(_, group, is_beyond)| *is_beyond || !self.groups.is_protected(*group))
            .map(|(id, ..)| *id)
            .collect();
        self.held = silent - candidates.len();
        let most = self.most_evicted();
        let left = candidates.len().saturating_sub(most);
        for id in draw(&mut candidates, most, random) {
            self.evict(*id, now);
        }
        for id in &found.forgettable {
            self.forget(*id);
        }
        self.mend_slots(now);
        self.apps.sweep(now);
        self.names.sweep();
        Pass {
            evicted: candidates.len() - left,
            held: self.held,
            left,
            forgotten: found.forgettable.len(),
            late,
        }
    }

    /// Looks at all records.
    fn look(&mut self, now: Moment) -> Found {
        let today = self.time.at(now);
        let settings = &self.settings;
        let mut found = Found::default();
        for (id, entry) in self.table.iter_mut() {
            entry.heard = entry.heard.min(today);
            let silent = today.saturating_sub(entry.heard);
            match &entry.record.state {
                State::Live(live) => {
                    let lease = lease_of(live.lease, settings);
                    if silent >= lease {
                        found.losses.held(entry.group, entry.heard.saturating_add(lease));
                        found.silent.push((id, entry.group, silent >= settings.ceiling));
                    }
                }
                State::Evicted if silent <= settings.protect_window => {
                    found.losses.evicted(entry.group, entry.heard);
                }
                State::Evicted | State::Cancelled => {}
            }
            if is_forgettable(entry, silent, now, settings) {
                found.forgettable.push(id);
            }
        }
        found
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count far below 2^52"
    )]
    fn most_evicted(&self) -> usize {
        let share = self.live as f64 * self.settings.evict_share;
        ((share + 1e-9) as usize).max(1)
    }

    fn evict(&mut self, id: Id, now: Moment) {
        let Some(entry) = self.table.get(id) else { return };
        let key = entry.record.key.clone();
        let record = Record { key, version: entry.record.version, state: State::Evicted };
        self.put(id, record, Origin::Here, now);
    }
}

/// Returns how long an instance may be silent.
pub(super) fn lease_of(own: Option<u32>, settings: &Settings) -> Duration {
    let own = own.filter(|it| *it > 0).map(|it| Duration::from_secs(it.into()));
    own.unwrap_or(settings.lease).min(settings.ceiling)
}

/// Whether what is gone has been gone for long enough. A cancelling says itself when it was, and
/// all nodes forget it at the same time; of an eviction each node counts from when it knew.
fn is_forgettable(entry: &Entry, silent: Duration, now: Moment, settings: &Settings) -> bool {
    match entry.record.state {
        State::Live(_) => false,
        State::Evicted => silent > settings.tombstones,
        State::Cancelled => is_old(entry.record.version.at.min(entry.renewed), now, settings),
    }
}

/// Whether a cancelling of the time `at`, in unix nanoseconds, is no longer kept.
pub(super) fn is_old(at: u64, now: Moment, settings: &Settings) -> bool {
    now.unix.saturating_sub(at) > nanos(settings.tombstones)
}

/// Draws at most `most` at random: the first steps of a Fisher-Yates shuffle.
fn draw<'a>(from: &'a mut [Id], most: usize, random: &mut fastrand::Rng) -> &'a [Id] {
    let count = most.min(from.len());
    for at in 0..count {
        let other = random.usize(at..from.len());
        from.swap(at, other);
    }
    from.get(..count).unwrap_or_default()
}
