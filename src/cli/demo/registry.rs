//! The registry of the demo: a real node, asked over its own socket.
//!
//! Only its lease is shortened, so that nobody waits a minute and a half for an eviction.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::mesh::ALICE;
use super::{GLANCE, PATIENCE};
use crate::net::{Bounds, Client};
use crate::registry::node::Settings;
use crate::registry::server::Registry;
use crate::registry::store;

/// How long an instance may be silent: 90 s outside of a demo.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// How often the silent are looked for: a minute outside of a demo.
const PASS: Duration = Duration::from_millis(100);
/// What rules are written with.
pub(super) const TOKEN: &str = "demo";
/// What bounds one question to the node.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(2), answer: Duration::from_secs(10), body: 1 << 20 };

/// A running node.
pub(super) struct Directory(Registry);

impl Directory {
    /// Starts it.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let store = store::Settings { lease: LEASE, pass: PASS, ..store::Settings::default() };
        let token = Some(TOKEN.into());
        let settings = Settings { store, renew: LEASE / 3, token, ..Settings::default() };
        Ok(Self(Registry::start(settings).await.context("cannot start a registry")?))
    }

    /// Returns where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Waits until it has so many instances, itself left out.
    pub(super) async fn has(&self, instances: usize) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.0.node().read(|store| store.counts().live) != instances + 1 {
            ensure!(Instant::now() < end, "the registry does not come to {instances} instances");
            sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Turns alice off or on for every sidecar that follows the node.
    pub(super) async fn flip(&self, on: bool) -> anyhow::Result<()> {
        let mut client = Client::new(self.address().to_string(), BOUNDS);
        let mut fields = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {TOKEN}"))?;
        fields.insert(header::AUTHORIZATION, bearer);
        let (path, rule) = (format!("/v1/rules/tenants/{ALICE}"), json!({ "enabled": on }));
        let body = Bytes::from(rule.to_string());
        let answer = client.send(Method::PUT, &path, fields, body, None).await?;
        ensure!(answer.status.is_success(), "the registry answers {} to a rule", answer.status);
        Ok(())
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.0.stop().await;
    }
}
