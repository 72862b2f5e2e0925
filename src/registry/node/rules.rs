//! What a node does with tenant rules: on its disk, in force, and on their way to others.

use std::sync::Arc;
use std::time::Duration;

use crate::registry::durable::DurableError;
use crate::registry::node::{Node, Told};
use crate::registry::rulebook::RuleError;
use crate::registry::rules::{Edit, Rule};

impl Node {
    /// Writes a rule of an operator's: on return it is on the disk, in force, and on its way to
    /// watchers and peers.
    ///
    /// Cancel safe: dropped, the rule is written all the same.
    ///
    /// # Errors
    /// It makes no sense or cannot be kept; nothing has changed then.
    pub async fn write_rule(self: &Arc<Self>, edit: Edit) -> Result<Rule, RuleError> {
        self.write_rule_for(edit, None).await
    }

    /// Writes a rule as [`write_rule`](Self::write_rule) does, for a time: then is said again what
    /// was said before. None: for good.
    ///
    /// # Errors
    /// As those of [`write_rule`](Self::write_rule).
    pub async fn write_rule_for(
        self: &Arc<Self>,
        edit: Edit,
        time: Option<Duration>,
    ) -> Result<Rule, RuleError> {
        let node = Arc::clone(self);
        let writing = tokio::task::spawn_blocking(move || {
            let now = node.now().unix;
            let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let until = time.map(|time| now.saturating_add(nanos(time)));
            let rule = node.rulebook.write_until(edit, until, node.id, now)?;
            node.tell_of_rules();
            Ok(rule)
        });
        // The closure does not panic; if it did, nothing would be known of the disk.
        let stopped = |error| {
            let source = std::io::Error::other(error);
            let path = self.settings.data.clone().unwrap_or_default();
            RuleError::Durable(DurableError::Io { deed: "write to", path, source })
        };
        writing.await.map_err(stopped)?
    }

    /// Takes those rules of another node that are later than ours, and returns how many are. If they
    /// cannot be kept, they are in force and the operator is told.
    ///
    /// Cancel safe: dropped, they are taken all the same.
    pub async fn merge_rules(self: &Arc<Self>, rules: Vec<Rule>) -> usize {
        let node = Arc::clone(self);
        let merging = tokio::task::spawn_blocking(move || {
            let taken = node.rulebook.merge(rules);
            if !matches!(taken, Ok(0)) {
                node.tell_of_rules();
            }
            taken.unwrap_or_else(|error| {
                tracing::error!(%error, "rules of another node are in force and not on the disk");
                1
            })
        });
        merging.await.unwrap_or_default()
    }

    /// Ends rules whose time is over. Peers do so by themselves.
    ///
    /// Cancel safe: dropped, they are ended all the same.
    pub async fn expire_rules(self: &Arc<Self>) {
        let now = self.now().unix;
        if self.rulebook.now().rules.next_end().is_none_or(|end| end > now) {
            return;
        }
        let node = Arc::clone(self);
        let expiring = tokio::task::spawn_blocking(move || {
            if let Err(error) = node.rulebook.expire(now) {
                tracing::error!(%error, "the end of a rule is in force and not on the disk");
            }
            node.hub.tell_of_rules();
        });
        let _ = expiring.await;
    }

    fn tell_of_rules(&self) {
        self.hub.tell_of_rules();
        self.doors.tell_peers(Told::Rules);
    }
}
