//! Where a request goes: to the application beside us, to an instance of a service, or where it was
//! going anyway.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::balance::Flight;
use crate::config::Service;
use crate::config::Unknown;
use crate::config::UpstreamProtocol;
use crate::http::Version;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::model::ServiceName;
use crate::proxy::caller::{Caller, Story};
use crate::proxy::error::ProxyError;
use crate::proxy::identify::INTERNAL;
use crate::proxy::retry::Tried;
use crate::proxy::worker::Worker;
use crate::proxy::world::World;
use crate::routing::Who;
use crate::routing::{Outcome, ServiceId, Step};
use crate::telemetry::Direction;

/// Asks each hop to add itself to [`PATH`].
const ECHO: &[u8] = b"x-dyelane-echo";
/// The hops a request took, in the answer to one that asked.
const PATH: &[u8] = b"x-dyelane-path";
/// Marks a request that a baseline's sidecar handed to a lane's instance: never twice.
const REROUTED: &[u8] = b"x-dyelane-rerouted";

/// What a request is for.
#[derive(Debug)]
enum Target {
    /// A service, on behalf of someone.
    Service(ServiceId, Who),
    /// That address, whatever happens.
    Address(SocketAddr),
}

/// Where a request goes, and on which terms.
#[derive(Debug)]
pub(super) struct Route {
    target: Target,
    /// Timeouts, retries, protocol, connections.
    pub(super) settings: Arc<Service>,
    /// Whether the answer names this hop.
    echo: bool,
}

/// One instance to send the request to.
pub(super) struct Hop {
    pub(super) address: SocketAddr,
    pub(super) flight: Option<Flight>,
}

impl Route {
    /// The service it is for, if it is for one.
    pub(super) fn service(&self) -> Option<ServiceId> {
        match self.target {
            Target::Service(id, _) => Some(id),
            Target::Address(_) => None,
        }
    }

    /// The name of the service it is for.
    pub(super) fn service_name<'a>(&self, world: &'a World) -> Option<&'a ServiceName> {
        world.routes.service(self.service()?).map(|it| &it.name)
    }

    /// The protocol the request goes out in.
    pub(super) fn version(&self, came_in: Version, head: &RequestHead) -> Version {
        match self.settings.protocol {
            UpstreamProtocol::H2 => Version::Http2,
            UpstreamProtocol::Http1 => Version::Http1,
            // gRPC is HTTP/2, whatever else came in on the connection.
            UpstreamProtocol::Auto | UpstreamProtocol::Tcp if head.is_grpc() => Version::Http2,
            UpstreamProtocol::Auto | UpstreamProtocol::Tcp => came_in,
        }
    }

    /// Adds this hop to the answer's path, if the request asked for it.
    pub(super) fn sign(&self, world: &World, head: &mut ResponseHead, story: &Story) {
        let Some(service) = self.service_name(world).filter(|_| self.echo) else { return };
        let mut path = format!("{service}@{};{}", story.lane_label(), story.decision);
        for behind in head.fields.all(PATH) {
            path.push_str(", ");
            path.push_str(&String::from_utf8_lossy(behind));
        }
        head.fields.set(PATH, path.as_bytes());
    }
}

impl Worker {
    /// Finds out where a request goes, and takes what is between sidecars only out of its head.
    pub(super) fn route(
        &self,
        world: &World,
        caller: &Caller,
        head: &mut RequestHead,
        who: Who,
        story: &mut Story,
    ) -> Result<Route, ProxyError> {
        let allowed = match caller.direction {
            Direction::Inbound => world.config.inbound.echo,
            Direction::Outbound => world.config.outbound.echo,
        };
        let echo = allowed && head.fields.get(ECHO) == Some(b"1");
        let rerouted = head.fields.contains(REROUTED);
        // Of what is between sidecars only the wish for an echo goes through an application.
        head.fields.retain(|name, _| !name.starts_with(INTERNAL) || (allowed && name == ECHO));
        match caller.direction {
            Direction::Inbound => {
                if !rerouted && let Some(target) = self.reroute(world, who, story)? {
                    head.fields.set(REROUTED, b"1");
                    let settings = Self::settings(world, &target);
                    return Ok(Route { target, settings, echo });
                }
                let address = local(world, caller).ok_or(ProxyError::Unroutable)?;
                let target = Target::Address(address);
                Ok(Route { target, settings: world.local.clone(), echo: false })
            }
            Direction::Outbound => {
                let target = outward(world, caller, head, who)?;
                let settings = Self::settings(world, &target);
                Ok(Route { target, settings, echo })
            }
        }
    }

