//! What is wrong with a text that is no TOML.

use std::ops::Range;

use toml::de::Error;

use crate::config::problem::Problem;

/// How the parser begins what it says of a value that should be in quotes.
const NO_VALUE: [&str; 6] = [
    "string values must be quoted",
    "invalid float",
    "invalid integer",
    "invalid date",
    "invalid time",
    "invalid boolean",
];

/// Returns `error`, found in `text`, in our words where the parser's do not say what to do.
pub(super) fn problem(text: &str, error: &Error) -> Problem {
    let span = error.span().unwrap_or(text.len()..text.len());
    let said = error.message();
    if said.starts_with("duplicate key") {
        let key = written(text, &span);
        return Problem::new(span, format!("`{key}` is given twice"))
            .help("keep one; what belongs to one table stands under one header");
    }
    if said.starts_with("key with no value") {
        return Problem::new(span, "a key has no value").help("write `key = value`");
    }
    if NO_VALUE.iter().any(|it| said.starts_with(it)) {
        let span = word(text, &span);
        if span.is_empty() {
            return Problem::new(span, "a value is missing").help("write one, or remove the key");
        }
        let value = written(text, &span);
        return Problem::new(span, format!("`{value}` is no value"))
            .help(format!("texts, addresses, periods and sizes stand in quotes: \"{value}\""));
    }
    let open = ["unclosed", "invalid basic string", "invalid literal string"];
    if open.iter().any(|it| said.starts_with(it)) {
        return Problem::new(span, said).help("close what is opened");
    }
    Problem::new(span, said)
}

fn written(text: &str, span: &Range<usize>) -> String {
    text.get(span.clone()).unwrap_or_default().escape_debug().to_string()
}

/// Returns the word that `span` is part of.
fn word(text: &str, span: &Range<usize>) -> Range<usize> {
    let ends = |c: char| c.is_whitespace() || "=,[]{}#".contains(c);
    let before = text.get(..span.start).unwrap_or_default();
    let after = text.get(span.start..).unwrap_or_default();
    let length = |part: Option<&str>| part.map_or(0, str::len);
    let start = span.start - length(before.rsplit(ends).next());
    start..span.start + length(after.split(ends).next())
}
