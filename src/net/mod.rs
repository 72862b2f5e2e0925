//! Connections as the kernel has them: listening, dialling, telling protocols apart, relaying.
//!
//! ```text
//! listen ─► accept ─► original_destination ─► sniff ─┬─ Http2, Http1 ─► the caller's engine
//!                                                    └─ anything else ─► dial ─► relay
//! ```
//!
//! A small client for control traffic ([`Client`]) is here too. Nothing else knows of requests;
//! nothing at all of tenants or services. What the first bytes of a connection mean
//! is decided by [`detect()`], a function of those bytes and of nothing else.
//!
//! Floor 1: uses nothing else of the crate.

mod accept;
mod client;
mod detect;
mod dial;
mod escape;
mod listener;
mod relay;
mod replay;
mod sniff;

pub use accept::accept;
pub use client::{Answer, Bounds, Client, ClientError, basic_credentials};
pub use detect::{DETECT_BYTES, Detected, detect};
pub use dial::{DialError, dial};
pub use escape::escape;
pub use listener::{claim, listen, original_destination};
pub use relay::{RELAY_BUFFER, RelayEnd, RelayEnding, relay};
pub use replay::Replay;
pub use sniff::{Sniffed, sniff};
