//! The HTTP API of bilibili/discovery.

pub mod calls;
pub mod fields;
