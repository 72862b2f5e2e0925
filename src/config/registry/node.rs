//! `[registry]`: who a node is, whom it knows, and who may tell it what.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::authority::Authority;
use crate::config::reading::{Section, Value};
use crate::config::secret::Secret;

/// The port registries of this kind are known by.
const PORT: u16 = 7171;
/// Longest name of an environment, a zone, a region or a host, in bytes.
const LONGEST_NAME: usize = 255;
/// Nodes a list has at most: each hears of every writing.
const MOST_NODES: usize = 64;

/// `[registry]`: who the node is, and whom it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryNode {
    /// Where it listens; on loopback unless told.
    pub listen: SocketAddr,
    /// Where others reach it; none: where it listens, or if that is every address, the one this
    /// machine goes out by.
    pub advertise: Option<Authority>,
    /// The region it runs in; may be empty.
    pub region: String,
    /// The zone it runs in: nodes of one zone tell each other everything at once.
    pub zone: String,
    /// The environment it registers itself in.
    pub env: String,
    /// What it calls itself among the nodes of its zone; none: the name of the machine.
    pub host: Option<String>,
    /// Its number among all nodes: 1 to 4,294,967,295. None: drawn once, and kept in `data`.
    pub id: Option<u32>,
    /// The directory for what outlives the process: tenant rules and the node's number. None:
    /// nothing does.
    pub data: Option<PathBuf>,
    /// Nodes of its own zone; itself is left out wherever it is named. At most 64.
    pub peers: Vec<Authority>,
    /// Nodes of other zones, by zone: at most 64 zones of at most 64 nodes.
    pub zones: BTreeMap<String, Vec<Authority>>,
    /// The directory of files that say how zones spread their requests; none: nothing is said.
    pub schedulers: Option<PathBuf>,
    /// Who may write tenant rules, and speak as a node.
    pub token: Token,
}

/// The name of a region, a zone, an environment or a host: what is shown, and no space, so that it
/// can stand in a query, a header and a table. At most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceName(String);

/// Why a text is no [`PlaceName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlaceName {
    /// It has no character.
    #[error("is empty")]
    Empty,
    /// It has more than 255 bytes.
    #[error("is longer than 255 bytes")]
    TooLong,
    /// It has a space, or what is not shown.
    #[error("has a space or a control character")]
    Space,
}

impl FromStr for PlaceName {
    type Err = InvalidPlaceName;

    fn from_str(text: &str) -> Result<Self, InvalidPlaceName> {
        match text {
            "" => Err(InvalidPlaceName::Empty),
            _ if text.len() > LONGEST_NAME => Err(InvalidPlaceName::TooLong),
            _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err(InvalidPlaceName::Space)
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl From<PlaceName> for String {
    fn from(name: PlaceName) -> Self {
        name.0
    }
}

/// What writers of rules, and nodes among each other, prove themselves by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Token {
    /// Nothing: nobody may write rules.
    #[default]
    None,
    /// This text.
    Text(Secret),
    /// What stands in a file, without the line's end.
    File(PathBuf),
}

impl Default for RegistryNode {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            advertise: None,
            region: String::new(),
            zone: "default".to_owned(),
            env: "prod".to_owned(),
            host: None,
            id: None,
            data: None,
            peers: Vec::new(),
            zones: BTreeMap::new(),
            schedulers: None,
            token: Token::None,
        }
    }
}

impl RegistryNode {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        let listen = ("an address", &*format!("\"{}\"", base.listen));
        let listen = section.value("listen", listen, |it| it.listen_address());
        let advertise = ("a host and a port", "where it listens");
        let advertise = section.value("advertise", advertise, |it| authority(&it));
        let zone = section.value("zone", ("a name", "\"default\""), |it| name(&it));
        let zone = zone.unwrap_or(base.zone);
        let (nodes, most) = ("hosts and ports, at most 64", "names more than 64 nodes");
        let mut peers = Vec::new();
        section.list("peers", (nodes, "[]"), |value| {
            let peer = authority(&value)?;
            if peers.contains(&peer) {
                return value.refuse(format!("names {peer} twice"), "remove one of the two");
            }
            if peers.len() == MOST_NODES {
                return value.refuse(most, "name some; nodes learn of each other");
            }
            peers.push(peer);
            Some(())
        });
        let zones =
            section.value("zones", ("a table of zones and lists of nodes", "{}"), |value| {
                zones(&value, &zone)
            });
        Self {
            listen: listen.unwrap_or(base.listen),
            advertise,
            region: section.value("region", ("a name", "none"), |it| name(&it)).unwrap_or_default(),
            zone,
            env: section.value("env", ("a name", "\"prod\""), |it| name(&it)).unwrap_or(base.env),
            host: section.value("host", ("a name", "the machine's"), |it| name(&it)),
            id: section.integer_or("id", "auto", 1..=u32::MAX, None),
            data: path(section, "data", "none"),
            peers,
            zones: zones.unwrap_or_default(),
            schedulers: path(section, "schedulers", "none"),
            token: Token::read(section),
        }
    }
}

/// Reads a host and a port.
fn authority(value: &Value<'_>) -> Option<Authority> {
    let text = value.text("a host and a port in quotes, such as \"10.0.0.1:7171\"")?;
    match text.parse::<Authority>() {
        Ok(authority) => Some(authority),
        Err(why) => value.refuse(why, why.help()),
    }
}

/// Reads the name of a place.
fn name(value: &Value<'_>) -> Option<String> {
    match value.text("a name in quotes")?.parse::<PlaceName>() {
        Ok(name) => Some(name.into()),
        Err(why) => value.refuse(why, "write a name without spaces, such as \"zone-a\""),
    }
}

fn path(section: &mut Section<'_>, key: &'static str, default: &str) -> Option<PathBuf> {
    section.value(key, ("a path", default), |it| it.label()).map(PathBuf::from)
}

/// Reads the nodes of other zones; `own` is ours.
fn zones(value: &Value<'_>, own: &str) -> Option<BTreeMap<String, Vec<Authority>>> {
    let expected = "`{ zone-b = [\"10.0.1.1:7171\"] }`";
    let pairs = value.pairs(expected, |zone, nodes| {
        let read = nodes.list("hosts and ports", |it| authority(&it))?;
        if zone.text() == own {
            return nodes.refuse("is our own zone", "write its nodes as `peers`");
        }
        if read.len() > MOST_NODES {
            return nodes.refuse("names more than 64 nodes", "name some; each zone needs one");
        }
        Some((zone.text().to_owned(), read))
    })?;
    if pairs.len() > MOST_NODES {
        return value.refuse("has more than 64 zones", "name fewer");
    }
    Some(pairs.into_iter().collect())
}

impl Token {
    fn read(section: &mut Section<'_>) -> Self {
        let text = section.value("token", ("a text without spaces", "nobody may write"), |value| {
            let text = value.text("a text in quotes")?;
            match Secret::new(&text) {
                Ok(secret) => Some(secret),
                Err(why) => value.refuse(why, "write letters, digits and marks, without spaces"),
            }
        });
        let file = path(section, "token_file", "none");
        if section.has("token") && section.has("token_file") {
            section.refuse("token_file", "`token` is given too", "keep one of the two");
        }
        match (text, file) {
            (Some(text), _) => Self::Text(text),
            (None, Some(file)) => Self::File(file),
            (None, None) => Self::None,
        }
    }
}
