//! HTTP/1.1, by hyper: its messages to and from ours.
//!
//! What is between two neighbours only (RFC 9110 section 7.6.1) ends here, in both directions;
//! what frames a message is hyper's to read and to write. Everything else goes through the same
//! checks as HTTP/2, so that no message means one thing here and another at the next hop.
//!
//! Another protocol (`upgrade`) is agreed on hop by hop. Between the two connections it has the form
//! of RFC 8441, whichever protocol either speaks: [`RequestHead::protocol`] asks for it, status 101
//! agrees, and the proof of a WebSocket handshake is made and checked by whoever speaks HTTP/1.1.
//! Only a request without a body can ask: one with a body is served in HTTP.
//!
//! What hyper does not do, and so neither do we:
//! - `100 Continue` is hyper's own word to a caller, as soon as the body is read: it does not wait
//!   for the upstream's. Other interim answers (1xx) go on, from and to either protocol.
//! - Trailers are written only if the head announced them in `trailer`, and to a caller only if its
//!   `te` says that it takes them. Others are dropped.
//! - What hyper cannot parse it answers itself: 400, 414 or 431 without `x-dyelane-reason`, and the
//!   connection ends.
//! - Of `content-length` beside `transfer-encoding` in a request it takes the latter, which is what
//!   goes on, and ends the connection with the answer (RFC 9112 section 6.3). In an answer we refuse
//!   them.
//! - A caller that shuts its sending side before it has its answer is taken to have left. That it
//!   left is noticed when its socket is read, which waits while an upstream does not take its body.
//! - Half a head that came in one read with the request before it, and never goes on, is timed as an
//!   unused connection is; one that came later, as a head.
//! - A `#` in a target and what follows it are dropped, where HTTP/2 callers are refused.
//!
//! [`RequestHead::protocol`]: crate::model::RequestHead::protocol

mod body;
mod call;
mod client;
mod driver;
mod head;
mod interim;
mod server;
mod tunnel;
mod watch;
mod websocket;

pub use client::{Http1, connect_http1};
pub(super) use server::Http1Shared;
pub use server::serve_http1;
