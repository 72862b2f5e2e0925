//! What all sources say at one moment.

use std::sync::Arc;

use crate::config::{Config, Discovery, Entry, RemoteRules};
use crate::discovery::merge::merge;
use crate::discovery::rules::Rules;
use crate::discovery::said::{Said, Services};
use crate::model::{Catalog, Instance};
use crate::telemetry::Source;

/// What all sources say at one moment; none: nobody has heard of it yet. Equal to another if it is
/// the very same.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub(super) registry: Option<Arc<Said>>,
    /// Of the same registry.
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) eureka: Option<Arc<Said>>,
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        same(self.registry.as_ref(), other.registry.as_ref())
            && same(self.rules.as_ref(), other.rules.as_ref())
            && same(self.eureka.as_ref(), other.eureka.as_ref())
    }
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl Known {
    /// Returns everybody there is, with those that the file names.
    pub fn catalog(&self, file: &[Instance]) -> Catalog {
        merge(file, self.registry.as_deref(), self.eureka.as_deref())
    }

    /// Returns the tenants and lanes that are written in a registry.
    pub fn rules(&self) -> Option<&RemoteRules> {
        self.rules.as_ref().map(|it| &it.good)
    }

    /// Returns those that are left out, each with why.
    pub fn bad_rules(&self) -> &[(Entry, Arc<str>)] {
        self.rules.as_ref().map_or(&[], |it| &it.bad)
    }

    /// Returns the sources that `config` names and of which nothing is known.
    pub fn unknown(&self, config: &Config) -> Vec<Source> {
        let Discovery { registry, eureka, .. } = &config.discovery;
        let registry = registry.is_some() && self.registry.is_none();
        let eureka = eureka.is_some() && self.eureka.is_none();
        let all = [(registry, Source::Registry), (eureka, Source::Eureka)];
        all.into_iter().filter_map(|(is_unknown, source)| is_unknown.then_some(source)).collect()
    }

    /// Leaves out what the sources of `section` are not asked for.
    pub(super) fn limited(self, section: &Discovery) -> Self {
        let Some(source) = &section.registry else {
            return Self { registry: None, rules: None, ..self };
        };
        let is_wanted = |service: &str| source.services.iter().any(|it| it.matches(service));
        let registry = self.registry.map(|said| {
            if said.services.keys().all(|it| is_wanted(it.as_str())) {
                return said;
            }
            let services = said.services.iter().filter(|(it, _)| is_wanted(it.as_str()));
            let services: Services =
                services.map(|(name, it)| (name.clone(), Arc::clone(it))).collect();
            Arc::new(Said { services, ..Said::clone(&said) })
        });
        let rules = self.rules.filter(|_| source.rules);
        Self { registry, rules, ..self }
    }
}
