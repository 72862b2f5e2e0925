//! `[[rule]]`: which requests get which tenant at the edge.

use std::net::IpAddr;

use serde::Serialize;

use crate::config::reading::{Section, Value, field_name, is_token};
use crate::model::TenantId;

/// Steps of the share of a rule in one percent.
const STEPS: f64 = 10_000.0;

/// How a text is matched. Exactly one of the keys is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Percentage {
    /// 0.0 to 100.0, in steps of a ten-thousandth.
    pub percent: f64,
    /// What is hashed, so that the same caller always falls on the same side: a field by name in
    /// lower case. A request without it is not taken.
    #[serde(rename = "by")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleSet {
    /// The tenant they get.
    pub tenant: TenantId,
    /// Whether they get it even if they have one. Off unless told.
    #[serde(rename = "override")]
    pub overrides: bool,
}

/// `[[rule]]`: which requests get which tenant at the edge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// What the rule is called in decisions and logs.
    pub name: String,
    /// Which requests it is for.
    #[serde(rename = "match")]
    pub matches: RuleMatch,
    /// The share of them it takes; none: all.
    pub percentage: Option<Percentage>,
    /// What they get.
    pub set: RuleSet,
}

impl Rule {
    /// Reads a rule; none if it says neither whom it is for nor what they get.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let document = section.document();
        let name = section.required("name", ("a text", "`name = \"beta users\"`"), |value| {
            let name = value.label()?;
            document.claim_only("rule", &format!("`{name}`"), value.place());
            Some(name)
        });
        let unmatched = !section.has("match");
        let matches = section.table("match", RuleMatch::read);
        let percentage = Percentage::read(section);
        if unmatched && !section.has("percent") {
            let help = "write `match = { … }`, or `match = {}` for every request";
            section.refuse("match", "the rule does not say which requests it is for", help);
        }
        let set = section.table("set", RuleSet::read);
        Some(Self { name: name?, matches, percentage, set: set? })
    }
}

impl RuleSet {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let tenant =
            section.required("tenant", ("a name", "`set = { tenant = \"NAME\" }`"), |it| it.name());
        let overrides = section.flag("override", false);
        Some(Self { tenant: tenant?, overrides })
    }
}

impl RuleMatch {
    fn read(section: &mut Section<'_>) -> Self {
        let hosts = section
            .list("hosts", ("hosts, perhaps beginning with `*.`", "any"), |it| it.host_pattern());
        let path_prefix = section.value("path_prefix", ("a path", "any"), |it| it.path_prefix());
        let methods = section.list("methods", ("methods", "any"), |it| it.method());
        let headers = section.value("headers", ("a table of names and texts", "any"), |value| {
            value.pairs("`headers = { NAME = \"value\" }`", |name, it| {
                Some((name.field_name()?, StringMatch::read(it)?))
            })
        });
        let cookies = section.value("cookies", ("a table of names and texts", "any"), |value| {
            value.pairs("`cookies = { NAME = \"value\" }`", |name, it| {
                Some((name.token()?, StringMatch::read(it)?))
            })
        });
        let sources = section.list("sources", ("networks", "any"), |it| it.network());
        Self {
            hosts: hosts.unwrap_or_default(),
            path_prefix,
            methods: methods.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            cookies: cookies.unwrap_or_default(),
            sources: sources.unwrap_or_default(),
        }
    }
}

impl StringMatch {
    fn read(value: Value<'_>) -> Option<Self> {
        let expected =
            "a text, or a table of one of `exact`, `prefix`, `suffix`, `contains`, `present`";
        if value.is_text() {
            return value.text(expected).map(Self::Exact);
        }
        let part = |value: Value<'_>| {
            let text = value.text("a text in quotes")?;
            if text.is_empty() {
                return value.refuse("is empty, which every text has", "write `present = true`");
            }
            Some(text)
        };
        let present = |value: Value<'_>| {
            if value.flag()? {
                return Some(Self::Present);
            }
            value.refuse("matches only what is there", "write `present = true`")
        };
        value.one_of(
            expected,
            &[
                ("exact", &|it| it.text("a text in quotes").map(Self::Exact)),
                ("prefix", &|it| part(it).map(Self::Prefix)),
                ("suffix", &|it| part(it).map(Self::Suffix)),
                ("contains", &|it| part(it).map(Self::Contains)),
                ("present", &present),
            ],
        )
    }
}

impl Percentage {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let bounds = 0.0..=100.0;
        let percent =
            section.value("percent", ("a number of 0.0 to 100.0", "all of them"), |value| {
                let percent = value.number(&bounds)?;
                let steps = percent * STEPS;
                if (steps - steps.round()).abs() > 1e-6 {
                    let help = "write at most four digits behind the point";
                    return value.refuse("is finer than a ten-thousandth", help);
                }
                Some(percent)
            });
        let kind =
            ("`\"header:NAME\"`, `\"cookie:NAME\"` or `\"source\"`", "required with `percent`");
        let key = section.value("by", kind, PercentageKey::read);
        match (section.has("percent"), section.has("by")) {
            (true, false) => section.refuse(
                "percent",
                "`percent` does not say what the share is drawn by",
                "write `by = \"header:NAME\"`, `by = \"cookie:NAME\"` or `by = \"source\"`",
            ),
            (false, true) => section.refuse(
                "by",
                "`by` has no `percent` to draw",
                "write `percent = 5.0`, or remove `by`",
            ),
            _ => {}
        }
        Some(Self { percent: percent?, key: key? })
    }
}

impl PercentageKey {
    fn read(value: Value<'_>) -> Option<Self> {
        let expected = "\"header:NAME\", \"cookie:NAME\" or \"source\"";
        let text = value.text(expected)?;
        match text.split_once(':') {
            None if text == "source" => Some(Self::Source),
            Some(("header", name)) => match field_name(name.trim()) {
                Ok(name) => Some(Self::Header(name)),
                Err((why, help)) => value.refuse(why, help),
            },
            Some(("cookie", name)) if is_token(name.trim()) => {
                Some(Self::Cookie(name.trim().to_owned()))
            }
            _ => value.refuse(format!("knows no {text:?}"), format!("write {expected}")),
        }
    }
}
