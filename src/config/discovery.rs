//! `[discovery]`: who tells us of instances, and when that is believed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::config::authority::Authority;
use crate::config::reading::{HOUR, SECOND, Section, Value};
use crate::config::secret::Secret;
use crate::config::written;
use crate::model::ServiceName;

/// Addresses one source has at most.
const MOST_ADDRESSES: usize = 64;
/// Services and patterns a registry is asked for at most.
const MOST_SERVICES: usize = 10_000;
/// Metadata keys that may name one thing.
const MOST_KEYS: usize = 16;

/// `[discovery]`: who tells us of instances, and when that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discovery {
    /// Where the last good answers are kept, for a start during an outage; none: nowhere.
    pub cache: Option<PathBuf>,
    /// How long an answer must persist that is empty or lost more than half, unless another node
    /// says the same: up to 1 h.
    #[serde(serialize_with = "written::period")]
    pub confirm: Duration,
    /// `[discovery.registry]`; none: no registry is asked.
    pub registry: Option<RegistrySource>,
    /// `[discovery.eureka]`; none: no Eureka server is asked.
    pub eureka: Option<EurekaSource>,
}

/// `[discovery.registry]`: a registry of ours, or bilibili/discovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistrySource {
    /// Its nodes: 1 to 64.
    pub addresses: Vec<Authority>,
    /// The environment whose instances count.
    pub env: Arc<str>,
    /// The zone we say we are in; none: we do not say.
    pub zone: Option<Arc<str>>,
    /// Which services: names, and patterns such as `*` and `*.shop`. 1 to 10,000.
    pub services: Vec<ServicePattern>,
    /// Whether tenants and lanes that are written in the registry count.
    pub rules: bool,
    /// What it speaks.
    pub dialect: Dialect,
}

/// Which protocol a registry is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Ours, or that of bilibili/discovery where a node does not know ours.
    #[default]
    Auto,
    /// Ours.
    Dyelane,
    /// That of bilibili/discovery.
    Discovery,
}

/// Names of services: one, all, or all that end alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServicePattern {
    /// `*`: all.
    All,
    /// `*.shop`: those that end so; the text is what they end in, `.shop`.
    Ending(Arc<str>),
    /// One.
    One(ServiceName),
}

/// `[discovery.eureka]`: Netflix Eureka, by its REST protocol of version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EurekaSource {
    /// Its servers: 1 to 64.
    pub addresses: Vec<EurekaAddress>,
    /// How often it is asked: 1 s to 1 h.
    #[serde(serialize_with = "written::period")]
    pub interval: Duration,
    /// Metadata keys that name an instance's lane; the first that is there counts.
    pub lane_keys: Vec<Arc<str>>,
    /// Metadata keys that name its cluster.
    pub cluster_keys: Vec<Arc<str>>,
    /// Metadata keys that name its zone.
    pub zone_keys: Vec<Arc<str>>,
    /// Metadata keys that hold its weight.
    pub weight_keys: Vec<Arc<str>>,
}

/// Where a Eureka server is: `http://host:8761/eureka`, perhaps with a user and a password.
///
/// What it shows, and is shown as, has neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EurekaAddress {
    /// Its host and port.
    pub authority: Authority,
    /// What its paths begin with, without a slash at the end: `/eureka`.
    pub path: Arc<str>,
    /// `user:password`, if it asks for them.
    pub user: Option<Secret>,
}

impl Default for Discovery {
    fn default() -> Self {
        let confirm = Duration::from_secs(30);
        Self { cache: None, confirm, registry: None, eureka: None }
    }
}

impl Discovery {
    /// Reads `[discovery]`; `zone` is the one we run in.
    pub(super) fn read(section: &mut Section<'_>, zone: Option<Arc<str>>) -> Self {
        let base = Self::default();
        Self {
            cache: section.value("cache", ("a path", "none"), |it| it.label()).map(PathBuf::from),
            confirm: section.period("confirm", Duration::ZERO..=HOUR, base.confirm),
            registry: section
                .table_if_given("registry", |it| RegistrySource::read(it, zone))
                .flatten(),
            eureka: section.table_if_given("eureka", EurekaSource::read).flatten(),
        }
    }

    /// Returns whether anybody is asked.
    pub fn has_source(&self) -> bool {
        self.registry.is_some() || self.eureka.is_some()
    }
}

impl Dialect {
    const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("dyelane", Self::Dyelane), ("discovery", Self::Discovery)];
}

