//! A node's part in its cluster: carries between the node and the [`Replica`] what each has to say.
//!
//! ```text
//! writers ─► inbox ─► replica ─► link, one a peer ─► POST /v1/peer/exchange
//!                        ▲ └───► members, readable, isolated
//!  other nodes' parcels ─┘
//! ```
//!
//! Writers put into the inbox, and do nothing else: they never wait for the replica, let alone for
//! another node. Locks are taken in the order replica, store, inbox.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, header};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::registry::api::reply::{self, Reply};
use crate::registry::api::{Ask, token};
use crate::registry::node::{Member, Node, PeersView, Told};
use crate::registry::peers::link;
use crate::registry::peers::protocol::{
    EXCHANGE_PATH, MOST_BODY, News, Parcel, PeerKey, Replica, RulesView, Settings, Speaker,
};
use crate::registry::record::{Id, Version};
use crate::registry::store::{Change, Store};

/// How often time is told to the replica; renewals reach it no later than that.
const TICK: Duration = Duration::from_millis(200);
/// Changes, and renewals, that wait for the replica at most.
const MOST_WAITING: usize = 100_000;
/// How long a node that stops waits for its farewell to be heard.
const FAREWELL: Duration = Duration::from_millis(500);

/// What writers have said and the replica has not taken yet.
#[derive(Debug, Default)]
struct Inbox {
    changes: Vec<Change>,
    renewals: Vec<(Id, Version)>,
    rules: bool,
    /// Whether something found no room: then everything is compared.
    overflowed: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) replica: Replica,
    pub(super) random: fastrand::Rng,
}

/// A node's part in its cluster.
#[derive(Debug)]
pub struct Cluster {
    pub(super) node: Arc<Node>,
    at: Arc<str>,
    state: Mutex<State>,
    inbox: Arc<Mutex<Inbox>>,
    /// Told when there is something in the inbox, or when the replica has woken somebody.
    work: Arc<Notify>,
    links: TaskTracker,
}

impl Cluster {
    /// Joins a node with those it is told of; `at` is where others reach it, `own` the records by
    /// which it registers itself. From here on it hears other nodes, and speaks once
    /// [`run`](Self::run).
    pub fn join(node: &Arc<Node>, at: Arc<str>, own: Vec<Id>) -> Arc<Self> {
        let settings = node.settings();
        let me = Speaker {
            node: node.id(),
            run: fastrand::u64(1..),
            at: Arc::clone(&at),
            zone: Arc::clone(&settings.zone),
            host: Arc::clone(&settings.host),
            readable: false,
            filling: true,
        };
        let ours = settings.peers.iter().map(|at| (Arc::clone(at), Arc::clone(&settings.zone)));
        let others = settings.zones.iter();
        let others = others.flat_map(|(zone, all)| all.iter().map(|at| (at.clone(), zone.clone())));
        let seeds = ours.chain(others).collect();
        let state = State {
            replica: Replica::new(Settings {
                me,
                own,
                seeds,
                believes_records: settings.token.is_none(),
            }),
            random: fastrand::Rng::new(),
        };
        let cluster = Arc::new(Self {
            node: Arc::clone(node),
            at,
            state: Mutex::new(state),
            inbox: Arc::default(),
            work: Arc::default(),
            links: TaskTracker::new(),
        });
        let (inbox, work) = (Arc::clone(&cluster.inbox), Arc::clone(&cluster.work));
        node.doors().set_outbox(Box::new(move |told| {
            if lock(&inbox).put(told) {
                work.notify_one();
            }
        }));
        let view = Arc::downgrade(&cluster);
        node.doors().set_peers_view(Box::new(move || {
            view.upgrade().map(|it| it.view()).unwrap_or_default()
        }));
        let door = Arc::downgrade(&cluster);
        node.doors().set_peer_door(Box::new(move |ask| {
            let door = door.upgrade();
            Box::pin(async move {
                match door {
                    Some(cluster) => cluster.answer(ask).await,
                    None => reply::overloaded(),
                }
            })
        }));
        cluster
    }

