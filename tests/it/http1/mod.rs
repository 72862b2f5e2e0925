//! HTTP/1.1 as callers and upstreams meet it: exact bytes in, exact bytes out, through a whole
//! sidecar.

mod bodies;
mod clocks;
mod framing;
mod h2;
mod pod;
mod reuse;
mod targets;
mod upgrade;
mod wire;

pub(crate) use pod::Pod;
pub(crate) use wire::{Upstream, Wire, within};
