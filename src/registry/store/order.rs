//! Which of two writings of one record is the later: the same answer on every node.

use std::cmp::Ordering;

use sha1::{Digest as _, Sha1};

use crate::registry::record::{Record, Registration, State};

/// Compares two writings of the same key: the greater wins.
///
/// By version; of one version, alive is less than evicted, and that less than cancelled. Two
/// contents of one version come of no working node: then their hashes decide, so that all at least
/// agree.
pub(super) fn order(one: &Record, other: &Record) -> Ordering {
    let by_version = one.version.cmp(&other.version);
    by_version.then_with(|| match (&one.state, &other.state) {
        (State::Live(one), State::Live(other)) if one != other => hash(one).cmp(&hash(other)),
        (one, other) => rank(one).cmp(&rank(other)),
    })
}

fn rank(state: &State) -> u8 {
    match state {
        State::Live(_) => 0,
        State::Evicted => 1,
        State::Cancelled => 2,
    }
}

/// Returns the SHA-1 of a registration's JSON, in which equal contents are equal bytes.
fn hash(registration: &Registration) -> [u8; 20] {
    let text = serde_json::to_vec(registration).unwrap_or_default();
    Sha1::digest(text).into()
}
