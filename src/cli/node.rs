//! Asks the nodes of a registry, one after the other until one answers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use crate::config::{Authority, Secret};
use crate::net::{Answer, Bounds, Client, ClientError};

/// What bounds one question to one node.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(2), answer: Duration::from_secs(10), body: 64 << 20 };

/// Which registry.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WhichRegistry {
    /// A node of the registry; may be repeated: the first that answers counts
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = authority)]
    pub(super) registry: Vec<Authority>,
}

/// What one proves oneself by.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WhichToken {
    /// The registry's token [default: `$DYELANE_TOKEN`]
    #[arg(long, value_name = "TOKEN", value_parser = Secret::new, conflicts_with = "token_file")]
    token: Option<Secret>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Reads an address as operators write it: with or without `http://`.
pub(super) fn authority(text: &str) -> Result<Authority, String> {
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let port = host.strip_prefix(':').filter(|port| port.parse::<u16>().is_ok());
    let whole = port.map(|port| format!("127.0.0.1:{port}"));
    let authority = whole.as_deref().unwrap_or(host).parse::<Authority>();
    authority.map_err(|why| format!("{why}: {}", why.help()))
}

impl WhichRegistry {
    /// Returns the same, or what `$DYELANE_REGISTRY` says where no node is named.
    pub(super) fn or_environment(self) -> anyhow::Result<Self> {
        let named = std::env::var("DYELANE_REGISTRY").unwrap_or_default();
        if !self.registry.is_empty() || named.is_empty() {
            return Ok(self);
        }
        let nodes = named.split(',').map(|it| authority(it.trim()));
        let registry = nodes.collect::<Result<_, _>>();
        Ok(Self { registry: registry.map_err(anyhow::Error::msg).context("DYELANE_REGISTRY")? })
    }

    /// Returns whether no node is named.
    pub(super) fn is_empty(&self) -> bool {
        self.registry.is_empty()
    }
}

impl WhichToken {
    /// Returns the token, if there is one.
    pub(super) fn read(&self) -> anyhow::Result<Option<Secret>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        let (origin, text) = match &self.token_file {
            Some(path) => {
                let shown = path.display().to_string();
                let text = std::fs::read_to_string(path);
                (shown.clone(), text.with_context(|| format!("cannot read {shown}"))?)
            }
            None => match std::env::var("DYELANE_TOKEN") {
                Ok(text) if !text.is_empty() => ("DYELANE_TOKEN".to_owned(), text),
                _ => return Ok(None),
            },
        };
        Ok(Some(Secret::new(text.trim()).with_context(|| format!("the token of {origin}"))?))
    }
}

/// The nodes of a registry, to be asked.
pub(super) struct Nodes {
    clients: Vec<Client>,
    token: Option<Secret>,
}

/// What a node answered.
pub(super) struct NodeAnswer {
    /// Which one.
    pub(super) node: String,
    /// What.
    pub(super) answer: Answer,
}

impl Nodes {
    /// The nodes named; `token` is shown to them.
    pub(super) fn new(which: &WhichRegistry, token: Option<Secret>) -> Self {
        let client = |node: &Authority| Client::new(node.as_str(), BOUNDS);
        Self { clients: which.registry.iter().map(client).collect(), token }
    }

    /// Asks the first node that answers, and does not say that it is in trouble. What is asked must
    /// bear being asked twice.
    pub(super) async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<NodeAnswer> {
        let mut fields = HeaderMap::new();
        if !body.is_empty() {
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))?;
            value.set_sensitive(true);
            fields.insert(header::AUTHORIZATION, value);
        }
        let mut failures = Vec::new();
        for client in &mut self.clients {
            let sent = client.send(method.clone(), path, fields.clone(), body.clone(), None).await;
            match sent {
                Ok(answer) if answer.status.is_server_error() => {
                    failures.push(format!("{} answers {}", client.authority(), said(&answer)));
                }
                Ok(answer) => {
                    return Ok(NodeAnswer { node: client.authority().to_owned(), answer });
                }
                Err(error) => failures.push(in_words(error)),
            }
        }
        bail!("no node of the registry answers: {}", failures.join("; "))
    }

    /// Asks for a JSON document.
    pub(super) async fn json(
        &mut self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(String, Value)> {
        let NodeAnswer { node, answer } = self.send(method, path, body).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(&node, &answer));
        }
        let document = serde_json::from_slice(&answer.body);
        let document =
            document.with_context(|| format!("what listens at {node} is no registry"))?;
        Ok((node, document))
    }
}

/// What it means that a node does not do what was asked.
pub(super) fn refused(node: &str, answer: &Answer) -> anyhow::Error {
    let remedy = match answer.status {
        StatusCode::UNAUTHORIZED => ": give its token with --token-file or $DYELANE_TOKEN",
        StatusCode::NOT_FOUND => ": is it a registry of this kind?",
        _ => "",
    };
    anyhow::anyhow!("{node} answers {}{remedy}", said(answer))
}

/// The status of an answer, and what it says beside that if it is one line.
fn said(answer: &Answer) -> String {
    let document: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = document.as_ref().and_then(|it| it.get("error")?.as_str());
    let text = error.map(str::to_owned).or_else(|| {
        let text = String::from_utf8_lossy(&answer.body);
        let text = text.trim();
        (document.is_none() && text.len() < 200 && !text.contains('\n')).then(|| text.to_owned())
    });
    match text.filter(|it| !it.is_empty()) {
        Some(text) => format!("{}: {text}", answer.status),
        None => answer.status.to_string(),
    }
}

/// An error and what caused it, in one line.
fn in_words(error: ClientError) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_operators_write_it() {
        for text in ["127.0.0.1:7171", ":7171", "http://127.0.0.1:7171/"] {
            assert_eq!(authority(text).unwrap().as_str(), "127.0.0.1:7171", "{text}");
        }
        assert!(authority("registry").unwrap_err().contains("has no port"));
    }
}
