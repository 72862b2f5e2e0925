//! Names: of tenants, lanes and services; parsed once, cheap to copy.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, Serialize};

/// Longest tenant or lane name, in bytes.
const LANE_BYTES: usize = 63;
/// Longest service name, in bytes: that of a DNS name (RFC 1035 section 2.3.4).
const SERVICE_BYTES: usize = 253;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than the limit given, in bytes.
    #[error("a name has at most {0} characters")]
    TooLong(usize),
    /// The text does not begin with a letter or a digit.
    #[error("a name begins with a letter or a digit")]
    Start,
    /// The text has this character, which no name has.
    #[error("a name has only letters, digits, '.', '_' and '-', not {0:?}")]
    Character(char),
}

/// Refuses what is not `[A-Za-z0-9][A-Za-z0-9._-]*` of at most `limit` bytes.
fn check(text: &str, limit: usize) -> Result<(), InvalidName> {
    let first = text.bytes().next().ok_or(InvalidName::Empty)?;
    if text.len() > limit {
        return Err(InvalidName::TooLong(limit));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if let Some(odd) = text.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
        return Err(InvalidName::Character(odd));
    }
    if first.is_ascii_alphanumeric() { Ok(()) } else { Err(InvalidName::Start) }
}

macro_rules! inline_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// One to 63 bytes of `[A-Za-z0-9._-]`, beginning with a letter or a digit;
        /// case-sensitive. Held in place: copying one allocates nothing.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(ArrayString<LANE_BYTES>);

        impl $name {
            /// Parses a name.
            pub fn new(text: &str) -> Result<Self, InvalidName> {
                check(text, LANE_BYTES)?;
                ArrayString::from(text).map(Self).map_err(|_| InvalidName::TooLong(LANE_BYTES))
            }

            /// Parses a name from bytes that a stranger sent.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
                let text = std::str::from_utf8(bytes);
                Self::new(text.map_err(|_| InvalidName::Character('\u{fffd}'))?)
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        name_traits!($name);
    };
}

macro_rules! name_traits {
    ($name:ident) => {
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

inline_name! {
    /// Whose request it is.
    TenantId
}
inline_name! {
    /// A lane: instances across services that belong together. Dots make a hierarchy.
    LaneName
}

impl LaneName {
    /// Returns the lane one dot up: `dev.p1.alice` has the parent `dev.p1`, `dev` has none.
    ///
    /// A name that only differs by letters is no parent: `dev.proj-ab` is none of `dev.proj-abc`.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('.')?;
        Self::new(parent).ok()
    }
}

impl From<TenantId> for LaneName {
    /// The lane of a tenant of which the operator said nothing: the one of its own name.
    fn from(tenant: TenantId) -> Self {
        Self(tenant.0)
    }
}

impl From<LaneName> for TenantId {
    /// The tenant of a sandbox's own traffic: the one of its lane's name.
    fn from(lane: LaneName) -> Self {
        Self(lane.0)
    }
}

/// A name callers use for a service; `business.service.role` by custom.
///
/// One to 253 bytes of `[A-Za-z0-9._-]`, beginning with a letter or a digit; case-sensitive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// Parses a name.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text, SERVICE_BYTES)?;
        Ok(Self(text.into()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

name_traits!(ServiceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_dots_dashes_and_underscores() {
        for good in ["a", "9", "dev.p1.alice", "a_b-c", &"x".repeat(63)] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", InvalidName::Empty),
            (&*"x".repeat(64), InvalidName::TooLong(63)),
            (".a", InvalidName::Start),
            ("a b", InvalidName::Character(' ')),
            ("a,b", InvalidName::Character(',')),
            ("é", InvalidName::Character('é')),
        ] {
            assert_eq!(TenantId::new(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_parent_is_cut_at_a_dot_only() {
        let lane = LaneName::new("dev.p1.alice").unwrap();

        let parent = lane.parent().unwrap();

        assert_eq!(parent.as_str(), "dev.p1");
        assert_eq!(parent.parent().unwrap().as_str(), "dev");
        assert_eq!(parent.parent().unwrap().parent(), None);
    }
}
