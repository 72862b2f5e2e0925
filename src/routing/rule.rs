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

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::config::{Percentage, RuleSet};

    const HERE: &str = "10.1.2.3";

    fn rule(name: &str, tenant: &str, matches: RuleMatch) -> Rule {
        let set = RuleSet { tenant: TenantId::new(tenant).unwrap(), overrides: false };
        Rule { name: name.into(), matches, percentage: None, set }
    }

    fn head(authority: &str, path: &str, fields: &[(&str, &str)]) -> RequestHead {
        RequestHead {
            authority: authority.into(),
            path: path.into(),
            fields: fields.iter().copied().collect(),
            ..RequestHead::default()
        }
    }

    fn takes(matches: RuleMatch, head: &RequestHead, source: &str) -> bool {
        let table = RuleTable::build(&[rule("r", "t", matches)]);
        table.color(head, source.parse().unwrap(), false).is_some()
    }

    #[test]
    fn hosts_match_without_port_case_and_trailing_dot() {
        let matches = || RuleMatch {
            hosts: vec!["shop.example.com".into(), "*.Example.org".into()],
            ..RuleMatch::default()
        };

        for (authority, expected) in [
            ("shop.example.com", true),
            ("SHOP.example.com.:8443", true),
            ("a.example.org", true),
            ("a.b.EXAMPLE.org:80", true),
            ("example.org", false),
            (".example.org", false),
            ("badexample.org", false),
            ("example.com", false),
            ("", false),
        ] {
            assert_eq!(takes(matches(), &head(authority, "/", &[]), HERE), expected, "{authority}");
        }
    }

    #[test]
    fn a_path_prefix_ends_at_a_segment() {
        for (prefix, path, expected) in [
            ("/shop", "/shop", true),
            ("/shop", "/shop?x=/y", true),
            ("/shop", "/shop/cart", true),
            ("/shop/", "/shop", true),
            ("/shop", "/shopping", false),
            ("/shop", "/a/shop", false),
            ("/", "/anything", true),
            ("/", "*", false),
        ] {
            let matches = RuleMatch { path_prefix: Some(prefix.into()), ..RuleMatch::default() };
            assert_eq!(takes(matches, &head("h", path, &[]), HERE), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn a_method_is_one_of_those_named() {
        let matches = || RuleMatch { methods: vec!["POST".into()], ..RuleMatch::default() };
        let get = head("h", "/", &[]);
        let post = RequestHead { method: Method::POST, ..get.clone() };

        assert!(takes(matches(), &post, HERE));
        assert!(!takes(matches(), &get, HERE));
    }

    #[test]
    fn a_field_matches_by_any_of_its_values() {
        let head = head("h", "/", &[("x-beta", "no"), ("x-beta", "yes, please")]);
        for (text, expected) in [
            (StringMatch::Exact("no".into()), true),
            (StringMatch::Exact("yes".into()), false),
            (StringMatch::Prefix("yes".into()), true),
            (StringMatch::Suffix("please".into()), true),
            (StringMatch::Contains("s, p".into()), true),
            (StringMatch::Contains("maybe".into()), false),
            (StringMatch::Present, true),
        ] {
            let headers = vec![("x-beta".into(), text.clone())];
            let matches = RuleMatch { headers, ..RuleMatch::default() };
            assert_eq!(takes(matches, &head, HERE), expected, "{text:?}");
        }
        let headers = vec![("x-alpha".into(), StringMatch::Present)];
        assert!(!takes(RuleMatch { headers, ..RuleMatch::default() }, &head, HERE));
    }

    #[test]
    fn a_cookie_is_found_in_any_cookie_field() {
        let head = head("h", "/", &[("cookie", "a=1; beta=x=y ;c"), ("cookie", "alpha=2")]);
        for (name, text, expected) in [
            ("beta", StringMatch::Exact("x=y".into()), true),
            ("alpha", StringMatch::Present, true),
            ("c", StringMatch::Present, false),
            ("eta", StringMatch::Present, false),
        ] {
            let cookies = vec![(name.into(), text)];
            let matches = RuleMatch { cookies, ..RuleMatch::default() };
            assert_eq!(takes(matches, &head, HERE), expected, "{name}");
        }
    }

    #[test]
    fn a_source_is_in_a_network_of_its_family() {
        for (network, bits, source, expected) in [
            ("10.0.0.0", 8, "10.200.1.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("10.0.0.0", 8, "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0", 104, "10.9.9.9", true),
            ("0.0.0.0", 0, "192.0.2.1", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("2001:db8::", 32, "2001:db8:1::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
        ] {
            let sources = vec![(network.parse().unwrap(), bits)];
            let matches = RuleMatch { sources, ..RuleMatch::default() };
            let seen = takes(matches, &head("h", "/", &[]), source);
            assert_eq!(seen, expected, "{source} in {network}/{bits}");
        }
    }

    #[test]
    fn everything_that_is_written_must_hold() {
        let matches = RuleMatch {
            hosts: vec!["h".into()],
            headers: vec![("x".into(), StringMatch::Exact("1".into()))],
            ..RuleMatch::default()
        };

        assert!(takes(matches.clone(), &head("h", "/", &[("x", "1")]), HERE));
        assert!(!takes(matches.clone(), &head("h", "/", &[("x", "2")]), HERE));
        assert!(!takes(matches, &head("i", "/", &[("x", "1")]), HERE));
    }

    #[test]
    fn a_request_with_a_tenant_is_only_for_rules_that_override() {
        let plain = rule("plain", "a", RuleMatch::default());
        let mut firm = rule("firm", "b", RuleMatch::default());
        firm.set.overrides = true;
        let table = RuleTable::build(&[plain, firm]);
        let color = |has_tenant| {
            let found = table.color(&head("h", "/", &[]), HERE.parse().unwrap(), has_tenant);
            found.map(|it| &*it.rule)
        };

        assert_eq!(color(false), Some("plain"));
        assert_eq!(color(true), Some("firm"));
    }

    #[test]
    fn a_share_takes_its_part_of_the_callers_and_always_the_same() {
        let with = |percent| {
            let key = PercentageKey::Header("x-user".into());
            let mut rule = rule("beta", "b", RuleMatch::default());
            rule.percentage = Some(Percentage { percent, key });
            RuleTable::build(&[rule])
        };
        let (five, ten) = (with(5.0), with(10.0));
        let taken = |table: &RuleTable, user: u32| {
            let head = head("h", "/", &[("x-user", &user.to_string())]);
            table.color(&head, HERE.parse().unwrap(), false).is_some()
        };

        let by_five: Vec<_> = (0..20_000).filter(|user| taken(&five, *user)).collect();

        assert!((900..1_100).contains(&by_five.len()), "{}", by_five.len());
        assert!(by_five.iter().all(|user| taken(&ten, *user)), "who was taken stays taken");
        assert!(five.color(&head("h", "/", &[]), HERE.parse().unwrap(), false).is_none());
    }

    #[test]
    fn a_share_can_be_drawn_by_cookie_or_source() {
        let all = |key| {
            let mut rule = rule("beta", "b", RuleMatch::default());
            rule.percentage = Some(Percentage { percent: 100.0, key });
            RuleTable::build(&[rule])
        };
        let (bare, with) = (head("h", "/", &[]), head("h", "/", &[("cookie", "u=1")]));
        let source = HERE.parse().unwrap();

        let by_cookie = all(PercentageKey::Cookie("u".into()));

        assert!(by_cookie.color(&with, source, false).is_some());
        assert!(by_cookie.color(&bare, source, false).is_none());
        assert!(all(PercentageKey::Source).color(&bare, source, false).is_some());
    }
}
