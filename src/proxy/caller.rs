//! Where a request came in, and what we come to know of it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::End;
use crate::http::Pipe;
use crate::model::LaneName;
use crate::model::RequestHead;
use crate::model::ServiceName;
use crate::model::TenantId;
use crate::proxy::world::World;
use crate::routing::Decision;
use crate::routing::Reason;
use crate::routing::ServiceId;
use crate::telemetry::Direction;
use crate::telemetry::Record;
use crate::telemetry::Recorder;
use crate::tenant::trace_id;

/// A connection that requests come in on.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Which way its requests go.
    pub(super) direction: Direction,
    /// Who connected.
    pub(super) peer: SocketAddr,
    /// Whom it meant to connect to, if it was redirected to us.
    pub(super) original: Option<SocketAddr>,
    /// The service all its requests are for, if it came in on that service's own listener.
    pub(super) service: Option<ServiceName>,
}

/// What we know of a request, for the one record of how it ended.
pub(super) struct Story {
    pub(super) begun: Instant,
    pub(super) tenant: Option<TenantId>,
    pub(super) carrier: &'static str,
    pub(super) service: Option<ServiceId>,
    pub(super) lane: Option<LaneName>,
    pub(super) decision: &'static str,
    pub(super) fell_back: bool,
    pub(super) propagation_missing: bool,
    pub(super) failure: Option<&'static str>,
    pub(super) status: u16,
    pub(super) grpc_status: Option<u32>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) attempts: u32,
    pub(super) time_to_head: Cell<Option<Duration>>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            tenant: None,
            carrier: "",
            service: None,
            lane: None,
            decision: "",
            fell_back: false,
            propagation_missing: false,
            failure: None,
            status: 0,
            grpc_status: None,
            upstream: None,
            attempts: 0,
            time_to_head: Cell::new(None),
        }
    }

    /// The lane as people see it: `baseline` for the baseline, `none` where no rung was found.
    pub(super) fn lane_label(&self) -> &str {
        match &self.lane {
            Some(lane) => lane.as_str(),
            None if self.decision == Reason::NoInstance.label() => "none",
            None => "baseline",
        }
    }

    pub(super) fn decided(&mut self, service: ServiceId, decision: &Decision) {
        self.service = Some(service);
        self.lane = decision.lane;
        self.decision = decision.reason.label();
        self.fell_back = decision.reason.is_fallback();
    }

    /// Writes the record: metrics, and a line of the access log.
    pub(super) fn end(
        self,
        recorder: &Recorder,
        world: &World,
        caller: &Caller,
        head: &RequestHead,
        request: &Pipe,
        response: &Pipe,
    ) {
        let trace = recorder.wants_lines().then(|| trace_id(&head.fields)).flatten();
        let trace = trace.map(|id| id.to_string());
        let service = self.service.and_then(|id| world.routes.service(id));
        let workload = (u32::MAX, &world.config.workload.service);
        let service = match caller.direction {
            Direction::Inbound if service.is_none() => Some(workload),
            _ => service.map(|it| (it.id.number(), &it.name)),
        };
        let trailers = grpc_status(response);
        recorder.record(&Record {
            generation: world.generation,
            service,
            tenant: self.tenant.as_ref(),
            tenant_known: self.tenant.is_some_and(|it| world.is_known_tenant(&it)),
            carrier: self.carrier,
            lane: self.lane.as_ref(),
            decision: self.decision,
            fell_back: self.fell_back,
            propagation_missing: self.propagation_missing,
            failure: self.failure,
            method: head.method.as_str(),
            path: &head.path,
            authority: &head.authority,
            status: self.status,
            grpc_status: self.grpc_status.or(trailers),
            upstream: self.upstream,
            attempts: self.attempts,
            request_bytes: request.total(),
            response_bytes: response.total(),
            duration: self.begun.elapsed(),
            time_to_head: self.time_to_head.get(),
            trace_id: trace.as_deref(),
            peer: Some(caller.peer),
            ..Record::new(caller.direction)
        });
    }
}

/// The gRPC status in the trailers of an answer that ended.
fn grpc_status(body: &Pipe) -> Option<u32> {
    body.with_end(|end| match end {
        Some(End::Complete(Some(trailers))) => {
            std::str::from_utf8(trailers.get(b"grpc-status")?).ok()?.parse().ok()
        }
        _ => None,
    })
}
