//! Self-protection: when so many fall silent at once that the fault is likely ours, nobody is
//! evicted for it.
//!
//! Instances are judged by group, which is a zone and a lane: what fails together. A group is
//! protected while more than a share of it (15 %), and at least some (3), have been lost silently.
//! The protected are set aside, and what is left is judged again by zone and then as one: a zone
//! that is cut off freezes itself and nobody else.
//!
//! Lost are those whose lease ran out and who are still here, and those who were evicted for it a
//! short while ago. The latter belong to the same loss as long as one follows on the other within
//! half a lease, for at most 15 minutes: an outage whose leases run out one by one is seen whole,
//! and ten that failed a few minutes ago are not held against the ten that fail now. Whoever is
//! heard of again, or cancels, is lost no more.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use slab::Slab;

use crate::registry::record::Record;
use crate::registry::store::Settings;

/// The zones and lanes there are.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: Slab<Group>,
    numbers: HashMap<(Arc<str>, Arc<str>), usize>,
    isolated: bool,
}

#[derive(Debug)]
struct Group {
    zone: Arc<str>,
    lane: Arc<str>,
    /// Records of it, gone ones included.
    records: usize,
    /// Live ones, those whose lease ran out included.
    live: usize,
    protected: bool,
}

/// What a pass found lost, by group.
#[derive(Debug, Default)]
pub(super) struct Losses(HashMap<usize, Loss>);

#[derive(Debug, Default)]
struct Loss {
    /// When the leases of those still here ran out.
    held: Vec<Duration>,
    /// When the others were evicted.
    evicted: Vec<Duration>,
}

impl Losses {
    pub(super) fn held(&mut self, group: usize, since: Duration) {
        self.0.entry(group).or_default().held.push(since);
    }

    pub(super) fn evicted(&mut self, group: usize, since: Duration) {
        self.0.entry(group).or_default().evicted.push(since);
    }
}

/// How many of how many.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    lost: usize,
    /// Those lost included.
    all: usize,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.all += other.all;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn is_too_much(self, settings: &Settings) -> bool {
        let most = self.all as f64 * settings.protect_share;
        self.lost >= settings.protect_least.max(1) && self.lost as f64 > most + 1e-9
    }
}

impl Groups {
    /// Adds a record, and returns the number of its group. One that is gone has no lane of its
    /// own: it stays in the group it was in.
    pub(super) fn add(&mut self, record: &Record, before: Option<usize>) -> usize {
        let number = match (record.live(), before) {
            (None, Some(before)) => before,
            (live, _) => {
                let metadata = live.map(|it| &it.metadata);
                let lane = metadata.and_then(|it| it.get("color").or_else(|| it.get("lane")));
                self.number(&record.key.zone, lane)
            }
        };
        if let Some(group) = self.all.get_mut(number) {
            group.records += 1;
            group.live += usize::from(record.live().is_some());
        }
        number
    }

    fn number(&mut self, zone: &Arc<str>, lane: Option<&Arc<str>>) -> usize {
        let lane = lane.cloned().unwrap_or_default();
        let Self { all, numbers, .. } = self;
        *numbers.entry((zone.clone(), lane.clone())).or_insert_with(|| {
            let zone = zone.clone();
            all.insert(Group { zone, lane, records: 0, live: 0, protected: false })
        })
    }

    /// Takes out a record of a group; the last one takes the group with it.
    pub(super) fn remove(&mut self, record: &Record, number: usize) {
        let Some(group) = self.all.get_mut(number) else { return };
        group.records = group.records.saturating_sub(1);
        group.live = group.live.saturating_sub(usize::from(record.live().is_some()));
        if group.records == 0 {
            let group = self.all.remove(number);
            self.numbers.remove(&(group.zone, group.lane));
        }
    }

    pub(super) fn set_isolated(&mut self, isolated: bool) {
        self.isolated = isolated;
    }

    pub(super) fn is_isolated(&self) -> bool {
        self.isolated
    }

    pub(super) fn is_protected(&self, number: usize) -> bool {
        self.isolated || self.all.get(number).is_some_and(|it| it.protected)
    }

    /// Returns the zones and lanes that are protected.
    pub(super) fn protected(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let protected = self.all.iter().filter(|(_, it)| it.protected);
        protected.map(|(_, it)| (&it.zone, &it.lane))
    }

    /// Judges which groups are protected until the next pass.
    pub(super) fn judge(&mut self, losses: &Losses, settings: &Settings) {
        for (_, group) in &mut self.all {
            group.protected = false;
        }
        if losses.0.values().all(|it| it.held.is_empty()) {
            return;
        }
        let sum =
            |(number, group): (usize, &Group)| (number, group.sum(losses.0.get(&number), settings));
        let mut rest: HashMap<usize, Sum> = self.all.iter().map(sum).collect();
        for together in [Together::Group, Together::Zone, Together::All] {
            self.set_aside(&mut rest, together, settings);
        }
        for (number, group) in &mut self.all {
            let is_held = losses.0.get(&number).is_some_and(|it| !it.held.is_empty());
            group.protected &= is_held;
        }
    }

    /// Protects those of `rest` of whom, taken together, too many are lost, and takes them out.
    fn set_aside(
        &mut self,
        rest: &mut HashMap<usize, Sum>,
        together: Together,
        settings: &Settings,
    ) {
        let mut sums: HashMap<_, Sum> = HashMap::new();
        for (number, sum) in &*rest {
            if let Some(group) = self.all.get(*number) {
                sums.entry(together.of(*number, group)).or_default().add(*sum);
            }
        }
        rest.retain(|number, _| {
            let Some(group) = self.all.get_mut(*number) else { return false };
            let sum = sums.get(&together.of(*number, group));
            group.protected = sum.is_some_and(|it| it.is_too_much(settings));
            !group.protected
        });
    }
}

/// Which groups are judged as one.
#[derive(Debug, Clone, Copy)]
enum Together {
    Group,
    Zone,
    All,
}

impl Together {
    /// Returns what a group has in common with those it is judged with.
    fn of(self, number: usize, group: &Group) -> (Option<usize>, Option<Arc<str>>) {
        match self {
            Self::Group => (Some(number), None),
            Self::Zone => (None, Some(group.zone.clone())),
            Self::All => (None, None),
        }
    }
}

impl Group {
    fn sum(&self, loss: Option<&Loss>, settings: &Settings) -> Sum {
        let Some(loss) = loss else { return Sum { lost: 0, all: self.live } };
        let evicted = loss.evicted_in_one_go(settings.lease / 2);
        Sum { lost: loss.held.len() + evicted, all: self.live + evicted }
    }
}

impl Loss {
    /// Counts the evictions that belong to the latest loss: going back from the last, as long as
    /// one follows on the other within `gap`.
    fn evicted_in_one_go(&self, gap: Duration) -> usize {
        let held = self.held.iter().map(|at| (*at, 0));
        let mut all: Vec<_> = held.chain(self.evicted.iter().map(|at| (*at, 1))).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        let mut last = all.first().map_or(Duration::ZERO, |(at, _)| *at);
        let in_one_go = all.iter().take_while(|(at, _)| {
            let follows = last.saturating_sub(*at) <= gap;
            last = *at;
            follows
        });
        in_one_go.map(|(_, count)| count).sum()
    }
}
