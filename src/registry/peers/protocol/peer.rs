//! One other node: where it is, whether it answers, and what is to be said to it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::registry::peers::protocol::outbox::Outbox;
use crate::registry::peers::protocol::parcel::{Parcel, RuleName, Span, Speaker};
use crate::registry::record::{Id, Record};
use crate::registry::rules::Rule;

/// How soon a lost node is tried again where the last attempt took its time: that was long enough.
const PROBE_SOON: Duration = Duration::from_millis(200);
/// How soon one is tried again that could not be reached.
const PROBE: Duration = Duration::from_secs(1);
/// How soon at the latest one is tried again that never was a node of ours, or says it is none.
const PROBE_RARELY: Duration = Duration::from_secs(10);
/// How soon another name of a node we talk to is tried again.
const PROBE_ALIAS: Duration = Duration::from_secs(10);
/// How soon a node is tried again that broke off once.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It does not, or was never asked.
    Lost { probe_at: Duration, pause: Duration },
    /// It does; `stumbled`, but for the last time.
    Up { stumbled: bool, not_before: Duration },
    /// It is ourselves, or has another name by which we talk to it.
    Alias { probe_at: Duration },
}

/// Why a node does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It did not within the time there is.
    TimedOut,
    /// No connection came about within the time there is.
    Unconnected,
    /// It could not be reached, or broke off.
    Broken,
    /// It answered, but not as a node of this cluster does.
    Refused,
    /// It wants another token than ours.
    Untrusted,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "it does not answer in time",
            Self::Unconnected => "it cannot be reached",
            Self::Broken => "it refuses connections, or breaks off",
            Self::Refused => "it is no node of this registry",
            Self::Untrusted => "it has another token",
        })
    }
}

/// How far the comparing of everything has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// There is nothing to compare.
    Rest,
    /// Roots are to be compared; so many times more, should they differ after all.
    Due { rounds: u8 },
    /// The other was asked for its root.
    Asked { rounds: u8 },
    /// What we have in these buckets is to be listed.
    ///
    /// Some have been so before; `again` so many times.
    Buckets { left: VecDeque<u16>, rounds: u8, again: usize },
}

impl Compare {
    /// From the start.
    pub(super) const NEW: Self = Self::Due { rounds: 4 };
}

/// What waits to be said of tenant rules.
#[derive(Debug, Default)]
pub(super) struct RuleBox {
    /// Whether digests are to be compared.
    pub(super) is_due: bool,
    /// What the other lacks.
    pub(super) owed: VecDeque<Rule>,
    /// What we lack.
    pub(super) wanted: VecDeque<RuleName>,
}

/// One other node.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it is reached.
    pub(super) at: Arc<str>,
    pub(super) zone: Arc<str>,
    /// Whether an operator named it: it is never forgotten.
    pub(super) is_seed: bool,
    /// Who last answered there.
    pub(super) speaker: Option<Speaker>,
    pub(super) reach: Reach,
    /// Since when that is so.
    pub(super) since: Duration,
    /// Why it did not answer the last time; none: it did, or was never asked.
    pub(super) why: Option<Failure>,
    /// When we last spoke to it, and when it last answered.
    pub(super) spoke: Duration,
    pub(super) heard: Option<Duration>,
    /// For nodes of our own zone; those of others share one.
    pub(super) outbox: Outbox,
    /// Records it asked for, or has an older writing of.
    pub(super) owed: BTreeSet<Id>,
    pub(super) compare: Compare,
    pub(super) rules: RuleBox,
    /// Whether it said that it would not come back. Undone when it does.
    pub(super) has_left: bool,
    /// Whether it has not been told yet which nodes we know.
    pub(super) is_new: bool,
    /// What it was asked for of a copy of everything.
    pub(super) copying: Option<Span>,
    /// What it is being told now: said again should it fail.
    pub(super) sent: Parcel,
}

