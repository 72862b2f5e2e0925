//! The two wordings of an answer: JSON, and the XML that says the same.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use crate::registry::dialect::eureka::shown::{Shown, Texts};
use crate::registry::dialect::eureka::xml::{push_leaf, push_text};
use crate::registry::dialect::eureka::{instance, names};
use crate::registry::eureka::Port;

/// How an answer is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, for those who ask for it.
    Json,
    /// XML, for everybody else.
    Xml,
}

/// Applications, told whole.
#[derive(Debug)]
pub(super) struct Listing<'a> {
    /// `versions__delta`.
    pub(super) version: u64,
    /// `apps__hashcode`: of the whole registry, however little of it is told.
    pub(super) hash: &'a str,
}

impl Format {
    /// Returns what a client wants by its `accept`.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(header::ACCEPT).iter();
        let has_json = |it: &HeaderValue| {
            it.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("json"))
        };
        if fields.any(has_json) { Self::Json } else { Self::Xml }
    }

    /// Returns the type of what it writes.
    pub(super) fn kind(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        })
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Xml => "xml",
        }
    }

    /// Returns one instance.
    pub fn instance(self, shown: &Shown<'_>) -> Vec<u8> {
        let mut out = String::new();
        match self {
            Self::Json => {
                out.push_str("{\"instance\":");
                self.push_instance(shown, &mut out);
                out.push('}');
            }
            Self::Xml => self.push_instance(shown, &mut out),
        }
        out.into_bytes()
    }

    /// Begins a list of applications.
    pub(super) fn push_head(self, listing: &Listing<'_>, out: &mut String) {
        let (version, hash) = (listing.version, listing.hash);
        // Writing to a string does not fail; a hash has nothing to be escaped.
        let _ = match self {
            Self::Json => write!(
                out,
                "{{\"applications\":{{\"versions__delta\":\"{version}\",\
                 \"apps__hashcode\":\"{hash}\",\"application\":["
            ),
            Self::Xml => write!(
                out,
                "<applications><versions__delta>{version}</versions__delta>\
                 <apps__hashcode>{hash}</apps__hashcode>"
            ),
        };
    }

    /// Writes one application; `is_first` says that none was written before it.
    pub(super) fn push_app<'a>(
        self,
        name: &str,
        instances: impl Iterator<Item = Shown<'a>>,
        is_first: bool,
        out: &mut String,
    ) {
        match self {
            Self::Json => {
                out.push_str(if is_first { "{\"name\":" } else { ",{\"name\":" });
                push_json(&name, out);
                out.push_str(",\"instance\":[");
                for (at, instance) in instances.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.push_instance(&instance, out);
                }
                out.push_str("]}");
            }
            Self::Xml => {
                out.push_str("<application>");
                push_leaf("name", name, out);
                instances.for_each(|it| self.push_instance(&it, out));
                out.push_str("</application>");
            }
        }
    }

    /// Ends a list of applications.
    pub(super) fn push_tail(self, out: &mut String) {
        out.push_str(match self {
            Self::Json => "]}}",
            Self::Xml => "</applications>",
        });
    }

    /// Returns one application.
    pub(super) fn app<'a>(self, name: &str, instances: impl Iterator<Item = Shown<'a>>) -> Vec<u8> {
        let mut out = String::new();
        if self == Self::Json {
            out.push_str("{\"application\":");
        }
        self.push_app(name, instances, true, &mut out);
        if self == Self::Json {
            out.push('}');
        }
        out.into_bytes()
    }

    fn push_instance(self, shown: &Shown<'_>, out: &mut String) {
        match self {
            Self::Json => push_json(&Json(shown), out),
            Self::Xml => push_xml(shown, out),
        }
    }
}

/// Writes JSON. What cannot be written as such is a fault of ours: no value here is.
fn push_json(value: &impl Serialize, out: &mut String) {
    out.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()));
}

/// An instance as JSON.
#[derive(Debug)]
pub(super) struct Json<'a>(pub(super) &'a Shown<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let shown = self.0;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("instanceId", shown.id)?;
        map.serialize_entry("hostName", &shown.host)?;
        map.serialize_entry("app", &shown.app)?;
        map.serialize_entry("ipAddr", &shown.ip)?;
        map.serialize_entry("status", &shown.status)?;
        map.serialize_entry("overriddenStatus", &shown.overridden)?;
        map.serialize_entry("port", &JsonPort::of(shown.port))?;
        map.serialize_entry("securePort", &JsonPort::of(shown.secure_port))?;
        map.serialize_entry("countryId", &1)?;
        let center = JsonCenter {
            class: shown.data_center_class,
            name: shown.data_center_name,
            metadata: shown.data_center_metadata,
        };
        map.serialize_entry("dataCenterInfo", &center)?;
        map.serialize_entry("leaseInfo", &shown.lease)?;
        if shown.metadata.is_empty() {
            map.serialize_entry("metadata", &JsonEmpty { class: EMPTY_MAP })?;
        } else {
            map.serialize_entry("metadata", &*shown.metadata)?;
        }
        for (key, text) in texts(shown) {
            map.serialize_entry(key, text)?;
        }
        map.serialize_entry("lastUpdatedTimestamp", &shown.updated.to_string())?;
        map.serialize_entry("lastDirtyTimestamp", &shown.dirty.to_string())?;
        map.serialize_entry("actionType", shown.action.name())?;
        map.end()
    }
}

