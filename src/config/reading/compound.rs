//! Values that are made of values: lists, and tables of free keys.

use toml::de::DeValue;

use crate::config::problem::Problem;
use crate::config::reading::free_key::FreeKey;
use crate::config::reading::spelling;
use crate::config::reading::value::Value;

/// The keys of a table that has exactly one of them, and how each is read.
type Alternatives<'a, 'd, T> = [(&'static str, &'a dyn Fn(Value<'d>) -> Option<T>)];

impl<'d> Value<'d> {
    /// Reads a list: each element by `read`. What `read` refuses is left out.
    pub(in crate::config) fn list<T>(
        &self,
        expected: &str,
        mut read: impl FnMut(Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let DeValue::Array(nodes) = self.node() else {
            return self.wrong_type("a list", format!("write a list of {expected}: [ … ]"));
        };
        let values = nodes.iter().map(|node| Self::new(self.document, self.key, node));
        Some(values.filter(|it| !it.is_blank()).filter_map(&mut read).collect())
    }

    /// Reads a table of exactly one of `keys`, by what stands beside that key.
    pub(in crate::config) fn one_of<T>(
        &self,
        expected: &str,
        keys: &Alternatives<'_, 'd, T>,
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
            let message =
                format!("unknown key `{}` in `{}`", key.get_ref().escape_debug(), self.key);
            let help = help.unwrap_or_else(|| format!("write {expected}"));
            self.document.note(Problem::new(key.span(), message).help(help));
            return None;
        };
        read(Self::new(self.document, key.get_ref(), node))
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
            (FreeKey::new(document, key), Self::new(document, key.get_ref(), node))
        });
        Some(pairs.filter_map(|(key, value)| read(key, value)).collect())
    }
}
