//! Whose request it is: a function of the request and the world, for the data path and for whoever
//! asks why.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::RequestHead;
use crate::model::TenantId;
use crate::proxy::world::World;
use crate::routing::Who;
use crate::telemetry::Direction;
use crate::tenant::ClaimError;
use crate::tenant::Recall;

/// Whose request it is, and how that is known.
#[derive(Debug, Clone)]
pub struct Whose {
    /// On whose behalf it is decided.
    pub who: Who,
    /// How that is known: `header`, `baggage`, `tracestate`, `alias`, `correlation`, `rule`,
    /// `own_lane`; empty where nobody is known.
    pub known_by: &'static str,
    /// The rule that said so, or overruled what the request says.
    pub rule: Option<Arc<str>>,
    /// What came of looking for what it is joined to, where that was looked for.
    pub recall: Option<Recall>,
    /// What was wrong with its carriers, where it goes on all the same.
    pub trouble: Option<ClaimError>,
}

impl Whose {
    /// Returns the tenant that goes onward with it: of a sandbox's own request, the one of the name
    /// of its lane.
    pub fn tenant(&self) -> Option<TenantId> {
        match self.who {
            Who::Nobody => None,
            Who::Tenant(tenant) => Some(tenant),
            Who::Lane(lane) => Some(lane.into()),
        }
    }
}

impl World {
    /// Finds out whose request this is, and changes nothing.
    ///
    /// By its carriers; else, on the way out, by the inbound request it is joined to; then by the
    /// rules; else, on the way out, by whose sandbox we sit beside. Carriers that contradict each
    /// other, where that is to be ignored, make it nobody's: nothing is guessed in their place.
    ///
    /// # Errors
    /// What is wrong with its carriers, where that is not to be ignored.
    pub fn whose(
        &self,
        direction: Direction,
        head: &RequestHead,
        source: IpAddr,
        now: Duration,
    ) -> Result<Whose, ClaimError> {
        let read = self.carriers.read(&head.fields)?;
        let mut whose = Whose {
            who: Who::Nobody,
            known_by: "",
            rule: None,
            recall: None,
            trouble: read.trouble,
        };
        if let Some(claim) = read.claim {
            (whose.who, whose.known_by) = (Who::Tenant(claim.tenant), claim.carrier);
        }
        let joined = direction == Direction::Outbound && read.trouble.is_none();
        if whose.who == Who::Nobody && joined {
            let recall = self.correlation.recall(&head.fields, now);
            if let Recall::Tenant(tenant) = recall {
                (whose.who, whose.known_by) = (Who::Tenant(tenant), "correlation");
            }
            whose.recall = Some(recall);
        }
        self.color(head, source, &mut whose);
        let own = self.config.workload.lane.filter(|_| self.config.tenant.own_lane);
        if let (Who::Nobody, Some(lane), true) = (whose.who, own, joined) {
            (whose.who, whose.known_by) = (Who::Lane(lane), "own_lane");
        }
        Ok(whose)
    }

    /// Gives the request the tenant that a rule says, if one does.
    pub fn color(&self, head: &RequestHead, source: IpAddr, whose: &mut Whose) {
        if self.rules.is_empty() {
            return;
        }
        let has_tenant = whose.who != Who::Nobody;
        if let Some(coloring) = self.rules.color(head, source, has_tenant) {
            (whose.who, whose.known_by) = (Who::Tenant(coloring.tenant), "rule");
            whose.rule = Some(coloring.rule.clone());
        }
    }
}
