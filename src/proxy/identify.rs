//! Whose request it is: from its carriers, or by what it is joined to.

use std::net::IpAddr;

use crate::config::Claims;
use crate::model::RequestHead;
use crate::model::TenantId;
use crate::proxy::caller::{Caller, Story};
use crate::proxy::error::ProxyError;
use crate::proxy::worker::Worker;
use crate::proxy::world::World;
use crate::routing::Who;
use crate::telemetry::Correlated;
use crate::telemetry::Direction;
use crate::tenant::Recall;
use crate::tenant::Written;

/// Prefix of the fields that are between sidecars.
pub(super) const INTERNAL: &[u8] = b"x-dyelane-";

impl Worker {
    /// Finds out whose request it is, and has it say so.
    pub(super) fn identify(
        &self,
        world: &World,
        caller: &Caller,
        head: &mut RequestHead,
        story: &mut Story,
    ) -> Result<Who, ProxyError> {
        match caller.direction {
            Direction::Inbound => self.identify_inbound(world, caller, head, story),
            Direction::Outbound => self.identify_outbound(world, caller, head, story),
        }
    }

    /// Finds out whose request came to our application, and remembers it by the request's
    /// identifiers, so that what the application sends on its behalf can be joined to it.
    fn identify_inbound(
        &self,
        world: &World,
        caller: &Caller,
        head: &mut RequestHead,
        story: &mut Story,
    ) -> Result<Who, ProxyError> {
        if world.config.inbound.claims == Claims::Strip {
            world.carriers.strip(&mut head.fields);
            head.fields.retain(|name, _| !name.starts_with(INTERNAL));
        }
        self.read_claim(world, head, story)?;
        Self::color(world, caller.peer.ip(), head, story);
        let Some(tenant) = story.tenant else { return Ok(Who::Nobody) };
        self.write(world, head, &tenant);
        world.correlation.remember(&head.fields, tenant, self.now());
        Ok(Who::Tenant(tenant))
    }

    /// Finds out on whose behalf our application sends a request: by its own carriers, else by the
    /// inbound request it is joined to, else by the rules, else by whose sandbox it is.
    fn identify_outbound(
        &self,
        world: &World,
        caller: &Caller,
        head: &mut RequestHead,
        story: &mut Story,
    ) -> Result<Who, ProxyError> {
        self.read_claim(world, head, story)?;
        if story.tenant.is_none() {
            self.recall(world, head, story);
        }
        Self::color(world, caller.peer.ip(), head, story);
        let mut who = story.tenant.map_or(Who::Nobody, Who::Tenant);
        let own = world.config.workload.lane.filter(|_| world.config.tenant.own_lane);
        if let (Who::Nobody, Some(lane)) = (who, own) {
            story.tenant = Some(TenantId::from(lane));
            story.carrier = "own_lane";
            who = Who::Lane(lane);
        }
        if let Some(tenant) = story.tenant {
            self.write(world, head, &tenant);
        }
        Ok(who)
    }

    fn read_claim(
        &self,
        world: &World,
        head: &mut RequestHead,
        story: &mut Story,
    ) -> Result<(), ProxyError> {
        let read = world.carriers.read(&head.fields);
        let refused = match &read {
            Ok(read) => read.trouble,
            Err(error) => Some(*error),
        };
        if let Some(error) = refused {
            self.metrics().claim_rejected(error.cause());
        }
        let read = read?;
        if read.trouble.is_some() {
            // Applications send on some carriers and drop others: what is left of two that disagree
            // would look like one clean claim to a later hop.
            world.carriers.strip(&mut head.fields);
        }
        if let Some(claim) = read.claim {
            story.tenant = Some(claim.tenant);
            story.carrier = claim.carrier;
        }
        Ok(())
    }

    fn recall(&self, world: &World, head: &RequestHead, story: &mut Story) {
        let outcome = match world.correlation.recall(&head.fields, self.now()) {
            Recall::Tenant(tenant) => {
                story.tenant = Some(tenant);
                story.carrier = "correlation";
                story.propagation_missing = true;
                Correlated::Tenant
            }
            Recall::Unknown => Correlated::Unknown,
            Recall::NoId => Correlated::NoId,
            Recall::Poisoned => Correlated::Poisoned,
        };
        self.metrics().correlated(outcome);
    }

    /// Gives the request the tenant that a rule says, if one does.
    fn color(world: &World, source: IpAddr, head: &mut RequestHead, story: &mut Story) {
        if world.rules.is_empty() {
            return;
        }
        let has_tenant = story.tenant.is_some();
        if let Some(coloring) = world.rules.color(head, source, has_tenant) {
            if has_tenant {
                world.carriers.strip(&mut head.fields);
            }
            story.tenant = Some(coloring.tenant);
            story.carrier = "rule";
        }
    }

    fn write(&self, world: &World, head: &mut RequestHead, tenant: &TenantId) {
        if world.carriers.write(&mut head.fields, tenant) == Written::NoRoom {
            self.metrics().baggage_had_no_room();
        }
    }
}
