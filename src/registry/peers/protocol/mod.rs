//! How nodes come to have the same: what is said to whom, and what follows from what is heard.
//!
//! ```text
//! at once       a writing goes to every node of the zone and to one of every other zone,
//!               which spreads it in its own; renewals do so in batches
//! every 5 s     everything is compared with one other node, by digests: what was lost on the way
//! on return     likewise, at once, with the node that is back
//! at the start  a copy of everything, in pages, from up to two nodes
//! ```
//!
//! Nobody waits for anybody: what a node does for its clients it does alone, and tells afterwards.
//! Of two writings of one record every node takes the later, so the order in which things are heard
//! does not matter, nor how often; what is said may be lost, delayed and doubled.
//!
//! [`Replica`] is a state machine without socket or clock: [`Replica::next`] says what to send to a
//! node now or when to ask again, [`Replica::receive`] what to answer, and [`Replica::answered`] and
//! [`Replica::failed`] are told how it went. At most one parcel is on its way to each node. So a
//! cluster of replicas can be run in a test, in a time and on a network of its own.

mod acquaint;
mod compare;
mod copy;
mod hear;
mod outbox;
mod parcel;
mod peer;
mod replica;
mod rules;
mod speak;

pub use hear::Received;
pub use parcel::{
    Acquaintance, BUCKETS, EXCHANGE_PATH, InvalidParcel, Listing, MOST_BODY, Mark, Parcel,
    ParcelError, RuleMark, RuleName, Span, Speaker,
};
pub use peer::Failure;
pub use replica::{News, PeerKey, PeerStatus, Replica, RulesView, Settings};
pub use speak::Next;
