//! Asks a node by the calls of bilibili/discovery.
//!
//! ```text
//! names      fetchs ──► polls, polls, … ──► fetchs …      what goes altogether, polls do not tell
//! patterns   fetch/all ──► polls of what there is, … ──► fetch/all …      nor what is new
//! ```

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::discovery::belief::Witness;
use crate::discovery::feed::Heard;
use crate::discovery::registry::apps::{Apps, Envelope, Everything};
use crate::discovery::registry::{Follower, Trouble};
use crate::net::{Client, escape};

/// The header by which a client says how long it waits, in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x1-bmspy-timeout");
/// How long an answer may wait for news, if the node asks how long we wait.
const HOLD: Duration = Duration::from_secs(10);
/// How long it waits if the node does not ask.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// How much longer than that it may take to arrive.
const MARGIN: Duration = Duration::from_secs(3);
/// How often everything is asked for, beside what changes.
const EVERYTHING: Duration = Duration::from_secs(30);
/// How often, if there is too much to be asked what changes of it, or nothing.
const OFTEN: Duration = Duration::from_secs(5);
/// Services that are asked about in one request at most.
const MOST_POLLED: usize = 250;
/// There is no news.
const NOT_MODIFIED: i64 = -304;
/// There is no such thing.
const NOT_FOUND: i64 = -404;

/// Where we are with the node that is asked.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// When it told everything.
    refreshed: Option<Instant>,
    /// Whether it holds an answer for as long as it is asked to.
    heeds_hold: bool,
}

impl Follower {
    /// Asks once, and takes in the answer. Cancel safe: what was not taken in is told again.
    pub(super) async fn poll(
        &mut self,
        client: &mut Client,
        node: &Arc<str>,
    ) -> Result<Heard, Trouble> {
        let due = self.feed.due();
        let age = self.polling.refreshed.map(|it| it.elapsed());
        let left = age.map_or(Duration::ZERO, |age| EVERYTHING.saturating_sub(age));
        let left = due.map_or(left, |due| left.min(due));
        if left.is_zero() {
            self.refresh(client).await?;
        } else {
            let mut names = self.wanted.names();
            let names = names.get_or_insert_with(|| self.apps.names().cloned().collect());
            if names.is_empty() || names.len() > MOST_POLLED {
                sleep(left.min(OFTEN.mul_f32(0.8 + 0.2 * self.random.f32()))).await;
                self.refresh(client).await?;
            } else {
                self.polls(client, names, left.min(HOLD)).await?;
            }
        }
        let by = Witness { node: Arc::clone(node), run: Arc::default(), is_filling: false };
        Ok(self.feed.hear(&by, "discovery", self.apps.said(), None))
    }

    /// Asks for everything.
    async fn refresh(&mut self, client: &mut Client) -> Result<(), Trouble> {
        if let Some(names) = self.wanted.names() {
            let mut all = Apps::new();
            for names in names.chunks(MOST_POLLED) {
                let mut query = self.query("/discovery/fetchs", names);
                query.push_str("&status=3");
                let told: Envelope<Apps> = ask(client, &query, HeaderMap::new(), None).await?;
                match told.code {
                    0 => all.extend(told.data.unwrap_or_default()),
                    NOT_FOUND => {}
                    code => return Err(Trouble::Code(code, told.message.0)),
                }
            }
            self.apps.take(&self.wanted, all, &[], true)?;
        } else {
            let path = "/discovery/fetch/all";
            let told: Envelope<Everything> = ask(client, path, HeaderMap::new(), None).await?;
            if told.code != 0 {
                return Err(Trouble::Code(told.code, told.message.0));
            }
            self.apps.take_everything(&self.wanted, told.data.unwrap_or_default())?;
        }
        self.polling.refreshed = Some(Instant::now());
        Ok(())
    }

    /// Asks what changes of `names`, for as long as `hold`.
    async fn polls(
        &mut self,
        client: &mut Client,
        names: &[Arc<str>],
        hold: Duration,
    ) -> Result<(), Trouble> {
        let mut query = self.query("/discovery/polls", names);
        query.push_str("&hostname=");
        escape(&self.wanted.consumer, &mut query);
        for name in names {
            let _ = write!(query, "&latest_timestamp={}", self.apps.latest(name));
        }
        let hold_ms = HeaderValue::from(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1));
        let fields = HeaderMap::from_iter([(TIMEOUT, hold_ms)]);
        let longest = if self.polling.heeds_hold { hold } else { LONGEST_HOLD };
        let asked = Instant::now();
        let mut told: Envelope<Apps> = ask(client, &query, fields, Some(longest + MARGIN)).await?;
        self.polling.heeds_hold |= asked.elapsed() <= hold + MARGIN;
        match told.code {
            0 => {
                let missing = told.missing();
                let data = told.data.take().unwrap_or_default();
                Ok(self.apps.take(&self.wanted, data, &missing, false)?)
            }
            NOT_MODIFIED => Ok(()),
            code => Err(Trouble::Code(code, told.message.0)),
        }
    }

    /// Returns a path with these names as its query.
    fn query(&self, path: &str, names: &[Arc<str>]) -> String {
        let mut query = format!("{path}?env=");
        escape(&self.wanted.env, &mut query);
        for name in names {
            query.push_str("&appid=");
            escape(name, &mut query);
        }
        query
    }
}

/// Asks a node.
async fn ask<T: DeserializeOwned>(
    client: &mut Client,
    path: &str,
    fields: HeaderMap,
    within: Option<Duration>,
) -> Result<Envelope<T>, Trouble> {
    let answer = client.send(Method::GET, path, fields, Bytes::new(), within).await?;
    match answer.status {
        StatusCode::OK => Ok(serde_json::from_slice(&answer.body)?),
        status => Err(Trouble::Status(status)),
    }
}
