//! Asks a sidecar's admin listener, and says plainly what is wrong if there is no answer.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::cli::fetch::{self, FetchError};

/// Asks for a JSON document.
pub(super) async fn json(admin: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let answer = match fetch::get(admin, &admin.to_string(), path, HeaderMap::new()).await {
        Ok(answer) => answer,
        Err(error @ FetchError::Refused(_)) => {
            bail!(
                "{error}: is the sidecar running? its admin address is `listen` of [admin] in its \
                 file; name it with --admin"
            );
        }
        Err(error) => return Err(error.into()),
    };
    let document: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("what listens at {admin} is no sidecar's admin side"))?;
    match document.get("error").and_then(Value::as_str) {
        Some(error) => bail!("{error}"),
        None if answer.status == StatusCode::OK => Ok(document),
        None => bail!("{admin} answers {path} with {}", answer.status),
    }
}
