//! Whose request it is, made to count: written into its head, remembered, counted.

use crate::config::Claims;
use crate::model::RequestHead;
use crate::model::TenantId;
use crate::proxy::caller::{Caller, Story};
use crate::proxy::error::ProxyError;
use crate::proxy::whose::Whose;
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
    /// Finds out whose request it is, and has it say so to the next hop.
    ///
    /// What comes to our application is remembered by its identifiers, so that what the application
    /// sends on its behalf can be joined to it.
    pub(super) fn identify(
        &self,
        world: &World,
        caller: &Caller,
        head: &mut RequestHead,
        story: &mut Story,
    ) -> Result<Who, ProxyError> {
        let inbound = caller.direction == Direction::Inbound;
        if inbound && world.config.inbound.claims == Claims::Strip {
            world.carriers.strip(&mut head.fields);
            head.fields.retain(|name, _| !name.starts_with(INTERNAL));
        }
        let now = self.now();
        let whose = world.whose(caller.direction, head, caller.peer.ip(), now);
        self.count(&whose);
        let whose = whose?;
        if whose.trouble.is_some() || whose.rule.is_some() {
            // Applications send on some carriers and drop others: what is left of two that disagree,
            // or of one that was overruled, would look like one clean claim to a later hop.
            world.carriers.strip(&mut head.fields);
        }
        story.tenant = whose.tenant();
        story.carrier = whose.known_by;
        story.propagation_missing = matches!(whose.recall, Some(Recall::Tenant(_)));
        if let Some(tenant) = story.tenant {
            self.write(world, head, &tenant);
            if inbound {
                world.correlation.remember(&head.fields, tenant, now);
            }
        }
        Ok(whose.who)
    }

    fn count(&self, whose: &Result<Whose, crate::tenant::ClaimError>) {
        let trouble = whose.as_ref().map_or_else(|error| Some(*error), |whose| whose.trouble);
        if let Some(error) = trouble {
            self.metrics().claim_rejected(error.cause());
        }
        let recall = whose.as_ref().ok().and_then(|whose| whose.recall);
        if let Some(recall) = recall {
            self.metrics().correlated(match recall {
                Recall::Tenant(_) => Correlated::Tenant,
                Recall::Unknown => Correlated::Unknown,
                Recall::NoId => Correlated::NoId,
                Recall::Poisoned => Correlated::Poisoned,
            });
        }
    }

    fn write(&self, world: &World, head: &mut RequestHead, tenant: &TenantId) {
        if world.carriers.write(&mut head.fields, tenant) == Written::NoRoom {
            self.metrics().baggage_had_no_room();
        }
    }
}
