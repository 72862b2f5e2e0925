//! Integration tests, in one binary: each more would link every crate again.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed step is a failed test")]

mod architecture;
mod balance;
mod cli;
mod corpus;
mod correlation;
mod discovery;
mod drain;
mod flip;
mod grpc;
mod harness;
mod http1;
mod http2;
mod lanes;
mod listing;
mod nodes;
mod registration;
mod registry;
mod release;
mod reload;
mod retries;
mod tcp;
mod tenancy;
mod timeouts;
mod worlds;
mod zones;
