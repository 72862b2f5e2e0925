//! What operators say of tenants and lanes, as a table that nodes can merge in any order.
//!
//! Each entry has a version; the later wins. A removed entry stays as its tombstone, for ever: a
//! node that was cut off for a year must not bring it back. An entry may hold for a time only: then
//! every node by itself puts back what was said before, by the same writing. Pure: the time is an
//! argument.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Lane, Tenant};
use crate::model::{LaneName, TenantId};
use crate::registry::fingerprint::Fingerprint;
use crate::registry::record::{Id, NodeId, Version};
use crate::registry::wire::RulesChange;

/// Tenants and lanes there may be, removed ones included.
const MOST: usize = 100_000;
/// Lanes a `fallback` list has at most.
const MOST_FALLBACKS: usize = 8;
/// No clock says so before the year 2200; a version beyond could never be replaced.
const END_OF_TIME: u64 = 7_258_118_400_000_000_000;

/// Why a rule is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The table is full.
    #[error("there are {MOST} tenants and lanes already, those removed included")]
    Full,
    /// A lane falls back to itself.
    #[error("lane {0} falls back to itself")]
    Itself(LaneName),
    /// A lane falls back to another one twice.
    #[error("lane {0} is in the list twice")]
    Twice(LaneName),
    /// A lane falls back to too many others.
    #[error("a lane falls back to at most {MOST_FALLBACKS} others")]
    TooMany,
}

/// What is written of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<N, V> {
    /// Of which.
    pub name: N,
    /// When, in the order all nodes agree on.
    pub version: Version,
    /// What; none: it was removed.
    pub value: Option<V>,
    /// Until when, if not for good.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub until: Option<Until<V>>,
}

fn none<V>() -> Option<Until<V>> {
    None
}

/// The end of what is said for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until<V> {
    /// When that is, in unix nanoseconds.
    pub at: u64,
    /// What is said from then on; none: nothing.
    pub then: Option<V>,
}

/// One rule, as nodes send it to each other and as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// As `[tenants.NAME]`.
    Tenant(Entry<TenantId, Tenant>),
    /// As `[lanes.NAME]`.
    Lane(Entry<LaneName, Lane>),
}

/// What an operator wants of one name; none: that nothing is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Of a tenant.
    Tenant(TenantId, Option<Tenant>),
    /// Of a lane.
    Lane(LaneName, Option<Lane>),
}

impl Edit {
    /// Refuses what `sidecar.toml` could not say either.
    fn check(&self) -> Result<(), InvalidRule> {
        let Self::Lane(own, Some(lane)) = self else { return Ok(()) };
        if lane.fallback.len() > MOST_FALLBACKS {
            return Err(InvalidRule::TooMany);
        }
        if lane.fallback.contains(own) {
            return Err(InvalidRule::Itself(*own));
        }
        let mut others = lane.fallback.iter().enumerate();
        let twice = others.find(|(at, it)| lane.fallback.iter().take(*at).any(|one| one == *it));
        twice.map_or(Ok(()), |(_, it)| Err(InvalidRule::Twice(*it)))
    }
}

/// A value, its version, and its end if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept<V> {
    version: Version,
    value: Option<V>,
    until: Option<Until<V>>,
}

impl<V: Serialize> Kept<V> {
    /// Which of two writings wins. The same version of two contents is nobody's honest doing, and
    /// still decided alike everywhere.
    fn order(&self, other: &Self) -> Ordering {
        let content =
            |it: &Self| serde_json::to_string(&(&it.value, &it.until)).unwrap_or_default();
        let versions = self.version.cmp(&other.version);
        versions.then_with(|| content(self).cmp(&content(other)))
    }
}

type Table<N, V> = BTreeMap<N, Kept<V>>;

/// Every rule there is, and every one there was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    tenants: Table<TenantId, Tenant>,
    lanes: Table<LaneName, Lane>,
}

impl Rules {
    /// Writes what an operator wants, with a version above both the clock and what it replaces, and
    /// returns it as others are to be told. `now` is in unix nanoseconds.
    ///
    /// # Errors
    /// It makes no sense, or there is no room.
    pub fn write(&mut self, edit: Edit, node: NodeId, now: u64) -> Result<Rule, InvalidRule> {
        self.write_until(edit, None, node, now)
    }

