//! Upstream connections of one worker: HTTP/2 ones shared, HTTP/1.1 ones kept for the next request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::time::Instant;

use crate::config::Service;
use crate::http::Call;
use crate::http::Client;
use crate::http::Http1;
use crate::http::Options;
use crate::http::Pipe;
use crate::http::Version;
use crate::model::RequestHead;
use crate::model::ServiceName;
use crate::net;
use crate::proxy::error::ConnectError;
use crate::proxy::error::ProxyError;
use crate::telemetry::Metrics;

/// Which connections can be used for each other: those to the same address in the same protocol.
type Place = (SocketAddr, Version);

/// How long a peer that has connections of ours, and refused one more, is not asked again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How a connection is made and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) connect: Duration,
    pub(super) most: usize,
    pub(super) pending: usize,
    pub(super) options: Options,
}

impl Terms {
    pub(super) fn new(service: &Service, version: Version, options: Options) -> Self {
        let most = match version {
            Version::Http2 => service.connections,
            Version::Http1 => service.http1_connections,
        };
        let options = Options { idle: service.connection_idle, ..options };
        Self {
            connect: service.timeouts.connect,
            most: usize::from(most),
            pending: service.pending as usize,
            options,
        }
    }
}

/// An upstream connection.
#[derive(Clone)]
pub(super) enum Connection {
    Http2(Client),
    Http1(Http1),
}

impl Connection {
    /// Sends a request.
    pub(super) fn call(&self, head: Rc<RequestHead>, body: Rc<Pipe>) -> Rc<Call> {
        match self {
            Self::Http2(client) => client.call(head, body),
            Self::Http1(client) => client.call(head, body),
        }
    }

    /// Whether a request would go out at once and wait behind nobody's.
    fn is_free(&self) -> bool {
        match self {
            Self::Http2(client) => client.has_room() && !client.is_blocked(),
            Self::Http1(client) => client.is_idle(),
        }
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Http2(client) => client.has_room(),
            Self::Http1(client) => client.is_idle(),
        }
    }

    fn load(&self) -> usize {
        match self {
            Self::Http2(client) => client.load(),
            Self::Http1(client) => usize::from(!client.is_idle()),
        }
    }

    /// Whether it takes no more requests, now or ever.
    fn is_retired(&self) -> bool {
        match self {
            Self::Http2(client) => client.is_retired(),
            Self::Http1(client) => client.is_closed(),
        }
    }

    fn retire(&self) {
        match self {
            Self::Http2(client) => client.retire(),
            Self::Http1(client) => client.retire(),
        }
    }

    fn wait(&self, cx: &Context<'_>) {
        match self {
            Self::Http2(client) => client.wait(cx),
            Self::Http1(client) => client.wait(cx),
        }
    }
}

/// The connections to one place, and those who wait for one.
#[derive(Default)]
struct Peer {
    connections: Vec<Connection>,
    connecting: usize,
    /// By order of arrival. Only the first looks for a free connection; when it leaves, it wakes
    /// the next: however many wait, one connection that comes free wakes one.
    waiting: BTreeMap<u64, Waker>,
    /// The last attempt to connect failed so, at that moment: those who waited for it fail too.
    failed: Option<(Instant, ConnectError)>,
}

impl Peer {
    /// Whether one more connection is to be made, now that someone waits for one.
    fn may_connect(&self, version: Version, terms: &Terms) -> bool {
        let enough = match version {
            // One takes many requests.
            Version::Http2 => 1,
            Version::Http1 => self.waiting.len(),
        };
        // With some connections left, a peer that takes no more is not asked all the time.
        let refused = !self.connections.is_empty()
            && self.failed.is_some_and(|(at, _)| at.elapsed() < RECONNECT_AFTER);
        let all = self.connections.len() + self.connecting;
        self.connecting < enough && all < terms.most && !refused
    }

    /// Returns the least loaded connection on which a request waits behind nobody's.
    fn free(&mut self) -> Option<Connection> {
        if self.connections.iter().any(Connection::is_retired) {
            self.connections.retain(|it| !it.is_retired());
        }
        least_loaded(self.connections.iter().filter(|it| it.is_free())).cloned()
    }

