//! HTTP on the wire: what both protocols say of fields, the frames of HTTP/2 and its header
//! compression.
//!
//! Everything here is a function of bytes. Nothing opens a socket, waits or looks at a clock; a
//! connection owns the buffers, calls these functions on them and decides what to do.

pub mod field;
pub mod frame;
pub mod hpack;
