//! Integration tests, in one binary: each more would link every crate again.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod architecture;
mod cli;
mod corpus;
mod harness;
mod http1;
mod lanes;
mod tcp;
mod tenancy;
