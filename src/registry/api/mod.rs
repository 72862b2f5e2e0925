//! The registry's HTTP: what is asked, what is answered, and who answers it.
//!
//! Everything that speaks HTTP here does so by [`Ask`] and [`Reply`], so that a dialect can be
//! called from a test without a socket.

pub mod admission;
pub mod ask;
pub mod gzip;
pub mod listener;
pub mod reply;
pub mod routes;
pub mod rules;
mod socket;
pub mod status;
pub mod token;
pub mod watch;

pub use ask::Ask;
pub use reply::Reply;
