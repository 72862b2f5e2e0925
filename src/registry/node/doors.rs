//! What joins a node to others: it knows none of them, but who does is told here.

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;

use crate::registry::api::{Ask, Reply};
use crate::registry::peers::protocol::PeerStatus;
use crate::registry::record::{Id, Version};
use crate::registry::store::Change;
use crate::telemetry::PeerCounts;

/// What peers are to hear of.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Records changed. Those of [`Origin::Peer`](crate::registry::store::Origin::Peer) are among them.
    Changes(&'a [Change]),
    /// A client of this node renewed a lease.
    Renewed(Id, Version),
    /// The tenant rules changed.
    Rules,
}

/// Takes what peers are to hear of. It is called by writers, so it neither waits nor blocks.
pub type Outbox = Box<dyn Fn(Told<'_>) + Send + Sync>;

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Answers what other nodes ask below `/v1/peer/`.
pub type PeerDoor = Box<dyn Fn(Ask) -> Answering + Send + Sync>;

/// How things stand with other nodes.
#[derive(Debug, Clone, Default)]
pub struct PeersView {
    /// Each of them, but for other names of the same.
    pub peers: Vec<PeerStatus>,
    /// How often things happened since the start.
    pub counts: PeerCounts,
}

/// Says how things stand with other nodes.
pub type PeersDoor = Box<dyn Fn() -> PeersView + Send + Sync>;

/// What a node that has peers is given once, when it joins them.
#[derive(Default)]
pub struct Doors {
    outbox: OnceLock<Outbox>,
    peer_door: OnceLock<PeerDoor>,
    peers_view: OnceLock<PeersDoor>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors")
            .field("has_peers", &self.outbox.get().is_some())
            .finish_non_exhaustive()
    }
}

impl Doors {
    /// Says who takes what peers are to hear of. Who says so second is not heard.
    pub fn set_outbox(&self, outbox: Outbox) {
        let _ = self.outbox.set(outbox);
    }

    /// Says who answers other nodes. Who says so second is not heard.
    pub fn set_peer_door(&self, door: PeerDoor) {
        let _ = self.peer_door.set(door);
    }

    /// Returns who answers other nodes; none: nobody does.
    pub fn peer_door(&self) -> Option<&PeerDoor> {
        self.peer_door.get()
    }

    /// Says who knows how things stand with other nodes. Who says so second is not heard.
    pub fn set_peers_view(&self, view: PeersDoor) {
        let _ = self.peers_view.set(view);
    }

    /// Returns how things stand with other nodes.
    pub fn peers_view(&self) -> PeersView {
        self.peers_view.get().map(|view| view()).unwrap_or_default()
    }

    pub(super) fn tell_peers(&self, told: Told<'_>) {
        if let Some(outbox) = self.outbox.get() {
            outbox(told);
        }
    }
}
