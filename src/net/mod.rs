//! Connections as the kernel has them: listening, dialling, telling protocols apart, relaying.
//!
//! ```text
//! listen ─► accept ─► original_destination ─► sniff ─┬─ Http2, Http1 ─► the caller's engine
//!                                                    └─ anything else ─► dial ─► relay
//! ```
//!
//! Nothing here knows of requests, tenants or services. What the first bytes of a connection mean
//! is decided by [`detect`], a function of those bytes and of nothing else.
//!
//! Floor 1: uses nothing else of the crate.

mod accept;
mod detect;
mod dial;
mod listener;
mod relay;
mod replay;
mod sniff;

pub use accept::accept;
pub use detect::{DETECT_BYTES, Detected, detect};
pub use dial::{DialError, dial};
pub use listener::{claim, listen, original_destination};
pub use relay::{RELAY_BUFFER, RelayEnd, RelayEnding, relay};
pub use replay::Replay;
pub use sniff::{Sniffed, sniff};
