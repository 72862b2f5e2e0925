//! `registry.toml`: one node of the registry.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use crate::config::authority::Authority;
use crate::config::problem::Report;
use crate::config::reading::{
    DAY, Document, HOUR, KIBIBYTE, Key, MEBIBYTE, MILLISECOND, MINUTE, SECOND, Section, Value,
};
use crate::config::sidecar::{LogFormat, level};
use crate::config::syntax;

/// The port registries of this kind are known by.
const PORT: u16 = 7171;
/// Longest token, in bytes.
const LONGEST_TOKEN: usize = 4096;
/// Longest name of an environment, a zone, a region or a host, in bytes.
const LONGEST_NAME: usize = 255;
/// Nodes a list has at most: each hears of every writing.
const MOST_NODES: usize = 64;

/// Everything `registry.toml` says, with defaults filled in. A registry needs none of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RegistryConfig {
    /// `[registry]`: who the node is, and whom it knows.
    pub node: RegistryNode,
    /// `[leases]`: how long the silent are kept.
    pub leases: Leases,
    /// `[protection]`: when silence is rather our own fault.
    pub protection: Protection,
    /// `[limits]`: bounds on what clients can make it hold.
    pub limits: RegistryLimits,
    /// `[log]`: what is written, and how.
    pub log: RegistryLog,
}

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

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why a text can be no [`Secret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It has no character.
    #[error("is empty")]
    Empty,
    /// No field of a request could hold it.
    #[error("has a character that no header field can hold")]
    Unsendable,
    /// It has more than 4,096 bytes.
    #[error("is longer than 4096 bytes")]
    TooLong,
}

impl Secret {
    /// Takes `text`, which must be fit for an `authorization` field.
    pub fn new(text: &str) -> Result<Self, InvalidSecret> {
        match text {
            "" => Err(InvalidSecret::Empty),
            _ if text.len() > LONGEST_TOKEN => Err(InvalidSecret::TooLong),
            // What is shown and no space: RFC 6750 section 2.1 allows still less.
            _ if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(text.into())),
            _ => Err(InvalidSecret::Unsendable),
        }
    }

    /// Returns the text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `[leases]`: how long the silent are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leases {
    /// How long an instance may be silent, unless it says otherwise itself: 1 s to 1 h.
    pub lease: Duration,
    /// How often the silent are looked for: 100 ms to 10 min.
    pub pass: Duration,
    /// How long one is kept at most while the registry protects itself: 1 s to 24 h.
    pub ceiling: Duration,
    /// Share of the registry one pass evicts at most: 0.01 to 1.0.
    pub evict: f64,
    /// How long is remembered that an instance went: 1 s to 7 days, and longer than `ceiling`.
    pub tombstones: Duration,
    /// How far ahead of ours the clock of another node may be before it is left out of account: 1 s
    /// to 1 h.
    pub drift: Duration,
}

/// `[protection]`: when silence is rather our own fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protection {
    /// Whether there is any.
    pub enabled: bool,
    /// Over how long losses are counted: 1 s to 24 h.
    pub window: Duration,
    /// Share of the instances of a zone and lane that must be lost in silence: 0.0 to 1.0.
    pub share: f64,
    /// How many must be lost at least: 1 to 1,000,000.
    pub least: u32,
}

/// `[limits]`: bounds on what clients can make a node hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Instances, those that went and are remembered included: 1 to 10,000,000.
    pub instances: u32,
    /// Connections at a time: 1 to 1,000,000.
    pub connections: u32,
    /// Requests that wait for news at a time: 1 to 1,000,000.
    pub watchers: u32,
    /// Bytes of a request's body: 4 KiB to 64 MiB.
    pub body: u32,
}

/// `[log]`: what is written, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLog {
    /// What is worth a line, in the syntax of `tracing`'s `EnvFilter`; `info` unless told.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl RegistryConfig {
    /// Reads a file called `file`. `variables` looks up what stands in for `${NAME}`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(
        file: &str,
        text: &str,
        variables: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Report> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let problems = errors.iter().map(|it| syntax::problem(text, it)).collect();
            return Err(Report::new(file, text, problems));
        }
        let document = Document::new(text, variables).of_registry();
        let config = Section::file(&document, tree.get_ref(), read_file);
        match document.into_problems() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Report::new(file, text, problems)),
        }
    }

    /// Returns every key a file may have, in the order of the reference.
    pub fn keys() -> Vec<Key> {
        let Ok(tree) = DeTable::parse("") else { return Vec::new() };
        let document = Document::new("", &|_| None).of_registry().listing_keys();
        Section::file(&document, tree.get_ref(), read_file);
        document.into_keys()
    }

    /// Returns whether `text`, found in a file called `file`, is meant to be read as this and not as
    /// a sidecar's file: it has a section no sidecar has, or else its name says so.
    pub fn is_meant(file: &str, text: &str) -> bool {
        let (tree, _) = DeTable::parse_recoverable(text);
        let has = |section: &str| tree.get_ref().contains_key(section);
        if has("workload") || has("inbound") || has("outbound") {
            return false;
        }
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        ["registry", "leases", "protection"].into_iter().any(has) || name == "registry.toml"
    }
}

fn read_file(file: &mut Section<'_>) -> RegistryConfig {
    RegistryConfig {
        node: file.table("registry", RegistryNode::read),
        leases: file.table("leases", Leases::read),
        protection: file.table("protection", Protection::read),
        limits: file.table("limits", RegistryLimits::read),
        log: file.table("log", RegistryLog::read),
    }
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
    fn read(section: &mut Section<'_>) -> Self {
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

impl Default for Leases {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(90),
            pass: MINUTE,
            ceiling: HOUR,
            evict: 0.15,
            tombstones: 2 * HOUR,
            drift: 5 * MINUTE,
        }
    }
}

impl Leases {
    fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        let read = Self {
            lease: section.period("lease", SECOND..=HOUR, base.lease),
            pass: section.period("pass", 100 * MILLISECOND..=10 * MINUTE, base.pass),
            ceiling: section.period("ceiling", SECOND..=DAY, base.ceiling),
            evict: section.number("evict", 0.01..=1.0, base.evict),
            tombstones: section.period("tombstones", SECOND..=7 * DAY, base.tombstones),
            drift: section.period("drift", SECOND..=HOUR, base.drift),
        };
        section.ordered(("lease", read.lease), ("ceiling", read.ceiling));
        // What is forgotten to have gone could come back from a node that was cut off.
        section.ordered(("ceiling", read.ceiling), ("tombstones", read.tombstones));
        read
    }
}

impl Default for Protection {
    fn default() -> Self {
        Self { enabled: true, window: 15 * MINUTE, share: 0.15, least: 3 }
    }
}

impl Protection {
    fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            enabled: section.flag("enabled", base.enabled),
            window: section.period("window", SECOND..=DAY, base.window),
            share: section.number("share", 0.0..=1.0, base.share),
            least: section.integer("least", 1..=1_000_000, base.least),
        }
    }
}

impl Default for RegistryLimits {
    fn default() -> Self {
        let (instances, connections, watchers) = (1_000_000, 20_000, 20_000);
        Self { instances, connections, watchers, body: 4 * MEBIBYTE }
    }
}

impl RegistryLimits {
    fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            instances: section.integer("instances", 1..=10_000_000, base.instances),
            connections: section.integer("connections", 1..=1_000_000, base.connections),
            watchers: section.integer("watchers", 1..=1_000_000, base.watchers),
            body: section.size("body", 4 * KIBIBYTE..=64 * MEBIBYTE, base.body),
        }
    }
}

impl Default for RegistryLog {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl RegistryLog {
    fn read(section: &mut Section<'_>) -> Self {
        let base = Self::default();
        Self {
            level: level(section).unwrap_or(base.level),
            format: section.choice("format", &LogFormat::WORDS, base.format),
        }
    }
}
