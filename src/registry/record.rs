//! What the registry keeps of one instance, and what orders two writings of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest as _, Sha1};

use crate::registry::eureka::EurekaPart;

/// The service that the registry's own nodes are: clients of bilibili/discovery look for it first.
pub const OWN_SERVICE: &str = "infra.discovery";
/// Longest name, address or version an instance may have, in bytes.
pub const LONGEST_NAME: usize = 1 << 10;
/// Longest metadata, keys and values together, in bytes.
pub const LONGEST_METADATA: usize = 64 << 10;

/// Who an instance is. Registering the same key again replaces what was registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The deployment environment: `prod`, `uat`. Environments never see each other.
    pub env: Arc<str>,
    /// The service, as `business.service.role` by custom.
    pub appid: Arc<str>,
    /// The failure domain.
    pub zone: Arc<str>,
    /// What tells the copies of a service in a zone apart: a host's or a pod's name, or for Eureka
    /// the instance id.
    pub hostname: Arc<str>,
}

impl Key {
    /// Returns the short name by which nodes speak of this key: the first 128 bits of the SHA-1 of
    /// its parts, each with its length before it.
    pub fn id(&self) -> Id {
        let mut hash = Sha1::new();
        for part in [&self.env, &self.appid, &self.zone, &self.hostname] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Id(first_128_bits(&hash.finalize()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.env, self.appid, self.zone, self.hostname)
    }
}

/// Returns the first 16 bytes of a longer hash as a number, most significant first.
pub fn first_128_bits(hash: &[u8]) -> u128 {
    hash.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

/// The short name of a [`Key`]. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Id(pub u128);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is no 128-bit number in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no 128-bit number in hexadecimal digits")]
pub struct InvalidId;

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_hex = text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit());
        let number = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(InvalidId)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which node of the cluster: drawn at random when a node starts for the first time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct NodeId(pub u64);

/// What orders the writings of one record: the later wins, on every node alike.
///
/// `at` is a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", OPODIS 2014): unix
/// nanoseconds that never run backwards and never fall behind what was heard of. `node` breaks ties.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Version {
    /// Unix nanoseconds by the hybrid clock of the node that wrote it.
    pub at: u64,
    /// The node that wrote it.
    pub node: NodeId,
}

/// Whether an instance takes traffic, in the words of bilibili/discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// 1: takes traffic.
    #[default]
    Up,
    /// 2: registered, and to be given none.
    Waiting,
}

/// What an instance says of itself: the part of a record that is copied from node to node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Registration {
    /// The region it runs in; may be empty.
    #[serde(default)]
    pub region: Arc<str>,
    /// Where it takes requests: `grpc://10.0.0.1:9000`, `http://10.0.0.1:8000`.
    #[serde(default)]
    pub addrs: Vec<Arc<str>>,
    /// The version it says it is; may be empty.
    #[serde(default)]
    pub version: Arc<str>,
    /// Whatever else it says; `color`, `cluster` and `weight` mean something to balancers.
    #[serde(default)]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether it takes traffic.
    #[serde(default)]
    pub status: Standing,
    /// How long it may be silent, in seconds; none: as long as the registry's `lease`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<u32>,
    /// When it was first registered, in unix nanoseconds. The store writes it.
    #[serde(default)]
    pub registered: u64,
    /// When it last became up, in unix nanoseconds. The store writes it.
    #[serde(default)]
    pub up_since: u64,
    /// Its number among the copies of its service, dense from 0, for subsetting. The store writes
    /// it.
    #[serde(default)]
    pub slot: u32,
    /// The hash of what the instance itself said when it last registered. What operators say over it
    /// leaves this as it is. The store writes it.
    #[serde(default)]
    pub said: u64,
    /// What only Eureka knows of; none: it was registered by other means, and Eureka was told nothing
    /// of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eureka: Option<Box<EurekaPart>>,
}

impl Registration {
    /// Returns the hash of what an instance itself says, all else left out: never 0.
    pub fn hash(&self) -> u64 {
        let eureka = self.eureka.as_deref();
        let standing = match eureka {
            // What is in force is an operator's word.
            Some(EurekaPart { overridden: Some(_), .. }) => "",
            Some(eureka) => eureka.status.name(),
            None if self.status == Standing::Up => "up",
            None => "waiting",
        };
        let said = eureka.and_then(|it| it.said.as_deref());
        let said = said.map(|it| serde_json::to_string(it).unwrap_or_default());
        let numbers = [
            u64::from(self.lease.unwrap_or_default()),
            self.addrs.len() as u64,
            self.metadata.len() as u64,
        ];
        let fields = self.metadata.iter().flat_map(|(key, value)| [key, value]);
        let texts = [&self.region, &self.version].into_iter().chain(&self.addrs).chain(fields);
        let mut hash = Sha1::new();
        for number in numbers {
            hash.update(number.to_be_bytes());
        }
        let said = [standing, said.as_deref().unwrap_or_default()];
        for text in texts.map(|it| &**it).chain(said) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let bits = first_128_bits(&hash.finalize());
        u64::try_from(bits >> 64).unwrap_or_default().max(1)
    }
}

/// What became of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is registered.
    Live(Arc<Registration>),
    /// It fell silent. Keeps the version of what was evicted, so that a node that still hears the
    /// instance can refute it by a version of its own.
    Evicted,
    /// It was cancelled: a writing of its own, later than what it ends.
    Cancelled,
}

/// One key, what is written of it, and when that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who.
    pub key: Key,
    /// When, in the order all nodes agree on.
    pub version: Version,
    /// What.
    pub state: State,
}

impl Record {
    /// Returns what a live instance says of itself; none if it is gone.
    pub fn live(&self) -> Option<&Arc<Registration>> {
        match &self.state {
            State::Live(registration) => Some(registration),
            State::Evicted | State::Cancelled => None,
        }
    }
}

/// A moment, by both clocks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Since the start of the process, by a clock that never jumps: what leases are measured by.
    pub since_start: Duration,
    /// Unix nanoseconds, by a clock that operators may set: what versions are made of.
    pub unix: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: [&str; 4]) -> Key {
        let [env, appid, zone, hostname] = parts.map(Arc::from);
        Key { env, appid, zone, hostname }
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let one = key(["prod", "a.b", "z", "h"]);
        let other = key(["prod", "a.", "bz", "h"]);

        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn a_hash_is_of_what_the_instance_says_and_of_nothing_else() {
        let base = Registration { addrs: vec!["a".into(), "b".into()], ..Registration::default() };
        let of_others =
            Registration { slot: 7, registered: 8, up_since: 9, said: 10, ..base.clone() };
        let metadata: BTreeMap<_, _> = [("a".into(), "b".into())].into();
        let own = [
            Registration { addrs: vec!["ab".into()], ..base.clone() },
            Registration { addrs: vec![], metadata, ..base.clone() },
            Registration { status: Standing::Waiting, ..base.clone() },
            Registration { lease: Some(1), ..base.clone() },
            Registration { region: "a".into(), ..base.clone() },
        ];

        assert_eq!(of_others.hash(), base.hash());
        let hashes: std::collections::BTreeSet<_> =
            own.iter().chain([&base]).map(Registration::hash).collect();
        assert_eq!(hashes.len(), own.len() + 1);
    }

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let id = key(["prod", "a", "z", "h"]).id();

        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "0", "+0000000000000000000000000000000f", &"f".repeat(33)] {
            assert_eq!(wrong.parse::<Id>(), Err(InvalidId));
        }
    }
}