    fn wake_first(&self) {
        if let Some(waker) = self.waiting.values().next() {
            waker.wake_by_ref();
        }
    }

    fn wake_all(&self) {
        self.waiting.values().for_each(Waker::wake_by_ref);
    }

    /// Whether nobody would miss it.
    fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.connecting == 0 && self.waiting.is_empty()
    }
}

/// Upstream connections of one worker.
///
/// Nothing here is shared with other threads, and nothing waits while it is borrowed.
pub(super) struct Pool {
    peers: RefCell<HashMap<Place, Peer>>,
    /// The number of whoever waits next.
    ticket: Cell<u64>,
    metrics: std::sync::Arc<Metrics>,
}

/// Someone who waits for a connection. Dropped, it waits no more, and lets the next one look.
struct Waiter<'a> {
    pool: &'a Pool,
    place: Place,
    ticket: u64,
    since: Instant,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut peers = self.pool.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&self.place) else { return };
        let was_first = peer.waiting.first_key_value().is_some_and(|(it, _)| *it == self.ticket);
        peer.waiting.remove(&self.ticket);
        if was_first {
            peer.wake_first();
        }
        if peer.is_idle() {
            peers.remove(&self.place);
        }
    }
}

impl Pool {
    pub(super) fn new(metrics: std::sync::Arc<Metrics>) -> Rc<Self> {
        Rc::new(Self { peers: RefCell::default(), ticket: Cell::new(0), metrics })
    }

    /// Returns a connection that takes one more request: one that is there, a new one if there are
    /// none or all are busy, or else the first that comes free. Whoever came first is served first.
    ///
    /// Cancel safe: a connection that was begun goes on, for the next request.
    pub(super) async fn connection(
        self: &Rc<Self>,
        address: SocketAddr,
        version: Version,
        terms: &Terms,
        service: &ServiceName,
    ) -> Result<Connection, ProxyError> {
        let place = (address, version);
        if let Some(connection) = self.free_at_once(place) {
            return Ok(connection);
        }
        let waiter = self.queue(place, terms)?;
        poll_fn(|cx| {
            let mut peers = self.peers.borrow_mut();
            let peer = peers.entry(place).or_default();
            if let Some((at, source)) = peer.failed
                && at >= waiter.since
                && peer.connections.is_empty()
            {
                return Poll::Ready(Err(ProxyError::Connect { address, source }));
            }
            peer.waiting.insert(waiter.ticket, cx.waker().clone());
            let is_first =
                peer.waiting.first_key_value().is_some_and(|(it, _)| *it == waiter.ticket);
            if is_first && let Some(connection) = peer.free() {
                return Poll::Ready(Ok(connection));
            }
            if peer.may_connect(version, terms) {
                peer.connecting += 1;
                let (pool, terms, service) = (self.clone(), *terms, service.clone());
                tokio::task::spawn_local(async move { pool.connect(place, terms, service).await });
            } else if is_first
                && peer.connecting == 0
                && let Some(busy) = least_loaded(peer.connections.iter().filter(|it| it.has_room()))
            {
                // All are blocked and there can be no more: wait behind the shortest queue.
                return Poll::Ready(Ok(busy.clone()));
            }
            if is_first {
                peer.connections.iter().for_each(|it| it.wait(cx));
            }
            Poll::Pending
        })
        .await
    }

