//! What must hold for any bytes: one function for each fuzz target.
//!
//! A fuzz target calls its function with whatever libFuzzer thinks of; `tests/it` calls it with every
//! file of the target's corpus. Where the code under test says what bytes mean, the function has a
//! second opinion: it is written as plainly as the specification is, and may be slow.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a library to the fuzz targets and a module of the tests: a panic is a finding"
)]

mod carriers;
mod config;
mod discovery;
mod eureka;
mod peers;
mod protocols;
mod registry;
mod traces;

pub use carriers::{baggage, claim, tracestate};
pub use config::config;
pub use discovery::{apps, registry as answer};
pub use eureka::eureka;
pub use peers::parcel;
pub use protocols::{detect, frame, hpack};
pub use registry::{call, form};
pub use traces::{b3, traceparent};

/// What must hold for some bytes: it panics if it does not.
pub type Oracle = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: &[(&str, Oracle)] = &[
    ("answer", answer),
    ("apps", apps),
    ("b3", b3),
    ("baggage", baggage),
    ("call", call),
    ("claim", claim),
    ("config", config),
    ("detect", detect),
    ("eureka", eureka),
    ("form", form),
    ("frame", frame),
    ("hpack", hpack),
    ("parcel", parcel),
    ("traceparent", traceparent),
    ("tracestate", tracestate),
];
