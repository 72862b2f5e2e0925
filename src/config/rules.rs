//! `[[rule]]`: which requests get which tenant at the edge.

use std::net::IpAddr;

use crate::model::TenantId;

/// How a text is matched. Exactly one of the keys is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatch {
    /// `exact = "…"`, or the plain string.
    Exact(String),
    /// `prefix = "…"`
    Prefix(String),
    /// `suffix = "…"`
    Suffix(String),
    /// `contains = "…"`
    Contains(String),
    /// `present = true`
    Present,
}

/// Which requests a rule is for: all that is written must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleMatch {
    /// Hosts, without port, without regard to case; `*.example.com` matches one label or more.
    /// Empty: any.
    pub hosts: Vec<String>,
    /// The path, without query, is this or lies below it: `/shop` matches `/shop` and `/shop/cart`,
    /// not `/shopping`.
    pub path_prefix: Option<String>,
    /// Methods. Empty: any.
    pub methods: Vec<String>,
    /// Fields, by name in lower case: one of the values of that name matches.
    pub headers: Vec<(String, StringMatch)>,
    /// Cookies, by name: one of the values of that name matches.
    pub cookies: Vec<(String, StringMatch)>,
    /// Networks the connection came from, as address and prefix length. Empty: any.
    pub sources: Vec<(IpAddr, u8)>,
}

/// The share of matching requests a rule takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Percentage {
    /// 0.0 to 100.0, in steps of a ten-thousandth.
    pub percent: f64,
    /// What is hashed, so that the same caller always falls on the same side: a field by name in
    /// lower case. A request without it is not taken.
    pub key: PercentageKey,
}

/// What the share of a rule is drawn by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PercentageKey {
    /// `by = "header:NAME"`
    Header(String),
    /// `by = "cookie:NAME"`
    Cookie(String),
    /// `by = "source"`: the address the connection came from.
    Source,
}

/// What a rule does to the requests it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// The tenant they get.
    pub tenant: TenantId,
    /// Whether they get it even if they have one. Off unless told.
    pub overrides: bool,
}

/// `[[rule]]`: which requests get which tenant at the edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What the rule is called in decisions and logs.
    pub name: String,
    /// Which requests it is for.
    pub matches: RuleMatch,
    /// The share of them it takes; none: all.
    pub percentage: Option<Percentage>,
    /// What they get.
    pub set: RuleSet,
}
