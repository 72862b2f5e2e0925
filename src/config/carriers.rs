//! `[tenant]`: where a request's tenant is read and written, and by what its calls are joined.

use std::time::Duration;

use serde::Serialize;

use crate::config::reading::{DAY, MINUTE, SECOND, Section, Value};
use crate::config::written;

/// Identifiers a request's calls are joined by, at most.
const MOST_IDS: usize = 16;
/// Carriers that are read, at most.
const MOST_CARRIERS: usize = 16;

/// Where a tenant's name is written in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// A field of that name, in lower case; its value is the name.
    Header(String),
    /// A member of the `baggage` field (W3C Baggage) with that key.
    Baggage(String),
    /// A member of the `tracestate` field (W3C Trace Context) with that key.
    Tracestate(String),
}

/// What becomes of a request whose carriers disagree, or of which one is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// 400, reason `claim`.
    #[default]
    Reject,
    /// It goes on as of no tenant.
    Ignore,
    /// The dedicated header counts, if it is one clean value; else as `Reject`.
    Header,
}

/// `[tenant]`: where a request's tenant is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TenantSection {
    /// The dedicated header in lower case; `x-tenant` unless told.
    pub header: String,
    /// The key of our member in `baggage`; `tenant` unless told.
    pub baggage: String,
    /// The key of our member in `tracestate`; `tenant` unless told.
    pub tracestate: String,
    /// What is read, in order: our own carriers first, then the aliases. At least one.
    pub read: Vec<Carrier>,
    /// What becomes of a request whose carriers disagree.
    pub on_conflict: OnConflict,
    /// Whether the dedicated header is written onward beside the baggage member. On unless told.
    pub write_header: bool,
    /// Whether a request our sandbox sends with no context at all takes the sandbox's own lane.
    /// On unless told.
    pub own_lane: bool,
    /// `[tenant.correlation]`: how outbound requests are joined to inbound ones.
    pub correlation: Correlation,
}

/// An identifier that applications forward even if they know nothing of tenants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CorrelationId {
    /// The trace id of `traceparent` (W3C Trace Context).
    Traceparent,
    /// The trace id of `b3` or `x-b3-traceid` (Zipkin B3 propagation).
    B3,
    /// The value of `x-datadog-trace-id`.
    Datadog,
    /// The value of a field of that name, in lower case: `x-request-id`, or the operator's own.
    Header(String),
}

/// `[tenant.correlation]`: how outbound requests are joined to inbound ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Correlation {
    /// The identifiers that are remembered; none turns it off.
    pub ids: Vec<CorrelationId>,
    /// Identifiers remembered at a time: 1 to 10,000,000.
    pub capacity: u32,
    /// How long one is remembered after it was last seen: 1 s to 24 h.
    #[serde(serialize_with = "written::period")]
    pub max_age: Duration,
}

impl Default for TenantSection {
    fn default() -> Self {
        let [header, baggage, tracestate] = ["x-tenant", "tenant", "tenant"].map(str::to_owned);
        Self {
            read: vec![
                Carrier::Header(header.clone()),
                Carrier::Baggage(baggage.clone()),
                Carrier::Tracestate(tracestate.clone()),
            ],
            header,
            baggage,
            tracestate,
            on_conflict: OnConflict::Reject,
            write_header: true,
            own_lane: true,
            correlation: Correlation::default(),
        }
    }
}

