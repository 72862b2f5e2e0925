//! What operators say of tenants and lanes, as a table that nodes can merge in any order.
//!
//! Each entry has a version; the later wins. A removed entry stays as its tombstone, for ever: a
//! node that was cut off for a year must not bring it back. An entry may hold for a time only: then
//! every node by itself puts back what was said before, by the same writing. Pure: the time is an
//! argument.

mod rule;
mod table;

#[cfg(test)]
mod tests;

pub use rule::{Edit, Entry, InvalidRule, Rule, Until};

use self::table::{By, Table};
use crate::config::{Lane, Tenant};
use crate::model::{LaneName, TenantId};
use crate::registry::fingerprint::Fingerprint;
use crate::registry::record::{Id, NodeId};
use crate::registry::wire::RulesChange;

/// Tenants and lanes there may be, removed ones included.
const MOST: usize = 100_000;

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
            Edit::Tenant(name, value) => Rule::Tenant(self.tenants.write(name, value, by, full)?),
            Edit::Lane(name, value) => Rule::Lane(self.lanes.write(name, value, by, full)?),
        })
    }

    /// Ends what was said for a time that is over at `now`, and returns what is said instead. Every
    /// node does so by itself, and writes the same: later than what it ends, earlier than whatever
    /// an operator has said since.
    pub fn expire(&mut self, now: u64) -> Vec<Rule> {
        let tenants = self.tenants.expire(now).into_iter().map(Rule::Tenant);
        tenants.chain(self.lanes.expire(now).into_iter().map(Rule::Lane)).collect()
    }

    /// Returns when the next of what is said for a time is over.
    pub fn next_end(&self) -> Option<u64> {
        self.tenants.next_end().into_iter().chain(self.lanes.next_end()).min()
    }

    /// Takes a rule of another node if it is later than ours. Returns whether it is.
    pub fn merge(&mut self, rule: Rule) -> bool {
        let full = self.len() >= MOST;
        match rule {
            Rule::Tenant(entry) => self.tenants.merge(entry, full),
            Rule::Lane(entry) => self.lanes.merge(entry, full),
        }
    }

    /// Returns every rule, removed ones included.
    pub fn all(&self) -> impl Iterator<Item = Rule> {
        let tenants = self.tenants.entries().map(Rule::Tenant);
        tenants.chain(self.lanes.entries().map(Rule::Lane))
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
        self.tenants.get(name)
    }

    /// Returns what is said of a lane.
    pub fn lane(&self, name: &LaneName) -> Option<&Lane> {
        self.lanes.get(name)
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
            tenants: self.tenants.said(),
            lanes: self.lanes.said(),
        };
        let said = serde_json::to_string(&content).unwrap_or_default();
        content.hash = Id(Fingerprint::default().text(&said).finish());
        content
    }
}
