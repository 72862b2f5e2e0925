//! The tenant rules of one node: those in force, and those on its disk.
//!
//! An operator's rule is on the disk before it is in force; a rule of another node is in force even
//! if our disk is full, as its own node has it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::live::Live;
use crate::registry::durable::{Directory, DurableError};
use crate::registry::record::NodeId;
use crate::registry::rules::{Edit, InvalidRule, Rule, Rules};
use crate::registry::wire::RulesChange;

/// What the file is called.
const FILE: &str = "rules";

/// Why a rule is not in force.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidRule),
    /// It cannot be kept.
    #[error("the rule cannot be kept")]
    Durable(#[from] DurableError),
}

/// The rules at one moment.
#[derive(Debug, Default)]
pub struct Book {
    /// With versions and tombstones: what nodes tell each other.
    pub rules: Rules,
    /// As a watcher sees them.
    pub content: RulesChange,
    /// The same, as JSON.
    pub json: Bytes,
    /// What nodes of the same rules have in common.
    pub digest: u128,
}

impl Book {
    fn of(rules: Rules) -> Self {
        let content = rules.content();
        let json = serde_json::to_vec(&content).unwrap_or_default().into();
        let digest = rules.digest();
        Self { rules, content, json, digest }
    }
}

/// The rules of one node.
#[derive(Debug)]
pub struct Rulebook {
    book: Live<Book>,
    /// Held by whoever writes.
    disk: Mutex<Option<Directory>>,
    is_durable: bool,
}

impl Rulebook {
    /// Reads what is kept in `directory`; without one, nothing is kept.
    ///
    /// # Errors
    /// There are rules on the disk that cannot be read.
    pub fn open(directory: Option<Directory>) -> Result<Self, DurableError> {
        let mut rules = Rules::default();
        if let Some(directory) = &directory {
            for rule in directory.read::<Vec<Rule>>(FILE)?.unwrap_or_default() {
                rules.merge(rule);
            }
        }
        let is_durable = directory.is_some();
        Ok(Self { book: Live::new(Book::of(rules)), disk: Mutex::new(directory), is_durable })
    }

    /// Returns the rules as they are now.
    pub fn now(&self) -> Arc<Book> {
        self.book.snapshot()
    }

    /// Returns whether rules outlive the process.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Writes a rule: on return it is on the disk and in force. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// It makes no sense or cannot be kept; nothing has changed then.
    pub fn write(&self, edit: Edit, node: NodeId, now: u64) -> Result<Rule, RuleError> {
        self.write_until(edit, None, node, now)
    }

    /// Writes as [`write`](Self::write) does, until a time in unix nanoseconds: then is said again
    /// what was said before.
    ///
    /// # Errors
    /// As those of [`write`](Self::write).
    pub fn write_until(
        &self,
        edit: Edit,
        until: Option<u64>,
        node: NodeId,
        now: u64,
    ) -> Result<Rule, RuleError> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.now().rules.clone();
        let rule = rules.write_until(edit, until, node, now)?;
        if let Some(directory) = &*disk {
            directory.write(FILE, &rules.all().collect::<Vec<_>>())?;
        }
        self.book.publish(Book::of(rules));
        Ok(rule)
    }

    /// Ends what was said for a time that is over at `now`, and returns how much that is. Blocks for
    /// as long as the disk does; nothing is touched where nothing is over.
    ///
    /// # Errors
    /// It is ended, and that cannot be kept: it is ended again at the next start.
    pub fn expire(&self, now: u64) -> Result<usize, DurableError> {
        if self.now().rules.next_end().is_none_or(|end| end > now) {
            return Ok(0);
        }
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.now().rules.clone();
        let ended = rules.expire(now).len();
        self.book.publish(Book::of(rules.clone()));
        if let Some(directory) = &*disk {
            directory.write(FILE, &rules.all().collect::<Vec<_>>())?;
        }
        Ok(ended)
    }

    /// Takes those rules of another node that are later than ours, and returns how many are. Blocks
    /// for as long as the disk does.
    ///
    /// # Errors
    /// They are in force, and cannot be kept.
    pub fn merge(&self, theirs: Vec<Rule>) -> Result<usize, DurableError> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.now().rules.clone();
        let taken = theirs.into_iter().map(|it| rules.merge(it)).filter(|is_later| *is_later);
        let taken = taken.count();
        if taken == 0 {
            return Ok(0);
        }
        self.book.publish(Book::of(rules.clone()));
        if let Some(directory) = &*disk {
            directory.write(FILE, &rules.all().collect::<Vec<_>>())?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Tenant;
    use crate::model::TenantId;

    fn off(name: &str) -> Edit {
        let tenant = Tenant { disabled: true, ..Tenant::default() };
        Edit::Tenant(TenantId::new(name).unwrap(), Some(tenant))
    }

    #[test]
    fn rules_outlive_the_process() {
        let place = tempfile::tempdir().unwrap();
        let open = || Rulebook::open(Some(Directory::open(place.path()).unwrap())).unwrap();
        let first = open();

        first.write(off("alice"), NodeId(1), 7).unwrap();

        let second = open();
        assert_eq!(second.now().digest, first.now().digest);
        assert_eq!(second.now().content.tenants.len(), 1);
    }

    #[test]
    fn what_was_said_for_a_time_ends_though_the_node_was_down() {
        let place = tempfile::tempdir().unwrap();
        let open = || Rulebook::open(Some(Directory::open(place.path()).unwrap())).unwrap();
        open().write_until(off("alice"), Some(9), NodeId(1), 7).unwrap();

        let again = open();
        let ended = (again.expire(8).unwrap(), again.expire(9).unwrap(), again.expire(9).unwrap());

        assert_eq!(ended, (0, 1, 0));
        assert!(open().now().content.tenants.is_empty());
    }

    #[test]
    fn a_rule_that_cannot_be_kept_is_not_in_force() {
        let place = tempfile::tempdir().unwrap();
        let book = Rulebook::open(Some(Directory::open(place.path()).unwrap())).unwrap();
        std::fs::create_dir(place.path().join("rules.new")).unwrap();

        let refused = book.write(off("alice"), NodeId(1), 7);

        assert!(matches!(refused, Err(RuleError::Durable(_))));
        assert!(book.now().rules.is_empty());
    }

    #[test]
    fn rules_of_others_are_taken_if_they_are_later() {
        let (ours, theirs) = (Rulebook::open(None).unwrap(), Rulebook::open(None).unwrap());
        theirs.write(off("alice"), NodeId(1), 7).unwrap();
        let told: Vec<_> = theirs.now().rules.all().collect();

        let taken = ours.merge(told.clone()).unwrap();
        let again = ours.merge(told).unwrap();

        assert_eq!((taken, again), (1, 0));
        assert_eq!(ours.now().digest, theirs.now().digest);
    }
}