impl OnConflict {
    const WORDS: [(&'static str, Self); 3] =
        [("reject", Self::Reject), ("ignore", Self::Ignore), ("header", Self::Header)];
}

/// One of our own carriers, as `read` names them.
#[derive(Clone, Copy, PartialEq)]
enum Own {
    Header,
    Baggage,
    Tracestate,
}

impl Own {
    const WORDS: [(&'static str, Self); 3] =
        [("header", Self::Header), ("baggage", Self::Baggage), ("tracestate", Self::Tracestate)];
}

impl TenantSection {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let header = section
            .value("header", ("the name of a header", "\"x-tenant\""), |it| carrier_field(it));
        let baggage =
            section.value("baggage", ("a key of `baggage`", "\"tenant\""), |it| it.token());
        let tracestate =
            section.value("tracestate", ("a key of `tracestate`", "\"tenant\""), |it| {
                it.tracestate_key()
            });
        let mut read = Self {
            header: header.unwrap_or(default.header),
            baggage: baggage.unwrap_or(default.baggage),
            tracestate: tracestate.unwrap_or(default.tracestate),
            read: Vec::new(),
            on_conflict: section.choice("on_conflict", &OnConflict::WORDS, default.on_conflict),
            write_header: section.flag("write_header", default.write_header),
            own_lane: section.flag("own_lane", default.own_lane),
            correlation: section.table("correlation", Correlation::read),
        };
        read.read = read.carriers(section);
        read
    }

    /// Reads `read` and `aliases`: the carriers in their order.
    fn carriers(&self, section: &mut Section<'_>) -> Vec<Carrier> {
        let own = |own: Own| match own {
            Own::Header => Carrier::Header(self.header.clone()),
            Own::Baggage => Carrier::Baggage(self.baggage.clone()),
            Own::Tracestate => Carrier::Tracestate(self.tracestate.clone()),
        };
        let mut all: Vec<Carrier> = Vec::new();
        if !section.has("read") {
            all.extend(Own::WORDS.map(|(_, it)| own(it)));
        }
        let mut add = |value: Value<'_>, carrier: Carrier| {
            if all.contains(&carrier) {
                return value.refuse("names one carrier twice", "remove one of the two");
            }
            if all.len() == MOST_CARRIERS {
                return value.refuse("has more than 16 carriers", "remove those nobody writes");
            }
            all.push(carrier);
            Some(())
        };
        let kind = ("\"header\", \"baggage\" and \"tracestate\", in order", "all three");
        section.list("read", kind, |value| add(value, own(value.choice(&Own::WORDS)?)));
        let kind = ("`{ header = … }`, `{ baggage = … }` or `{ tracestate = … }`", "[]");
        section.list("aliases", kind, |value| add(value, alias(value)?));
        if all.is_empty() {
            let help = "write at least one of \"header\", \"baggage\" and \"tracestate\"";
            section.refuse("read", "no carrier is read, so no request would have a tenant", help);
        }
        all
    }
}

/// Reads a header that can carry a tenant: one of its own, which nothing else is written in.
fn carrier_field(value: Value<'_>) -> Option<String> {
    let name = value.field_name()?;
    match &*name {
        "baggage" => value.refuse(
            "names `baggage`, which has many members",
            "the key of ours is written as `baggage`",
        ),
        "tracestate" | "traceparent" => value.refuse(
            format!("names `{name}`, which carries a trace"),
            "the key of our member of `tracestate` is written as `tracestate`",
        ),
        "authorization" | "cookie" | "set-cookie" | "content-type" | "content-encoding" => value
            .refuse(
                format!("names `{name}`, which has a meaning of its own"),
                "choose a field that nothing else is written in, such as \"x-tenant\"",
            ),
        _ if name.starts_with("x-dyelane-") => value.refuse(
            "begins with x-dyelane-, which is for ourselves",
            "choose another name, such as \"x-tenant\"",
        ),
        _ => Some(name),
    }
}

fn alias(value: Value<'_>) -> Option<Carrier> {
    value.one_of(
        "`{ header = … }`, `{ baggage = … }` or `{ tracestate = … }`",
        &[
            ("header", &|it| carrier_field(it).map(Carrier::Header)),
            ("baggage", &|it| it.token().map(Carrier::Baggage)),
            ("tracestate", &|it| it.tracestate_key().map(Carrier::Tracestate)),
        ],
    )
}

impl Default for Correlation {
    fn default() -> Self {
        let ids = vec![
            CorrelationId::Traceparent,
            CorrelationId::B3,
            CorrelationId::Datadog,
            CorrelationId::Header("x-request-id".to_owned()),
        ];
        Self { ids, capacity: 65_536, max_age: MINUTE }
    }
}

impl Correlation {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut ids: Vec<CorrelationId> = Vec::new();
        let kind = "\"traceparent\", \"b3\", \"datadog\" and names of headers";
        let shown = r#"["traceparent", "b3", "datadog", "x-request-id"]"#;
        let given = section.list("ids", (kind, shown), |value| {
            let id = correlation_id(value)?;
            if ids.contains(&id) {
                return value.refuse("names one identifier twice", "remove one of the two");
            }
            if ids.len() == MOST_IDS {
                return value.refuse("has more than 16 identifiers", "remove those you do not use");
            }
            ids.push(id);
            Some(())
        });
        Self {
            ids: if given.is_some() { ids } else { default.ids },
            capacity: section.integer("capacity", 1..=10_000_000, default.capacity),
            max_age: section.period("max_age", SECOND..=DAY, default.max_age),
        }
    }
}

fn correlation_id(value: Value<'_>) -> Option<CorrelationId> {
    let name = value.field_name()?;
    Some(match &*name {
        "traceparent" => CorrelationId::Traceparent,
        "b3" | "x-b3-traceid" => CorrelationId::B3,
        "datadog" | "x-datadog-trace-id" => CorrelationId::Datadog,
        _ => CorrelationId::Header(name),
    })
}
