//! Tenant rules over HTTP: everybody reads, who has the token writes.
//!
//! ```text
//! GET    /v1/rules                 all, with their hash
//! GET    /v1/rules/tenants/alice   one: 404 if nothing is said of it
//! PUT    /v1/rules/tenants/alice   {"enabled": false}, as under [tenants.alice]
//! DELETE /v1/rules/tenants/alice   nothing is said of it any more
//! ```
//!
//! With `?for=30m` a writing holds for so long; then is said again what was said before.
//!
//! Lanes are under `/v1/rules/lanes/`. An answer of 200 to a writing means that it is on the disk of
//! this node and in force here; other nodes and watchers hear of it at once.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::model::{InvalidName, LaneName, TenantId};
use crate::registry::api::reply::{self, Reply};
use crate::registry::api::token::{self, Untrusted};
use crate::registry::api::{Ask, routes};
use crate::registry::node::Node;
use crate::registry::rulebook::RuleError;
use crate::registry::rules::{Edit, Rule};

/// The shortest time a rule may hold for.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest time a rule may hold for, if not for good.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The way to all rules.
const ALL: &str = "/v1/rules";

/// Which rule a path is of.
enum Which {
    Tenant(TenantId),
    Lane(LaneName),
}

/// Why a writing is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("nobody may write rules here: give the registry a `token`, the same on every node")]
    Closed,
    #[error("writing rules takes the registry's token: `authorization: Bearer …`")]
    Nameless,
    #[error("this is not the registry's token")]
    Stranger,
    #[error("{0}")]
    Name(#[from] InvalidName),
    #[error("the body is no rule: {0}")]
    Body(#[from] serde_json::Error),
    #[error("`for` is no time such as `30m`, at least a second and at most a year")]
    Time,
    #[error("{}", told(.0))]
    Rule(#[from] RuleError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Closed | Self::Stranger => StatusCode::FORBIDDEN,
            Self::Nameless => StatusCode::UNAUTHORIZED,
            Self::Name(_) | Self::Body(_) | Self::Time | Self::Rule(RuleError::Invalid(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Rule(RuleError::Durable(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn reply(&self) -> Reply {
        let mut answer = reply::json(self.status(), &json!({"error": self.to_string()}));
        if matches!(self, Self::Nameless) {
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// What a writer is told; the file's name is the operator's, who finds it in the log.
fn told(error: &RuleError) -> String {
    match error {
        RuleError::Invalid(error) => error.to_string(),
        RuleError::Durable(_) => {
            "the rule cannot be kept on the disk, so it is not in force".into()
        }
    }
}

/// Answers a request for rules.
pub(super) async fn answer(node: &Arc<Node>, ask: Ask) -> Reply {
    let which = match which(ask.path()) {
        Ok(Some(which)) => which,
        Ok(None) if ask.path() != ALL => return routes::not_found(),
        Ok(None) if ask.method != Method::GET => return routes::not_allowed(),
        Ok(None) => {
            let json = node.rulebook().now().json.clone();
            return reply::bytes(StatusCode::OK, reply::JSON, json);
        }
        Err(error) => return Refusal::from(error).reply(),
    };
    match ask.method {
        Method::GET => read(node, &which),
        Method::PUT | Method::DELETE => {
            let written = write(node, which, &ask).await;
            written.unwrap_or_else(|refusal| refusal.reply())
        }
        _ => routes::not_allowed(),
    }
}

/// Returns which rule a path is of; none if it is of no single one.
fn which(path: &str) -> Result<Option<Which>, InvalidName> {
    let rest = path.strip_prefix(ALL).unwrap_or_default();
    if let Some(name) = rest.strip_prefix("/tenants/") {
        return TenantId::new(name).map(|it| Some(Which::Tenant(it)));
    }
    if let Some(name) = rest.strip_prefix("/lanes/") {
        return LaneName::new(name).map(|it| Some(Which::Lane(it)));
    }
    Ok(None)
}

fn read(node: &Node, which: &Which) -> Reply {
    fn shown(value: Option<&impl Serialize>) -> Reply {
        match value {
            Some(value) => reply::json(StatusCode::OK, value),
            None => reply::json(StatusCode::NOT_FOUND, &json!({"error": "nothing is said of it"})),
        }
    }
    let book = node.rulebook().now();
    match which {
        Which::Tenant(name) => shown(book.rules.tenant(name)),
        Which::Lane(name) => shown(book.rules.lane(name)),
    }
}

async fn write(node: &Arc<Node>, which: Which, ask: &Ask) -> Result<Reply, Refusal> {
    authorize(node.settings().token.as_deref(), ask.header(&header::AUTHORIZATION))?;
    let edit = match which {
        Which::Tenant(name) => Edit::Tenant(name, value(ask)?),
        Which::Lane(name) => Edit::Lane(name, value(ask)?),
    };
    let written = node.write_rule_for(edit, time(ask.query())?).await.inspect_err(|error| {
        if let RuleError::Durable(cause) = error {
            tracing::error!(%cause, "a rule cannot be kept");
        }
    })?;
    let (name, version) = match &written {
        Rule::Tenant(entry) => (entry.name.to_string(), entry.version),
        Rule::Lane(entry) => (entry.name.to_string(), entry.version),
    };
    tracing::info!(name, peer = %ask.peer, method = %ask.method, "a tenant rule was written");
    let durable = node.rulebook().is_durable();
    let hash = node.rulebook().now().content.hash;
    let told = json!({"name": name, "at": version.at, "durable": durable, "hash": hash});
    Ok(reply::json(StatusCode::OK, &told))
}

/// Returns what the rule is to say; none if it is to be removed.
fn value<T: DeserializeOwned>(ask: &Ask) -> Result<Option<T>, serde_json::Error> {
    if ask.method == Method::DELETE {
        return Ok(None);
    }
    // By its names alone: a list of what they stand for is no rule.
    let named: serde_json::Map<String, Value> = serde_json::from_slice(&ask.body)?;
    serde_json::from_value(Value::Object(named)).map(Some)
}

/// Returns for how long the rule is to hold; none: for good.
fn time(query: &str) -> Result<Option<Duration>, Refusal> {
    let Some(text) = query.split('&').find_map(|it| it.strip_prefix("for=")) else {
        return Ok(None);
    };
    let time = humantime::parse_duration(text).map_err(|_| Refusal::Time)?;
    if (SHORTEST..=LONGEST).contains(&time) { Ok(Some(time)) } else { Err(Refusal::Time) }
}

/// Refuses who does not have the token.
fn authorize(token: Option<&str>, field: Option<&str>) -> Result<(), Refusal> {
    let token = token.ok_or(Refusal::Closed)?;
    token::check(token, field).map_err(|it| match it {
        Untrusted::Nameless => Refusal::Nameless,
        Untrusted::Stranger => Refusal::Stranger,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_token_may_write() {
        let status = |token, field| authorize(token, field).map_err(|it| it.status().as_u16());

        assert_eq!(status(Some("abc"), Some("Bearer abc")), Ok(()));
        assert_eq!(status(Some("abc"), Some("Bearer abd")), Err(403));
        assert_eq!(status(Some("abc"), None), Err(401));
        assert_eq!(status(None, Some("Bearer abc")), Err(403));
    }

    #[test]
    fn a_path_is_of_one_rule_or_of_none() {
        assert!(matches!(which("/v1/rules/tenants/alice"), Ok(Some(Which::Tenant(_)))));
        assert!(matches!(which("/v1/rules/lanes/dev.p1"), Ok(Some(Which::Lane(_)))));
        assert!(matches!(which("/v1/rules"), Ok(None)));
        assert!(matches!(which("/v1/rules/other/x"), Ok(None)));
        for wrong in ["/v1/rules/tenants/", "/v1/rules/tenants/a/b", "/v1/rules/lanes/%41"] {
            assert!(which(wrong).is_err(), "{wrong}");
        }
    }
}
