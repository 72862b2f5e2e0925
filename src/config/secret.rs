//! Texts that nobody is shown.

use std::fmt;

/// Longest text, in bytes.
const LONGEST: usize = 4096;

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why a text can be no [`Secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It has no character.
    #[error("is empty")]
    Empty,
    /// No field of a request could hold it.
    #[error("has a character that no header field can hold")]
    Unsendable,
    /// It has more than 4,096 bytes.
    #[error("is longer than 4096 bytes")]
    TooLong,
}

impl Secret {
    /// Takes `text`, which must be fit for an `authorization` field.
    pub fn new(text: &str) -> Result<Self, InvalidSecret> {
        match text {
            "" => Err(InvalidSecret::Empty),
            _ if text.len() > LONGEST => Err(InvalidSecret::TooLong),
            // What is shown and no space: RFC 6750 section 2.1 allows still less.
            _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(text.into())),
            _ => Err(InvalidSecret::Unsendable),
        }
    }

    /// Returns the text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
