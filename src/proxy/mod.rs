//! The data path: what becomes of every connection and every request.
//!
//! ```text
//!  accept ──► detect ──► HTTP/2, HTTP/1.1 ──► one task a request        (server.rs)
//!                └─────► anything else ─────► bytes, to where they go   (tcp.rs)
//!
//!  a request's task                                                     (request.rs)
//!    identify   whose request is it? carriers, correlation, rules,      (whose.rs)
//!               own lane; written back for the next hop                 (identify.rs)
//!    route      for whom is it? our application, a service, or where    (route.rs)
//!               it was going anyway
//!    attempt ◄┐ decide the rung, pick an endpoint,                      (world.rs)
//!      │      │ get a connection, send the head, await the answer's     (pool.rs)
//!      ├──────┘ once more, if that is safe and the budget allows        (retry.rs)
//!    answer     the head to the caller; the bodies move by themselves,
//!               connection to connection
//!    account    one record: metrics and access log                      (caller.rs)
//!
//!  whatever fails on the way becomes an answer in one place             (error.rs, reply.rs)
//! ```
//!
//! A request takes one snapshot of the [`World`] and is decided on nothing else. All of it runs on
//! the worker thread the connection came in on; nothing on the way is shared with other threads but
//! atomics, and the correlation table, which is sharded.

mod caller;
mod deadline;
mod error;
mod identify;
mod pool;
mod reply;
mod request;
mod retry;
mod route;
mod server;
mod tcp;
mod whose;
mod worker;
mod world;

pub use whose::Whose;
pub use worker::{Entry, Shared, run};
pub use world::World;
