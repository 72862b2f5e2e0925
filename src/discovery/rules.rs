//! Tenants and lanes as a registry has them: one that is wrong is left out alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Entry, Lane, RemoteRules, Tenant};
use crate::discovery::belief::lost_too_much;
use crate::discovery::usable::shown;
use crate::model::{InvalidName, LaneName, TenantId};
use crate::registry::record::Id;

/// Rules that are taken of one registry at most.
const MOST: usize = 100_000;

/// The rules in an answer, each unread.
#[derive(Debug, Deserialize)]
pub(super) struct ToldRules {
    /// What to call them when asking for others.
    pub(super) hash: Id,
    #[serde(default)]
    tenants: BTreeMap<Arc<str>, Value>,
    #[serde(default)]
    lanes: BTreeMap<Arc<str>, Value>,
}

/// Rules of a registry, as far as they can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Those that count.
    pub good: RemoteRules,
    /// Those that do not, or only as they were before, each with why.
    pub bad: Vec<(Entry, Arc<str>)>,
}

/// Why a rule does not count.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("it has a name that cannot be: {0}")]
    Name(#[from] InvalidName),
    #[error("it cannot be read: {0}")]
    Content(#[from] serde_json::Error),
    #[error("it is no object")]
    Shape,
    #[error("its `fallback` names the lane itself, one lane twice, or more than 8")]
    Fallback,
    #[error("there are more than {MOST} rules")]
    TooMany,
}

impl Rules {
    /// Reads what a registry tells. A rule that is wrong stays as it is in `before`.
    pub(super) fn read(told: &ToldRules, before: &Self) -> Self {
        let mut rules = Self::default();
        for (name, rule) in &told.tenants {
            match rules.room().and_then(|()| parse::<TenantId, Tenant>(name, rule)) {
                Ok((name, tenant)) => drop(rules.good.tenants.insert(name, tenant)),
                Err(why) => {
                    let kept = before.good.tenants.get_key_value(&**name);
                    rules.good.tenants.extend(kept.map(|(name, it)| (*name, it.clone())));
                    rules.bad.push((Entry::Tenant(shown(name).to_string()), text_of(&why)));
                }
            }
        }
        for (name, rule) in &told.lanes {
            let read = rules.room().and_then(|()| parse::<LaneName, Lane>(name, rule));
            match read.and_then(|(name, lane)| sensible(name, lane)) {
                Ok((name, lane)) => drop(rules.good.lanes.insert(name, lane)),
                Err(why) => {
                    let kept = before.good.lanes.get_key_value(&**name);
                    rules.good.lanes.extend(kept.map(|(name, it)| (*name, it.clone())));
                    rules.bad.push((Entry::Lane(shown(name).to_string()), text_of(&why)));
                }
            }
        }
        rules
    }

    fn room(&self) -> Result<(), Wrong> {
        if self.good.len() < MOST { Ok(()) } else { Err(Wrong::TooMany) }
    }
}

/// Which rules count, of a registry that may have lost its memory.
///
/// A run of a node that is known is believed: what it no longer says was taken back, and that counts
/// at once. One that is heard for the first time may have begun just now. Where it says less than half
/// of what was said before, the rest is held for `confirm`, or until it says something of it.
#[derive(Debug, Default)]
pub(super) struct RuleBelief {
    /// The run that was heard last.
    run: Arc<str>,
    /// What it said.
    told: Rules,
    /// What it does not say, and counts all the same.
    held: RemoteRules,
    /// When that ends.
    until: Option<Duration>,
}

impl RuleBelief {
    /// Begins with what was said in a former run of ours.
    pub(super) fn new(known: Rules) -> Self {
        Self { told: known, ..Self::default() }
    }

    /// Returns when what is held ends, unless it is heard of before.
    pub(super) fn due(&self) -> Option<Duration> {
        self.until
    }

    /// Returns how many rules are held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes in what a run says, none if it says the same; returns what counts if that is something
    /// else than before.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        confirm: Duration,
        run: &Arc<str>,
        told: Option<&ToldRules>,
    ) -> Option<Rules> {
        let before = self.in_force();
        let is_new = self.run != *run;
        self.run = Arc::clone(run);
        if let Some(told) = told {
            self.told = Rules::read(told, &before);
            if !is_new {
                without(&mut self.held, &self.told.good);
            } else if lost_too_much(before.good.len(), self.told.good.len()) {
                self.held = before.good.clone();
                without(&mut self.held, &self.told.good);
                self.until = Some(now + confirm);
                let held = self.held.len();
                tracing::warn!(held, "a registry lost more than half of its rules: they are held");
            } else {
                self.held = RemoteRules::default();
            }
        }
        if self.held.is_empty() || self.until.is_some_and(|it| it <= now) {
            (self.held, self.until) = (RemoteRules::default(), None);
        }
        let after = self.in_force();
        (after != before).then_some(after)
    }

    fn in_force(&self) -> Rules {
        let mut rules = self.told.clone();
        let held = &self.held;
        rules.good.tenants.extend(held.tenants.iter().map(|(name, it)| (*name, it.clone())));
        rules.good.lanes.extend(held.lanes.iter().map(|(name, it)| (*name, it.clone())));
        rules
    }
}

