//! What only Eureka says of an instance, and how its words and ours mean each other.
//!
//! Eureka's name of a service is in capitals and ours is not: [`app_of`] and [`appid_of`] lead from
//! one to the other, so that whoever registers by either dialect registers the same service.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::registry::record::{Key, Registration, Standing};

/// Whether an instance takes traffic, in the words of Eureka. Ordered by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It is not well.
    Down,
    /// Somebody took it out of traffic.
    OutOfService,
    /// It is not ready yet.
    Starting,
    /// Nobody knows: it is to register again.
    Unknown,
    /// It takes traffic.
    Up,
}

impl Status {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Starting => "STARTING",
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
        }
    }

    /// Returns what it means for traffic.
    pub fn standing(self) -> Standing {
        match self {
            Self::Up => Standing::Up,
            Self::Down | Self::OutOfService | Self::Starting | Self::Unknown => Standing::Waiting,
        }
    }
}

impl From<Standing> for Status {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Up => Self::Up,
            Standing::Waiting => Self::OutOfService,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How many instances have which status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusCounts(BTreeMap<Status, usize>);

impl StatusCounts {
    /// Counts one more.
    pub fn add(&mut self, status: Status) {
        *self.0.entry(status).or_default() += 1;
    }

    /// Counts one less.
    pub fn remove(&mut self, status: Status) {
        match self.0.get_mut(&status) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.0.remove(&status)),
        }
    }

    /// Returns how many there are in all.
    pub fn sum(&self) -> usize {
        self.0.values().sum()
    }
}

/// What Eureka calls a hash: `DOWN_1_UP_12_`.
impl fmt::Display for StatusCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(status, count)| write!(f, "{status}_{count}_"))
    }
}

/// What is no status of Eureka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is none of UP, DOWN, STARTING, OUT_OF_SERVICE and UNKNOWN")]
pub struct InvalidStatus;

impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        let all = [Self::Down, Self::OutOfService, Self::Starting, Self::Unknown, Self::Up];
        all.into_iter().find(|it| it.name().eq_ignore_ascii_case(text)).ok_or(InvalidStatus)
    }
}

/// What Eureka knows of an instance beyond a [`Registration`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EurekaPart {
    /// The status in force.
    pub status: Status,
    /// The status an operator has put over the instance's own; none: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Status>,
    /// What the instance said when it registered by Eureka's API; none: it registered otherwise, and
    /// has been given a status since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Box<Said>>,
}

/// What an instance says when it registers by Eureka's API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Said {
    /// `lastDirtyTimestamp`: the version of the content, by the instance's own clock.
    pub last_dirty: u64,
    /// `hostName`: what callers connect to.
    pub host: Arc<str>,
    /// `ipAddr`.
    pub ip: Arc<str>,
    /// `port`.
    pub port: Port,
    /// `securePort`.
    pub secure_port: Port,
    /// `vipAddress`: names callers use, in a comma list; may be empty.
    #[serde(default)]
    pub vip: Arc<str>,
    /// `secureVipAddress`; may be empty.
    #[serde(default)]
    pub secure_vip: Arc<str>,
    /// `renewalIntervalInSecs`.
    pub renewal: u32,
    /// `dataCenterInfo`.
    pub data_center: DataCenter,
    /// Pages and groups, by their names in Eureka's JSON: a handful, for which a map is large.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<Named>,
}

/// A text and its name.
pub type Named = (Arc<str>, Arc<str>);

/// A port, and whether it is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Port {
    /// As it was said: 1 to 65535 if it is to be of use.
    pub number: i32,
    /// Whether it is to be used.
    pub enabled: bool,
}

impl Port {
    /// Returns the port if something can be reached there.
    pub fn usable(self) -> Option<u16> {
        u16::try_from(self.number).ok().filter(|it| self.enabled && *it > 0)
    }
}

/// Where an instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DataCenter {
    /// The class by which Java reads it.
    pub class: Arc<str>,
    /// `MyOwn`, `Amazon`, `Netflix`.
    pub name: Arc<str>,
    /// What Amazon says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

