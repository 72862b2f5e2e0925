//! A key the operator chose: the name of a service, of a tenant, of a header.

use std::borrow::Cow;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;

use crate::config::problem::Problem;
use crate::config::reading::document::Document;
use crate::config::reading::wire::{field_name, is_token};
use crate::model::InvalidName;

/// A key the operator chose. Variables are not put into keys.
#[derive(Clone, Copy)]
pub(in crate::config) struct FreeKey<'d> {
    document: &'d Document<'d>,
    key: &'d Spanned<Cow<'d, str>>,
}

impl<'d> FreeKey<'d> {
    pub(super) fn new(document: &'d Document<'d>, key: &'d Spanned<Cow<'d, str>>) -> Self {
        Self { document, key }
    }

    pub(super) fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// Returns the key.
    pub(in crate::config) fn text(&self) -> &'d str {
        self.key.get_ref()
    }

    /// Returns where it stands.
    pub(in crate::config) fn place(&self) -> Range<usize> {
        self.key.span()
    }

    /// Returns the key as TOML has it: in quotes unless it is made of letters, digits, `-` and `_`.
    pub(super) fn quoted(&self) -> String {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match self.text() {
            key if !key.is_empty() && key.bytes().all(bare) => key.to_owned(),
            key => format!("{key:?}"),
        }
    }

    fn refuse<T>(&self, why: &str, help: impl Into<String>) -> Option<T> {
        let message = format!("`{}` {why}", self.text().escape_debug());
        self.document.note(Problem::new(self.place(), message).help(help));
        None
    }

    /// Reads it as the name of a `what`.
    pub(in crate::config) fn name<T: FromStr<Err = InvalidName>>(&self, what: &str) -> Option<T> {
        match self.text().parse() {
            Ok(name) => Some(name),
            Err(why) => self.refuse(&format!("is no name of a {what}"), why.to_string()),
        }
    }

    /// Reads it as the name of a header field; gives it in lower case.
    pub(in crate::config) fn field_name(&self) -> Option<String> {
        match field_name(self.text()) {
            Ok(name) => Some(name),
            Err((why, help)) => self.refuse(&why, help),
        }
    }

    /// Reads it as a token: the name of a cookie.
    pub(in crate::config) fn token(&self) -> Option<String> {
        if is_token(self.text()) {
            return Some(self.text().to_owned());
        }
        self.refuse("is no name", "write letters, digits and marks such as '-', without spaces")
    }
}
