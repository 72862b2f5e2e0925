//! HTTP/1.1 as callers and upstreams meet it: exact bytes in, exact bytes out, through a whole
//! sidecar.

mod between;
mod bodies;
mod clocks;
mod framing;
mod line;
mod reuse;
mod targets;
mod upgrade;
mod wire;

pub(crate) use line::before;
pub(crate) use wire::{Upstream, Wire, much};
