//! What a source does with what it hears: judges it, counts it, publishes what counts.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::discovery::belief::{Belief, Witness};
use crate::discovery::report::{Mishap, Moment, Report, SourceView};
use crate::discovery::rotation::AGAIN;
use crate::discovery::rules::{RuleBelief, Rules, ToldRules};
use crate::discovery::said::{LeftOut, Said, count};
use crate::telemetry::{Metrics, Source};

/// How soon after an answer is due it is asked for.
const SOON: Duration = Duration::from_millis(100);
/// Instances that the operator is shown as left out.
const EXAMPLES: usize = 20;
/// Instances that the log has named as left out; beyond, it begins anew.
const MOST_NAMED: usize = 10_000;

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It counts, and is something else than before.
    News,
    /// It says what is known.
    Nothing,
    /// Some of it is doubted, as of now: another node may know better.
    Doubted,
    /// Some of it is doubted still.
    Doubtful,
}

/// Where a source takes its answers.
pub(super) struct Feed {
    source: Source,
    belief: Belief,
    rules: RuleBelief,
    confirm: Duration,
    origin: Instant,
    out: watch::Sender<Report>,
    metrics: Arc<Metrics>,
    /// Instances the log has named as left out, lest it names them again and again.
    named: HashSet<(Arc<str>, Arc<str>)>,
}

impl Feed {
    /// A feed that publishes to `out`; what is published there already is what counts to begin with.
    pub(super) fn new(
        source: Source,
        confirm: Duration,
        out: watch::Sender<Report>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let known = out.borrow().said.services.clone();
        let belief = Belief::new(confirm, known);
        let rules = RuleBelief::new(Rules::clone(&out.borrow().rules));
        let (origin, named) = (Instant::now(), HashSet::new());
        let feed = Self { source, belief, rules, confirm, origin, out, metrics, named };
        feed.metrics.source_began(source);
        feed.measure();
        feed
    }

    /// Says which node is asked from now on.
    pub(super) fn asks(&self, node: &Arc<str>) {
        self.out.send_if_modified(|it| {
            it.view.node = Arc::clone(node);
            false
        });
    }

    /// Takes in an answer of a node, which says all there is.
    pub(super) fn hear(
        &mut self,
        by: &Witness,
        dialect: &'static str,
        said: Said,
        rules: Option<&ToldRules>,
    ) -> Heard {
        let now = self.origin.elapsed();
        let verdict = self.belief.hear(now, by, &said.services);
        if verdict.doubted > 0 {
            self.metrics.source_refused(self.source, verdict.doubted);
            let (node, held) = (&*by.node, self.belief.held());
            tracing::warn!(
                source = self.source.label(),
                node,
                services = verdict.doubted,
                held,
                "an answer is doubted: what it no longer names is held until that is confirmed"
            );
        }
        self.name(&said.left_out);
        self.metrics.source_answered(self.source, SystemTime::now());
        let was = self.out.borrow().clone();
        let is_other = verdict.is_news || was.said.schedulers != said.schedulers;
        let rules = self.rules.hear(now, self.confirm, &by.run, rules).map(Arc::new);
        if let Some(rules) = &rules {
            for (entry, why) in rules.bad.iter().filter(|it| !was.rules.bad.contains(it)) {
                tracing::error!(%entry, why = &**why, "a rule of the registry is left out");
            }
        }
        let view = SourceView {
            up: true,
            node: Arc::clone(&by.node),
            dialect: Some(dialect),
            last_answer: Some(Moment(SystemTime::now())),
            from_cache: false,
            held: self.belief.held_by_service(),
            held_rules: self.rules.held(),
            left_out: said.left_out.len(),
            left_out_examples: said.left_out.iter().take(EXAMPLES).map(example).collect(),
            ..was.view.clone()
        };
        if !was.view.up {
            let source = self.source.label();
            tracing::info!(source, node = &*by.node, "the source answers");
        }
        let is_news = is_other || rules.is_some();
        let next = Report {
            said: if is_other { Arc::new(self.in_force(said)) } else { was.said },
            rules: rules.unwrap_or(was.rules),
            is_known: true,
            view,
        };
        self.publish(next);
        match (verdict.doubted, self.belief.held()) {
            (0, 0) if is_news => Heard::News,
            (0, 0) => Heard::Nothing,
            (0, _) => Heard::Doubtful,
            _ => Heard::Doubted,
        }
    }

    /// What counts, of what is said.
    fn in_force(&self, said: Said) -> Said {
        Said { services: self.belief.in_force(), left_out: Vec::new(), ..said }
    }

    fn publish(&self, mut next: Report) {
        next.view.instances = count(&next.said.services);
        self.out.send_replace(next);
        self.measure();
    }

    fn measure(&self) {
        let view = &self.out.borrow().view;
        let held = view.held.values().sum();
        self.metrics.set_source(self.source, view.instances, held, view.left_out);
    }

    /// Notes that a node did not answer as it should; `is_out` if no other does.
    pub(super) fn failed(&self, node: &Arc<str>, error: &dyn Error, is_out: bool) {
        let is_up = self.out.borrow().view.up && !is_out;
        self.metrics.source_failed(self.source, is_up);
        let text = chain(error);
        let (source, was_up) = (self.source.label(), self.out.borrow().view.up);
        if was_up && is_out {
            let error = &*text;
            tracing::warn!(source, error, "the source is gone: what it said last stays in force");
        } else {
            tracing::debug!(source, node = &**node, error = &*text, "a node does not answer");
        }
        self.out.send_modify(|it| {
            it.view.up = is_up;
            let (at, node) = (Moment(SystemTime::now()), Arc::clone(node));
            it.view.last_error = Some(Mishap { at, node, error: text });
        });
    }

    /// Returns in how long an answer is due, as far as doubts go: when it would end one, or when
    /// another node is to be asked. None: there are none.
    pub(super) fn due(&self) -> Option<Duration> {
        let due = self.belief.due().into_iter().chain(self.rules.due()).min();
        due.map(|it| it.saturating_sub(self.origin.elapsed()).min(AGAIN))
    }

    /// Returns in how long to ask, as far as doubts go, if who is asked answers at once: a little after an
    /// answer is [due](Self::due), and not too early.
    pub(super) fn asks_after(&self) -> Option<Duration> {
        self.due().map(|it| it + SOON)
    }

    /// Has the log name those left out that it has not named yet.
    fn name(&mut self, left_out: &[LeftOut]) {
        if self.named.len() > MOST_NAMED {
            self.named.clear();
        }
        for it in left_out.iter().take(MOST_NAMED) {
            if self.named.insert((Arc::clone(&it.service), Arc::clone(&it.name))) {
                let (source, service, name) = (self.source.label(), &*it.service, &*it.name);
                tracing::warn!(source, service, name, why = %it.why, "an instance is left out");
            }
        }
    }
}

fn example(it: &LeftOut) -> String {
    format!("{} {}: {}", it.service, it.name, it.why)
}

/// An error with whatever caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
