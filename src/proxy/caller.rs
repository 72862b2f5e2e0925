//! Where a request came in, and what we come to know of it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::End;
use crate::http::Pipe;
use crate::model::LaneName;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::model::ServiceName;
use crate::model::TenantId;
use crate::proxy::retry;
use crate::proxy::route::Route;
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

    /// The head of an answer came.
    pub(super) fn answered(&mut self, head: &ResponseHead) {
        self.status = head.status;
        self.grpc_status = retry::grpc_status(head);
        self.time_to_head.set(Some(self.begun.elapsed()));
    }

    /// Writes the record: metrics, and a line of the access log.
    pub(super) fn end(
        self,
        recorder: &Recorder,
        basis: &Basis,
        caller: &Caller,
        head: &RequestHead,
        request: &Pipe,
        response: &Pipe,
    ) {
        let trace = recorder.wants_lines().then(|| trace_id(&head.fields)).flatten();
        let trace = trace.map(|id| id.to_string());
        let trailers = grpc_status(response);
        recorder.record(&Record {
            generation: basis.generation(),
            service: basis.service(&self, caller),
            tenant: self.tenant.as_ref(),
            tenant_known: basis.knows_tenant(&self),
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

/// What a request holds of the world it was decided on, to its end.
///
/// Streams may last for days and a file may change every minute: a stream that basis its world for as
/// long would keep a world for every change.
#[derive(Debug)]
pub(super) enum Basis {
    /// All of it.
    World(Arc<World>),
    /// What is told of the request in the end.
    Gist { generation: u64, service: Option<(u32, ServiceName)>, knows_tenant: bool },
}

impl Basis {
    /// Keeps what is told in the end, and lets go of the world.
    pub(super) fn let_go(&mut self, story: &Story, caller: &Caller) {
        if matches!(self, Self::World(_)) {
            let service = self.service(story, caller).map(|(id, name)| (id, name.clone()));
            let (generation, knows_tenant) = (self.generation(), self.knows_tenant(story));
            *self = Self::Gist { generation, service, knows_tenant };
        }
    }

    /// Adds this hop to the answer's path, if the request asked for it.
    pub(super) fn sign(&self, route: Option<&Route>, head: &mut ResponseHead, story: &Story) {
        if let (Self::World(world), Some(route)) = (self, route) {
            route.sign(world, head, story);
        }
    }

    fn generation(&self) -> u64 {
        match self {
            Self::World(world) => world.generation,
            Self::Gist { generation, .. } => *generation,
        }
    }

    /// The service the request was for, with its number; an inbound one is for our application.
    fn service(&self, story: &Story, caller: &Caller) -> Option<(u32, &ServiceName)> {
        let world = match self {
            Self::World(world) => world,
            Self::Gist { service, .. } => return service.as_ref().map(|(id, name)| (*id, name)),
        };
        let service = story.service.and_then(|id| world.routes.service(id));
        match caller.direction {
            Direction::Inbound if service.is_none() => {
                Some((u32::MAX, &world.config.workload.service))
            }
            _ => service.map(|it| (it.id.number(), &it.name)),
        }
    }

    fn knows_tenant(&self, story: &Story) -> bool {
        match self {
            Self::World(world) => story.tenant.is_some_and(|it| world.is_known_tenant(&it)),
            Self::Gist { knows_tenant, .. } => *knows_tenant,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::Catalog;

    #[test]
    fn what_is_told_in_the_end_is_the_same_without_the_world() {
        let text =
            "[workload]\nservice = 'a.test'\n[outbound]\n[tenants.alice]\n[services.'b.test']";
        let config = Config::check("sidecar.toml", text, &|_| None).unwrap();
        let world = Arc::new(World::first(config, Catalog::default()));
        let story = Story {
            tenant: TenantId::new("alice").ok(),
            service: world.routes.by_name("b.test"),
            ..Story::new()
        };
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        let direction = Direction::Outbound;
        let caller = Caller { direction, peer, original: None, service: None };
        let mut basis = Basis::World(world.clone());
        let before = format!("{:?}", basis.service(&story, &caller));

        basis.let_go(&story, &caller);

        assert_eq!(Arc::strong_count(&world), 1);
        assert_eq!(format!("{:?}", basis.service(&story, &caller)), before);
        assert_eq!((basis.generation(), basis.knows_tenant(&story)), (1, true));
    }
}
