//! One table of the file, read key by key.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::Problem;
use crate::config::reading::document::{Document, Key};
use crate::config::reading::free_key::FreeKey;
use crate::config::reading::spelling;
use crate::config::reading::value::Value;

/// One table of the file, or one that is not there and so has no key.
///
/// Every getter names a key the table may have. At the end of the reading, keys that no getter
/// named are unknown.
pub(in crate::config) struct Section<'d> {
    pub(super) document: &'d Document<'d>,
    /// What it is called in the file: `services."user.shop".timeouts`; empty for the file itself.
    pub(super) path: String,
    /// What it is called in the reference: `services.NAME.timeouts`.
    pattern: String,
    table: Option<&'d DeTable<'d>>,
    pub(super) place: Range<usize>,
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
        let pairs = self.table.into_iter().flatten();
        for (key, value) in pairs.filter(|(key, _)| !self.known.contains(&&**key.get_ref())) {
            let name = &*key.get_ref().escape_debug().to_string();
            let is_table = matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_));
            let message = match &*self.path {
                "" if is_table => format!("unknown section `{name}`"),
                "" => format!("unknown key `{name}`"),
                path => format!("unknown key `{name}` in `[{path}]`"),
            };
            let near = spelling::nearest(name, self.known.iter().copied());
            let near = near.map(|near| format!("did you mean `{near}`?"));
            let help = if self.pattern == "tenant" && is_table {
                format!("a tenant is written as `[tenants.{name}]`")
            } else {
                near.or_else(|| spelling::foreign(self.document.kind(), &self.pattern, name))
                    .or_else(|| self.elsewhere(name))
                    .unwrap_or_else(|| format!("remove it; known here: {}", self.known.join(", ")))
            };
            self.document.note(Problem::new(key.span(), message).help(help));
        }
    }

    /// Says where a key or a section of that name belongs.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let keys = self.document.all_keys();
        let homes = keys.iter().filter(|key| key.name == name);
        let homes: Vec<_> = homes.map(|key| format!("`[{}]`", key.section)).take(3).collect();
        if !homes.is_empty() {
            return Some(format!("`{name}` belongs to {}", homes.join(" or ")));
        }
        let ends = |key: &&Key| key.section.rsplit_once('.').is_some_and(|(_, last)| last == name);
        let section = keys.iter().find(ends)?;
        Some(format!("write `[{}]`", section.section))
    }

    /// Returns whether the table is in the file at all.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Notes that the table may have `key`, and returns its value if it does.
    pub(super) fn take(
        &mut self,
        key: &'static str,
        kind: String,
        default: String,
    ) -> Option<Value<'d>> {
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
    /// is given in this table, both come from another that was checked;
    /// where one is wrong in itself, there is nothing to compare.
    pub(in crate::config) fn ordered<T: PartialOrd>(
        &self,
        (small_key, small): (&'static str, T),
        (large_key, large): (&'static str, T),
    ) {
        let judged = [small_key, large_key].map(|key| self.place(key));
        if small <= large || self.document.has_problem_at(&judged) {
            return;
        }
        if let Some(key) = [small_key, large_key].into_iter().find(|key| self.has(key)) {
            let message = format!("`{small_key}` is more than `{large_key}`");
            let help = format!("let `{small_key}` be at most `{large_key}`");
            self.refuse(key, message, help);
        }
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
            read(&NamedTable { name, path, pattern, node });
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
