//! What an instance says of itself when it registers, out of the JSON that clients send or the XML
//! that says the same: parsed once, then known to be good.
//!
//! Clients in a dozen languages fill it in, each in its own way, so much is taken that no
//! specification has: numbers as texts and texts as numbers, a port without its switch, an instance
//! without the object around it. What is missing has the value that Netflix's server gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::registry::eureka::{DataCenter, Named, Port, Said, Status, app_of};
use crate::registry::record::{LONGEST_METADATA, LONGEST_NAME};

/// Longest other text, in bytes: most are addresses of pages.
const LONGEST_TEXT: usize = 2 << 10;
/// Most entries of metadata.
const MOST_METADATA: usize = 1024;
/// What clients call the zone they are in when nobody has told them: in Python and in Java.
const NO_ZONES: [&str; 2] = ["default", "defaultZone"];
/// The class by which Java reads where an instance runs that runs nowhere in particular.
const MY_OWN: &str = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo";
/// Texts that are kept and shown again, and mean nothing here.
pub(super) const TEXTS: [&str; 7] = [
    "appGroupName",
    "homePageUrl",
    "statusPageUrl",
    "healthCheckUrl",
    "secureHealthCheckUrl",
    "isCoordinatingDiscoveryServer",
    "asgName",
];

/// Why an instance cannot be registered, in the words clients know where there are any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// What is not there, or empty.
    #[error("Missing {0}")]
    Missing(&'static str),
    /// The path names another application than the body.
    #[error("Mismatched appName, expecting {expected} but was {found}")]
    Mismatched {
        /// What the path says.
        expected: String,
        /// What the body says.
        found: String,
    },
    /// The body is no object.
    #[error("the body holds no instance: an object is wanted")]
    NoObject,
    /// What is no number of its kind.
    #[error("{field} is no number: {text:?}")]
    Number {
        /// Of what.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// There are more entries than any list has.
    #[error("{field} has more than {limit} entries")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A text is longer than any is.
    #[error("{field} is longer than {limit} bytes")]
    TooLong {
        /// Which.
        field: &'static str,
        /// How long it may be.
        limit: usize,
    },
}

/// What an instance says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its application, in capitals.
    pub app: Arc<str>,
    /// What tells it from others there.
    pub id: Arc<str>,
    /// Its status.
    pub status: Status,
    /// The status that it has been given; none: none.
    pub overridden: Option<Status>,
    /// How long it may be silent, in seconds; none: as long as the registry's `lease`.
    pub lease: Option<u32>,
    /// Whatever else it says.
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// What it says to Eureka alone. `last_dirty` is 0 if it says none.
    pub said: Said,
}

impl Info {
    /// Returns the zone it says it is in; none if it says none, or what clients say that know none.
    pub fn zone(&self) -> Option<&Arc<str>> {
        let is_one = |it: &&Arc<str>| {
            !NO_ZONES.contains(&&***it) && !it.is_empty() && it.len() <= LONGEST_NAME
        };
        let own = self.metadata.get("zone").filter(is_one);
        let amazon = || self.said.data_center.metadata.get("availability-zone").filter(is_one);
        own.or_else(amazon)
    }

    /// Takes an instance: an object, or an object with that as its field `instance`. `app` is what
    /// the path says it is one of.
    ///
    /// # Errors
    /// Something is missing, is too long, or is no number.
    pub fn bind(value: &Value, app: &str) -> Result<Self, Invalid> {
        let object = value.get("instance").filter(|it| it.is_object()).unwrap_or(value);
        let fields = Fields(object.as_object().ok_or(Invalid::NoObject)?);
        let host = fields.text("hostName")?;
        let ip = fields.text("ipAddr")?;
        let said_app = fields.text("app")?;
        let data_center = fields.data_center()?;
        let id =
            [Some(fields.text("instanceId")?), amazon_id(data_center.as_ref()), Some(host.clone())];
        let id = id.into_iter().flatten().find(|it| !it.is_empty());
        let id = id.ok_or(Invalid::Missing("instanceId"))?;
        for (text, name) in [(&host, "hostname"), (&ip, "ip address"), (&said_app, "appName")] {
            if text.is_empty() {
                return Err(Invalid::Missing(name));
            }
        }
        let (expected, found) = (app_of(app), app_of(&said_app));
        if expected != found {
            return Err(Invalid::Mismatched { expected, found });
        }
        for (field, text) in [("instanceId", &*id), ("app", expected.as_str())] {
            bounded(field, text, LONGEST_NAME)?;
        }
        let lease = fields.object("leaseInfo");
        let duration = lease.as_ref().map_or(Ok(None), |it| it.number("durationInSecs"))?;
        let interval = lease.as_ref().map_or(Ok(None), |it| it.number("renewalIntervalInSecs"))?;
        let seconds =
            |number: Option<i64>| number.and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0);
        let overridden = fields.text("overriddenStatus")?;
        let overridden =
            if overridden.is_empty() { fields.text("overriddenstatus")? } else { overridden };
        Ok(Self {
            app: expected.into(),
            id,
            status: status(&fields.text("status")?).unwrap_or(Status::Up),
            overridden: status(&overridden).filter(|it| *it != Status::Unknown),
            lease: seconds(duration),
            metadata: fields.texts_of("metadata")?,
            said: Said {
                last_dirty: time(fields.number("lastDirtyTimestamp")?),
                host,
                ip,
                port: fields.port("port", Port { number: 7001, enabled: true })?,
                secure_port: fields.port("securePort", Port { number: 7002, enabled: false })?,
                vip: fields.text("vipAddress")?,
                secure_vip: fields.text("secureVipAddress")?,
                renewal: seconds(interval).unwrap_or(30),
                data_center: data_center.ok_or(Invalid::Missing("dataCenterInfo"))?,
                texts: fields.kept()?,
            },
        })
    }
}