    /// Writes as [`write`](Self::write) does, until a time in unix nanoseconds: from then on is said
    /// what was said before, or what was to be said after that if it was for a time, too.
    ///
    /// # Errors
    /// As those of [`write`](Self::write).
    pub fn write_until(
        &mut self,
        edit: Edit,
        until: Option<u64>,
        node: NodeId,
        now: u64,
    ) -> Result<Rule, InvalidRule> {
        edit.check()?;
        let full = self.len() >= MOST;
        let by = By { node, now, until };
        Ok(match edit {
            Edit::Tenant(name, value) => {
                Rule::Tenant(write(&mut self.tenants, name, value, by, full)?)
            }
            Edit::Lane(name, value) => Rule::Lane(write(&mut self.lanes, name, value, by, full)?),
        })
    }

    /// Ends what was said for a time that is over at `now`, and returns what is said instead. Every
    /// node does so by itself, and writes the same: later than what it ends, earlier than whatever
    /// an operator has said since.
    pub fn expire(&mut self, now: u64) -> Vec<Rule> {
        let tenants = expire(&mut self.tenants, now).into_iter().map(Rule::Tenant);
        tenants.chain(expire(&mut self.lanes, now).into_iter().map(Rule::Lane)).collect()
    }

    /// Returns when the next of what is said for a time is over.
    pub fn next_end(&self) -> Option<u64> {
        next_end(&self.tenants).into_iter().chain(next_end(&self.lanes)).min()
    }

    /// Takes a rule of another node if it is later than ours. Returns whether it is.
    pub fn merge(&mut self, rule: Rule) -> bool {
        let full = self.len() >= MOST;
        match rule {
            Rule::Tenant(entry) => merge(&mut self.tenants, entry, full),
            Rule::Lane(entry) => merge(&mut self.lanes, entry, full),
        }
    }

    /// Returns every rule, removed ones included.
    pub fn all(&self) -> impl Iterator<Item = Rule> {
        let tenants = entries(&self.tenants).map(Rule::Tenant);
        tenants.chain(entries(&self.lanes).map(Rule::Lane))
    }

    /// Returns how many rules there are, removed ones included.
    pub fn len(&self) -> usize {
        self.tenants.len() + self.lanes.len()
    }

    /// Returns whether there never was a rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what is said of a tenant.
    pub fn tenant(&self, name: &TenantId) -> Option<&Tenant> {
        self.tenants.get(name)?.value.as_ref()
    }

    /// Returns what is said of a lane.
    pub fn lane(&self, name: &LaneName) -> Option<&Lane> {
        self.lanes.get(name)?.value.as_ref()
    }

    /// Returns what two nodes have in common exactly if they have the same rules, the same versions
    /// and the same tombstones.
    pub fn digest(&self) -> u128 {
        let mut digest = Fingerprint::default();
        for rule in self.all() {
            digest.add_text(&serde_json::to_string(&rule).unwrap_or_default());
        }
        digest.finish()
    }

    /// Returns the rules as a watcher sees them. Their hash is that of what they say, whenever it
    /// was said.
    pub fn content(&self) -> RulesChange {
        let mut content = RulesChange {
            hash: Id::default(),
            tenants: live(&self.tenants),
            lanes: live(&self.lanes),
        };
        let said = serde_json::to_string(&content).unwrap_or_default();
        content.hash = Id(Fingerprint::default().text(&said).finish());
        content
    }
}

/// By whom something is written, when, and until when.
#[derive(Clone, Copy)]
struct By {
    node: NodeId,
    now: u64,
    until: Option<u64>,
}

fn write<N: Ord + Copy, V: Clone>(
    table: &mut Table<N, V>,
    name: N,
    value: Option<V>,
    by: By,
    full: bool,
) -> Result<Entry<N, V>, InvalidRule> {
    let before = table.get(&name);
    if before.is_none() && full {
        return Err(InvalidRule::Full);
    }
    let at = before.map_or(by.now, |it| by.now.max(it.version.at.saturating_add(1)));
    let until = by.until.map(|at| {
        let said = before.map(|it| it.until.as_ref().map_or(&it.value, |until| &until.then));
        Until { at, then: said.cloned().flatten() }
    });
    let version = Version { at, node: by.node };
    table.insert(name, Kept { version, value: value.clone(), until: until.clone() });
    Ok(Entry { name, version, value, until })
}

