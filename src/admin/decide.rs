//! Explains where a request would go: who it is for, what is tried, what is found.
//!
//! `/decide` and `dyelane explain` both ask here, and here asks the functions of the data path.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::admin::catalog::{InstanceView, instances};
use crate::model::{InvalidName, LaneName, RequestHead, ServiceName, TenantId};
use crate::proxy::{Whose, World};
use crate::routing::{ServiceRoute, Step, Who};
use crate::telemetry::Direction;
use crate::tenant::ClaimError;

/// A request, described.
#[derive(Debug, Clone)]
pub struct Question {
    /// The service it is for: by name or as a host.
    pub service: String,
    /// Whose request it is, where that is not to be read from the fields.
    pub tenant: Option<TenantId>,
    /// Its method, path and fields, for carriers and rules.
    pub head: RequestHead,
    /// Where it comes from, for rules.
    pub source: IpAddr,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither `service` nor `host` is given.
    #[error("say which service: service=NAME, or host=HOST")]
    NoService,
    /// No service is known by that name or host.
    #[error("no service is called or answers to {name:?}{}", .nearest.as_ref().map(|it| format!("; there is {it:?}")).unwrap_or_default())]
    UnknownService {
        /// What was asked for.
        name: String,
        /// The most similar name there is.
        nearest: Option<ServiceName>,
    },
    /// That is no tenant's name.
    #[error("{name:?} is no tenant: {why}")]
    Tenant {
        /// What was given.
        name: String,
        /// What is wrong with it.
        why: InvalidName,
    },
    /// A parameter that means nothing here.
    #[error("there is no {0:?} to say; say service, host, tenant, header, method, path or source")]
    UnknownKey(String),
    /// A parameter's value is not what it must be.
    #[error("{key} cannot be {value:?}")]
    Value {
        /// The parameter.
        key: &'static str,
        /// Its value.
        value: String,
    },
}

/// Where a request would go, and why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// The service.
    pub service: ServiceName,
    /// Whose request it is; null for nobody's.
    pub tenant: Option<TenantId>,
    /// How that is known: `asked`, a carrier, `correlation`, `rule "NAME"`, `own_lane` or `none`; or
    /// what is wrong with what it claims.
    pub known_by: String,
    /// The number of the world it was decided on; null for a file.
    pub generation: Option<u64>,
    /// What was tried, in order.
    pub trail: Vec<Tried>,
    /// Whether there is an instance for it.
    pub found: bool,
    /// The lane it goes to; null for the baseline, or if nothing was found.
    pub lane: Option<LaneName>,
    /// Why there.
    pub reason: String,
    /// The instances it may go to.
    pub instances: Vec<InstanceView>,
}

/// A rung of the ladder, tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tried {
    /// The lane; null for the baseline.
    pub lane: Option<LaneName>,
    /// What was found.
    pub outcome: String,
}

impl Explanation {
    /// The same, of a world that nobody runs: without its number, and what is known of load.
    #[must_use]
    pub fn by_file(self) -> Self {
        let unknown = |instance| InstanceView { load: None, ..instance };
        let instances = self.instances.into_iter().map(unknown).collect();
        Self { generation: None, instances, ..self }
    }
}

impl Question {
    /// A request for `service` of nobody in particular.
    pub fn about(service: &str) -> Self {
        let head = RequestHead {
            method: Method::GET,
            authority: service.to_owned(),
            path: "/".to_owned(),
            ..RequestHead::default()
        };
        let source = Ipv4Addr::LOCALHOST.into();
        Self { service: service.to_owned(), tenant: None, head, source }
    }

