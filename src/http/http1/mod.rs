//! HTTP/1.1, by hyper: its messages to and from ours.
//!
//! What is between two neighbours only (RFC 9110 section 7.6.1) ends here, in both directions;
//! what frames a message is hyper's to read and to write. Everything else goes through the same
//! checks as HTTP/2, so that no message means one thing here and another at the next hop.

mod body;
mod client;
mod head;
mod interim;
mod server;
mod upgrade;

pub use client::{Http1, connect_http1};
pub(super) use server::Http1Shared;
pub use server::serve_http1;