impl EurekaPart {
    /// Returns every text of it that nodes tell each other, for its size.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.said.iter().flat_map(|said| {
            let center = &said.data_center;
            let texts = said.texts.iter().map(|(key, value)| (key, value));
            let pairs = texts.chain(&center.metadata);
            let single = [&said.host, &said.ip, &said.vip, &said.secure_vip];
            let single = single.into_iter().chain([&center.class, &center.name]);
            single.chain(pairs.flat_map(|(key, value)| [key, value])).map(|it| &**it)
        })
    }

    /// Returns every text that many instances have in common.
    pub fn shared_texts(&mut self) -> impl Iterator<Item = &mut Arc<str>> {
        self.said.iter_mut().flat_map(|said| {
            let center = &mut said.data_center;
            let names = [&mut said.vip, &mut said.secure_vip, &mut center.class, &mut center.name];
            names.into_iter().chain(said.texts.iter_mut().map(|(key, _)| key))
        })
    }
}

impl Registration {
    /// Returns the status in force, in Eureka's words. Who says by another dialect whether an
    /// instance takes traffic has the last word.
    pub fn eureka_status(&self) -> Status {
        let own = self.eureka.as_ref().map(|it| it.status);
        own.filter(|it| it.standing() == self.status).unwrap_or_else(|| self.status.into())
    }

    /// Returns what it said to Eureka; none if it is registered by other means.
    pub fn said(&self) -> Option<&Said> {
        self.eureka.as_ref()?.said.as_deref()
    }

    /// Returns where it is reached, as one text: what some of Eureka's clients know an instance by.
    pub fn reach(&self) -> String {
        match self.said() {
            Some(said) => format!("{}:{}", said.host, said.port.number),
            None => self.addrs.join(","),
        }
    }

    /// Returns the names by which Eureka's callers ask for it: plain and secure, each a comma list.
    /// What was registered by other means has its service's name.
    pub fn vips<'a>(&'a self, key: &'a Key) -> [&'a str; 2] {
        match self.said() {
            Some(said) => [&said.vip, &said.secure_vip],
            None if self.addrs.iter().any(|it| it.starts_with("https://")) => {
                [&key.appid, &key.appid]
            }
            None => [&key.appid, ""],
        }
    }
}

/// Returns the name Eureka has for a service, whatever the case it is written in.
pub fn app_of(name: &str) -> String {
    name.to_lowercase().to_uppercase()
}

/// Returns the name a service of Eureka's has elsewhere.
pub fn appid_of(app: &str) -> String {
    app_of(app).to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_is_read_by_its_name() {
        for status in [Status::Down, Status::OutOfService, Status::Up] {
            assert_eq!(status.name().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
        assert_eq!("up".parse(), Ok(Status::Up));
        assert_eq!("OK".parse::<Status>(), Err(InvalidStatus));
    }

    #[test]
    fn who_takes_an_instance_out_of_traffic_otherwise_has_the_last_word() {
        let part = |status| Some(Box::new(EurekaPart { status, overridden: None, said: None }));
        let seen = |status, standing| {
            let eureka = part(status);
            Registration { status: standing, eureka, ..Registration::default() }.eureka_status()
        };

        assert_eq!(seen(Status::Starting, Standing::Waiting), Status::Starting);
        assert_eq!(seen(Status::Up, Standing::Waiting), Status::OutOfService);
        assert_eq!(seen(Status::Down, Standing::Up), Status::Up);
    }

    proptest! {
        #[test]
        fn a_service_has_one_name_in_each_dialect(name in "\\PC{0,12}") {
            let app = app_of(&name);

            prop_assert_eq!(app_of(&app), app.clone());
            prop_assert_eq!(app_of(&appid_of(&name)), app.clone());
            prop_assert_eq!(app_of(&name.to_uppercase()), app.clone());
            prop_assert_eq!(appid_of(&app), appid_of(&name));
        }
    }
}