impl Peer {
    pub(super) fn new(at: Arc<str>, zone: Arc<str>, is_seed: bool, now: Duration) -> Self {
        Self {
            at,
            zone,
            is_seed,
            speaker: None,
            reach: Reach::Lost { probe_at: now, pause: PROBE },
            since: now,
            why: None,
            spoke: now,
            heard: None,
            outbox: Outbox::default(),
            owed: BTreeSet::new(),
            compare: Compare::Rest,
            rules: RuleBox::default(),
            has_left: false,
            is_new: true,
            copying: None,
            sent: Parcel::default(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.reach, Reach::Up { .. })
    }

    pub(super) fn is_alias(&self) -> bool {
        matches!(self.reach, Reach::Alias { .. })
    }

    /// Whether it has a complete copy.
    pub(super) fn is_readable(&self) -> bool {
        self.is_up() && self.speaker.as_ref().is_some_and(|it| it.readable)
    }

    /// Whether the process that runs as `run` last answered there.
    pub(super) fn is_run(&self, run: u64) -> bool {
        self.speaker.as_ref().is_some_and(|it| it.run == run)
    }

    /// Notes that it answers. True: it did not before, or is another process than it was.
    pub(super) fn answered(&mut self, speaker: Speaker, now: Duration) -> bool {
        let is_same_run = self.is_run(speaker.run);
        let was_up = self.is_up();
        if !was_up {
            self.since = now;
            self.has_left = false;
        }
        self.zone.clone_from(&speaker.zone);
        self.speaker = Some(speaker);
        self.heard = Some(now);
        self.why = None;
        self.reach = Reach::Up { stumbled: false, not_before: now };
        if !(was_up && is_same_run) {
            self.compare = Compare::NEW;
            self.rules.is_due = true;
            self.is_new = true;
        }
        !(was_up && is_same_run)
    }

    /// Notes that what answers there is not to be spoken to.
    pub(super) fn set_alias(&mut self, now: Duration) {
        self.drop_all();
        self.reach = Reach::Alias { probe_at: now + PROBE_ALIAS };
        self.since = now;
    }

    /// Notes a failure. True: it is lost by that and was not before, or is refused and was not.
    pub(super) fn failed(
        &mut self,
        why: Failure,
        now: Duration,
        random: &mut fastrand::Rng,
    ) -> bool {
        let is_refused = |it| matches!(it, Failure::Refused | Failure::Untrusted);
        let is_news = is_refused(why) && self.why != Some(why);
        self.why = Some(why);
        match self.reach {
            Reach::Up { stumbled: false, .. }
                if matches!(why, Failure::Broken | Failure::Unconnected) =>
            {
                self.reach = Reach::Up { stumbled: true, not_before: now + PAUSE };
                return false;
            }
            Reach::Up { .. } => {
                let took_long = matches!(why, Failure::TimedOut | Failure::Unconnected);
                let pause = if took_long { PROBE_SOON } else { PROBE };
                self.reach = Reach::Lost { probe_at: now + pause, pause: PROBE };
                self.since = now;
                self.drop_all();
                return true;
            }
            Reach::Lost { pause, .. } => {
                // Seeds and nodes that were with us before are waited for at any time, so that after
                // hours of a cut the cluster is whole within seconds.
                let is_missed = self.is_seed || self.speaker.is_some();
                let pause = match why {
                    Failure::TimedOut | Failure::Unconnected if is_missed => PROBE_SOON,
                    Failure::Broken if is_missed => PROBE,
                    _ => pause.saturating_mul(2).min(PROBE_RARELY),
                };
                let pause_now = pause.mul_f64(1.0 - 0.2 * random.f64());
                let next = pause.max(PROBE);
                self.reach = Reach::Lost { probe_at: now + pause_now, pause: next };
            }
            Reach::Alias { .. } => self.reach = Reach::Alias { probe_at: now + PROBE_ALIAS },
        }
        is_news
    }

    /// Sees to it that a lost node is tried soon: there is a sign of it.
    pub(super) fn probe_soon(&mut self, now: Duration) {
        if let Reach::Lost { probe_at, .. } = &mut self.reach {
            // It may be that it reaches us and we do not reach it: then there is a sign at any time.
            *probe_at = now.max(self.spoke + PROBE_SOON).min(*probe_at);
        }
    }

    /// Drops what was to be said: it is found again by comparing.
    fn drop_all(&mut self) {
        self.outbox.clear();
        self.owed.clear();
        self.compare = Compare::Rest;
        self.rules = RuleBox::default();
    }

    /// Takes a record to be sent. Without room for it, everything is compared instead.
    pub(super) fn put(&mut self, id: Id, record: Arc<Record>) {
        if !self.outbox.put(id, record) {
            self.compare = Compare::NEW;
        }
    }
}
