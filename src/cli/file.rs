//! Reads a `sidecar.toml` for the verbs that only look at it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::config::{Config, Parsed, Report};

/// Reads the file as a sidecar would, with the variables of this process.
///
/// The outer error: it cannot be read at all. The inner one: what is wrong with what it says.
pub(super) fn read(path: &Path) -> anyhow::Result<Result<Parsed, Report>> {
    let name = path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{name} is no UTF-8 text"))?;
    Ok(Config::parse(&name, &text, &|variable| std::env::var(variable).ok()))
}
