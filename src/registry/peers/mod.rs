//! Replication among the nodes of a registry.

mod cluster;
mod link;
pub mod protocol;

pub use cluster::Cluster;
