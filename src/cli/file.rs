//! Reads a `sidecar.toml` or a `registry.toml` for the verbs that only look at it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::config::{Config, Parsed, RegistryConfig, Report};

/// Reads the file as a sidecar would, with the variables of this process.
///
/// The outer error: it cannot be read at all. The inner one: what is wrong with what it says.
pub(super) fn read(path: &Path) -> anyhow::Result<Result<Parsed, Report>> {
    let (name, text) = text(path)?;
    Ok(Config::parse(&name, &text, &variable))
}

/// Reads the file of a registry.
///
/// The errors are those of [`read`].
pub(super) fn read_registry(path: &Path) -> anyhow::Result<Result<RegistryConfig, Report>> {
    let (name, text) = text(path)?;
    Ok(RegistryConfig::parse(&name, &text, &variable))
}

/// A file of either kind, read.
pub(super) enum Either {
    /// A `sidecar.toml`.
    Sidecar(Result<Box<Parsed>, Report>),
    /// A `registry.toml`.
    Registry(Result<Box<RegistryConfig>, Report>),
}

/// Reads the file as what it is meant to be.
pub(super) fn read_either(path: &Path) -> anyhow::Result<Either> {
    let (name, text) = text(path)?;
    if RegistryConfig::is_meant(&name, &text) {
        return Ok(Either::Registry(RegistryConfig::parse(&name, &text, &variable).map(Box::new)));
    }
    Ok(Either::Sidecar(Config::parse(&name, &text, &variable).map(Box::new)))
}

/// Returns the name of a file as it is shown, and its text.
fn text(path: &Path) -> anyhow::Result<(String, String)> {
    let name = path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is no UTF-8 text"))?;
    Ok((name, text))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
