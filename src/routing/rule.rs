//! Coloring at the edge: which requests get which tenant.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{PercentageKey, Rule, RuleMatch, StringMatch};
use crate::model::{Fields, RequestHead, TenantId};
use crate::routing::host;
use crate::routing::share;

/// What a rule does to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coloring {
    /// What the rule is called.
    pub rule: Arc<str>,
    /// The tenant the request gets.
    pub tenant: TenantId,
    /// Whether it gets it even if it has one.
    pub overrides: bool,
}

/// The rules in order; the first that is for a request colors it.
#[derive(Debug, Default)]
pub struct RuleTable {
    rules: Vec<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    matches: RuleMatch,
    share: Option<Share>,
    coloring: Coloring,
}

/// The share of matching requests a rule takes.
#[derive(Debug)]
struct Share {
    slots: u32,
    key: PercentageKey,
}

impl RuleTable {
    /// Builds the table of `rules`, in their order.
    pub fn build(rules: &[Rule]) -> Self {
        Self { rules: rules.iter().map(Compiled::new).collect() }
    }

    /// Returns what the first rule that is for this request does to it.
    ///
    /// A rule is for a request if all of its matches hold, its share takes it, and the request has
    /// no tenant or the rule overrides. `source` is the address the connection came from.
    pub fn color(&self, head: &RequestHead, source: IpAddr, has_tenant: bool) -> Option<&Coloring> {
        let source = source.to_canonical();
        let mut open = self.rules.iter().filter(|it| it.coloring.overrides || !has_tenant);
        open.find(|it| it.is_for(head, source)).map(|it| &it.coloring)
    }

    /// Returns whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Compiled {
    fn new(rule: &Rule) -> Self {
        let mut matches = rule.matches.clone();
        for (address, bits) in &mut matches.sources {
            (*address, *bits) = canonical(*address, *bits);
        }
        let share = rule.percentage.as_ref();
        Self {
            matches,
            share: share.map(|it| Share { slots: share::slots(it.percent), key: it.key.clone() }),
            coloring: Coloring {
                rule: rule.name.as_str().into(),
                tenant: rule.set.tenant,
                overrides: rule.set.overrides,
            },
        }
    }

    fn is_for(&self, head: &RequestHead, source: IpAddr) -> bool {
        let RuleMatch { hosts, path_prefix, methods, headers, cookies, sources } = &self.matches;
        let fields = &head.fields;
        (hosts.is_empty() || is_one_of_hosts(hosts, &head.authority))
            && path_prefix.as_ref().is_none_or(|it| lies_below(head.path_only(), it))
            && (methods.is_empty() || methods.iter().any(|it| it == head.method.as_str()))
            && (sources.is_empty() || sources.iter().any(|it| is_in_network(source, *it)))
            && headers
                .iter()
                .all(|(name, text)| fields.all(name.as_bytes()).any(|value| is_match(text, value)))
            && cookies
                .iter()
                .all(|(name, text)| cookies_of(fields, name).any(|value| is_match(text, value)))
            && self.share.as_ref().is_none_or(|it| it.takes(&self.coloring.rule, fields, source))
    }
}

impl Share {
    /// Returns whether the request is of this share; one without the key is not.
    fn takes(&self, rule: &str, fields: &Fields, source: IpAddr) -> bool {
        let slot = match &self.key {
            PercentageKey::Header(name) => {
                fields.get(name.as_bytes()).map(|key| share::slot(rule, key))
            }
            PercentageKey::Cookie(name) => {
                cookies_of(fields, name).next().map(|key| share::slot(rule, key))
            }
            PercentageKey::Source => Some(match source {
                IpAddr::V4(address) => share::slot(rule, &address.octets()),
                IpAddr::V6(address) => share::slot(rule, &address.octets()),
            }),
        };
        slot.is_some_and(|slot| slot < self.slots)
    }
}

fn is_one_of_hosts(hosts: &[String], authority: &str) -> bool {
    let Some((host, _)) = host::split(authority) else { return false };
    hosts.iter().any(|pattern| match pattern.strip_prefix('*') {
        // The dot stays, so that `*.a.b` is one label or more below `a.b`.
        Some(suffix) => ends_with_ignoring_case(host, suffix) && host.len() > suffix.len(),
        None => pattern.eq_ignore_ascii_case(host),
    })
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    let tail = text.len().checked_sub(end.len()).and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// Returns whether `path` is `prefix` or lies below it.
fn lies_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_match(text: &StringMatch, value: &[u8]) -> bool {
    match text {
        StringMatch::Exact(it) => value == it.as_bytes(),
        StringMatch::Prefix(it) => value.starts_with(it.as_bytes()),
        StringMatch::Suffix(it) => value.ends_with(it.as_bytes()),
        StringMatch::Contains(it) => contains(value, it.as_bytes()),
        StringMatch::Present => true,
    }
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    part.is_empty() || value.windows(part.len()).any(|it| it == part)
}

/// The values of the cookies of that name (RFC 6265 section 5.4), over every `cookie` field: HTTP/2
/// may split one into many (RFC 9113 section 8.2.3).
fn cookies_of<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = fields.all(b"cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = pair.split_at_checked(at)?;
        let is_it = key.trim_ascii() == name.as_bytes();
        if is_it { value.get(1..).map(<[u8]>::trim_ascii) } else { None }
    })
}

/// A network of IPv4 addresses written as IPv6 is one of IPv4 addresses.
fn canonical(address: IpAddr, bits: u8) -> (IpAddr, u8) {
    match address.to_canonical() {
        IpAddr::V4(it) if address.is_ipv6() && bits >= 96 => (IpAddr::V4(it), bits - 96),
        IpAddr::V4(_) if address.is_ipv6() => (address, bits),
        it => (it, bits),
    }
}

fn is_in_network(source: IpAddr, (network, bits): (IpAddr, u8)) -> bool {
    match (source, network) {
        (IpAddr::V4(source), IpAddr::V4(network)) => {
            let differs = u32::from(source) ^ u32::from(network);
            differs.leading_zeros() >= u32::from(bits.min(32))
        }
        (IpAddr::V6(source), IpAddr::V6(network)) => {
            let differs = u128::from(source) ^ u128::from(network);
            differs.leading_zeros() >= u32::from(bits.min(128))
        }
        _ => false,
    }
}
