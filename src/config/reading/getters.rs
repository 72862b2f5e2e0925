//! What the keys of a table may be, one getter for each kind.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::reading::section::Section;
use crate::config::reading::units::{period_text, size_text};
use crate::config::reading::value::{self, Value};
use crate::model::InvalidName;

impl<'d> Section<'d> {
    /// Reads the value of `key` by `read`; `kind` and `default` are for the reference.
    pub(in crate::config) fn value<T>(
        &mut self,
        key: &'static str,
        (kind, default): (&str, &str),
        read: impl FnOnce(Value<'d>) -> Option<T>,
    ) -> Option<T> {
        self.take(key, kind.to_owned(), default.to_owned()).and_then(read)
    }

    /// Reads the value of `key`, which must be there.
    pub(in crate::config) fn required<T>(
        &mut self,
        key: &'static str,
        (kind, example): (&str, &str),
        read: impl FnOnce(Value<'d>) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key, kind.to_owned(), "required".to_owned());
        if value.is_none() {
            let message = format!("`{key}` is missing in `[{}]`", self.path);
            let help = match &*self.path {
                path if !self.is_there() && !path.contains('.') => {
                    format!("write `[{path}]`, and under it {example}")
                }
                _ => format!("write {example}"),
            };
            self.refuse(key, message, help);
        }
        value.and_then(read)
    }

    /// Reads `true` or `false`.
    pub(in crate::config) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let value = self.take(key, "true or false".to_owned(), default.to_string());
        value.and_then(|it| it.flag()).unwrap_or(default)
    }

    /// Reads a whole number.
    pub(in crate::config) fn integer<T>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<T>,
        default: T,
    ) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let value = self.take(key, value::integer_kind(&bounds), default.to_string());
        value.and_then(|it| it.integer(&bounds)).unwrap_or(default)
    }

    /// Reads a whole number, or `word` for none.
    pub(in crate::config) fn integer_or<T>(
        &mut self,
        key: &'static str,
        word: &'static str,
        bounds: RangeInclusive<T>,
        default: Option<T>,
    ) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let kind = format!("{} or \"{word}\"", value::integer_kind(&bounds));
        let shown = default.as_ref().map_or_else(|| format!("\"{word}\""), T::to_string);
        match self.take(key, kind, shown) {
            Some(it) if it.is_word(word) => None,
            Some(it) => it.or_word(word).integer(&bounds),
            None => default,
        }
    }

    /// Reads a number.
    pub(in crate::config) fn number(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<f64>,
        default: f64,
    ) -> f64 {
        let value = self.take(key, value::number_kind(&bounds), format!("{default:?}"));
        value.and_then(|it| it.number(&bounds)).unwrap_or(default)
    }

    /// Reads a period.
    pub(in crate::config) fn period(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let shown = format!("\"{}\"", period_text(default));
        let value = self.take(key, value::period_kind(&bounds), shown);
        value.and_then(|it| it.period(&bounds)).unwrap_or(default)
    }

    /// Reads a period, or `"off"` for none.
    pub(in crate::config) fn period_or_off(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        self.period_or(key, "off", bounds, default)
    }

    /// Reads a period, or `word` for none.
    pub(in crate::config) fn period_or(
        &mut self,
        key: &'static str,
        word: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let kind = format!("{} or \"{word}\"", value::period_kind(&bounds));
        let shown = format!("\"{}\"", default.map_or_else(|| word.to_owned(), period_text));
        match self.take(key, kind, shown) {
            Some(it) if it.is_word(word) => None,
            Some(it) => it.or_word(word).period(&bounds),
            None => default,
        }
    }

    /// Reads a size in bytes.
    pub(in crate::config) fn size(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let shown = format!("\"{}\"", size_text(default));
        let value = self.take(key, value::size_kind(&bounds), shown);
        value.and_then(|it| it.size(&bounds)).unwrap_or(default)
    }

    /// Reads one of a few words.
    pub(in crate::config) fn choice<V: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, V)],
        default: V,
    ) -> V {
        let word = words.iter().find(|(_, value)| *value == default).map_or("", |(word, _)| word);
        let value = self.take(key, value::choice_kind(words), format!("\"{word}\""));
        value.and_then(|it| it.choice(words)).unwrap_or(default)
    }

    /// Reads a name.
    pub(in crate::config) fn name<T>(&mut self, key: &'static str) -> Option<T>
    where
        T: FromStr<Err = InvalidName>,
    {
        self.value(key, ("a name", "none"), |it| it.name())
    }

    /// Reads one line of text.
    pub(in crate::config) fn label(&mut self, key: &'static str) -> Option<String> {
        self.value(key, ("a text", "none"), |it| it.label())
    }

    /// Reads a table of free keys and texts.
    pub(in crate::config) fn metadata(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let kind = ("a table of names and texts", "{}");
        let pairs = self.value(key, kind, |value| {
            value.pairs("`{ NAME = \"value\" }`", |name, it| {
                Some((name.text().to_owned(), it.text("a text in quotes")?))
            })
        });
        pairs.unwrap_or_default().into_iter().collect()
    }

    /// Reads a list.
    pub(in crate::config) fn list<T>(
        &mut self,
        key: &'static str,
        (kind, default): (&str, &str),
        read: impl FnMut(Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.take(key, format!("a list of {kind}"), default.to_owned());
        value.and_then(|it| it.list(kind, read))
    }

    /// Reads one address or a list of them, of listeners of our own.
    pub(in crate::config) fn listen(
        &mut self,
        key: &'static str,
        default: SocketAddr,
    ) -> Vec<SocketAddr> {
        let owner = format!("{}.{key}", self.path);
        let document = self.document;
        let read = |value: Value<'d>| {
            let address = value.listen_address()?;
            document.claim_listener(address, &owner, value.place());
            Some(address)
        };
        let shown = format!("\"{default}\"");
        let Some(value) = self.take(key, "an address, or a list of them".to_owned(), shown) else {
            document.claim_listener(default, &owner, self.place.clone());
            return vec![default];
        };
        if value.is_text() {
            return read(value).into_iter().collect();
        }
        let listen = value.list("addresses", read).unwrap_or_default();
        if matches!(value.node(), DeValue::Array(nodes) if nodes.is_empty()) {
            let help = format!("write an address, or remove `[{}]`", self.path);
            self.refuse(key, format!("`{key}` has no address"), help);
        }
        listen
    }

    /// Reads the address of a listener of our own, or `"off"` for none.
    pub(in crate::config) fn listen_or_off(
        &mut self,
        key: &'static str,
        default: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let shown = default.map_or_else(|| "off".to_owned(), |it| it.to_string());
        let value = self.take(key, "an address or \"off\"".to_owned(), format!("\"{shown}\""));
        let address = match value {
            Some(it) if it.is_word("off") => None,
            Some(it) => it.or_word("off").listen_address(),
            None => default,
        };
        let owner = format!("{}.{key}", self.path);
        let claim = |it| self.document.claim_listener(it, &owner, self.place(key));
        address.inspect(|it| claim(*it))
    }
}
