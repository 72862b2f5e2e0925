//! Tenant rules among nodes: told when they change, and compared whole, as they are few.

use std::collections::{BTreeMap, BTreeSet};

use crate::registry::peers::protocol::parcel::{Parcel, RuleMark, RuleName};
use crate::registry::peers::protocol::peer::RuleBox;
use crate::registry::peers::protocol::replica::{PeerKey, Replica, RulesView};
use crate::registry::record::{Id, Version};
use crate::registry::rules::Rule;

impl Replica {
    /// Takes that the tenant rules changed: what is new of them is told at once, and all of them are
    /// compared after that.
    pub fn rules_changed(&mut self, rules: RulesView<'_>) {
        let told = self.rules_told;
        let fresh: Vec<Rule> =
            rules.rules.all().filter(|it| RuleMark::from(it).version.at > told).collect();
        let latest = fresh.iter().map(|it| RuleMark::from(it).version.at).max();
        self.rules_told = latest.unwrap_or(told);
        let gateways: Vec<PeerKey> = self.borders.values().filter_map(|it| it.gateway).collect();
        let own = self.me.zone.clone();
        let mut told = Vec::new();
        for (key, peer) in self.peers.iter_mut().filter(|(_, it)| it.is_up()) {
            if peer.zone == own || gateways.contains(key) {
                // A box that is full holds what comparing would find as well.
                if peer.rules.owed.len() < fresh.len() + 1000 {
                    peer.rules.owed.extend(fresh.iter().cloned());
                }
                peer.rules.is_due = true;
                told.push(*key);
            }
        }
        for key in told {
            self.wake(key);
        }
    }
}

/// Answers what another node asks about rules.
pub(super) fn answer(asked: &Parcel, rules: RulesView<'_>, answer: &mut Parcel) {
    if asked.rules_root.is_some_and(|it| it != Id(rules.digest)) {
        answer.rules_known = Some(rules.rules.all().map(|it| RuleMark::from(&it)).collect());
    }
    let wanted: BTreeSet<RuleName> = asked.rules_wanted.iter().copied().collect();
    if !wanted.is_empty() {
        let all = rules.rules.all();
        answer.rules.extend(all.filter(|it| wanted.contains(&RuleMark::from(it).name)));
    }
}

impl RuleBox {
    /// Takes which rules the other node has: what it lacks is owed, what we lack is wanted.
    pub(super) fn compare(&mut self, theirs: &[RuleMark], rules: RulesView<'_>) {
        let mut theirs: BTreeMap<RuleName, Version> =
            theirs.iter().map(|it| (it.name, it.version)).collect();
        self.owed.clear();
        self.wanted.clear();
        for rule in rules.rules.all() {
            let RuleMark { name, version } = RuleMark::from(&rule);
            match theirs.remove(&name) {
                Some(their) if their == version => {}
                Some(their) if their > version => self.wanted.push_back(name),
                _ => self.owed.push_back(rule),
            }
        }
        self.wanted.extend(theirs.into_keys());
    }
}