    /// Finds the lane's own instance for a request that reached the baseline's because its caller
    /// has no sidecar; or says what that sidecar would have said, if the baseline is not for it.
    fn reroute(
        &self,
        world: &World,
        who: Who,
        story: &mut Story,
    ) -> Result<Option<Target>, ProxyError> {
        let config = &world.config;
        let service = &config.workload.service;
        let id = world.routes.by_name(service.as_str());
        let wanted = config.inbound.reroute && config.workload.lane.is_none();
        let Some(id) = id.filter(|_| wanted) else { return Ok(None) };
        let decision = world.decide(id, &who, self.now(), &[], &mut ());
        if decision.lane.is_some() {
            story.decided(id, &decision);
            return Ok(Some(Target::Service(id, who)));
        }
        // We are the baseline, be it that the catalog does not name us: only a word against the
        // baseline keeps a request from it.
        let mut trail = Vec::new();
        if decision.rung.is_none() {
            world.decide(id, &who, self.now(), &[], &mut trail);
        }
        let forbidden = |it: &Step| matches!(it.outcome, Outcome::Strict | Outcome::Failed);
        if trail.iter().any(forbidden) {
            story.decided(id, &decision);
            return Err(ProxyError::NoInstance { service: service.clone() });
        }
        Ok(None)
    }

    fn settings(world: &World, target: &Target) -> Arc<Service> {
        match target {
            Target::Service(id, _) => world.routes.service(*id).map(|it| it.settings.clone()),
            Target::Address(_) => None,
        }
        .unwrap_or_else(|| world.passthrough.clone())
    }

    /// Picks the instance for the next attempt: decided anew, on the same world, since an endpoint
    /// may have failed meanwhile, and without those that were tried in vain as far as there are others.
    pub(super) fn next_hop(
        &self,
        world: &World,
        route: &Route,
        tried: &Tried,
        story: &mut Story,
    ) -> Result<Hop, ProxyError> {
        let (id, who) = match &route.target {
            Target::Address(address) => return Ok(Hop { address: *address, flight: None }),
            Target::Service(id, who) => (*id, who),
        };
        let now = self.now();
        let mut decision = world.decide(id, who, now, tried.refused(), &mut ());
        if decision.rung.is_none() && !tried.refused().is_empty() {
            // It may go nowhere else: then once more where it could not connect.
            decision = world.decide(id, who, now, &[], &mut ());
        }
        story.decided(id, &decision);
        let service = world.routes.service(id);
        let no_instance = || ProxyError::NoInstance {
            service: service
                .map_or_else(|| world.config.workload.service.clone(), |it| it.name.clone()),
        };
        let endpoints =
            decision.rung.and_then(|rung| world.endpoints(rung)).ok_or_else(no_instance)?;
        let endpoint = self.with_random(|random| {
            let fresh = endpoints.pick(now, random, |it| tried.has(it.instance().address));
            // Where all were tried, one is tried again.
            fresh.or_else(|| endpoints.pick(now, random, |_| false)).cloned()
        });
        let endpoint = endpoint.ok_or_else(no_instance)?;
        let instance = endpoint.instance();
        let zones = world.config.workload.zone.as_ref().zip(instance.zone.as_ref());
        if let (Some((own, zone)), Some(service)) = (zones, service)
            && own != zone
        {
            self.metrics().crossed_zone(&service.name);
        }
        let address = instance.address;
        Ok(Hop { address, flight: Some(endpoint.begin()) })
    }
}

/// Where our application takes what came in on that connection.
pub(super) fn local(world: &World, caller: &Caller) -> Option<SocketAddr> {
    let loopback = |port: SocketAddr| match port.ip() {
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.port()),
        IpAddr::V6(_) => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port.port()),
    };
    world.config.workload.address.or_else(|| caller.original.map(loopback))
}

/// What our application's request is for.
fn outward(
    world: &World,
    caller: &Caller,
    head: &RequestHead,
    who: Who,
) -> Result<Target, ProxyError> {
    let service = match &caller.service {
        Some(name) => world.routes.by_name(name.as_str()),
        None => world.routes.by_host(&head.authority),
    };
    if let Some(service) = service {
        return Ok(Target::Service(service, who));
    }
    match caller.original {
        Some(address) if world.config.outbound.unknown == Unknown::Passthrough => {
            Ok(Target::Address(address))
        }
        _ => Err(ProxyError::Unroutable),
    }
}