    /// Reads a question from keys and values, as they stand in a query.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let mut question = Self::about("");
        for (key, value) in pairs {
            question.set(&key, value)?;
        }
        if question.service.is_empty() { Err(Refusal::NoService) } else { Ok(question) }
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), Refusal> {
        match key {
            "service" | "host" => {
                self.head.authority.clone_from(&value);
                self.service = value;
            }
            "tenant" if value.is_empty() => self.tenant = None,
            "tenant" => {
                let tenant = TenantId::new(&value);
                self.tenant = Some(tenant.map_err(|why| Refusal::Tenant { name: value, why })?);
            }
            "header" => self.add_header(&value)?,
            "method" => {
                let method = Method::from_bytes(value.as_bytes());
                self.head.method = method.map_err(|_| Refusal::Value { key: "method", value })?;
            }
            "path" if value.starts_with('/') => self.head.path = value,
            "path" => return Err(Refusal::Value { key: "path", value }),
            "source" => {
                let source = value.parse();
                self.source = source.map_err(|_| Refusal::Value { key: "source", value })?;
            }
            _ => return Err(Refusal::UnknownKey(key.to_owned())),
        }
        Ok(())
    }

    /// Adds a field, written as `name: value`.
    pub fn add_header(&mut self, line: &str) -> Result<(), Refusal> {
        let refusal = || Refusal::Value { key: "header", value: line.to_owned() };
        let (name, value) = line.split_once(':').ok_or_else(refusal)?;
        let name = http::HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| refusal())?;
        let value = http::HeaderValue::from_str(value.trim()).map_err(|_| refusal())?;
        self.head.fields.push(name.as_str().as_bytes(), value.as_bytes());
        Ok(())
    }
}

/// Explains where the request of `question` would go, at `now` of the process's clock.
pub fn explain(world: &World, question: &Question, now: Duration) -> Result<Explanation, Refusal> {
    let route = find(world, &question.service)?;
    let name = route.name.clone();
    let whose = match identify(world, question, now) {
        Ok(whose) => whose,
        Err(why) => return Ok(refused(world, name, &why)),
    };
    let mut trail: Vec<Step> = Vec::new();
    let decision = world.decide(route.id, &whose.who, now, &[], &mut trail);
    let trail = trail
        .into_iter()
        .map(|step| Tried { lane: step.lane, outcome: step.outcome.label().to_owned() });
    Ok(Explanation {
        service: name,
        tenant: whose.tenant(),
        known_by: known_by(&whose),
        generation: Some(world.generation),
        trail: trail.collect(),
        found: decision.rung.is_some(),
        lane: decision.lane,
        reason: decision.reason.label().to_owned(),
        instances: decision.rung.map(|rung| instances(world, rung, now)).unwrap_or_default(),
    })
}

/// Finds a service by its name, else by host.
fn find<'a>(world: &'a World, name: &str) -> Result<&'a ServiceRoute, Refusal> {
    let routes = &world.routes;
    let found = routes.by_name(name).or_else(|| routes.by_host(name));
    found.and_then(|id| routes.service(id)).ok_or_else(|| {
        let names = routes.services().iter().map(|service| &service.name);
        let like = |it: &&ServiceName| strsim::jaro_winkler(it.as_str(), name);
        let nearest = names.max_by(|a, b| like(a).total_cmp(&like(b)));
        let nearest = nearest.filter(|it| like(it) > 0.7).cloned();
        Refusal::UnknownService { name: name.to_owned(), nearest }
    })
}

/// Works out whose request it is: as the question says, else as the outbound side does. The error is
/// what is wrong with its claim.
fn identify(world: &World, question: &Question, now: Duration) -> Result<Whose, ClaimError> {
    let Question { head, source, .. } = question;
    let Some(tenant) = question.tenant else {
        return world.whose(Direction::Outbound, head, *source, now);
    };
    let (rule, recall, trouble) = (None, None, None);
    let mut whose = Whose { who: Who::Tenant(tenant), known_by: "asked", rule, recall, trouble };
    world.color(head, *source, &mut whose);
    Ok(whose)
}

/// Says how it is known whose request it is.
fn known_by(whose: &Whose) -> String {
    match (&whose.rule, &whose.trouble) {
        (Some(rule), _) => format!("rule {rule:?}"),
        (None, Some(trouble)) if whose.known_by.is_empty() => format!("none: {trouble}"),
        (None, _) if whose.known_by.is_empty() => "none".to_owned(),
        (None, _) => whose.known_by.to_owned(),
    }
}

/// The explanation of a request that is refused for its claim.
fn refused(world: &World, service: ServiceName, why: &ClaimError) -> Explanation {
    Explanation {
        service,
        tenant: None,
        known_by: why.to_string(),
        generation: Some(world.generation),
        trail: Vec::new(),
        found: false,
        lane: None,
        reason: "claim".to_owned(),
        instances: Vec::new(),
    }
}
