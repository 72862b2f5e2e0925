//! One table of the file, read key by key.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::Problem;
use crate::config::reading::document::{Document, Key};
use crate::config::reading::free_key::FreeKey;
use crate::config::reading::spelling;
use crate::config::reading::units::{period_text, size_text};
use crate::config::reading::value::{self, Value};
use crate::model::InvalidName;

/// One table of the file, or one that is not there and so has no key.
///
/// Every getter names a key the table may have. At the end of the reading, keys that no getter
/// named are unknown.
pub(in crate::config) struct Section<'d> {
    document: &'d Document<'d>,
    /// What it is called in the file: `services."user.shop".timeouts`; empty for the file itself.
    path: String,
    /// What it is called in the reference: `services.NAME.timeouts`.
    pattern: String,
    table: Option<&'d DeTable<'d>>,
    place: Range<usize>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// Reads the file itself: `read` names every key it may have.
    pub(in crate::config) fn file<T>(
        document: &'d Document<'d>,
        table: &'d DeTable<'d>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let end = document.text().len();
        let (path, pattern, known) = (String::new(), String::new(), Vec::new());
        let section = Self { document, path, pattern, table: Some(table), place: end..end, known };
        section.read(read)
    }

    fn read<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let result = read(&mut self);
        self.refuse_unknown();
        result
    }

    fn refuse_unknown(&self) {
        let keys = self.table.into_iter().flatten().map(|(key, _)| key);
        for key in keys.filter(|key| !self.known.contains(&&**key.get_ref())) {
            let name = key.get_ref();
            let message = match &*self.path {
                "" => format!("unknown section or key `{name}`"),
                path => format!("unknown key `{name}` in `{path}`"),
            };
            let near = spelling::nearest(name, self.known.iter().copied());
            let help = near.map(|near| format!("did you mean `{near}`?"));
            let help = help.or_else(|| spelling::foreign(name).map(str::to_owned));
            let help = help.or_else(|| self.elsewhere(name)).unwrap_or_else(|| self.keys_text());
            self.document.note(Problem::new(key.span(), message).help(help));
        }
    }

    /// Says which other section has a key of that name.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let keys = self.document.all_keys();
        let home = keys.iter().find(|key| key.name == name && key.section != self.pattern)?;
        match &*home.section {
            "" => Some(format!("`[{name}]` is a section of its own")),
            section => Some(format!("`{name}` belongs to `[{section}]`")),
        }
    }

    fn keys_text(&self) -> String {
        format!("remove it; known here: {}", self.known.join(", "))
    }

    /// Notes that the table may have `key`, and returns its value if it does.
    fn take(&mut self, key: &'static str, kind: String, default: String) -> Option<Value<'d>> {
        self.known.push(key);
        let section = &self.pattern;
        self.document.key(|| Key { section: section.clone(), name: key, kind, default });
        self.peek(key).filter(|value| !value.is_blank())
    }

    fn peek(&self, key: &'static str) -> Option<Value<'d>> {
        let node = self.table?.get(key)?;
        Some(Value::new(self.document, key, node))
    }

    /// Returns the reading it is part of.
    pub(in crate::config) fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// Returns what it is called in the file.
    pub(in crate::config) fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether the table has `key`.
    pub(in crate::config) fn has(&self, key: &'static str) -> bool {
        self.peek(key).is_some_and(|value| !value.is_blank())
    }

    /// Returns where the value of `key` stands; the table's own place if there is none.
    pub(in crate::config) fn place(&self, key: &'static str) -> Range<usize> {
        self.peek(key).map_or_else(|| self.place.clone(), |value| value.place())
    }

    /// Notes a problem at the value of `key`, or of the table if there is none.
    pub(in crate::config) fn refuse(
        &self,
        key: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.document.note(Problem::new(self.place(key), message).help(help));
    }

    /// Notes a problem unless `small`, the value of a key, is no larger than `large`. Where neither
    /// is given in this table, both come from another that was checked.
    pub(in crate::config) fn ordered<T: PartialOrd>(
        &self,
        (small_key, small): (&'static str, T),
        (large_key, large): (&'static str, T),
    ) {
        let given = [small_key, large_key].into_iter().find(|key| self.has(key));
        if let Some(key) = given.filter(|_| small > large) {
            let message = format!("`{small_key}` is more than `{large_key}`");
            let help = format!("let `{small_key}` be at most `{large_key}`");
            self.refuse(key, message, help);
        }
    }

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
            let message = match &*self.path {
                "" => format!("`{key}` is missing"),
                path => format!("`{key}` is missing in `{path}`"),
            };
            self.document
                .note(Problem::new(self.place(key), message).help(format!("write {example}")));
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
        word: &str,
        bounds: RangeInclusive<T>,
        default: Option<T>,
    ) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let kind = format!("{} or \"{word}\"", value::integer_kind(&bounds));
        let shown = default.as_ref().map_or_else(|| format!("\"{word}\""), T::to_string);
        match self.take(key, kind, shown) {
            Some(value) => value.unless(word, |it| it.integer(&bounds)).unwrap_or(default),
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
        let kind = format!("{} or \"off\"", value::period_kind(&bounds));
        let shown = format!("\"{}\"", default.map_or_else(|| "off".to_owned(), period_text));
        let value = self.take(key, kind, shown);
        value.map_or(default, |it| it.unless("off", |it| it.period(&bounds)).unwrap_or(default))
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
        T: std::str::FromStr<Err = InvalidName>,
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

    /// Reads a table of its own under `key`; one that is not there is read as an empty one.
    pub(in crate::config) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'d>) -> T,
    ) -> T {
        self.known.push(key);
        let value = self.peek(key);
        let table = value.and_then(|value| match value.node() {
            DeValue::Table(table) => Some(table),
            _ => value.wrong_type("a table", format!("write `[{}]`", self.under(key))),
        });
        let section = Section {
            document: self.document,
            path: self.under(key),
            pattern: join(&self.pattern, key),
            table,
            place: self.place(key),
            known: Vec::new(),
        };
        section.read(read)
    }

    /// Reads a table of its own under `key`, if it is there.
    pub(in crate::config) fn table_if_given<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'d>) -> T,
    ) -> Option<T> {
        if self.peek(key).is_none() {
            self.known.push(key);
            return None;
        }
        Some(self.table(key, read))
    }

    /// Reads a list of tables: `[[key]]`. What `read` refuses is left out.
    pub(in crate::config) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'d>) -> Option<T>,
    ) -> Vec<T> {
        self.known.push(key);
        let help = format!("write `[[{}]]`, with two brackets", self.under(key));
        let Some(value) = self.peek(key) else { return Vec::new() };
        let DeValue::Array(nodes) = value.node() else {
            return value.wrong_type("a list of tables", help).unwrap_or_default();
        };
        let (path, pattern) = (self.under(key), join(&self.pattern, key));
        let mut all = Vec::new();
        for node in nodes {
            let DeValue::Table(table) = node.get_ref() else {
                Value::new(self.document, key, node).wrong_type::<()>("a table", &*help);
                continue;
            };
            let section = Section {
                document: self.document,
                path: path.clone(),
                pattern: pattern.clone(),
                table: Some(table),
                place: node.span(),
                known: Vec::new(),
            };
            all.extend(section.read(&mut read));
        }
        all
    }

    /// Reads the tables of free names under `key`: `[key.NAME]`.
    pub(in crate::config) fn named_tables(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&NamedTable<'d>),
    ) {
        self.known.push(key);
        let Some(value) = self.peek(key) else { return };
        let DeValue::Table(table) = value.node() else {
            value.wrong_type::<()>("a table", format!("write `[{}.NAME]`", self.under(key)));
            return;
        };
        for (name, node) in table {
            let name = FreeKey::new(self.document, name);
            let path = join(&self.under(key), &name.quoted());
            let pattern = join(&join(&self.pattern, key), "NAME");
            read(&NamedTable { path, pattern, name, node });
        }
    }

    fn under(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

/// A table under a free name: `[services."user.shop"]`.
pub(in crate::config) struct NamedTable<'d> {
    pub(in crate::config) name: FreeKey<'d>,
    path: String,
    pattern: String,
    node: &'d Spanned<DeValue<'d>>,
}

impl<'d> NamedTable<'d> {
    /// Reads the table.
    pub(in crate::config) fn read<T>(&self, read: impl FnOnce(&mut Section<'d>) -> T) -> Option<T> {
        let document = self.name.document();
        let DeValue::Table(table) = self.node.get_ref() else {
            let value = Value::new(document, self.name.text(), self.node);
            return value.wrong_type("a table", format!("write `[{}]`", self.path));
        };
        let section = Section {
            document,
            path: self.path.clone(),
            pattern: self.pattern.clone(),
            table: Some(table),
            place: self.node.span(),
            known: Vec::new(),
        };
        Some(section.read(read))
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
