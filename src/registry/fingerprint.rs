//! Short names of what is equal: two things of one fingerprint are taken for the same.

use sha1::{Digest as _, Sha1};

use crate::registry::record::first_128_bits;

/// A fingerprint in the making: 128 bits of a SHA-1 over parts that cannot run into each other.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha1);

impl Fingerprint {
    /// Adds a text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.add_text(text);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u128) -> Self {
        self.add_number(number);
        self
    }

    /// Adds a text, with its length before it.
    pub fn add_text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    /// Adds a number.
    pub fn add_number(&mut self, number: u128) {
        self.0.update(number.to_be_bytes());
    }

    /// Returns the fingerprint.
    pub fn finish(self) -> u128 {
        first_128_bits(&self.0.finalize())
    }
}