    /// Speaks to other nodes for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut wakers: BTreeMap<PeerKey, Arc<Notify>> = BTreeMap::new();
        loop {
            let mut woken = self.with(|state, cluster| {
                state.replica.tick(cluster.node.now());
                state.replica.woken()
            });
            self.publish();
            wakers.retain(|_, waker| Arc::strong_count(waker) > 1);
            let known: Vec<PeerKey> = self.with(|state, _| state.replica.peers().collect());
            for key in known {
                wakers.entry(key).or_insert_with(|| {
                    let waker = Arc::new(Notify::new());
                    let link = link::run(Arc::clone(&self), key, Arc::clone(&waker));
                    let stopping = self.node.stopping().clone();
                    self.links.spawn(async move { stopping.run_until_cancelled(link).await });
                    waker
                });
            }
            while let Some(key) = woken.pop_first() {
                if let Some(waker) = wakers.get(&key) {
                    waker.notify_one();
                }
            }
            let _ = timeout(TICK, self.work.notified()).await;
        }
    }

    /// Waits, for half a second at most, until what was written last has been said to those who
    /// answer.
    pub async fn say_farewell(&self) {
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end {
            let waiting = self.with(|state, cluster| {
                let all = state.replica.status(cluster.node.now());
                all.iter().filter(|it| it.is_up).map(|it| it.waiting).sum::<usize>()
                    + state.replica.under_way()
            });
            if waiting == 0 {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns how things stand with the others.
    fn view(&self) -> PeersView {
        let now = self.node.now();
        self.with(|State { replica, .. }, _| PeersView {
            peers: replica.status(now),
            counts: replica.counts(),
        })
    }

    /// Answers another node.
    async fn answer(&self, ask: Ask) -> Reply {
        if ask.path() != EXCHANGE_PATH {
            return reply::bytes(StatusCode::NOT_FOUND, reply::PLAIN, "404 page not found");
        }
        if ask.method != Method::POST {
            return reply::bytes(
                StatusCode::METHOD_NOT_ALLOWED,
                reply::PLAIN,
                "Method Not Allowed",
            );
        }
        if let Some(refusal) = self.refusal(&ask) {
            return refusal;
        }
        if ask.body.len() > MOST_BODY {
            return reply::text(StatusCode::PAYLOAD_TOO_LARGE, "the parcel is too long");
        }
        let parcel = match Parcel::read(&ask.body) {
            Ok(parcel) => parcel,
            Err(error) => return reply::text(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let book = self.node.rulebook().now();
        let rules = RulesView { rules: &book.rules, digest: book.digest };
        let received = self.with(|State { replica, .. }, cluster| {
            cluster.node.write(|store, now| replica.receive(parcel, store, rules, now))
        });
        if !received.rules.is_empty() {
            self.node.merge_rules(received.rules).await;
        }
        reply::json(StatusCode::OK, &received.answer)
    }

    /// Returns the answer to who does not have our token, if there is one.
    fn refusal(&self, ask: &Ask) -> Option<Reply> {
        let token = self.node.settings().token.as_deref()?;
        token::check(token, ask.header(&header::AUTHORIZATION)).err()?;
        self.node.metrics().strangers.inc();
        tracing::debug!(peer = %ask.peer, "somebody without our token speaks as a node");
        let mut refusal =
            reply::text(StatusCode::UNAUTHORIZED, "nodes of this registry show its token");
        let bearer = HeaderValue::from_static("Bearer");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        Some(refusal)
    }

    /// Does something with the replica, which has heard by then of all that was written before.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, &Self) -> R) -> R {
        let mut state = lock(&self.state);
        let inbox = mem::take(&mut *lock(&self.inbox));
        let now = self.node.now();
        let replica = &mut state.replica;
        if !self.node.is_filling() {
            replica.set_filled();
        }
        replica.tell(&inbox.changes, now);
        for (id, version) in inbox.renewals {
            replica.renewed(id, version, now);
        }
        if inbox.rules {
            let book = self.node.rulebook().now();
            replica.rules_changed(RulesView { rules: &book.rules, digest: book.digest });
        }
        if inbox.overflowed {
            replica.compare_with_all();
        }
        let result = act(&mut state, self);
        if state.replica.has_woken() {
            self.work.notify_one();
        }
        result
    }

    /// Tells the node and its operator how things stand.
    fn publish(&self) {
        let now = self.node.now();
        let (news, status, is_readable, is_isolated) =
            self.with(|State { replica, .. }, cluster| {
                if replica.has_whole_copy() {
                    cluster.node.set_filled();
                }
                (
                    replica.news(),
                    replica.status(now),
                    replica.is_readable(),
                    replica.is_isolated(now),
                )
            });
        news.iter().for_each(log);
        if is_readable && !self.node.is_readable() {
            self.node.set_readable();
        }
        if self.node.read(Store::is_isolated) != is_isolated {
            self.node.write(|store, _| store.set_isolated(is_isolated));
        }
        let zone = Arc::clone(&self.node.settings().zone);
        let own = Member { addr: Arc::clone(&self.at), zone, is_lost: false };
        let others = status.into_iter();
        let others = others.map(|it| Member { addr: it.at, zone: it.zone, is_lost: !it.is_up });
        let members: Vec<Member> = std::iter::once(own).chain(others).collect();
        if *self.node.members() != members {
            self.node.set_members(members);
        }
    }
}

impl Inbox {
    /// Takes what a writer says. Returns whether somebody should look at it at once.
    fn put(&mut self, told: Told<'_>) -> bool {
        match told {
            Told::Changes(changes) if self.changes.len() + changes.len() <= MOST_WAITING => {
                self.changes.extend(changes.iter().cloned());
                true
            }
            Told::Changes(_) => {
                self.overflowed = true;
                true
            }
            // One that finds no room comes again with the next of its provider.
            Told::Renewed(id, version) => {
                if self.renewals.len() < MOST_WAITING {
                    self.renewals.push((id, version));
                }
                self.renewals.len() == 1000
            }
            Told::Rules => {
                self.rules = true;
                true
            }
        }
    }
}

fn log(news: &News) {
    match news {
        News::Found(peer) => tracing::info!(%peer, "a node answers"),
        News::Lost(peer, why) => tracing::warn!(%peer, %why, "a node does not answer"),
        News::Learned(peer) => tracing::info!(%peer, "a node was heard of"),
        News::Forgotten(peer) => tracing::info!(%peer, "a node is no longer asked for"),
        News::Twin(peer) => tracing::error!(%peer, "a node has the number of this one"),
        News::Readable => tracing::info!("what there is to read is worth reading"),
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked left parts that are each sound; what is missing is found by comparing.
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