impl RegistrySource {
    /// Reads the section; none if it names nobody to ask.
    fn read(section: &mut Section<'_>, zone: Option<Arc<str>>) -> Option<Self> {
        let example = "`addresses = [\"10.0.0.1:7171\"]`";
        let addresses = addresses(section, ("hosts and ports", example), read_authority);
        let env = section.value("env", ("a text", "\"prod\""), |it| read_word(&it));
        let own_zone = ("a text", "that of `[workload]`");
        let own_zone = section.value("zone", own_zone, |it| read_word(&it));
        let kind = ("names of services and patterns such as `*.shop`, at most 10000", "[\"*\"]");
        let services =
            section.value("services", (&format!("a list of {}", kind.0), kind.1), |it| {
                let services = it.list(kind.0, |it| read_pattern(&it))?;
                match services.len() {
                    0 => it.refuse("names no service", "write `[\"*\"]` for all of them"),
                    1..=MOST_SERVICES => Some(services),
                    _ => it.refuse("names more than 10000 services", "write patterns"),
                }
            });
        let rules = section.flag("rules", true);
        let dialect = section.choice("dialect", &Dialect::WORDS, Dialect::default());
        Some(Self {
            addresses: addresses?,
            env: env.map_or_else(|| "prod".into(), Into::into),
            zone: own_zone.map(Into::into).or(zone),
            services: services.unwrap_or_else(|| vec![ServicePattern::All]),
            rules,
            dialect,
        })
    }
}

impl EurekaSource {
    /// Reads the section; none if it names nobody to ask.
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let example = "`addresses = [\"http://10.0.0.1:8761/eureka\"]`";
        let addresses = addresses(section, ("URLs", example), read_eureka);
        let interval = section.period("interval", SECOND..=HOUR, Duration::from_secs(5));
        let lane_keys = keys(section, "lane_keys", &["color", "lane"]);
        let cluster_keys = keys(section, "cluster_keys", &["cluster"]);
        let zone_keys = keys(section, "zone_keys", &["zone", "availability-zone"]);
        let weight_keys = keys(section, "weight_keys", &["weight"]);
        let addresses = addresses?;
        Some(Self { addresses, interval, lane_keys, cluster_keys, zone_keys, weight_keys })
    }
}

/// Reads `addresses`, which must be there and name somebody, nobody twice.
fn addresses<T: PartialEq>(
    section: &mut Section<'_>,
    (kind, example): (&str, &str),
    read: impl Fn(Value<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    section.required("addresses", (&format!("a list of {kind}, at most 64"), example), |value| {
        read_addresses(&value, (kind, example), read)
    })
}

/// Reads addresses, of which there must be one, and none twice.
pub(super) fn read_addresses<T: PartialEq>(
    value: &Value<'_>,
    (kind, example): (&str, &str),
    read: impl Fn(Value<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    value.list(kind, |value| {
        let address = read(value)?;
        if all.contains(&address) {
            return value.refuse("names one address twice", "remove one of the two");
        }
        if all.len() == MOST_ADDRESSES {
            return value.refuse("has more than 64 addresses", "name some of them");
        }
        all.push(address);
        Some(())
    })?;
    if all.is_empty() {
        return value.refuse("has no good address", format!("write {example}"));
    }
    Some(all)
}

/// Reads a URL of Eureka.
pub(super) fn read_eureka(value: Value<'_>) -> Option<EurekaAddress> {
    let text = value.text("a URL in quotes, such as \"http://10.0.0.1:8761/eureka\"")?;
    match text.parse::<EurekaAddress>() {
        Ok(address) => Some(address),
        Err(why) => value.refuse(why, "write a URL such as \"http://10.0.0.1:8761/eureka\""),
    }
}

/// Reads a host and a port; `http://` before them, and a slash behind, are let pass.
pub(super) fn read_authority(value: Value<'_>) -> Option<Authority> {
    let text = value.text("a host and a port in quotes, such as \"10.0.0.1:7171\"")?;
    let bare = text.strip_prefix("http://").unwrap_or(&text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    match bare.parse::<Authority>() {
        Ok(authority) => Some(authority),
        Err(why) => value.refuse(why, why.help()),
    }
}

/// Reads a text without spaces, fit for a query.
pub(super) fn read_word(value: &Value<'_>) -> Option<String> {
    let text = value.label()?;
    if text.is_empty() || text.len() > 255 || text.contains(char::is_whitespace) {
        return value.refuse("is empty, long or has a space", "write a word such as \"prod\"");
    }
    Some(text)
}

fn read_pattern(value: &Value<'_>) -> Option<ServicePattern> {
    let text = value.text("a name in quotes, such as \"user.shop\" or \"*.shop\"")?;
    match text.parse() {
        Ok(pattern) => Some(pattern),
        Err(why) => value.refuse("names no service", format!("{why}; a `*` stands first only")),
    }
}

/// Reads keys of metadata.
fn keys(section: &mut Section<'_>, key: &'static str, default: &[&str]) -> Vec<Arc<str>> {
    let shown = format!("{default:?}");
    let kind = ("keys of metadata, at most 16", &*shown);
    let mut count = 0;
    let keys = section.list(key, kind, |value| {
        count += 1;
        if count > MOST_KEYS {
            return value.refuse("has more than 16 keys", "remove those that are tried last");
        }
        value.label().map(Into::into)
    });
    keys.unwrap_or_else(|| default.iter().map(|it| (*it).into()).collect())
}

impl ServicePattern {
    /// Returns whether it is of that service.
    pub fn matches(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ending(end) => service.ends_with(&**end),
            Self::One(name) => name.as_str() == service,
        }
    }
}

impl FromStr for ServicePattern {
    type Err = crate::model::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('*') {
            Some("") => Ok(Self::All),
            Some(end) => {
                // What any name could end in, once something stands before it.
                ServiceName::new(&format!("x{end}"))?;
                Ok(Self::Ending(end.into()))
            }
            None => Ok(Self::One(ServiceName::new(text)?)),
        }
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Ending(end) => write!(f, "*{end}"),
            Self::One(name) => f.write_str(name.as_str()),
        }
    }
}

