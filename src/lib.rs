//! Dyelane: a per-pod sidecar that sends every stream to its tenant's lane.

pub mod config;
pub mod live;
pub mod model;
pub mod net;
pub mod telemetry;
