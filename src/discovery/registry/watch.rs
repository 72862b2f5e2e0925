//! Asks a node by our own watch.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::discovery::belief::Witness;
use crate::discovery::feed::Heard;
use crate::discovery::registry::mirror::Told;
use crate::discovery::registry::{Follower, Trouble};
use crate::net::Client;
use crate::registry::wire::WATCH_PATH;

/// How long an answer may wait for news, at most: a node that hangs is found out not much later.
const WAIT: Duration = Duration::from_secs(10);
/// How much longer than that it may take to arrive.
const MARGIN: Duration = Duration::from_secs(3);

impl Follower {
    /// Asks once, and takes in the answer. Cancel safe: what was not taken in is told again.
    pub(super) async fn watch(
        &mut self,
        client: &mut Client,
        node: &Arc<str>,
    ) -> Result<Heard, Trouble> {
        let was_at_start = self.mirror.is_at_start();
        // Not all at one time, or they would all come back at one time.
        let longest = WAIT.mul_f32(0.8 + 0.2 * self.random.f32());
        let wait = self.feed.asks_after().map_or(longest, |due| longest.min(due));
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let request = self.mirror.request(&self.wanted, wait_ms);
        let body = serde_json::to_vec(&request)?;
        let json = HeaderValue::from_static("application/json");
        let fields = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        // Who has nothing yet is answered at once.
        let within = (!was_at_start).then(|| wait + MARGIN);
        let answer = client.send(Method::POST, WATCH_PATH, fields, body.into(), within).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Err(Trouble::NotOurs),
            status => return Err(Trouble::Status(status)),
        }
        let mut told: Told = serde_json::from_slice(&answer.body)?;
        let (rules, is_filling) = (told.rules.take(), told.filling);
        let says_nothing = told.index == 0;
        if says_nothing && was_at_start {
            return Err(Trouble::Nothing);
        }
        self.mirror.apply(&self.wanted, told, rules.as_ref())?;
        if says_nothing {
            // It does not know what we missed: the next question says what we have.
            return Ok(Heard::News);
        }
        let run = Arc::clone(self.mirror.run());
        let by = Witness { node: Arc::clone(node), run, is_filling };
        let said = self.mirror.said();
        Ok(self.feed.hear(&by, "dyelane", said, rules.as_ref()))
    }
}
