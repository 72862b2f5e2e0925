//! The registry: who is there, agreed on by nodes that never wait for each other.
//!
//! Floor 3: uses [`config`](crate::config), [`net`](crate::net), [`telemetry`](crate::telemetry) and
//! what is below.

pub mod record;
pub mod store;
pub mod wire;
