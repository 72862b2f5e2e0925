//! Tenants and lanes that are written in a registry: the file wins over them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::config::quarantine::Entry;
use crate::config::tenants::{Lane, Tenant};
use crate::model::{LaneName, TenantId};

/// What a registry says of tenants and lanes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RemoteRules {
    /// As `[tenants.NAME]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<TenantId, Tenant>,
    /// As `[lanes.NAME]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lanes: BTreeMap<LaneName, Lane>,
}

/// What became of a registry's rules under a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Underlay {
    /// Entries that count as the registry has them.
    pub taken: Vec<Entry>,
    /// Entries that the file has too, which therefore counts.
    pub overridden: Vec<Entry>,
}

impl RemoteRules {
    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.tenants.len() + self.lanes.len()
    }

    /// Returns whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Config {
    /// Adds what `rules` say of tenants and lanes that the file does not name. An entry of the file
    /// counts whole: nothing of the registry's is mixed into it.
    pub fn lay_over(&mut self, rules: &RemoteRules) -> Underlay {
        let mut underlay = Underlay::default();
        for (name, tenant) in &rules.tenants {
            let entry = Entry::Tenant(name.as_str().to_owned());
            if self.tenants.contains_key(name) {
                underlay.overridden.push(entry);
            } else {
                self.tenants.insert(*name, tenant.clone());
                underlay.taken.push(entry);
            }
        }
        for (name, lane) in &rules.lanes {
            let entry = Entry::Lane(name.as_str().to_owned());
            if self.lanes.contains_key(name) {
                underlay.overridden.push(entry);
            } else {
                self.lanes.insert(*name, lane.clone());
                underlay.taken.push(entry);
            }
        }
        underlay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_file_wins_whole() {
        let file = "[workload]\nservice = 'a.b'\n[outbound]\n[tenants.alice]\nlane = 'red'\n";
        let mut config = Config::check("f", file, &|_| None).unwrap();
        let off = Tenant { disabled: true, ..Tenant::default() };
        let name = |text| TenantId::new(text).unwrap();
        let tenants = [(name("alice"), off.clone()), (name("bob"), off.clone())];
        let rules = RemoteRules { tenants: tenants.into(), lanes: BTreeMap::new() };

        let underlay = config.lay_over(&rules);

        assert!(!config.tenants[&name("alice")].disabled);
        assert_eq!(config.tenants[&name("bob")], off);
        assert_eq!(underlay.taken, [Entry::Tenant("bob".to_owned())]);
        assert_eq!(underlay.overridden, [Entry::Tenant("alice".to_owned())]);
    }
}
