//! Answers of registries as a sidecar reads them, without a registry: for whoever wants to know what
//! becomes of some bytes.

use std::sync::Arc;

use crate::config::{EurekaSource, RegistrySource, RemoteRules};
use crate::discovery::eureka::{self, Keys};
use crate::discovery::merge::merge;
use crate::discovery::registry::{self, Wanted};
use crate::discovery::rules::Rules;
use crate::discovery::said::Said;
use crate::model::Catalog;

/// What is read in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Who there is.
    pub catalog: Catalog,
    /// Tenants and lanes.
    pub rules: RemoteRules,
    /// How many instances, tenants and lanes are left out.
    pub left_out: usize,
}

impl Read {
    fn of(said: &Said, rules: Rules) -> Self {
        let left_out = said.left_out.len() + rules.bad.len();
        Self { catalog: merge(&[], Some(said), None), rules: rules.good, left_out }
    }
}

/// Reads what a node of our registry answers to a watch that has nothing yet; none: it cannot be
/// read.
pub fn watch(source: &RegistrySource, answer: &[u8]) -> Option<Read> {
    let mut told: registry::Told = serde_json::from_slice(answer).ok()?;
    let rules = told.rules.take();
    let mut mirror = registry::Mirror::default();
    mirror.apply(&wanted(source), told, rules.as_ref()).ok()?;
    let rules = rules.map(|it| Rules::read(&it, &Rules::default()));
    Some(Read::of(&mirror.said(), rules.unwrap_or_default()))
}

/// Reads what a node of bilibili/discovery answers to `polls` or `fetchs`, or to `fetch/all`; none:
/// it cannot be read.
pub fn polls(source: &RegistrySource, answer: &[u8]) -> Option<Read> {
    let mut mirror = registry::apps::Mirror::default();
    if let Ok(mut told) = serde_json::from_slice::<registry::apps::Envelope<_>>(answer) {
        let missing = told.missing();
        mirror.take(&wanted(source), told.data?, &missing, false).ok()?;
    } else {
        let told: registry::apps::Envelope<_> = serde_json::from_slice(answer).ok()?;
        mirror.take_everything(&wanted(source), told.data?).ok()?;
    }
    Some(Read::of(&mirror.said(), Rules::default()))
}

/// Reads what a Eureka server answers to `apps/`; none: it cannot be read.
pub fn eureka(source: &EurekaSource, answer: &[u8]) -> Option<Read> {
    let told: eureka::Answer = serde_json::from_slice(answer).ok()?;
    let mut mirror = eureka::Mirror::default();
    mirror.take_everything(&told.applications.0?, &Keys::of(source)).ok()?;
    Some(Read::of(&mirror.said(), Rules::default()))
}

fn wanted(source: &RegistrySource) -> Wanted {
    Wanted::new(source, Arc::default())
}
