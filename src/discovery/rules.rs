//! Tenants and lanes as a registry has them: one that is wrong is left out alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::config::{Entry, Lane, RemoteRules, Tenant};
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
    tenants: BTreeMap<Arc<str>, Box<RawValue>>,
    #[serde(default)]
    lanes: BTreeMap<Arc<str>, Box<RawValue>>,
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
        for (name, text) in &told.tenants {
            match rules.room().and_then(|()| parse::<TenantId, Tenant>(name, text)) {
                Ok((name, tenant)) => drop(rules.good.tenants.insert(name, tenant)),
                Err(why) => {
                    let kept = before.good.tenants.get_key_value(&**name);
                    rules.good.tenants.extend(kept.map(|(name, it)| (*name, it.clone())));
                    rules.bad.push((Entry::Tenant(shown(name).to_string()), text_of(&why)));
                }
            }
        }
        for (name, text) in &told.lanes {
            let read = rules.room().and_then(|()| parse::<LaneName, Lane>(name, text));
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

fn text_of(why: &Wrong) -> Arc<str> {
    why.to_string().into()
}

fn parse<N, V>(name: &str, text: &RawValue) -> Result<(N, V), Wrong>
where
    N: std::str::FromStr<Err = InvalidName>,
    V: DeserializeOwned,
{
    // A list would be read as fields without names.
    if !text.get().starts_with('{') {
        return Err(Wrong::Shape);
    }
    Ok((name.parse()?, serde_json::from_str(text.get())?))
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