fn expire<N: Ord + Copy, V: Clone>(table: &mut Table<N, V>, now: u64) -> Vec<Entry<N, V>> {
    let is_over = |kept: &Kept<V>| kept.until.as_ref().is_some_and(|until| until.at <= now);
    let over = table.iter_mut().filter(|(_, kept)| is_over(kept));
    let ended = over.map(|(name, kept)| {
        kept.version.at = kept.version.at.saturating_add(1);
        kept.value = kept.until.take().and_then(|until| until.then);
        Entry { name: *name, version: kept.version, value: kept.value.clone(), until: None }
    });
    ended.collect()
}

fn next_end<N, V>(table: &Table<N, V>) -> Option<u64> {
    table.values().filter_map(|kept| kept.until.as_ref()).map(|until| until.at).min()
}

fn merge<N: Ord, V: Serialize>(table: &mut Table<N, V>, entry: Entry<N, V>, full: bool) -> bool {
    let theirs = Kept { version: entry.version, value: entry.value, until: entry.until };
    let wins = match table.get(&entry.name) {
        Some(ours) => theirs.order(ours).is_gt(),
        None => !full,
    };
    let wins = wins && theirs.version.at < END_OF_TIME;
    if wins {
        table.insert(entry.name, theirs);
    }
    wins
}

fn entries<N: Copy, V: Clone>(table: &Table<N, V>) -> impl Iterator<Item = Entry<N, V>> {
    table.iter().map(|(name, kept)| Entry {
        name: *name,
        version: kept.version,
        value: kept.value.clone(),
        until: kept.until.clone(),
    })
}

