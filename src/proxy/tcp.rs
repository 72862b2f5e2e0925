//! Connections that are no HTTP, or are not to be looked at: bytes, to where they were going.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::config::Unknown;
use crate::config::UpstreamProtocol;
use crate::net;
use crate::net::RelayEnding;
use crate::net::Replay;
use crate::proxy::caller::Caller;
use crate::proxy::route::local;
use crate::proxy::worker::Worker;
use crate::proxy::world::World;
use crate::routing::Who;
use crate::telemetry::Direction;
use crate::telemetry::Protocol;
use crate::telemetry::Way;

/// Whether the operator says that this connection is bytes.
pub(super) fn is_tcp(world: &World, caller: &Caller) -> bool {
    match (&caller.service, caller.direction) {
        (Some(name), _) => {
            let service = world.routes.by_name(name.as_str()).and_then(|id| world.routes.service(id));
            service.is_some_and(|it| it.settings.protocol == UpstreamProtocol::Tcp)
        }
        (None, Direction::Inbound) => world.config.workload.protocol == UpstreamProtocol::Tcp,
        (None, Direction::Outbound) => false,
    }
}

impl Worker {
    /// Relays a connection both ways, byte for byte, until both sides ended.
    ///
    /// Bytes name no tenant: they go where they were going, or, on a service's own listener, to an
    /// instance for whoever's sandbox we sit beside.
    pub(super) async fn relay(&self, world: &World, caller: &Caller, stream: Replay<TcpStream>) {
        let Some(address) = self.destination(world, caller) else {
            tracing::debug!(peer = %caller.peer, "bytes to nowhere: no original destination");
            self.metrics().protocol_error(caller.direction, "no_destination");
            return;
        };
        let _active = self.metrics().connection_opened(caller.direction, Protocol::Tcp);
        let limit = world.passthrough.timeouts.connect;
        let upstream = match net::dial(address, limit).await {
            Ok(upstream) => upstream,
            Err(error) => {
                tracing::debug!(peer = %caller.peer, %error, "cannot relay");
                let service = &world.config.workload.service;
                self.metrics().upstream_connect_failed(service, error.label());
                return;
            }
        };
        let idle = Some(world.config.limits.connection_idle);
        // Bytes have no good moment to stop at: what is under way may end within the drain timeout,
        // and is broken off after it.
        let never = tokio_util::sync::CancellationToken::new();
        let end = net::relay(stream, upstream, idle, &never).await;
        self.metrics().tcp_moved(caller.direction, Way::ToServer, end.to_server);
        self.metrics().tcp_moved(caller.direction, Way::ToClient, end.to_client);
        if end.ending != RelayEnding::Closed {
            tracing::debug!(peer = %caller.peer, %address, end = end.ending.label(), "relay ended");
        }
    }

    fn destination(&self, world: &World, caller: &Caller) -> Option<SocketAddr> {
        if caller.direction == Direction::Inbound {
            return local(world, caller);
        }
        if let Some(name) = &caller.service {
            let service = world.routes.by_name(name.as_str())?;
            let own = world.config.workload.lane.filter(|_| world.config.tenant.own_lane);
            let now = self.now();
            let decision = world.decide(service, &own.map_or(Who::Nobody, Who::Lane), now, &mut ());
            let endpoints = world.endpoints(decision.rung?)?;
            let picked = self.with_random(|random| endpoints.pick(now, random, |_| false).cloned());
            return picked.map(|it| it.instance().address);
        }
        caller.original.filter(|_| world.config.outbound.unknown == Unknown::Passthrough)
    }
}