    /// Returns a connection on which a request waits behind nobody's, unless others wait for it.
    fn free_at_once(&self, place: Place) -> Option<Connection> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.get_mut(&place)?;
        if peer.waiting.is_empty() {
            return peer.free();
        }
        // The first of them sees it too, were it for no other reason than this.
        peer.wake_first();
        None
    }

    /// Begins to wait, if there are not too many already.
    fn queue(&self, place: Place, terms: &Terms) -> Result<Waiter<'_>, ProxyError> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(place).or_default();
        // Those before whom a connection has room wait for no more than their turn on this thread.
        if peer.waiting.len() >= terms.pending.max(1) && peer.free().is_none() {
            return Err(ProxyError::Pending { address: place.0 });
        }
        let ticket = self.ticket.replace(self.ticket.get() + 1);
        peer.waiting.insert(ticket, Waker::noop().clone());
        Ok(Waiter { pool: self, place, ticket, since: Instant::now() })
    }

    async fn connect(self: Rc<Self>, place: Place, terms: Terms, service: ServiceName) {
        let outcome = self.establish(place, &terms, &service).await;
        let mut peers = self.peers.borrow_mut();
        let peer = peers.entry(place).or_default();
        peer.connecting -= 1;
        match outcome {
            Ok(connection) => {
                peer.failed = None;
                peer.connections.push(connection);
                peer.wake_first();
            }
            Err(error) => {
                tracing::debug!(address = %place.0, %service, %error, "cannot connect");
                self.metrics.upstream_connect_failed(&service, error.label());
                peer.failed = Some((Instant::now(), error));
                peer.wake_all();
                if !peer.connections.is_empty() {
                    // Whoever then waits for those connections looks again when it may be asked.
                    let pool = self.clone();
                    tokio::task::spawn_local(async move {
                        tokio::time::sleep(RECONNECT_AFTER).await;
                        pool.peers.borrow().get(&place).inspect(|peer| peer.wake_first());
                    });
                }
            }
        }
        if peer.is_idle() {
            peers.remove(&place);
        }
    }

    /// Connects, and waits until it is known how many requests the peer takes at a time: to assume
    /// more than it says fails requests for nothing.
    async fn establish(
        self: &Rc<Self>,
        (address, version): Place,
        terms: &Terms,
        service: &ServiceName,
    ) -> Result<Connection, ConnectError> {
        let begun = Instant::now();
        let stream = net::dial(address, terms.connect).await?;
        let active = self.metrics.upstream_connection_opened(service);
        let pool = self.clone();
        let gone = move || {
            drop(active);
            pool.prune((address, version));
        };
        match version {
            Version::Http1 => {
                let connected = crate::http::connect_http1(stream, terms.options).await;
                let kind = std::io::ErrorKind::ConnectionReset;
                let (client, driver) = connected.map_err(|_| ConnectError::Other(kind))?;
                tokio::task::spawn_local(async move {
                    driver.await;
                    gone();
                });
                Ok(Connection::Http1(client))
            }
            Version::Http2 => {
                let (client, driver) = crate::http::connect(stream, terms.options);
                tokio::task::spawn_local(async move {
                    let why = driver.await;
                    tracing::debug!(%address, %why, "upstream connection ended");
                    gone();
                });
                let settled = poll_fn(|cx| client.poll_settled(cx));
                let left = terms.connect.saturating_sub(begun.elapsed());
                match tokio::time::timeout(left, settled).await {
                    Ok(true) => Ok(Connection::Http2(client)),
                    outcome => {
                        client.retire();
                        let slow = outcome.is_err();
                        Err(if slow { ConnectError::TimedOut } else { ConnectError::NotHttp2 })
                    }
                }
            }
        }
    }

    /// Forgets the connections to a place that are over.
    fn prune(&self, place: Place) {
        let mut peers = self.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&place) else { return };
        peer.connections.retain(|it| !it.is_retired());
        peer.wake_first();
        if peer.is_idle() {
            peers.remove(&place);
        }
    }

    /// Retires the connections to addresses that `keep` does not know; they close with their last
    /// request.
    pub(super) fn retire_unless(&self, keep: impl Fn(SocketAddr) -> bool) -> Vec<Retiring> {
        let peers = self.peers.borrow();
        let left = peers.iter().filter(|((address, _), _)| !keep(*address));
        let connections = left.flat_map(|(_, peer)| &peer.connections);
        connections.cloned().map(Retiring).collect()
    }
}

/// A connection nobody has a use for any more.
pub(super) struct Retiring(Connection);

impl Retiring {
    pub(super) fn retire(self) {
        self.0.retire();
    }
}

fn least_loaded<'a>(connections: impl Iterator<Item = &'a Connection>) -> Option<&'a Connection> {
    connections.min_by_key(|it| it.load())
}
