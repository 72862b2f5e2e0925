//! The rules of a registry as the place where a tenant is flipped.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;

use crate::cli::node::{NodeAnswer, Nodes, refused};
use crate::config::Tenant;
use crate::model::TenantId;

/// What we read of the rules.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rules {
    tenants: std::collections::BTreeMap<String, Tenant>,
}

/// Returns the node that answered, and what the registry says of a tenant; none if nothing.
pub(super) async fn tenant(
    nodes: &mut Nodes,
    name: TenantId,
) -> anyhow::Result<(String, Option<Tenant>)> {
    let (node, document) = nodes.json(&Method::GET, "/v1/rules", Bytes::new()).await?;
    let mut rules = Rules::deserialize(document)?;
    Ok((node, rules.tenants.remove(name.as_str())))
}

/// Has the registry say `after` of a tenant; nothing at all if that is none. Returns the node that
/// took it.
pub(super) async fn write(
    nodes: &mut Nodes,
    name: TenantId,
    after: Option<&Tenant>,
) -> anyhow::Result<String> {
    let path = format!("/v1/rules/tenants/{name}");
    let (method, body) = match after {
        Some(after) => (Method::PUT, Bytes::from(serde_json::to_vec(after)?)),
        None => (Method::DELETE, Bytes::new()),
    };
    let NodeAnswer { node, answer } = nodes.send(&method, &path, body).await?;
    if answer.status.is_success() { Ok(node) } else { Err(refused(&node, &answer)) }
}