impl Serialize for ServicePattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Why a text is no [`EurekaAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEurekaAddress {
    /// It begins with `https://`.
    #[error("is `https://`, which is not spoken here")]
    Https,
    /// It does not begin with `http://`.
    #[error("is no URL that begins with `http://`")]
    Scheme,
    /// What is before `@` cannot be sent.
    #[error("has a user that cannot be sent")]
    User,
    /// What is behind the host has more than a path.
    #[error("has a path that cannot be asked for")]
    Path,
    /// The host or the port is wrong.
    #[error(transparent)]
    Authority(#[from] crate::config::InvalidAuthority),
}

impl FromStr for EurekaAddress {
    type Err = InvalidEurekaAddress;

    fn from_str(text: &str) -> Result<Self, InvalidEurekaAddress> {
        if text.starts_with("https://") {
            return Err(InvalidEurekaAddress::Https);
        }
        let rest = text.strip_prefix("http://").ok_or(InvalidEurekaAddress::Scheme)?;
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = path.trim_end_matches('/');
        if !path.bytes().all(|it| it.is_ascii_graphic() && !b"?#".contains(&it)) {
            return Err(InvalidEurekaAddress::Path);
        }
        let (user, host) = match place.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, place),
        };
        let user = user.map(Secret::new).transpose().map_err(|_| InvalidEurekaAddress::User)?;
        let host = match host.parse::<Authority>() {
            // As other clients have it: without a port, it is HTTP's own.
            Err(crate::config::InvalidAuthority::NoPort) => format!("{host}:80").parse()?,
            other => other?,
        };
        Ok(Self { authority: host, path: path.into(), user })
    }
}

impl fmt::Display for EurekaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

impl Serialize for EurekaAddress {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_name_or_begins_with_a_star() {
        let pattern = |text: &str| text.parse::<ServicePattern>();

        assert!(pattern("*").unwrap().matches("any"));
        assert!(pattern("*.shop").unwrap().matches("user.shop"));
        assert!(!pattern("*.shop").unwrap().matches("user.shop2"));
        assert!(pattern("user.shop").unwrap().matches("user.shop"));
        for bad in ["", "**", "a*", "a b", "*.a*"] {
            assert!(pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_of_eureka_shows_no_password() {
        let address: EurekaAddress = "http://me:secret@eureka:8761/eureka/".parse().unwrap();

        assert_eq!(address.to_string(), "http://eureka:8761/eureka");
        assert_eq!(address.user.as_ref().unwrap().reveal(), "me:secret");
        assert!(!format!("{address:?}").contains("secret"));
        for bad in ["eureka:8761", "https://e/eureka", "http://e:0/", "http://e:1/a?b", "http://"] {
            assert!(bad.parse::<EurekaAddress>().is_err(), "{bad}");
        }
    }
}
