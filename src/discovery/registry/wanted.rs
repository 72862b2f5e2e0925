//! What is asked of a registry, whichever dialect it speaks.

use std::sync::Arc;

use crate::config::{RegistrySource, ServicePattern};
use crate::registry::server::OWN_SERVICE;

/// What is asked of a registry.
#[derive(Debug, Clone)]
pub(in crate::discovery) struct Wanted {
    pub(in crate::discovery) env: Arc<str>,
    /// Who asks.
    pub(in crate::discovery) consumer: Arc<str>,
    /// Where it is; may be empty.
    pub(in crate::discovery) zone: Arc<str>,
    pub(in crate::discovery) rules: bool,
    patterns: Vec<ServicePattern>,
}

impl Wanted {
    pub(in crate::discovery) fn new(source: &RegistrySource, consumer: Arc<str>) -> Self {
        Self {
            env: Arc::clone(&source.env),
            consumer,
            zone: source.zone.clone().unwrap_or_default(),
            rules: source.rules,
            patterns: source.services.clone(),
        }
    }

    /// Returns names and patterns as a registry of ours takes them.
    pub(in crate::discovery) fn services(&self) -> Vec<Arc<str>> {
        self.patterns.iter().map(|it| it.to_string().into()).collect()
    }

    /// Returns the names, if there are no patterns.
    pub(in crate::discovery) fn names(&self) -> Option<Vec<Arc<str>>> {
        let name = |it: &ServicePattern| match it {
            ServicePattern::One(name) => Some(name.as_str().into()),
            ServicePattern::All | ServicePattern::Ending(_) => None,
        };
        self.patterns.iter().map(name).collect()
    }

    /// Returns whether a service is wanted. The registry's own nodes are if they are named.
    pub(in crate::discovery) fn has(&self, service: &str) -> bool {
        self.patterns.iter().any(|it| match it {
            ServicePattern::One(name) => name.as_str() == service,
            pattern => service != OWN_SERVICE && pattern.matches(service),
        })
    }
}
