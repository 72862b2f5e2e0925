//! Tells what the sidecar does: metrics, the access log, the program's own log.
//!
//! ```text
//! a request ended ─► Record ─► Recorder (one a worker) ─┬─► Metrics ──► /metrics
//!                                                       └─► AccessLog ─► standard output
//! anything else ─────────────► Metrics' own methods
//! ```
//!
//! Nothing is global but the subscriber of the program's log: a test makes its own [`Metrics`] and
//! reads it back. Nothing here waits: where a reader is too slow, lines are dropped and counted.
//!
//! Floor 1: uses [`model`](crate::model).

mod access_log;
mod declare;
mod events;
mod labels;
mod line;
mod logging;
mod metrics;
mod record;
mod recorder;
mod registry;

pub use access_log::{AccessLog, AccessLogWriter};
pub use declare::Active;
pub use events::Spread;
pub use labels::{Correlated, Direction, Protocol, Retry, Source, Way};
pub use logging::{LogError, LogLevel, init_logging};
pub use metrics::Metrics;
pub use record::Record;
pub use recorder::Recorder;
pub use registry::{PeerCounts, PeerSample, RegistryMetrics};
