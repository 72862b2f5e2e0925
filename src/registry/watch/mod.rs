//! Waiting for news: who waits for what, and how they are woken.
//!
//! ```text
//! a writer ─► store ─► Recent   what changed, in order: who was away a while is told the difference
//!                 └──► Hub      who waits: woken a moment later by a task of its own
//! ```
//!
//! A watcher registers before it looks, so no change falls between the two; it belongs to one
//! request on one connection, so nobody can take its wake-up; it is gone when its request is.

mod damper;
pub mod draft;
mod hub;
mod recent;

pub use damper::{Damper, Repeat};
pub use hub::{Hub, Interest, TooMany, Watch};
pub use recent::{News, Recent};
