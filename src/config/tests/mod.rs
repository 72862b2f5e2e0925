//! What a file says, and what is said of a file.

mod example;

use crate::config::{Config, Parsed, Report};

/// No variable is set.
fn unset(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Parsed, Report> {
    Config::parse("sidecar.toml", text, &unset)
}
