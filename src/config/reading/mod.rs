//! How a file is read: tables by typed getters, each of which notes what is wrong and goes on.
//!
//! ```text
//! text ──toml──► tree ──Section──► Value ──► period, size, name, address…
//!                          │         │
//!                          └─────────┴──► Document: problems, in any order
//! ```
//!
//! serde would stop at the first error; an operator wants all of them. A getter therefore gives its
//! default where the value is wrong, and the reading as a whole fails if a problem was noted. Each
//! getter also says what it expects, which is how the reference in `docs/config.md` is kept true.

mod address;
mod compound;
mod document;
mod free_key;
mod getters;
mod ledger;
mod section;
mod spelling;
mod units;
mod value;
mod variables;
mod wire;

pub(super) use document::Document;
pub use document::Key;
pub(super) use section::{NamedTable, Section};
pub(super) use units::{DAY, GIBIBYTE, HOUR, KIBIBYTE, MEBIBYTE, MILLISECOND, MINUTE, SECOND};
pub(super) use value::Value;
pub(super) use wire::{field_name, is_token};
