//! Who is well, and who is told of us.
//!
//! ```text
//!  application ◄── check ── Judge ──► readiness
//!                             │
//!                             └─────► Registrar ── register, renew, cancel ──► a registry
//!
//!  instances   ◄── check ── Judge ──► their endpoints
//! ```
//!
//! Our instance is registered while the application is well and the sidecar means to stay. A registry
//! that does not answer changes nothing for anybody but itself: nothing here is waited for longer than
//! its bound, and no request waits for anything here.
//!
//! Floor 4: uses [`balance`](crate::balance), [`config`](crate::config) and [`net`](crate::net).

mod application;
mod check;
mod dialect;
mod judge;
mod plan;
mod prober;
mod registrar;
mod standing;

pub use application::{Checks, watch_application};
pub use check::{CheckError, check};
pub use plan::Plan;
pub use prober::{Prober, Target};
pub use registrar::Registrar;
pub use standing::{Standing, Wellness};
