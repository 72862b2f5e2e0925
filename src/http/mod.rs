//! HTTP on the wire: both protocols, both ends.
//!
//! ```text
//!             ┌─ server (HTTP/2) ─┐                        ┌─ client (HTTP/2) ─┐
//!  a caller ──┤                   ├──► Incoming ─► Call ───┤                   ├── an upstream
//!             └─ http1 ───────────┘       Pipes            └─ http1 ───────────┘
//! ```
//!
//! A connection is a future on one thread. What comes in becomes an [`Incoming`] with a head that
//! was checked (`message`), a [`Pipe`] for its body and a [`Reply`] for its answer; what goes out
//! is a [`Call`]. This floor knows nothing of tenants, services or instances: it moves messages
//! without loss, without mixing them up, and within bounds.
//!
//! The HTTP/2 engine is our own: [`frame`] and [`hpack`] are functions of bytes, `connection` is
//! the protocol, with `receive`, `heads`, `send`, `clock` and `closing`. HTTP/1.1 is hyper's.

pub mod field;
pub mod frame;
pub mod hpack;

mod chunks;
mod client;
mod clock;
mod closing;
mod connection;
mod exchange;
mod few;
mod heads;
mod http1;
mod message;
mod options;
mod pace;
mod pipe;
mod ready;
mod receive;
mod send;
mod server;
mod stream;

pub use client::{Client, connect};
pub use connection::Ended;
pub use exchange::{Call, CallError, CallEvent, Gone, Incoming, Reply, Version};
pub use frame::ErrorCode;
pub use http1::{Http1, connect_http1, serve_http1};
pub use message::HeadLimits;
pub use options::Options;
pub use pipe::{Closed, End, Piece, Pipe};
pub use server::{Server, serve};
