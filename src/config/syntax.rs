//! What is wrong with a text that is no TOML.

use toml::de::Error;

use crate::config::problem::Problem;

/// Returns `error`, found in `text`, in our words where the parser's do not say what to do.
pub(super) fn problem(text: &str, error: &Error) -> Problem {
    let end = text.len();
    let span = error.span().unwrap_or(end..end);
    let said = error.message();
    let at = text.get(span.clone()).unwrap_or_default();
    let before = text.get(..span.start).unwrap_or_default();
    if said.starts_with("duplicate key") {
        return Problem::new(span, format!("`{at}` is given twice"))
            .help("keep one; what belongs to one table stands under one header");
    }
    if said.starts_with("string values must be quoted") && at.is_empty() {
        return Problem::new(span, "a value is missing").help("write one, or remove the key");
    }
    if said.starts_with("string values must be quoted") {
        return Problem::new(span, "a text is not in quotes").help(format!("write \"{at}\""));
    }
    if said.starts_with("key with no value") {
        return Problem::new(span, "a key has no value").help("write `key = value`");
    }
    if said.starts_with("unclosed")
        || said.contains("basic string")
        || said.contains("literal string")
    {
        return Problem::new(span, said.to_owned()).help("what is opened has to be closed");
    }
    if said.starts_with("invalid float") || said.starts_with("invalid integer") {
        let line = before.rsplit('\n').next().unwrap_or_default();
        let help = if line.contains('=') {
            "a text, an address or a period stands in quotes"
        } else {
            "write `key = value`"
        };
        return Problem::new(span, said.to_owned()).help(help);
    }
    Problem::new(span, said.to_owned())
}
