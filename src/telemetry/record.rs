//! What is told of a request that ended.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::{LaneName, ServiceName, TenantId};
use crate::telemetry::Direction;
use crate::telemetry::labels::Code;

/// What is told of a request that ended. Borrows everything: making one allocates nothing.
///
/// Start from [`Record::new`] and fill in what is known.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// Which way it went.
    pub direction: Direction,
    /// The generation of the world it was decided on.
    pub generation: u64,
    /// The service it was for, with a number that no other service of that generation and
    /// direction has. None: no service of the catalog.
    pub service: Option<(u32, &'a ServiceName)>,
    /// Whose request it was.
    pub tenant: Option<&'a TenantId>,
    /// Whether the operator knows that tenant; others share one metric label.
    pub tenant_known: bool,
    /// Where the tenant was read: `header`, `baggage`, `tracestate`, `alias`, `correlation`,
    /// `own_lane`, `rule`; empty where there is none.
    pub carrier: &'static str,
    /// The lane that served it; none is the baseline, or nobody.
    pub lane: Option<&'a LaneName>,
    /// Why that lane, in a word; empty where nothing was decided.
    pub decision: &'static str,
    /// Whether a tenant's request went to another lane than the tenant's own.
    pub fell_back: bool,
    /// Whether the application dropped the tenant of a request whose trace we know.
    pub propagation_missing: bool,
    /// Why we answered it ourselves, or broke it off, in a word.
    pub failure: Option<&'static str>,
    /// The method.
    pub method: &'a str,
    /// The path and query.
    pub path: &'a str,
    /// The host it was for.
    pub authority: &'a str,
    /// The HTTP status of the answer; 0 if there was no head.
    pub status: u16,
    /// The gRPC status of the answer.
    pub grpc_status: Option<u32>,
    /// The instance that answered, or was tried last.
    pub upstream: Option<SocketAddr>,
    /// How often it was sent.
    pub attempts: u32,
    /// Bytes of its body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// From its head read to its answer's end.
    pub duration: Duration,
    /// From its head read to its answer's head.
    pub time_to_head: Option<Duration>,
    /// The id of its trace.
    pub trace_id: Option<&'a str>,
    /// Who sent it.
    pub peer: Option<SocketAddr>,
}

impl Record<'_> {
    /// A request of which nothing is known but which way it went.
    pub const fn new(direction: Direction) -> Self {
        Self {
            direction,
            generation: 0,
            service: None,
            tenant: None,
            tenant_known: false,
            carrier: "",
            lane: None,
            decision: "",
            fell_back: false,
            propagation_missing: false,
            failure: None,
            method: "",
            path: "",
            authority: "",
            status: 0,
            grpc_status: None,
            upstream: None,
            attempts: 0,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            time_to_head: None,
            trace_id: None,
            peer: None,
        }
    }

    /// Returns the service's name; empty where there is none.
    pub(super) fn service_label(&self) -> &str {
        self.service.map_or("", |(_, name)| name.as_str())
    }

    /// Returns the tenant as a label: its name if the operator knows it.
    pub(super) fn tenant_label(&self) -> &str {
        match self.tenant {
            None => "",
            Some(tenant) if self.tenant_known => tenant.as_str(),
            Some(_) => OTHER,
        }
    }

    /// Returns the lane that served it; empty where no instance was ever chosen.
    pub(super) fn lane_label(&self) -> &str {
        match self.lane {
            Some(lane) => lane.as_str(),
            None if self.upstream.is_some() => "baseline",
            None => "",
        }
    }

    /// Returns why it ended as it did: why we failed it, else why it went where it went.
    pub(super) fn reason_label(&self) -> &'static str {
        self.failure.unwrap_or(self.decision)
    }

    /// Returns how it was answered.
    pub(super) fn code(&self) -> Code {
        Code::new(self.status, self.grpc_status)
    }

    /// Returns whether it is always worth a line.
    pub(super) fn is_failure(&self) -> bool {
        self.failure.is_some() || self.code().is_failure()
    }
}

/// The label of tenants nobody announced, and of whatever exceeds the number of series.
pub(super) const OTHER: &str = "other";
