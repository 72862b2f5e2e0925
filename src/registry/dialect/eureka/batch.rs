//! What a server of Eureka's that takes us for one passes on: many writes in one request, each with
//! a verdict of its own.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::registry::api::reply::{self, Reply};
use crate::registry::dialect::eureka::format::Format;
use crate::registry::dialect::eureka::instance::Info;
use crate::registry::dialect::eureka::path::Target;
use crate::registry::dialect::eureka::writes::{self, Outcome};
use crate::registry::dialect::eureka::{Refusal, reads};
use crate::registry::eureka::{Status, app_of};
use crate::registry::node::Node;
use crate::registry::record::LONGEST_NAME;

/// Writes that one request may hold: Netflix's server sends 250.
const MOST: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    replication_list: Vec<Value>,
}

/// Writes what a peer passes on.
///
/// # Errors
/// The body is no batch.
pub(super) fn write(node: &Arc<Node>, body: &[u8]) -> Result<Reply, Refusal> {
    let batch: Batch =
        serde_json::from_slice(body).map_err(|error| Refusal::Json(error.to_string()))?;
    if batch.replication_list.len() > MOST {
        return Err(Refusal::TooMany(MOST));
    }
    let told: Vec<Value> = batch.replication_list.iter().map(|it| verdict(node, it)).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "responseList": told })))
}

/// Writes one thing, and says what became of it.
fn verdict(node: &Arc<Node>, item: &Value) -> Value {
    let Some(fields) = item.as_object() else { return json!({ "statusCode": 400 }) };
    match done(node, fields) {
        Ok(Outcome::Newer(row)) => {
            let instance = reads::one(node, Format::Json, &row);
            let instance = instance.and_then(|it| serde_json::from_slice::<Value>(&it).ok());
            let entity = instance.and_then(|mut it| it.get_mut("instance").map(Value::take));
            json!({ "statusCode": 409, "responseEntity": entity })
        }
        Ok(outcome) => json!({ "statusCode": outcome.status().as_u16() }),
        Err(refusal) => json!({ "statusCode": refusal.status().as_u16() }),
    }
}

fn done(node: &Arc<Node>, fields: &Map<String, Value>) -> Result<Outcome, Refusal> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (app, id) = (text("appName"), text("id"));
    if app.len() > LONGEST_NAME || id.len() > LONGEST_NAME {
        return Err(Refusal::LongName);
    }
    let target = Target { app: app_of(app).into(), id: id.into() };
    let dirty = match fields.get("lastDirtyTimestamp") {
        Some(Value::Number(number)) => number.as_u64().unwrap_or_default(),
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        _ => 0,
    };
    let status = || -> Result<Option<Status>, Refusal> {
        let text = text("status");
        let read = (!text.is_empty()).then(|| text.parse());
        read.transpose().map_err(|_| Refusal::Status(text.chars().take(32).collect()))
    };
    match text("action") {
        "Register" => {
            let info = fields.get("instanceInfo").unwrap_or(&Value::Null);
            writes::register(node, Info::bind(info, app).map_err(Refusal::Instance)?)?;
            Ok(Outcome::Done)
        }
        "Heartbeat" => Ok(writes::renew(node, &target, dirty, true)),
        "Cancel" => Ok(writes::cancel(node, &target)),
        "StatusUpdate" => {
            let status = status()?.ok_or_else(|| Refusal::Status(String::new()))?;
            Ok(writes::put_status(node, &target, status, dirty))
        }
        "DeleteStatusOverride" => Ok(writes::take_status(node, &target, status()?)),
        other => Err(Refusal::Action(other.chars().take(32).collect())),
    }
}
