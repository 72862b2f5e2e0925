//! `[tenant]`: where a request's tenant is read and written, and by what its calls are joined.

use std::time::Duration;

/// Where a tenant's name is written in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// A field of that name, in lower case; its value is the name.
    Header(String),
    /// A member of the `baggage` field (W3C Baggage) with that key.
    Baggage(String),
    /// A member of the `tracestate` field (W3C Trace Context) with that key.
    Tracestate(String),
}

/// What becomes of a request whose carriers disagree, or of which one is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// 400, reason `claim`.
    #[default]
    Reject,
    /// It goes on as of no tenant.
    Ignore,
    /// The dedicated header counts, if it is one clean value; else as `Reject`.
    Header,
}

/// `[tenant]`: where a request's tenant is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSection {
    /// The dedicated header in lower case; `x-tenant` unless told.
    pub header: String,
    /// The key of our member in `baggage`; `tenant` unless told.
    pub baggage: String,
    /// The key of our member in `tracestate`; `tenant` unless told.
    pub tracestate: String,
    /// What is read, in order: our own carriers first, then the aliases. At least one.
    pub read: Vec<Carrier>,
    /// What becomes of a request whose carriers disagree.
    pub on_conflict: OnConflict,
    /// Whether the dedicated header is written onward beside the baggage member. On unless told.
    pub write_header: bool,
    /// Whether a request our sandbox sends with no context at all takes the sandbox's own lane.
    /// On unless told.
    pub own_lane: bool,
    /// `[tenant.correlation]`: how outbound requests are joined to inbound ones.
    pub correlation: Correlation,
}

/// An identifier that applications forward even if they know nothing of tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CorrelationId {
    /// The trace id of `traceparent` (W3C Trace Context).
    Traceparent,
    /// The trace id of `b3` or `x-b3-traceid` (Zipkin B3 propagation).
    B3,
    /// The value of `x-datadog-trace-id`.
    Datadog,
    /// The value of a field of that name, in lower case: `x-request-id`, or the operator's own.
    Header(String),
}

/// `[tenant.correlation]`: how outbound requests are joined to inbound ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correlation {
    /// The identifiers that are remembered; none turns it off.
    pub ids: Vec<CorrelationId>,
    /// Identifiers remembered at a time: 1 to 10,000,000.
    pub capacity: u32,
    /// How long one is remembered after it was last seen: 1 s to 24 h.
    pub max_age: Duration,
}
