//! Says whose request it is, and carries the answer onward.
//!
//! A request names its tenant in carriers, and a tenant is only ever what they all say:
//!
//! ```text
//! x-tenant: alice           ─┐
//! baggage: a=1,tenant=alice  ├─►  Carriers::read()  ─►  Claim { tenant, carrier }
//! tracestate: tenant=alice  ─┘         │ they disagree, one is no name
//!                                      └─►  ClaimError, counted whatever becomes of the request
//! ```
//!
//! Reading looks at every carrier that is configured, not at the first: two that disagree are an
//! error or no tenant, by the operator's choice, and never one of the two. It costs one pass over
//! the names of the fields, parses only what it was told to, and allocates nothing.
//!
//! Writing puts the tenant where applications carry it along without knowing: OpenTelemetry
//! forwards `baggage` by itself. Other people's members stay as they are, byte for byte. An
//! application that forwards nothing of ours may still forward a trace id: [`Correlation`]
//! remembers for a while which tenant an id came in with, and nothing else.
//!
//! What this module does not decide: whether a claim is to be believed (the listener's `claims`),
//! where its tenant goes (`routing`), and what is counted. No clock, no socket, no `async`: the time
//! is an argument.
//!
//! Floor 2: uses [`model`](crate::model) and [`config`](crate::config).

mod carrier;
mod correlation;
mod identifier;
mod table;
pub mod w3c;

pub use carrier::{Carriers, Read, Written};
pub use correlation::{Correlation, Recall, Remembered};
pub use identifier::{TraceId, trace_id};

use crate::model::{InvalidName, TenantId};

/// A tenant named by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Whose request it says it is.
    pub tenant: TenantId,
    /// The first carrier, in the order they are read, that says so: `header`, `baggage`,
    /// `tracestate` or `alias`.
    pub carrier: &'static str,
}

/// Why what a request says of its tenant counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A carrier is there and holds no name: it is empty, a list, not ASCII.
    #[error("the tenant in the {carrier} is no name")]
    Malformed {
        /// The kind of the first such carrier.
        carrier: &'static str,
        /// What is wrong with it.
        #[source]
        why: InvalidName,
    },
    /// Two values name two tenants.
    #[error("the {one} and the {other} name different tenants")]
    Conflict {
        /// The kind of the carrier that was found first.
        one: &'static str,
        /// The kind of the carrier that says otherwise; the same kind if one is repeated.
        other: &'static str,
    },
}

impl ClaimError {
    /// Returns the label of `claims_rejected_total`: `malformed` or `conflict`.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::Conflict { .. } => "conflict",
        }
    }
}

/// Returns the bit that stands for names of that length; one stands for all from 63 bytes on.
///
/// A set of these tells most fields from the few that are looked for at the cost of one test.
fn bit(length: usize) -> u64 {
    1 << length.min(63)
}
