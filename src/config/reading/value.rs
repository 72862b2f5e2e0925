//! One value of the file, read as what its key expects.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::problem::Problem;
use crate::config::reading::document::Document;
use crate::config::reading::spelling;
use crate::config::reading::units::{parse_size, period_text, size_text};
use crate::config::reading::variables::{self, Filled, Missing, Why};
use crate::model::InvalidName;

/// One value of the file. Its getters note what is wrong and then give nothing.
#[derive(Clone, Copy)]
pub(in crate::config) struct Value<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) key: &'d str,
    node: &'d Spanned<DeValue<'d>>,
    /// The word that may stand there instead of what is expected.
    word: Option<&'static str>,
}

impl<'d> Value<'d> {
    /// The value `node` of `key`.
    pub(super) fn new(
        document: &'d Document<'d>,
        key: &'d str,
        node: &'d Spanned<DeValue<'d>>,
    ) -> Self {
        Self { document, key, node, word: None }
    }

    /// The same value, which may be `word` instead: a remedy then says so.
    pub(super) fn or_word(self, word: &'static str) -> Self {
        Self { word: Some(word), ..self }
    }

    pub(super) fn node(&self) -> &'d DeValue<'d> {
        self.node.get_ref()
    }

    /// Returns where it stands.
    pub(in crate::config) fn place(&self) -> Range<usize> {
        self.node.span()
    }

    /// Notes a problem with the value; gives nothing, as a getter does that failed.
    pub(in crate::config) fn refuse<T>(
        &self,
        message: impl Display,
        help: impl Into<String>,
    ) -> Option<T> {
        let message = format!("`{}` {message}", self.key.escape_debug());
        let help = match self.word {
            Some(word) => format!("{}, or write \"{word}\"", help.into()),
            None => help.into(),
        };
        self.document.note(Problem::new(self.place(), message).help(help));
        None
    }

    /// Notes that the value is of the wrong type: `expected` is what it should be.
    pub(super) fn wrong_type<T>(&self, expected: &str, help: impl Into<String>) -> Option<T> {
        let found = match self.node() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(format!("is {found}, where {expected} is expected"), help)
    }

    fn fill(&self, raw: &str) -> Result<Filled, Missing> {
        variables::fill(raw, self.document.variables())
    }

    /// Returns whether it is a string of variables that are all empty: as good as not given.
    pub(super) fn is_blank(&self) -> bool {
        let DeValue::String(raw) = self.node() else { return false };
        self.fill(raw).is_ok_and(|filled| filled.variable && filled.text.is_empty())
    }

    /// Returns whether it is a string.
    pub(in crate::config) fn is_text(&self) -> bool {
        matches!(self.node(), DeValue::String(_))
    }

    /// Puts the variables into the string `raw`.
    fn filled(&self, raw: &str) -> Option<Filled> {
        let missing = match self.fill(raw) {
            Ok(filled) => return Some(filled),
            Err(missing) => missing,
        };
        let place = variables::place(self.document.text(), &self.place(), &missing.written);
        let Missing { written, why } = missing;
        let name = written.trim_start_matches("${").trim_end_matches('}');
        let problem = match why {
            Why::Unset => Problem::unset_variable(place, name),
            Why::NotAName => Problem::new(place, format!("`{written}` names no variable"))
                .help("write `${NAME}`, or `$${` for these two characters themselves"),
            Why::Unclosed => Problem::new(place, "`${` is not closed")
                .help("write `${NAME}`, or `$${` for these two characters themselves"),
        };
        self.document.note(problem);
        None
    }

    /// Reads a string. `expected` is what to write, for whoever wrote something else.
    pub(in crate::config) fn text(&self, expected: &str) -> Option<String> {
        match self.node() {
            DeValue::String(raw) => self.filled(raw).map(|filled| filled.text),
            _ => self.wrong_type("a string", format!("write {expected}")),
        }
    }

    /// Reads a string that has at least one character and no control character.
    pub(in crate::config) fn label(&self) -> Option<String> {
        let text = self.text("a text in quotes")?;
        if text.is_empty() {
            return self.refuse("is empty", "write a text, or leave the key out");
        }
        if text.contains(char::is_control) {
            return self.refuse("has a control character", "write one line of plain text");
        }
        Some(text)
    }