fn live<N: AsRef<str>, V: Clone>(table: &Table<N, V>) -> BTreeMap<Arc<str>, V> {
    let said = table.iter().filter_map(|(name, kept)| Some((name, kept.value.clone()?)));
    said.map(|(name, value)| (name.as_ref().into(), value)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId(7);

    fn off() -> Tenant {
        Tenant { disabled: true, ..Tenant::default() }
    }

    fn tenant(name: &str, value: Option<Tenant>) -> Edit {
        Edit::Tenant(TenantId::new(name).unwrap(), value)
    }

    fn lane(name: &str, fallback: &[&str]) -> Edit {
        let fallback = fallback.iter().map(|it| LaneName::new(it).unwrap()).collect();
        Edit::Lane(LaneName::new(name).unwrap(), Some(Lane { fallback, ..Lane::default() }))
    }

    #[test]
    fn what_is_written_later_wins_whatever_the_clock_says() {
        let mut rules = Rules::default();

        rules.write(tenant("alice", Some(off())), NODE, 100).unwrap();
        let second = rules.write(tenant("alice", None), NODE, 5).unwrap();

        assert_eq!(rules.tenant(&TenantId::new("alice").unwrap()), None);
        let Rule::Tenant(second) = second else { unreachable!() };
        assert_eq!(second.version.at, 101);
    }

    #[test]
    fn a_removed_rule_does_not_come_back() {
        let (mut here, mut there) = (Rules::default(), Rules::default());
        let old = here.write(tenant("alice", Some(off())), NODE, 1).unwrap();
        let removed = here.write(tenant("alice", None), NODE, 2).unwrap();
        there.merge(removed);

        let taken = there.merge(old);

        assert!(!taken);
        assert_eq!(here.digest(), there.digest());
        assert!(there.content().tenants.is_empty());
    }

    #[test]
    fn the_hash_is_that_of_what_is_said() {
        let (mut one, mut other) = (Rules::default(), Rules::default());

        one.write(tenant("alice", Some(off())), NODE, 1).unwrap();
        other.write(tenant("alice", Some(off())), NodeId(9), 2).unwrap();

        assert_eq!(one.content(), other.content());
        assert_ne!(one.digest(), other.digest());
        assert_ne!(one.content().hash, Rules::default().content().hash);
    }

    #[test]
    fn what_a_file_could_not_say_is_refused() {
        let mut rules = Rules::default();
        let nine: Vec<_> = (0..9).map(|it| format!("l{it}")).collect();
        let nine: Vec<_> = nine.iter().map(String::as_str).collect();

        for (fallback, why) in [
            (&["a"][..], InvalidRule::Itself(LaneName::new("a").unwrap())),
            (&["b", "c", "b"], InvalidRule::Twice(LaneName::new("b").unwrap())),
            (&nine, InvalidRule::TooMany),
        ] {
            assert_eq!(rules.write(lane("a", fallback), NODE, 1), Err(why));
        }
        assert!(rules.write(lane("a", &["b", "c"]), NODE, 1).is_ok());
    }

    #[test]
    fn a_version_that_could_never_be_replaced_is_not_taken() {
        let mut rules = Rules::default();
        let version = Version { at: u64::MAX, node: NODE };
        let name = TenantId::new("alice").unwrap();

        let taken =
            rules.merge(Rule::Tenant(Entry { name, version, value: Some(off()), until: None }));

        assert!(!taken && rules.is_empty());
    }

    #[test]
    fn what_is_said_for_a_time_ends_by_itself_on_every_node_alike() {
        let (mut here, mut there) = (Rules::default(), Rules::default());
        let alice = TenantId::new("alice").unwrap();
        let strict = Tenant { strict: true, ..Tenant::default() };
        here.write(tenant("alice", Some(strict.clone())), NODE, 100).unwrap();
        here.write_until(tenant("alice", Some(off())), Some(500), NODE, 200).unwrap();
        here.write_until(tenant("alice", None), Some(600), NODE, 300).unwrap();
        for rule in here.all() {
            there.merge(rule);
        }

        let early = here.expire(599);
        let ended = (here.next_end(), here.expire(600).len(), there.expire(9_999).len());

        assert_eq!((early, ended), (Vec::new(), (Some(600), 1, 1)));
        assert_eq!(here.tenant(&alice), Some(&strict));
        assert_eq!((here.digest(), here.next_end()), (there.digest(), None));
    }

    #[test]
    fn an_end_does_not_undo_what_was_said_since() {
        let (mut here, mut cut_off) = (Rules::default(), Rules::default());
        let timed = here.write_until(tenant("alice", Some(off())), Some(500), NODE, 100).unwrap();
        cut_off.merge(timed);
        let since = here.write(tenant("alice", Some(off())), NODE, 200).unwrap();

        let ended = cut_off.expire(500).remove(0);
        let taken = (here.merge(ended), cut_off.merge(since));

        assert_eq!(taken, (false, true));
        assert_eq!(here, cut_off);
        assert_eq!(here.expire(u64::MAX), []);
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let version =
            (0..4_u64, 0..3_u64).prop_map(|(at, node)| Version { at, node: NodeId(node) });
        let value = proptest::option::of(any::<bool>());
        let until = proptest::option::of((0..4_u64, value.clone()));
        let rule = ("[ab]", version, value, until, any::<bool>());
        rule.prop_map(|(name, version, value, until, is_lane)| {
            if is_lane {
                let said = |strict| Lane { strict, ..Lane::default() };
                let until = until.map(|(at, then)| Until { at, then: then.map(said) });
                let (name, value) = (LaneName::new(&name).unwrap(), value.map(said));
                Rule::Lane(Entry { name, version, value, until })
            } else {
                let said = |strict| Tenant { strict, ..Tenant::default() };
                let until = until.map(|(at, then)| Until { at, then: then.map(said) });
                let (name, value) = (TenantId::new(&name).unwrap(), value.map(said));
                Rule::Tenant(Entry { name, version, value, until })
            }
        })
    }

    proptest! {
        #[test]
        fn nodes_agree_in_whatever_order_they_hear(
            rules in proptest::collection::vec(any_rule(), 0..12),
            again in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let (mut one, mut other) = (Rules::default(), Rules::default());

            for rule in &rules {
                one.merge(rule.clone());
            }
            for rule in rules.iter().rev() {
                other.merge(rule.clone());
            }
            if !rules.is_empty() {
                for index in again {
                    prop_assert!(!other.merge(index.get(&rules).clone()));
                }
            }

            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_rule_is_read_as_it_was_written(rule in any_rule()) {
            let text = serde_json::to_string(&rule).unwrap();

            prop_assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule);
        }
    }
}
