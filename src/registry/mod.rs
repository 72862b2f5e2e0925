//! The registry: who is there, agreed on by nodes that never wait for each other.
//!
//! Floor 3: uses [`config`](crate::config), [`net`](crate::net), [`telemetry`](crate::telemetry) and
//! what is below.

pub mod api;
pub mod dialect;
pub mod durable;
pub mod encoded;
pub mod eureka;
pub mod fingerprint;
pub mod newest;
pub mod node;
pub mod peers;
pub mod record;
pub mod rulebook;
pub mod rules;
pub mod scheduler;
pub mod server;
pub mod store;
pub mod watch;
pub mod wire;
