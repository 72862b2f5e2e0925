//! What is known of our application and of our registration, as others are shown it.

use std::sync::Arc;

/// How the application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wellness {
    /// Nobody knows yet.
    Unknown,
    /// It answers as it should.
    Well,
    /// It does not, and why.
    Unwell(Arc<str>),
}

impl Wellness {
    /// Returns whether it answers as it should.
    pub fn is_well(&self) -> bool {
        *self == Self::Well
    }
}

/// What a registry knows of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether a registry may know of us, whatever became of it since.
    pub is_known: bool,
    /// Whether a registry took our registration and its last renewal.
    pub is_registered: bool,
    /// Whether callers may have been sent to us by a registry, until they learn otherwise. Stays if
    /// our instance was taken back because we end.
    pub was_told: bool,
}
