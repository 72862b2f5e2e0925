//! What calls have in common: takes it out of their fields, and remembers which are missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::registry::dialect::discovery::fields::{Fields, Invalid, scalar, signed, unsigned};
use crate::registry::record::{Key, LONGEST_METADATA, LONGEST_NAME, Standing};

/// Who is meant: by the name of its host, or if that is not said, by an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By the name it registered.
    Host(Arc<str>),
    /// By one of its addresses.
    Addr(Arc<str>),
}

/// Whom a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The environment.
    pub env: Arc<str>,
    /// The service.
    pub appid: Arc<str>,
    /// The zone.
    pub zone: Arc<str>,
    /// Which of the instances there.
    pub name: Name,
}

impl Target {
    /// Returns the key of who says its name; without a host's name the address is the name.
    pub fn key(&self) -> Key {
        let (Name::Host(name) | Name::Addr(name)) = &self.name;
        Key {
            env: Arc::clone(&self.env),
            appid: Arc::clone(&self.appid),
            zone: Arc::clone(&self.zone),
            hostname: Arc::clone(name),
        }
    }
}

/// What a call says if another registry passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// A node of the same zone passes it on.
    pub replication: bool,
    /// A node of another zone passes it on.
    pub from_zone: bool,
    /// The version of the content, as unix nanoseconds; 0 if it is not said.
    pub dirty: u64,
}

/// Takes fields, and remembers which are missing.
pub(super) struct Binder<'a> {
    fields: &'a Fields,
    /// What Go's server calls the arguments.
    arguments: &'static str,
    missing: Vec<String>,
}

impl<'a> Binder<'a> {
    pub(super) fn new(fields: &'a Fields, arguments: &'static str) -> Self {
        Self { fields, arguments, missing: Vec::new() }
    }

    /// Takes a text that may be empty.
    pub(super) fn text(&self, field: &'static str) -> Result<Arc<str>, Invalid> {
        bounded(field, self.fields.first(field))
    }

    /// Takes a text that must not be empty.
    pub(super) fn required(&mut self, field: &'static str) -> Result<Arc<str>, Invalid> {
        let text = self.text(field)?;
        self.require(!text.is_empty(), field, "required");
        Ok(text)
    }

    /// Takes a list that must not be empty.
    pub(super) fn several(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, Invalid> {
        let list: Result<Vec<_>, _> =
            self.fields.split(field).take(limit + 1).map(|it| bounded(field, it)).collect();
        let list = list?;
        if list.len() > limit {
            return Err(Invalid::TooLarge { field, limit });
        }
        self.require(!list.is_empty(), field, "gt");
        Ok(list)
    }

    /// Takes the status bits, which must not be 0.
    pub(super) fn status(&mut self) -> Result<u32, Invalid> {
        let status = unsigned(self.fields.first("status"))?;
        self.require(status != 0, "status", "required");
        Ok(status)
    }

    /// Takes who a call is about.
    pub(super) fn target(&mut self) -> Result<Target, Invalid> {
        let (zone, env, appid) =
            (self.required("zone")?, self.required("env")?, self.required("appid")?);
        let hostname = self.text("hostname")?;
        let name = if hostname.is_empty() {
            let mut addresses = self.fields.split("addrs").chain(self.fields.split("addr"));
            let address = addresses.next().unwrap_or_default();
            self.require(!address.is_empty(), "hostname", "required");
            Name::Addr(bounded("addrs", address)?)
        } else {
            Name::Host(hostname)
        };
        Ok(Target { env, appid, zone, name })
    }

    pub(super) fn passed(&self) -> Result<Passed, Invalid> {
        let dirty = signed(self.fields.first("dirty_timestamp"))?;
        for also in ["latest_timestamp", "reg_timestamp"] {
            signed(self.fields.first(also))?;
        }
        Ok(Passed {
            replication: self.fields.is_on("replication"),
            from_zone: self.fields.is_on("from_zone"),
            dirty: u64::try_from(dirty).unwrap_or_default(),
        })
    }

    fn require(&mut self, is_there: bool, field: &str, rule: &str) {
        if !is_there {
            let (call, field) = (self.arguments, name_in_go(field));
            self.missing.push(format!(
                "Key: '{call}.{field}' Error:Field validation for '{field}' failed on the '{rule}' tag"
            ));
        }
    }

    /// Returns what was taken, unless something is missing.
    pub(super) fn done<T>(self, taken: T) -> Result<T, Invalid> {
        if self.missing.is_empty() {
            Ok(taken)
        } else {
            Err(Invalid::Missing(self.missing.join("\n")))
        }
    }
}

/// Returns what Go's server calls a field.
fn name_in_go(field: &str) -> &'static str {
    match field {
        "zone" => "Zone",
        "env" => "Env",
        "appid" => "AppID",
        "hostname" => "Hostname",
        "status" => "Status",
        "addrs" => "Addrs",
        _ => "LatestTimestamp",
    }
}

pub(super) fn bounded(field: &'static str, text: &str) -> Result<Arc<str>, Invalid> {
    if text.len() > LONGEST_NAME {
        return Err(Invalid::TooLong { field, limit: LONGEST_NAME });
    }
    Ok(text.into())
}

/// Reads metadata: a JSON object. What is no text in it becomes one, as `10` becomes `"10"`.
pub(super) fn metadata(text: &str) -> Result<BTreeMap<Arc<str>, Arc<str>>, Invalid> {
    if text.len() > LONGEST_METADATA {
        return Err(Invalid::TooLong { field: "metadata", limit: LONGEST_METADATA });
    }
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let read = serde_json::from_str::<Option<serde_json::Map<String, Value>>>(text);
    let read = read.map_err(|error| Invalid::Metadata(error.to_string()))?.unwrap_or_default();
    Ok(read.into_iter().map(|(key, value)| (key.into(), scalar(value).into())).collect())
}

/// Reads a status: 1 or 2.
pub(super) fn standing(status: u32) -> Result<Standing, Invalid> {
    match status {
        1 => Ok(Standing::Up),
        2 => Ok(Standing::Waiting),
        other => Err(Invalid::Status(other)),
    }
}