/// The class by which Java writes a map that is empty.
const EMPTY_MAP: &str = "java.util.Collections$EmptyMap";

#[derive(Serialize)]
struct JsonPort {
    #[serde(rename = "$")]
    number: i32,
    #[serde(rename = "@enabled")]
    enabled: &'static str,
}

impl JsonPort {
    fn of(port: Port) -> Self {
        Self { number: port.number, enabled: if port.enabled { "true" } else { "false" } }
    }
}

#[derive(Serialize)]
struct JsonCenter<'a> {
    #[serde(rename = "@class")]
    class: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Texts>,
}

#[derive(Serialize)]
struct JsonEmpty {
    #[serde(rename = "@class")]
    class: &'static str,
}

/// Returns the texts that mean nothing to us or are left out when empty, by name.
fn texts<'a>(shown: &'a Shown<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let kept = move |name: &'static str| {
        let text = shown.texts.iter().find(|(key, _)| **key == *name).map(|(_, it)| &**it);
        match name {
            "isCoordinatingDiscoveryServer" => Some((name, text.unwrap_or("false"))),
            _ => text.map(|it| (name, it)),
        }
    };
    let [plain, secure] = shown.vips;
    let vips = [("vipAddress", plain), ("secureVipAddress", secure)];
    let vips = vips.into_iter().filter(|(_, text)| !text.is_empty());
    instance::TEXTS.into_iter().filter_map(kept).chain(vips)
}

fn push_xml(shown: &Shown<'_>, out: &mut String) {
    out.push_str("<instance>");
    push_leaf("instanceId", shown.id, out);
    push_leaf("hostName", &shown.host, out);
    push_leaf("app", &shown.app, out);
    push_leaf("ipAddr", &shown.ip, out);
    push_leaf("status", shown.status, out);
    push_leaf("overriddenstatus", shown.overridden, out);
    for (name, port) in [("port", shown.port), ("securePort", shown.secure_port)] {
        let _ = write!(out, "<{name} enabled=\"{}\">{}</{name}>", port.enabled, port.number);
    }
    push_leaf("countryId", 1, out);
    out.push_str("<dataCenterInfo class=\"");
    push_text(shown.data_center_class, out);
    out.push_str("\">");
    push_leaf("name", shown.data_center_name, out);
    if let Some(metadata) = shown.data_center_metadata {
        push_map("metadata", metadata, out);
    }
    out.push_str("</dataCenterInfo><leaseInfo>");
    let lease = &shown.lease;
    for (name, number) in [
        ("renewalIntervalInSecs", lease.renewal_interval_in_secs.into()),
        ("durationInSecs", lease.duration_in_secs),
        ("registrationTimestamp", lease.registration_timestamp),
        ("lastRenewalTimestamp", lease.last_renewal_timestamp),
        ("evictionTimestamp", lease.eviction_timestamp),
        ("serviceUpTimestamp", lease.service_up_timestamp),
    ] {
        push_leaf(name, number, out);
    }
    out.push_str("</leaseInfo>");
    if shown.metadata.is_empty() {
        let _ = write!(out, "<metadata class=\"{EMPTY_MAP}\"/>");
    } else {
        push_map("metadata", &shown.metadata, out);
    }
    for (name, text) in texts(shown) {
        push_leaf(name, text, out);
    }
    push_leaf("lastUpdatedTimestamp", shown.updated, out);
    push_leaf("lastDirtyTimestamp", shown.dirty, out);
    push_leaf("actionType", shown.action.name(), out);
    out.push_str("</instance>");
}

/// Writes texts as elements whose names are their keys. An empty key is no name and is left out.
fn push_map(name: &str, texts: &Texts, out: &mut String) {
    let _ = write!(out, "<{name}>");
    for (key, text) in texts.iter().filter(|(key, _)| !key.is_empty()) {
        let mut name = String::new();
        names::encode(key, &mut name);
        push_leaf(&name, text, out);
    }
    let _ = write!(out, "</{name}>");
}
