//! Which of many instances one of many clients sends to: few of them, shared out evenly.
//!
//! Instances and clients each have a place on one ring. The place of a numbered one is its number
//! times the golden ratio, of which only the fraction counts: whoever comes next falls into one of
//! the largest gaps. That of any other is a hash of its name. A client's place is scaled to the
//! instances in their order on the ring, and the client takes the next so many from there.
//!
//! This is Ringsteady subsetting with backend scaling (Ward, Wankadia, Guliani: "Reinventing Backend
//! Subsetting at Google", ACM Queue 20(5), 2022), with another sequence of low discrepancy. Theirs
//! (van der Corput's) is as even for all numbers, but puts all even ones into one half of the ring:
//! and every second number is what a zone gets if there are two. Multiples of the golden ratio stay
//! even for every second, third and fourth number; for every fifth they are less so.
//!
//! Clients share nothing but the list. An instance that comes or goes changes at most two places of
//! any subset; a client that comes or goes changes nobody else's.

use std::net::{IpAddr, SocketAddr};

use crate::model::Instance;

/// A place on the ring, as a fraction of it in units of 2⁻⁶⁴.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place(u64);

impl Place {
    /// The place of the one with that number among its kind.
    pub fn numbered(number: u32) -> Self {
        // The fraction of the golden ratio, 0.618…, in units of 2⁻⁶⁴.
        Self(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The place of one of which only the name is known. The same in every process.
    pub fn named(name: &[u8]) -> Self {
        // FNV-1a, and a last mixing (that of SplitMix64): names that differ in their last letter
        // only lie far apart.
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, fnv);
        let hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(hash ^ hash >> 31)
    }

    /// The place of an instance: by its slot, else by its address.
    pub fn of_instance(instance: &Instance) -> Self {
        instance.slot.map_or_else(|| Self::of_address(instance.address), Self::numbered)
    }

    fn of_address(address: SocketAddr) -> Self {
        let port = address.port().to_be_bytes();
        match address.ip() {
            IpAddr::V4(ip) => Self::named(&[&ip.octets()[..], &port].concat()),
            IpAddr::V6(ip) => Self::named(&[&ip.octets()[..], &port].concat()),
        }
    }

    /// Returns which of `count` equal parts of the ring it lies in.
    fn part(self, count: usize) -> usize {
        let wide = u128::from(self.0) * (count as u128);
        usize::try_from(wide >> 64).unwrap_or_default()
    }
}

/// Returns which of `instances` a client at `client` sends to, as places in that list, in its order:
/// `size` of them, or all if there are no more; at least one if there is any.
///
/// The order of `instances` makes no difference.
pub fn subset<T: Ord>(client: Place, instances: &[(Place, T)], size: usize) -> Vec<usize> {
    let size = size.max(1);
    let mut ring: Vec<_> = (0..instances.len()).collect();
    if ring.len() <= size {
        return ring;
    }
    ring.sort_by_key(|place| instances.get(*place));
    let first = client.part(ring.len());
    let mut chosen: Vec<_> = ring.iter().cycle().skip(first).take(size).copied().collect();
    chosen.sort_unstable();
    chosen
}
