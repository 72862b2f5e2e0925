//! `${NAME}` inside strings: environment variables, looked up by whoever reads the file.

use std::ops::Range;

/// A variable that could not be put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// What stands in the string: `${NAME}`.
    pub(super) written: String,
    pub(super) why: Why,
}

/// Why a variable could not be put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is not set, and no default is written.
    Unset,
    /// What stands between the braces is no name of a variable.
    NotAName,
    /// There is no closing brace.
    Unclosed,
}

/// A string with its variables put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Whether there was any variable in it.
    pub(super) variable: bool,
}

/// Puts the variables into `text`: `${NAME}`, and `${NAME:-default}` for one that is unset or empty.
/// `$${` stands for `${`; any other `$` for itself. What a variable holds is not looked at again.
pub(super) fn fill(
    text: &str,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Filled, Missing> {
    let mut filled = Filled { text: String::with_capacity(text.len()), variable: false };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let opened = from.strip_prefix("${").unwrap_or_default();
        if let Some(kept) = before.strip_suffix('$') {
            filled.text.push_str(kept);
            filled.text.push_str("${");
            rest = opened;
            continue;
        }
        filled.text.push_str(before);
        let missing = |written: &str, why| Missing { written: written.to_owned(), why };
        let Some((inner, after)) = opened.split_once('}') else {
            return Err(missing(from, Why::Unclosed));
        };
        let written = from.get(..inner.len() + 3).unwrap_or(from);
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(missing(written, Why::NotAName));
        }
        let found = variables(name).filter(|value| default.is_none() || !value.is_empty());
        let value = found.or_else(|| default.map(str::to_owned));
        filled.text.push_str(&value.ok_or_else(|| missing(written, Why::Unset))?);
        filled.variable = true;
        rest = after;
    }
    filled.text.push_str(rest);
    Ok(filled)
}

/// A name as POSIX has them: letters, digits and underscores, not beginning with a digit.
fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().all(word) && text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Finds where `written` stands inside the string at `span` of the file; the whole string if it was
/// written with escapes.
pub(super) fn place(file: &str, span: &Range<usize>, written: &str) -> Range<usize> {
    let at = file.get(span.clone()).and_then(|raw| raw.find(written));
    at.map_or(span.clone(), |at| span.start + at..span.start + at + written.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Why> {
        let variables = |name: &str| match name {
            "POD" => Some("pod-1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${POD}".to_owned()),
            _ => None,
        };
        fill(text, &variables).map(|it| it.text).map_err(|it| it.why)
    }

    #[test]
    fn a_variable_is_put_in_where_its_name_stands() {
        assert_eq!(filled("a ${POD} b ${POD}"), Ok("a pod-1 b pod-1".to_owned()));
        assert_eq!(filled("${EMPTY}"), Ok(String::new()));
        assert_eq!(filled("no variable: $POD $ {}"), Ok("no variable: $POD $ {}".to_owned()));
    }

    #[test]
    fn a_default_stands_in_for_an_unset_or_empty_variable() {
        assert_eq!(filled("${NONE:-x}${EMPTY:-y}${POD:-z}"), Ok("xypod-1".to_owned()));
        assert_eq!(filled("${NONE:-}"), Ok(String::new()));
    }

    #[test]
    fn a_doubled_dollar_is_no_variable() {
        assert_eq!(filled("$${POD} $$${POD}"), Ok("${POD} $${POD}".to_owned()));
    }

    #[test]
    fn what_a_variable_holds_is_not_looked_at_again() {
        assert_eq!(filled("${NESTED}"), Ok("${POD}".to_owned()));
    }

    #[test]
    fn what_cannot_be_put_in_is_named() {
        assert_eq!(filled("${NONE}"), Err(Why::Unset));
        assert_eq!(filled("${a b}"), Err(Why::NotAName));
        assert_eq!(filled("${}"), Err(Why::NotAName));
        assert_eq!(filled("${POD"), Err(Why::Unclosed));
    }
}
