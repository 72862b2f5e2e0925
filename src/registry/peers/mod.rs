//! Replication among the nodes of a registry.

pub mod protocol;