    fn scalar(&self) -> Option<Scalar<'d>> {
        Some(match self.node() {
            DeValue::String(raw) => {
                let Filled { text, variable } = self.filled(raw)?;
                if variable { Scalar::Filled(text.trim().to_owned()) } else { Scalar::Text(text) }
            }
            DeValue::Integer(it) => {
                // A number beyond 64 bits is beyond any bounds.
                Scalar::Integer(i64::from_str_radix(it.as_str(), it.radix()).unwrap_or(i64::MAX))
            }
            DeValue::Float(it) => Scalar::Float(it.as_str()),
            DeValue::Boolean(it) => Scalar::Flag(*it),
            _ => Scalar::Other,
        })
    }

    /// Reads `true` or `false`.
    pub(in crate::config) fn flag(&self) -> Option<bool> {
        let flag = match self.scalar()? {
            Scalar::Flag(flag) => Some(flag),
            Scalar::Filled(text) => text.parse().ok(),
            _ => None,
        };
        flag.or_else(|| self.wrong_type("true or false", "write `true` or `false`, without quotes"))
    }

    /// Returns whether it is the string `word`.
    pub(in crate::config) fn is_word(&self, word: &str) -> bool {
        let DeValue::String(raw) = self.node() else { return false };
        self.fill(raw).is_ok_and(|filled| filled.text == word)
    }

    /// Reads a whole number within `bounds`.
    pub(in crate::config) fn integer<T>(&self, bounds: &RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let kind = integer_kind(bounds);
        let number = match self.scalar()? {
            Scalar::Integer(number) => Some(number),
            Scalar::Filled(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            return self.wrong_type("a whole number", format!("write {kind}, without quotes"));
        };
        T::try_from(number)
            .ok()
            .filter(|it| bounds.contains(it))
            .or_else(|| self.refuse("is out of bounds", format!("write {kind}")))
    }

    /// Reads a number within `bounds`.
    pub(in crate::config) fn number(&self, bounds: &RangeInclusive<f64>) -> Option<f64> {
        let kind = number_kind(bounds);
        let number = match self.scalar()? {
            Scalar::Integer(number) => Some(i32::try_from(number).map_or(f64::INFINITY, f64::from)),
            Scalar::Float(text) => text.parse::<f64>().ok(),
            Scalar::Filled(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            return self.wrong_type("a number", format!("write {kind}, without quotes"));
        };
        let found = Some(number).filter(|it| bounds.contains(it));
        found.or_else(|| self.refuse("is out of bounds", format!("write {kind}")))
    }

    /// Reads a period within `bounds`.
    pub(in crate::config) fn period(&self, bounds: &RangeInclusive<Duration>) -> Option<Duration> {
        let kind = period_kind(bounds);
        let DeValue::String(raw) = self.node() else {
            let help =
                format!("write {kind} in quotes, with its unit, such as \"500ms\" or \"5s\"");
            return self.wrong_type("a period", help);
        };
        let text = self.filled(raw)?.text;
        let Ok(period) = humantime::parse_duration(&text) else {
            let help = format!("write {kind}: a number with its unit, such as \"500ms\" or \"5s\"");
            return self.refuse("is no period", help);
        };
        let found = Some(period).filter(|it| bounds.contains(it));
        found.or_else(|| self.refuse("is out of bounds", format!("write {kind}")))
    }

    /// Reads a size in bytes within `bounds`.
    pub(in crate::config) fn size(&self, bounds: &RangeInclusive<u32>) -> Option<u32> {
        let kind = size_kind(bounds);
        let bytes = match self.scalar()? {
            Scalar::Integer(bytes) => Some(bytes),
            Scalar::Text(text) => parse_size(&text),
            Scalar::Filled(text) => parse_size(&text).or_else(|| text.parse().ok()),
            _ => return self.wrong_type("a size", format!("write {kind}, such as \"64KiB\"")),
        };
        let Some(bytes) = bytes else {
            let help = format!("write {kind}: a whole number with B, KiB, MiB or GiB");
            return self.refuse("is no size", help);
        };
        u32::try_from(bytes)
            .ok()
            .filter(|it| bounds.contains(it))
            .or_else(|| self.refuse("is out of bounds", format!("write {kind}")))
    }

    /// Reads a name.
    pub(in crate::config) fn name<T: FromStr<Err = InvalidName>>(&self) -> Option<T> {
        let text = self.text("a name in quotes")?;
        T::from_str(&text).or_else(|why| self.refuse("is no name", why.to_string()).ok_or(why)).ok()
    }

    /// Reads one of a few words.
    pub(in crate::config) fn choice<V: Copy>(&self, words: &[(&'static str, V)]) -> Option<V> {
        let kind = choice_kind(words);
        let text = self.text(&kind)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let near = spelling::nearest(&text, words.iter().map(|(word, _)| *word));
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"? it is {kind}"),
            None => format!("write {kind}"),
        };
        self.refuse(format!("knows no {text:?}"), help)
    }
}

/// What is written where one plain value is expected.
enum Scalar<'d> {
    Integer(i64),
    Float(&'d str),
    Flag(bool),
    Text(String),
    /// A string with a variable in it, which may stand for a number or a flag: the environment has
    /// nothing but strings.
    Filled(String),
    Other,
}

pub(super) fn integer_kind<T: Display>(bounds: &RangeInclusive<T>) -> String {
    format!("a whole number of {} to {}", bounds.start(), bounds.end())
}

pub(super) fn number_kind(bounds: &RangeInclusive<f64>) -> String {
    format!("a number of {:?} to {:?}", bounds.start(), bounds.end())
}

pub(super) fn period_kind(bounds: &RangeInclusive<Duration>) -> String {
    format!("a period of {} to {}", period_text(*bounds.start()), period_text(*bounds.end()))
}

pub(super) fn size_kind(bounds: &RangeInclusive<u32>) -> String {
    format!("a size of {} to {}", size_text(*bounds.start()), size_text(*bounds.end()))
}

pub(super) fn choice_kind<V>(words: &[(&'static str, V)]) -> String {
    let quoted: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
