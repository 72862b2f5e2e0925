//! `registry.toml`: one node of the registry.

mod bounds;
mod node;

pub use bounds::{Leases, Protection, RegistryLimits};
pub use node::{InvalidPlaceName, PlaceName, RegistryNode, Token};
use toml::de::DeTable;

use crate::config::problem::Report;
use crate::config::reading::{Document, Key, Section};
use crate::config::sidecar::{LogFormat, level};
use crate::config::syntax;

/// Everything `registry.toml` says, with defaults filled in. A registry needs none of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RegistryConfig {
    /// `[registry]`: who the node is, and whom it knows.
    pub node: RegistryNode,
    /// `[leases]`: how long the silent are kept.
    pub leases: Leases,
    /// `[protection]`: when silence is rather our own fault.
    pub protection: Protection,
    /// `[limits]`: bounds on what clients can make it hold.
    pub limits: RegistryLimits,
    /// `[log]`: what is written, and how.
    pub log: RegistryLog,
}

/// `[log]`: what is written, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLog {
    /// What is worth a line, in the syntax of `tracing`'s `EnvFilter`; `info` unless told.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl RegistryConfig {
    /// Reads a file called `file`. `variables` looks up what stands in for `${NAME}`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(
        file: &str,
        text: &str,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Report> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let problems = errors.iter().map(|it| syntax::problem(text, it)).collect();
            return Err(Report::new(file, text, problems));
        }
        let document = Document::new(text, variables).of_registry();
        let config = Section::file(&document, tree.get_ref(), read_file);
        match document.into_problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Report::new(file, text, problems)),
        }
    }

    /// Returns every key a file may have, in the order of the reference.
    pub fn keys() -> Vec<Key> {
        let Ok(tree) = DeTable::parse("") else { return Vec::new() };
        let document = Document::new("", &|_| None).of_registry().listing_keys();
        Section::file(&document, tree.get_ref(), read_file);
        document.into_keys()
    }

    /// Returns whether `text`, found in a file called `file`, is meant to be read as this and not as
    /// a sidecar's file: it has a section no sidecar has, or else its name says so.
    pub fn is_meant(file: &str, text: &str) -> bool {
        let (tree, _) = DeTable::parse_recoverable(text);
        let has = |section: &str| tree.get_ref().contains_key(section);
        if has("workload") || has("inbound") || has("outbound") {
            return false;
        }
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        ["registry", "leases", "protection"].into_iter().any(has) || name == "registry.toml"
    }
}

fn read_file(file: &mut Section<'_>) -> RegistryConfig {
    RegistryConfig {
        node: file.table("registry", RegistryNode::read),
        leases: file.table("leases", Leases::read),
        protection: file.table("protection", Protection::read),
        limits: file.table("limits", RegistryLimits::read),
        log: file.table("log", RegistryLog::read),
    }
}

impl Default for RegistryLog {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl RegistryLog {
    fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            level: level(section).unwrap_or(base.level),
            format: section.choice("format", &LogFormat::WORDS, base.format),
        }
    }
}