/// Leaves out of `rules` those that `others` speak of.
fn without(rules: &mut RemoteRules, others: &RemoteRules) {
    rules.tenants.retain(|name, _| !others.tenants.contains_key(name));
    rules.lanes.retain(|name, _| !others.lanes.contains_key(name));
}

fn text_of(why: &Wrong) -> Arc<str> {
    why.to_string().into()
}

fn parse<N, V>(name: &str, rule: &Value) -> Result<(N, V), Wrong>
where
    N: std::str::FromStr<Err = InvalidName>,
    V: DeserializeOwned,
{
    // A list would be read as fields without names.
    if !rule.is_object() {
        return Err(Wrong::Shape);
    }
    Ok((name.parse()?, V::deserialize(rule)?))
}

fn sensible(name: LaneName, lane: Lane) -> Result<(LaneName, Lane), Wrong> {
    if lane.makes_sense(&name) { Ok((name, lane)) } else { Err(Wrong::Fallback) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> ToldRules {
        let hash = Id(7);
        serde_json::from_str(&text.replacen('{', &format!("{{\"hash\":\"{hash}\","), 1)).unwrap()
    }

    #[test]
    fn a_rule_that_is_wrong_is_left_out_alone() {
        let told = told(
            r#"{"tenants": {"alice": {"lane": "red"}, "bob": {"lane": 7}, "a b": {},
                "carol": {"colour": "red"}},
                "lanes": {"red": {"fallback": ["red"]}, "blue": {"fallback": ["red"]}}}"#,
        );

        let rules = Rules::read(&told, &Rules::default());

        let tenants: Vec<_> = rules.good.tenants.keys().map(TenantId::as_str).collect();
        let lanes: Vec<_> = rules.good.lanes.keys().map(LaneName::as_str).collect();
        assert_eq!((tenants, lanes), (vec!["alice"], vec!["blue"]));
        let bad: Vec<_> = rules.bad.iter().map(|(entry, _)| entry.to_string()).collect();
        assert_eq!(bad, ["tenant a b", "tenant bob", "tenant carol", "lane red"]);
    }

    const CONFIRM: Duration = Duration::from_secs(30);

    /// What counts after a run said each of these, at these seconds.
    fn counts(said: &[(u64, &str, Option<&str>)]) -> Vec<String> {
        let mut belief = RuleBelief::default();
        let mut in_force = Rules::default();
        let all = said.iter().map(|(at, run, text)| {
            let text = text.map(|it| {
                let all: Vec<_> =
                    it.split_whitespace().map(|it| format!("\"{it}\":{{}}")).collect();
                told(&format!("{{\"tenants\":{{{}}}}}", all.join(",")))
            });
            let at = Duration::from_secs(*at);
            if let Some(next) = belief.hear(at, CONFIRM, &Arc::from(*run), text.as_ref()) {
                in_force = next;
            }
            let names: Vec<_> = in_force.good.tenants.keys().map(TenantId::as_str).collect();
            names.join(" ")
        });
        all.collect()
    }

    #[test]
    fn what_a_run_takes_back_counts_at_once() {
        let all = counts(&[(0, "r1", Some("a b c")), (1, "r1", Some("a")), (2, "r1", Some(""))]);

        assert_eq!(all, ["a b c", "a", ""]);
    }

    #[test]
    fn a_run_that_says_less_than_half_at_first_is_doubted_for_a_while() {
        let all = counts(&[
            (0, "r1", Some("a b c")),
            (10, "r2", Some("")),
            (11, "r2", Some("d")),
            (12, "r2", Some("b d")),
            (13, "r2", Some("d")),
            (39, "r2", None),
            (40, "r2", None),
        ]);

        let expected = ["a b c", "a b c", "a b c d", "a b c d", "a c d", "a c d", "d"];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_run_that_says_nearly_the_same_is_believed() {
        let all = counts(&[(0, "r1", Some("a b c")), (1, "r2", Some("a b")), (2, "r3", None)]);

        assert_eq!(all, ["a b c", "a b", "a b"]);
    }

    #[test]
    fn a_rule_that_becomes_wrong_stays_as_it_was() {
        let good =
            told(r#"{"tenants": {"alice": {"lane": "red"}, "bob": {}}, "lanes": {"a": {}}}"#);
        let before = Rules::read(&good, &Rules::default());
        let wrong = told(r#"{"tenants": {"alice": []}, "lanes": {"a": {"fallback": ["a"]}}}"#);

        let after = Rules::read(&wrong, &before);

        let alice = TenantId::new("alice").unwrap();
        assert_eq!(after.good.tenants.get(&alice), before.good.tenants.get(&alice));
        assert_eq!((after.good.tenants.len(), after.good.lanes.len()), (1, 1));
        assert_eq!(after.bad.len(), 2);
    }
}