/// Returns the id that Amazon gives an instance.
fn amazon_id(data_center: Option<&DataCenter>) -> Option<Arc<str>> {
    data_center?.metadata.get("instance-id").cloned()
}

/// Reads a status: what is none of them is `UNKNOWN`, nothing is none.
fn status(text: &str) -> Option<Status> {
    (!text.is_empty()).then(|| text.trim().parse().unwrap_or(Status::Unknown))
}

fn time(number: Option<i64>) -> u64 {
    number.and_then(|it| u64::try_from(it).ok()).unwrap_or_default()
}

fn bounded(field: &'static str, text: &str, limit: usize) -> Result<(), Invalid> {
    if text.len() > limit { Err(Invalid::TooLong { field, limit }) } else { Ok(()) }
}

/// Returns a value as text: that of a scalar, or of a scalar with attributes. None: it is no such.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Object(fields) => fields.get("$").filter(|it| !it.is_object()).and_then(scalar),
        Value::Null | Value::Array(_) => None,
    }
}

/// The fields of an object.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Takes a text; empty if there is none.
    fn text(&self, field: &'static str) -> Result<Arc<str>, Invalid> {
        let text = self.0.get(field).and_then(scalar).unwrap_or_default();
        bounded(field, &text, LONGEST_TEXT)?;
        Ok(text.trim().into())
    }

    /// Takes a whole number; none if there is none. Of others the fraction is dropped.
    fn number(&self, field: &'static str) -> Result<Option<i64>, Invalid> {
        let text = self.text(field)?;
        if text.is_empty() {
            return Ok(None);
        }
        let whole = text.split('.').next().unwrap_or_default();
        let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
        match whole.parse() {
            Ok(number) if is_number => Ok(Some(number)),
            _ => Err(Invalid::Number { field, text: text.chars().take(32).collect() }),
        }
    }

    fn object(&self, field: &str) -> Option<Fields<'a>> {
        self.0.get(field)?.as_object().map(Fields)
    }

    /// Takes a port: a number, or an object of a number and a switch. What is not said is as in
    /// `missing`.
    fn port(&self, field: &'static str, missing: Port) -> Result<Port, Invalid> {
        let number = self.number(field)?.unwrap_or(missing.number.into());
        let switch = self.object(field).and_then(|it| it.0.get("@enabled").and_then(scalar));
        let text = || Invalid::Number { field, text: number.to_string() };
        Ok(Port {
            number: i32::try_from(number).map_err(|_| text())?,
            enabled: switch.map_or(missing.enabled, |it| it.trim().eq_ignore_ascii_case("true")),
        })
    }

    /// Takes where it runs; none if it does not say.
    fn data_center(&self) -> Result<Option<DataCenter>, Invalid> {
        let Some(fields) = self.object("dataCenterInfo") else { return Ok(None) };
        let (class, name) = (fields.text("@class")?, fields.text("name")?);
        if name.is_empty() {
            return Err(Invalid::Missing("dataCenterInfo Name"));
        }
        let class = if class.is_empty() { MY_OWN.into() } else { class };
        Ok(Some(DataCenter { class, name, metadata: fields.texts_of("metadata")? }))
    }

    /// Takes an object of texts; what Java says of its own class is none of them.
    fn texts_of(&self, field: &'static str) -> Result<BTreeMap<Arc<str>, Arc<str>>, Invalid> {
        let Some(fields) = self.object(field) else { return Ok(BTreeMap::new()) };
        let fields = fields.0.iter().filter(|(key, _)| !key.is_empty() && *key != "@class");
        let texts = fields.map(|(key, value)| {
            let text = match value {
                Value::Null => String::new(),
                value => scalar(value).unwrap_or_else(|| value.to_string()),
            };
            (Arc::from(key.as_str()), Arc::from(text))
        });
        let texts: BTreeMap<Arc<str>, Arc<str>> = texts.collect();
        check_metadata(&texts)?;
        Ok(texts)
    }

    fn kept(&self) -> Result<Vec<Named>, Invalid> {
        let mut texts = Vec::new();
        for name in TEXTS {
            let text = self.text(name)?;
            if !text.is_empty() {
                texts.push((name.into(), text));
            }
        }
        Ok(texts)
    }
}

/// Checks that metadata is not more than there may be.
///
/// # Errors
/// It is.
pub fn check_metadata(metadata: &BTreeMap<Arc<str>, Arc<str>>) -> Result<(), Invalid> {
    if metadata.len() > MOST_METADATA {
        return Err(Invalid::TooMany { field: "metadata", limit: MOST_METADATA });
    }
    let length = metadata.iter().map(|(key, value)| key.len() + value.len() + 6).sum::<usize>();
    if length > LONGEST_METADATA {
        return Err(Invalid::TooLong { field: "metadata", limit: LONGEST_METADATA });
    }
    Ok(())
}
