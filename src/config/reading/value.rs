//! One value of the file, read as what its key expects.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::problem::Problem;
use crate::config::reading::document::Document;
use crate::config::reading::free_key::FreeKey;
use crate::config::reading::spelling;
use crate::config::reading::units::{parse_size, period_text, size_text};
use crate::config::reading::variables::{self, Filled, Missing, Why};
use crate::model::InvalidName;

/// One value of the file. Its getters note what is wrong and then give nothing.
#[derive(Clone, Copy)]
pub(in crate::config) struct Value<'d> {
    document: &'d Document<'d>,
    key: &'d str,
    node: &'d Spanned<DeValue<'d>>,
}

impl<'d> Value<'d> {
    /// The value `node` of `key`.
    pub(super) fn new(
        document: &'d Document<'d>,
        key: &'d str,
        node: &'d Spanned<DeValue<'d>>,
    ) -> Self {
        Self { document, key, node }
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
        let message = format!("`{}` {message}", self.key);
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
            Why::Unset => Problem::new(place, format!("the variable `{name}` is not set"))
                .help(format!("set it, or write a default: `${{{name}:-default}}`")),
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

    /// Returns what a number or flag is written as: itself, or a string of which a variable is part.
    fn scalar(&self) -> Option<Scalar<'d>> {
        match self.node() {
            DeValue::String(raw) => {
                let filled = self.filled(raw)?;
                Some(if filled.variable { Scalar::Text(filled.text) } else { Scalar::Other })
            }
            DeValue::Integer(it) => {
                Some(Scalar::Integer(i64::from_str_radix(it.as_str(), it.radix()).ok()))
            }
            DeValue::Float(it) => Some(Scalar::Float(it.as_str())),
            DeValue::Boolean(it) => Some(Scalar::Flag(*it)),
            _ => Some(Scalar::Other),
        }
    }

    /// Reads `true` or `false`.
    pub(in crate::config) fn flag(&self) -> Option<bool> {
        let flag = match self.scalar()? {
            Scalar::Flag(flag) => Some(flag),
            Scalar::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        flag.or_else(|| self.wrong_type("true or false", "write `true` or `false`, without quotes"))
    }

    /// Reads `word` as none, and anything else by `read`.
    pub(in crate::config) fn unless<T>(
        &self,
        word: &str,
        read: impl FnOnce(&Self) -> Option<T>,
    ) -> Option<Option<T>> {
        let written = match self.node() {
            DeValue::String(raw) => self.fill(raw).is_ok_and(|filled| filled.text == word),
            _ => false,
        };
        if written { Some(None) } else { read(self).map(Some) }
    }

    /// Reads a whole number within `bounds`.
    pub(in crate::config) fn integer<T>(&self, bounds: &RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let kind = integer_kind(bounds);
        let number = match self.scalar()? {
            // A number beyond 64 bits is beyond any bounds.
            Scalar::Integer(number) => Some(number.unwrap_or(i64::MAX)),
            Scalar::Text(text) => text.trim().parse().ok(),
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
            Scalar::Integer(number) => {
                number.map(|it| it.to_string()).and_then(|it| it.parse().ok())
            }
            Scalar::Float(text) => text.parse::<f64>().ok(),
            Scalar::Text(text) => text.trim().parse().ok(),
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
        let bytes = match self.node() {
            DeValue::Integer(_) => return self.integer(bounds),
            DeValue::String(raw) => {
                let filled = self.filled(raw)?;
                parse_size(filled.text.trim())
                    .or_else(|| filled.variable.then(|| filled.text.trim().parse().ok()).flatten())
            }
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

    /// Reads where to listen. Port 0 is whichever the system finds free.
    pub(in crate::config) fn listen_address(&self) -> Option<SocketAddr> {
        self.address("127.0.0.1:15001")
    }

    /// Reads where somebody can be reached.
    pub(in crate::config) fn target_address(&self) -> Option<SocketAddr> {
        let address = self.address("127.0.0.1:8080")?;
        if address.port() == 0 {
            return self.refuse("has port 0, at which nobody listens", "write the port");
        }
        if address.ip().is_unspecified() {
            let help = "write the address others reach it at, such as 127.0.0.1";
            return self
                .refuse(format!("has {}, at which nobody can be reached", address.ip()), help);
        }
        Some(address)
    }

    fn address(&self, example: &str) -> Option<SocketAddr> {
        let text = self.text(&format!("IP address and port in quotes, such as \"{example}\""))?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let host = text.rsplit_once(':').map_or(&*text, |(host, _)| host);
        let port = text.strip_prefix(':').filter(|port| port.parse::<u16>().is_ok());
        if let Some(port) = port {
            return self.refuse("has no IP address", format!("write \"0.0.0.0:{port}\""));
        }
        if text.parse::<std::net::IpAddr>().is_ok() {
            return self.refuse("has no port", format!("write it behind a colon: \"{example}\""));
        }
        if host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':') {
            let help = format!("names are not resolved here; write IP:port, such as \"{example}\"");
            return self.refuse("names a host, where an IP address is expected", help);
        }
        let help = format!("write IP:port, such as \"{example}\" or \"[::1]:8080\"");
        self.refuse("is no address", help)
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

    /// Reads a list: each element by `read`. What `read` refuses is left out.
    pub(in crate::config) fn list<T>(
        &self,
        expected: &str,
        mut read: impl FnMut(Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(nodes) = self.node() else {
            return self.wrong_type("a list", format!("write a list of {expected}: [ … ]"));
        };
        let values = nodes.iter().map(|node| Self { node, ..*self });
        Some(values.filter(|it| !it.is_blank()).filter_map(&mut read).collect())
    }

    /// Reads a table of exactly one of `keys`, by what stands beside that key.
    pub(in crate::config) fn one_of<T>(
        &self,
        expected: &str,
        keys: &[(&'static str, &dyn Fn(Value<'d>) -> Option<T>)],
    ) -> Option<T> {
        let DeValue::Table(table) = self.node() else {
            return self.wrong_type("a table", format!("write {expected}"));
        };
        let mut pairs = table.iter();
        let (Some((key, node)), None) = (pairs.next(), pairs.next()) else {
            return self.refuse("has not exactly one key here", format!("write {expected}"));
        };
        let Some((_, read)) = keys.iter().find(|(name, _)| *name == key.get_ref()) else {
            let near = spelling::nearest(key.get_ref(), keys.iter().map(|(name, _)| *name));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            let help = help.or_else(|| spelling::foreign(key.get_ref()).map(str::to_owned));
            let message = format!("unknown key `{}` in `{}`", key.get_ref(), self.key);
            let help = help.unwrap_or_else(|| format!("write {expected}"));
            self.document.note(Problem::new(key.span(), message).help(help));
            return None;
        };
        read(Self { key: key.get_ref(), node, ..*self })
    }

    /// Reads a table of free keys: each pair by `read`. What `read` refuses is left out.
    pub(in crate::config) fn pairs<T>(
        &self,
        expected: &str,
        mut read: impl FnMut(FreeKey<'d>, Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Table(table) = self.node() else {
            return self.wrong_type("a table", format!("write {expected}"));
        };
        let document = self.document;
        let pairs = table.iter().map(|(key, node)| {
            (FreeKey::new(document, key), Self { key: key.get_ref(), node, ..*self })
        });
        Some(pairs.filter_map(|(key, value)| read(key, value)).collect())
    }
}

/// What a number or a flag is written as.
enum Scalar<'d> {
    /// None where it does not fit 64 bits.
    Integer(Option<i64>),
    Float(&'d str),
    Flag(bool),
    /// A string with a variable in it.
    Text(String),
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
