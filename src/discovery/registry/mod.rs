//! Follows a registry: ours by its watch, bilibili/discovery by its polls.
//!
//! One node is asked at a time. One that fails, hangs or is not ready is left for the next at once; what
//! is known stays, and the next is told what that is, so that it tells the rest only.

pub(super) mod apps;
mod mirror;
mod polls;
mod seen;
mod wanted;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};

use crate::config::{Dialect, RegistrySource};
use crate::discovery::feed::{Feed, Heard};
use crate::discovery::rotation::Rotation;
use crate::net::{Bounds, Client, ClientError};

use mirror::TooMany;

pub(super) use mirror::{Mirror, Told};
pub(super) use wanted::Wanted;

/// What bounds an exchange, where it does not wait for news.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(1), answer: Duration::from_secs(7), body: 64 << 20 };
/// What an answer without news that did not wait for any is quicker than.
const AT_ONCE: Duration = Duration::from_millis(50);
/// The pause after such an answer; it doubles, up to a thousandfold, until one waits or has news.
const BREATH: Duration = Duration::from_millis(1);

/// Why a node is left for another.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It gives no answer.
    #[error(transparent)]
    Silent(#[from] ClientError),
    /// It answers that it cannot.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// It answers that it cannot, in words.
    #[error("it answers code {0}: {1}")]
    Code(i64, Arc<str>),
    /// It does not know our watch.
    #[error("it does not know the watch: it is no registry of ours")]
    NotOurs,
    /// What it answers is not what was asked for.
    #[error("its answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// It says that it has no place for us, again and again.
    #[error("its answer says nothing")]
    Nothing,
    /// It says too much.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// What is kept while a registry is followed.
struct Follower {
    source: RegistrySource,
    wanted: Wanted,
    feed: Feed,
    names: Vec<Arc<str>>,
    rotation: Rotation,
    random: fastrand::Rng,
    /// Whether the node that is asked does not know our watch.
    is_foreign: bool,
    /// By our watch.
    mirror: Mirror,
    /// By the calls of bilibili/discovery.
    apps: apps::Mirror,
    polling: polls::Polling,
}

/// Follows a registry for ever. Dropped, the node that is asked sees the connection close.
pub(super) async fn follow(source: RegistrySource, consumer: Arc<str>, feed: Feed) {
    let mut random = fastrand::Rng::new();
    let names: Vec<Arc<str>> = source.addresses.iter().map(|it| it.as_str().into()).collect();
    let rotation = Rotation::new(names.len(), &mut random);
    let wanted = Wanted::new(&source, consumer);
    let mut follower = Follower {
        source,
        wanted,
        feed,
        names,
        rotation,
        random,
        is_foreign: false,
        mirror: Mirror::default(),
        apps: apps::Mirror::default(),
        polling: polls::Polling::default(),
    };
    loop {
        let pause = follower.follow_one().await;
        sleep(pause).await;
    }
}

impl Follower {
    /// Follows the current node until it is left for another; returns the pause before that.
    async fn follow_one(&mut self) -> Duration {
        let node = self.names.get(self.rotation.current()).cloned().unwrap_or_default();
        self.feed.asks(&node);
        let mut client = Client::new(&*node, BOUNDS);
        let until = Instant::now() + Rotation::stay(&mut self.random);
        self.mirror.leave();
        self.apps.leave();
        (self.is_foreign, self.polling) = (false, polls::Polling::default());
        let mut idle = 0;
        loop {
            let asked = Instant::now();
            match self.ask(&mut client, &node).await {
                Ok(heard) => {
                    let is_same = matches!(heard, Heard::Nothing | Heard::Doubtful);
                    let is_idle = is_same && asked.elapsed() < AT_ONCE;
                    idle = if is_idle { (idle + 1).min(10) } else { 0 };
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
            if idle > 0 {
                sleep(BREATH * (1 << idle)).await;
            }
        }
    }

    /// Asks once, in the dialect the node speaks.
    async fn ask(&mut self, client: &mut Client, node: &Arc<str>) -> Result<Heard, Trouble> {
        if self.source.dialect == Dialect::Discovery || self.is_foreign {
            return self.poll(client, node).await;
        }
        match self.watch(client, node).await {
            Err(Trouble::NotOurs) if self.source.dialect == Dialect::Auto => {
                tracing::debug!(node = &**node, "it is no registry of ours: it is polled");
                self.is_foreign = true;
                self.poll(client, node).await
            }
            heard => heard,
        }
    }
}
