//! What is wrong with a file, and where.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::config::place::Lines;
use crate::config::render;

/// What is said of a variable that is not set, before and behind its name.
const UNSET: (&str, &str) = ("the variable `", "` is not set");

/// One thing that is wrong: what, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lower case, no full stop, names the key.
    pub message: String,
    /// The bytes of the text that are wrong; empty where something is missing.
    pub span: Range<usize>,
    /// Another place one has to look at to understand.
    pub label: Option<Label>,
    /// What to write instead, where we know.
    pub help: Option<String>,
}

/// A second place that belongs to a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The bytes of the text it is about.
    pub span: Range<usize>,
    /// What is there.
    pub text: String,
}

impl Problem {
    /// A problem at `span`, with nothing known of its remedy.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, label: None, help: None }
    }

    /// The problem that the variable `name` is not set.
    pub(super) fn unset_variable(span: Range<usize>, name: &str) -> Self {
        let help = format!("set it, or write a default: `${{{name}:-default}}`");
        Self::new(span, format!("{}{name}{}", UNSET.0, UNSET.1)).help(help)
    }

    fn is_of_unset_variable(&self) -> bool {
        self.message.starts_with(UNSET.0) && self.message.ends_with(UNSET.1)
    }

    /// The same problem with a remedy.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same problem with a second place.
    #[must_use]
    pub fn label(self, span: Range<usize>, text: impl Into<String>) -> Self {
        Self { label: Some(Label { span, text: text.into() }), ..self }
    }
}

/// All that is wrong with one file, in the order of the text. At least one problem.
///
/// `Display` shows each under its line, as compilers do; `Serialize` is a list of [`Located`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    file: Arc<str>,
    text: Arc<str>,
    problems: Vec<Problem>,
}

/// A problem with its place in lines and columns, for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located<'a> {
    /// The file, as it was named to us.
    pub file: &'a str,
    /// The line it begins in, from 1.
    pub line: usize,
    /// The character of that line it begins at, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: &'a str,
    /// What to write instead, where we know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'a str>,
}

impl Report {
    /// Puts `problems` of `text` in order. Spans that lie outside the text, or between the bytes of
    /// a character, are moved to the nearest place inside.
    pub fn new(
        file: impl Into<Arc<str>>,
        text: impl Into<Arc<str>>,
        mut problems: Vec<Problem>,
    ) -> Self {
        let text = text.into();
        for problem in &mut problems {
            problem.span = inside(&text, &problem.span);
            if let Some(label) = &mut problem.label {
                label.span = inside(&text, &label.span);
            }
        }
        problems.sort_by_key(|it| (it.span.start, it.span.end));
        Self { file: file.into(), text, problems }
    }

    /// Returns whether nothing is wrong but that variables are not set, as they may be elsewhere.
    pub fn is_of_unset_variables(&self) -> bool {
        self.problems.iter().all(Problem::is_of_unset_variable)
    }

    /// Returns the name of the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns the text the spans are of.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the problems in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns the problems with their lines and columns.
    pub fn located(&self) -> impl Iterator<Item = Located<'_>> {
        let lines = Lines::of(&self.text);
        self.problems.iter().map(move |problem| {
            let line = lines.at(problem.span.start);
            Located {
                file: &self.file,
                line: line.number,
                column: line.column(problem.span.start),
                message: &problem.message,
                help: problem.help.as_deref(),
            }
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = Lines::of(&self.text);
        self.problems.iter().try_for_each(|it| render::problem(f, &self.file, &lines, it))
    }
}

impl std::error::Error for Report {}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.located())
    }
}

/// The part of `span` that lies inside `text`, on the bounds of characters.
fn inside(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |at: usize| {
        let at = at.min(text.len());
        (0..=at).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0)
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}
