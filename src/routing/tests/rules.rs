//! Which requests a rule is for.

use http::Method;

use crate::config::{Percentage, PercentageKey, Rule, RuleMatch, RuleSet, StringMatch};
use crate::model::{RequestHead, TenantId};
use crate::routing::RuleTable;

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
