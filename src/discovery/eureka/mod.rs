//! Follows Eureka servers: everything once, then what changed, as often as the file says.
//!
//! What a server's instances sum up to is compared with what we have after each delta; if it is
//! something else, everything is asked for again.

mod apps;
mod mirror;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::{Instant, sleep};

use crate::config::{EurekaAddress, EurekaSource};
use crate::discovery::belief::Witness;
use crate::discovery::eureka::apps::Applications;
use crate::discovery::eureka::mirror::TooMany;
use crate::discovery::feed::{Feed, Heard};
use crate::discovery::rotation::Rotation;
use crate::net::{Bounds, Client, ClientError, basic_credentials};

pub(super) use apps::{Answer, Keys};
pub(super) use mirror::Mirror;

/// What bounds an exchange: a full answer may be long.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(1), answer: Duration::from_secs(15), body: 128 << 20 };
/// Servers remember what changed for three minutes: who was away for longer asks for everything.
const REMEMBERED: Duration = Duration::from_secs(2 * 60);

/// Why a server is left for another.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// It gives no answer.
    #[error(transparent)]
    Silent(#[from] ClientError),
    /// It answers that it cannot.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// What it answers is not what was asked for.
    #[error("its answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// What it answers has no applications in it.
    #[error("its answer has no `applications`")]
    Nothing,
    /// It says too much.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// What is kept while Eureka is followed.
struct Follower {
    source: EurekaSource,
    keys: Keys,
    feed: Feed,
    rotation: Rotation,
    random: fastrand::Rng,
    mirror: Mirror,
}

/// Where we are with one server.
struct Following {
    client: Client,
    address: EurekaAddress,
    /// When it last told what there is, if what we have is of it.
    told: Option<Instant>,
    /// Whether it tells what changed.
    has_delta: bool,
}

/// Follows Eureka for ever. Dropped, the server that is asked sees the connection close.
pub(super) async fn follow(source: EurekaSource, feed: Feed) {
    let mut random = fastrand::Rng::new();
    let rotation = Rotation::new(source.addresses.len(), &mut random);
    let (keys, mirror) = (Keys::of(&source), Mirror::default());
    let mut follower = Follower { source, keys, feed, rotation, random, mirror };
    loop {
        let pause = follower.follow_one().await;
        sleep(pause).await;
    }
}

impl Follower {
    /// Follows the current server until it is left for another; returns the pause before that.
    async fn follow_one(&mut self) -> Duration {
        let addresses = &self.source.addresses;
        let Some(address) = addresses.get(self.rotation.current()).cloned() else {
            return std::future::pending().await;
        };
        let node: Arc<str> = address.to_string().into();
        self.feed.asks(&node);
        let client = Client::new(address.authority.as_str(), BOUNDS);
        let mut following = Following { client, address, told: None, has_delta: true };
        let until = Instant::now() + Rotation::stay(&mut self.random);
        loop {
            match self.ask(&mut following, &node).await {
                Ok(heard) => {
                    if self.rotation.answered(heard, Instant::now(), until) {
                        return Duration::ZERO;
                    }
                }
                Err(trouble) => {
                    let pause = self.rotation.fail(&mut self.random);
                    self.feed.failed(&node, &trouble, self.rotation.is_out());
                    return pause;
                }
            }
            // Not all at one time.
            let pause = self.source.interval.mul_f32(0.85 + 0.3 * self.random.f32());
            sleep(self.feed.asks_after().map_or(pause, |due| pause.min(due))).await;
        }
    }

    /// Asks once for what there is to know, and takes it in.
    async fn ask(&mut self, at: &mut Following, node: &Arc<str>) -> Result<Heard, Trouble> {
        let is_fresh = at.told.is_some_and(|it| it.elapsed() < REMEMBERED);
        let delta = if is_fresh && at.has_delta { at.delta().await? } else { None };
        let is_whole = match delta {
            None => false,
            Some(delta) => {
                self.mirror.take_delta(&delta, &self.keys)?;
                let (ours, theirs) = (self.mirror.sum(), delta.hash.as_ref());
                let is_whole = theirs.is_none_or(|it| *it.0 == *ours);
                if !is_whole {
                    tracing::debug!(ours, ?theirs, "changes were missed: everything is asked for");
                }
                is_whole
            }
        };
        if !is_whole {
            let everything = at.get("/apps/").await?;
            self.mirror.take_everything(&everything, &self.keys)?;
        }
        at.told = Some(Instant::now());
        let by = Witness { node: Arc::clone(node), run: Arc::default(), is_filling: false };
        Ok(self.feed.hear(&by, "eureka", self.mirror.said(), None))
    }
}

impl Following {
    /// Asks what changed lately; none if the server does not tell.
    async fn delta(&mut self) -> Result<Option<Applications>, Trouble> {
        match self.get("/apps/delta").await {
            Ok(delta) => Ok(Some(delta)),
            Err(Trouble::Status(StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)) => {
                self.has_delta = false;
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn get(&mut self, path: &str) -> Result<Applications, Trouble> {
        let path = format!("{}{path}", self.address.path);
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let credentials = self.address.user.as_ref().and_then(|it| basic_credentials(it.reveal()));
        fields.extend(credentials.map(|it| (header::AUTHORIZATION, it)));
        let answer = self.client.send(Method::GET, &path, fields, Bytes::new(), None).await?;
        if answer.status != StatusCode::OK {
            return Err(Trouble::Status(answer.status));
        }
        let told: Answer = serde_json::from_slice(&answer.body)?;
        told.applications.0.ok_or(Trouble::Nothing)
    }
}
