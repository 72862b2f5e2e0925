//! Connections that are no HTTP, or are not to be looked at: bytes, to where they were going.

use std::net::SocketAddr;
use std::time::Duration;

use arrayvec::ArrayVec;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::balance::End;
use crate::balance::Flight;
use crate::config::Service;
use crate::config::Unknown;
use crate::config::UpstreamProtocol;
use crate::model::ServiceName;
use crate::net;
use crate::net::RelayEnding;
use crate::net::Replay;
use crate::proxy::caller::Caller;
use crate::proxy::retry::ATTEMPTS;
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
            let service = world.routes.by_name(name.as_str());
            let service = service.and_then(|id| world.routes.service(id));
            service.is_some_and(|it| it.settings.protocol == UpstreamProtocol::Tcp)
        }
        (None, Direction::Inbound) => world.config.workload.protocol == UpstreamProtocol::Tcp,
        (None, Direction::Outbound) => false,
    }
}

/// Where bytes go.
struct Destination {
    address: SocketAddr,
    /// Counts the connection with its instance, if it goes to one.
    flight: Option<Flight>,
}

impl Worker {
    /// Relays a connection both ways, byte for byte, until both sides ended.
    ///
    /// Bytes name no tenant: they go where they were going, or, on a service's own listener, to an
    /// instance for whoever's sandbox we sit beside.
    pub(super) async fn relay(&self, world: &World, caller: &Caller, stream: Replay<TcpStream>) {
        let _active = self.metrics().connection_opened(caller.direction, Protocol::Tcp);
        let Some((upstream, to)) = self.connect(world, caller).await else {
            // Not in peace: nothing of what the caller said was heard.
            let _ = stream.get_ref().set_zero_linger();
            return;
        };
        let idle = Some(world.config.limits.connection_idle);
        // Bytes have no good moment to stop at: what is under way may end within the drain timeout,
        // and is broken off after it.
        let never = CancellationToken::new();
        let end = net::relay(stream, upstream, idle, &never).await;
        self.metrics().tcp_moved(caller.direction, Way::ToServer, end.to_server);
        self.metrics().tcp_moved(caller.direction, Way::ToClient, end.to_client);
        if end.ending != RelayEnding::Closed {
            let (address, end) = (to.address, end.ending.label());
            tracing::debug!(peer = %caller.peer, %address, end, "relay ended");
        }
    }

    /// Connects to where the bytes go. An instance that takes no connection is passed over: nothing
    /// was said to it yet.
    async fn connect(&self, world: &World, caller: &Caller) -> Option<(TcpStream, Destination)> {
        let (name, settings) = terms(world, caller);
        let mut tried = ArrayVec::<SocketAddr, ATTEMPTS>::new();
        let most = usize::from(settings.retries.attempts).min(ATTEMPTS);
        while tried.len() < most {
            let Some(to) = self.destination(world, caller, &tried) else { break };
            let begun = Instant::now();
            let dialled = net::dial(to.address, settings.timeouts.connect).await;
            let report = |end, took: Duration| {
                if let Some(flight) = &to.flight {
                    flight.report(end, took, self.now());
                }
            };
            match dialled {
                Ok(stream) => {
                    report(End::Answered, begun.elapsed());
                    return Some((stream, to));
                }
                Err(error) => {
                    report(End::Unreachable, begun.elapsed());
                    tracing::debug!(peer = %caller.peer, %error, "cannot relay");
                    self.metrics().upstream_connect_failed(name, error.label());
                }
            }
            tried.push(to.address);
        }
        if tried.is_empty() {
            tracing::debug!(peer = %caller.peer, "bytes to nowhere");
            self.metrics().protocol_error(caller.direction, "no_destination");
        }
        None
    }

    /// Finds where the bytes go, but for the addresses that were tried.
    fn destination(
        &self,
        world: &World,
        caller: &Caller,
        tried: &[SocketAddr],
    ) -> Option<Destination> {
        let known = match (&caller.service, caller.direction) {
            (_, Direction::Inbound) => local(world, caller),
            (None, Direction::Outbound) => {
                let through = world.config.outbound.unknown == Unknown::Passthrough;
                caller.original.filter(|_| through)
            }
            (Some(name), Direction::Outbound) => return self.instance(world, name, tried),
        };
        let address = known.filter(|it| !tried.contains(it))?;
        Some(Destination { address, flight: None })
    }

    /// Picks an instance of a service.
    fn instance(
        &self,
        world: &World,
        name: &ServiceName,
        tried: &[SocketAddr],
    ) -> Option<Destination> {
        let service = world.routes.by_name(name.as_str())?;
        let own = world.config.workload.lane.filter(|_| world.config.tenant.own_lane);
        let now = self.now();
        let decision =
            world.decide(service, &own.map_or(Who::Nobody, Who::Lane), now, tried, &mut ());
        let endpoints = world.endpoints(decision.rung?)?;
        let was_tried = |address| tried.contains(&address);
        let endpoint = self.with_random(|random| {
            endpoints.pick(now, random, |it| was_tried(it.instance().address)).cloned()
        })?;
        let address = endpoint.instance().address;
        // With nobody else left, those that were tried are picked again.
        (!was_tried(address)).then(|| Destination { address, flight: Some(endpoint.begin()) })
    }
}

/// On whose terms a connection goes on.
fn terms<'a>(world: &'a World, caller: &Caller) -> (&'a ServiceName, &'a Service) {
    let workload = &world.config.workload.service;
    if caller.direction == Direction::Inbound {
        return (workload, &world.local);
    }
    let service = caller.service.as_ref().and_then(|it| world.routes.by_name(it.as_str()));
    match service.and_then(|id| world.routes.service(id)) {
        Some(service) => (&service.name, &service.settings),
        None => (workload, &world.passthrough),
    }
}
