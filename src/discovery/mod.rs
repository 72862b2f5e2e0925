//! Who there is: follows registries, and makes one catalog of what they and the file say.
//!
//! ```text
//!  a registry ── watch ──► Mirror ──► Belief ──► Report ──┐
//!  Eureka ────── delta ──► Mirror ──► Belief ──► Report ──┼─► merge ──► Catalog, rules ──► World
//!  the file ──────────────────────────────────────────────┘
//! ```
//!
//! A mirror has what a source says, in the source's words and in ours. A belief says which of it counts:
//! a source that lost its memory does not take anybody's instances away. What counts is published to
//! the control thread, which builds the next world of it; nothing here knows of requests.
//!
//! A source that is away changes nothing. `cache` carries what counts over a restart of ours.
//!
//! Floor 4: uses [`config`](crate::config), [`net`](crate::net), [`telemetry`](crate::telemetry) and the
//! words of [`registry`](crate::registry).

pub mod answers;
mod belief;
mod cache;
mod eureka;
mod feed;
mod keeper;
mod known;
mod loose;
mod merge;
mod registry;
mod report;
mod rotation;
mod rules;
mod said;
mod sources;
mod usable;

pub use cache::load;
pub use known::Known;
pub use report::{Mishap, Moment, SourceView};
pub use sources::Sources;
