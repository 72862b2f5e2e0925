//! Everything written of one kind of name: who wins, and what ends.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::registry::record::{NodeId, Version};
use crate::registry::rules::{Entry, InvalidRule, Until};

/// No clock says so before the year 2200; a version beyond could never be replaced.
const END_OF_TIME: u64 = 7_258_118_400_000_000_000;

/// By whom something is written, when, and until when.
#[derive(Clone, Copy)]
pub(super) struct By {
    pub node: NodeId,
    pub now: u64,
    pub until: Option<u64>,
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

/// What is written of each name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table<N, V>(BTreeMap<N, Kept<V>>);

impl<N, V> Default for Table<N, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<N: Ord + Copy + AsRef<str>, V: Clone + Serialize> Table<N, V> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, name: &N) -> Option<&V> {
        self.0.get(name)?.value.as_ref()
    }

    /// Writes with a version above both the clock and what it replaces. A name that is new finds no
    /// room if the rules are `full`.
    pub(super) fn write(
        &mut self,
        name: N,
        value: Option<V>,
        by: By,
        full: bool,
    ) -> Result<Entry<N, V>, InvalidRule> {
        let before = self.0.get(&name);
        if before.is_none() && full {
            return Err(InvalidRule::Full);
        }
        let at = before.map_or(by.now, |it| by.now.max(it.version.at.saturating_add(1)));
        let until = by.until.map(|at| {
            let said = before.map(|it| it.until.as_ref().map_or(&it.value, |until| &until.then));
            Until { at, then: said.cloned().flatten() }
        });
        let version = Version { at, node: by.node };
        self.0.insert(name, Kept { version, value: value.clone(), until: until.clone() });
        Ok(Entry { name, version, value, until })
    }

    /// Puts in place what is to be said from `now` on, and returns that.
    pub(super) fn expire(&mut self, now: u64) -> Vec<Entry<N, V>> {
        let is_over = |kept: &Kept<V>| kept.until.as_ref().is_some_and(|until| until.at <= now);
        let over = self.0.iter_mut().filter(|(_, kept)| is_over(kept));
        let ended = over.map(|(name, kept)| {
            kept.version.at = kept.version.at.saturating_add(1);
            kept.value = kept.until.take().and_then(|until| until.then);
            Entry { name: *name, version: kept.version, value: kept.value.clone(), until: None }
        });
        ended.collect()
    }

    /// Returns when the next of what is said for a time is over.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.0.values().filter_map(|kept| kept.until.as_ref()).map(|until| until.at).min()
    }

    /// Takes what another node has written if it is later. Returns whether it is.
    pub(super) fn merge(&mut self, entry: Entry<N, V>, full: bool) -> bool {
        let theirs = Kept { version: entry.version, value: entry.value, until: entry.until };
        let wins = match self.0.get(&entry.name) {
            Some(ours) => theirs.order(ours).is_gt(),
            None => !full,
        };
        let wins = wins && theirs.version.at < END_OF_TIME;
        if wins {
            self.0.insert(entry.name, theirs);
        }
        wins
    }

    /// Returns everything written, what was removed included.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<N, V>> {
        self.0.iter().map(|(name, kept)| Entry {
            name: *name,
            version: kept.version,
            value: kept.value.clone(),
            until: kept.until.clone(),
        })
    }

    /// Returns what is said by name.
    pub(super) fn said(&self) -> BTreeMap<Arc<str>, V> {
        let said = self.0.iter().filter_map(|(name, kept)| Some((name, kept.value.clone()?)));
        said.map(|(name, value)| (name.as_ref().into(), value)).collect()
    }
}
