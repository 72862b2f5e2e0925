//! What each call asks for, out of its fields: parsed once, then known to be good.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::registry::dialect::discovery::binder::{
    Binder, Passed, Target, bounded, metadata, standing,
};
use crate::registry::dialect::discovery::fields::{Fields, Invalid, signed, unsigned};
use crate::registry::record::{Registration, Standing};

/// Addresses of one instance.
const MOST_ADDRS: usize = 256;
/// Services of one call.
const MOST_APPS: usize = 10_000;

/// The status filter that lets every instance through.
pub const ANY_STATUS: u32 = 3;

/// `POST register`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Who.
    pub target: Target,
    /// What.
    pub registration: Registration,
    /// By whom.
    pub passed: Passed,
}

/// `POST renew` and `POST cancel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Who.
    pub target: Target,
    /// By whom.
    pub passed: Passed,
}

/// One host of `POST set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alteration {
    /// Which host.
    pub hostname: Arc<str>,
    /// Its new status, if it gets one.
    pub status: Option<Standing>,
    /// Metadata to be merged into what it has.
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

/// `POST set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The environment.
    pub env: Arc<str>,
    /// The service.
    pub appid: Arc<str>,
    /// The zone.
    pub zone: Arc<str>,
    /// What becomes of which host, in order.
    pub alterations: Vec<Alteration>,
}

/// `GET fetch` and `GET fetchs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The environment.
    pub env: Arc<str>,
    /// The services.
    pub apps: Vec<Arc<str>>,
    /// The zone; empty: all.
    pub zone: Arc<str>,
    /// The bits of the statuses wanted: 1 up, 2 waiting.
    pub status: u32,
}

/// `GET poll` and `GET polls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The environment.
    pub env: Arc<str>,
    /// The services, each with the timestamp its consumer has.
    pub apps: Vec<(Arc<str>, i64)>,
    /// The zone; empty: all.
    pub zone: Arc<str>,
    /// Who asks.
    pub consumer: Arc<str>,
}

impl Register {
    /// Takes the arguments of `register`.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long.
    pub fn bind(fields: &Fields) -> Result<Self, Invalid> {
        let mut binder = Binder::new(fields, "ArgRegister");
        let (status, passed) = (binder.status()?, binder.passed()?);
        let target = binder.target()?;
        let addrs = binder.several("addrs", MOST_ADDRS)?;
        let (region, version) = (binder.text("region")?, binder.text("version")?);
        let color = binder.text("color")?;
        let () = binder.done(())?;
        let mut metadata = metadata(fields.first("metadata"))?;
        if !color.is_empty() {
            // A field of its own until late 2018, and in the documentation ever since.
            metadata.entry("color".into()).or_insert(color);
        }
        let status = standing(status)?;
        let registration =
            Registration { region, addrs, version, metadata, status, ..Registration::default() };
        Ok(Self { target, registration, passed })
    }
}

impl Beat {
    /// Takes the arguments of `renew`.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long.
    pub fn renew(fields: &Fields) -> Result<Self, Invalid> {
        Self::bind(Binder::new(fields, "ArgRenew"))
    }

    /// Takes the arguments of `cancel`.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long.
    pub fn cancel(fields: &Fields) -> Result<Self, Invalid> {
        Self::bind(Binder::new(fields, "ArgCancel"))
    }

    fn bind(mut binder: Binder<'_>) -> Result<Self, Invalid> {
        let passed = binder.passed()?;
        let target = binder.target()?;
        binder.done(Self { target, passed })
    }
}

impl Set {
    /// Takes the arguments of `set`.
    ///
    /// # Errors
    /// Something is missing, is too long, or has no meaning; or the lists are not of one length.
    pub fn bind(fields: &Fields) -> Result<Self, Invalid> {
        let mut binder = Binder::new(fields, "ArgSet");
        signed(fields.first("set_timestamp"))?;
        let statuses: Result<Vec<_>, _> = fields.split("status").map(unsigned).collect();
        let statuses = statuses?;
        let (zone, env, appid) =
            (binder.required("zone")?, binder.required("env")?, binder.required("appid")?);
        let () = binder.done(())?;
        let hosts: Result<Vec<_>, _> =
            fields.split("hostname").map(|it| bounded("hostname", it)).collect();
        let hosts = hosts?;
        let statuses: Result<Vec<_>, _> = statuses.into_iter().map(standing).collect();
        let statuses = statuses?;
        let merged: Result<Vec<_>, _> = fields.list("metadata").map(metadata).collect();
        let merged = merged?;
        let hostnames = hosts.len();
        for (other, others) in [("status", statuses.len()), ("metadata", merged.len())] {
            if others != 0 && others != hostnames {
                return Err(Invalid::Unequal { one: "hostname", ones: hostnames, other, others });
            }
        }
        let mut statuses = statuses.into_iter();
        let mut merged = merged.into_iter();
        let alterations = hosts.into_iter().map(|hostname| Alteration {
            hostname,
            status: statuses.next(),
            metadata: merged.next().unwrap_or_default(),
        });
        Ok(Self { env, appid, zone, alterations: alterations.collect() })
    }
}

impl Fetch {
    /// Takes the arguments of `fetch`: one service.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long.
    pub fn one(fields: &Fields) -> Result<Self, Invalid> {
        let mut binder = Binder::new(fields, "ArgFetch");
        let status = binder.status()?;
        let (env, appid) = (binder.required("env")?, binder.required("appid")?);
        let zone = binder.text("zone")?;
        binder.done(Self { env, apps: vec![appid], zone, status })
    }

    /// Takes the arguments of `fetchs`: several services.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long.
    pub fn several(fields: &Fields) -> Result<Self, Invalid> {
        let mut binder = Binder::new(fields, "ArgFetchs");
        let status = binder.status()?;
        let (env, apps) = (binder.required("env")?, binder.several("appid", MOST_APPS)?);
        let zone = binder.text("zone")?;
        binder.done(Self { env, apps, zone, status })
    }
}

impl Poll {
    /// Takes the arguments of `poll`: one service.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long.
    pub fn one(fields: &Fields) -> Result<Self, Invalid> {
        let mut binder = Binder::new(fields, "ArgPoll");
        let timestamp = signed(fields.first("latest_timestamp"))?;
        let (env, appid) = (binder.required("env")?, binder.required("appid")?);
        let (consumer, zone) = (binder.required("hostname")?, binder.text("zone")?);
        binder.done(Self { env, apps: vec![(appid, timestamp)], zone, consumer })
    }

    /// Takes the arguments of `polls`: several services, each with its timestamp.
    ///
    /// # Errors
    /// Something is missing, is no number, or is too long; or the lists are not of one length.
    pub fn several(fields: &Fields) -> Result<Self, Invalid> {
        let mut binder = Binder::new(fields, "ArgPolls");
        let timestamps: Result<Vec<_>, _> = fields.split("latest_timestamp").map(signed).collect();
        let timestamps = timestamps?;
        let (env, apps) = (binder.required("env")?, binder.several("appid", MOST_APPS)?);
        let (consumer, zone) = (binder.required("hostname")?, binder.text("zone")?);
        let () = binder.done(())?;
        let (ones, others) = (apps.len(), timestamps.len());
        if ones != others {
            let (one, other) = ("appid", "latest_timestamp");
            return Err(Invalid::Unequal { one, ones, other, others });
        }
        let apps = apps.into_iter().zip(timestamps).collect();
        Ok(Self { env, apps, zone, consumer })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::dialect::discovery::binder::Name;
    use crate::registry::record::LONGEST_NAME;

    fn fields(query: &str) -> Fields {
        Fields::of_query(query).unwrap()
    }

    const WHO: &str = "zone=z&env=prod&appid=a.b&hostname=h";

    #[test]
    fn a_registration_has_everything_that_was_said() {
        let said = format!(
            "{WHO}&status=1&addrs=grpc://10.0.0.1:1,http://10.0.0.1:2&addrs=x&region=r&version=v\
             &metadata=%7B%22weight%22%3A10%2C%22on%22%3Atrue%7D&color=red&treeid=7"
        );

        let read = Register::bind(&fields(&said)).unwrap();

        let registration = read.registration;
        assert_eq!(registration.addrs.len(), 3);
        assert_eq!((&*registration.region, &*registration.version), ("r", "v"));
        let metadata: Vec<_> = registration.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(metadata, [("color", "red"), ("on", "true"), ("weight", "10")]);
        assert_eq!(&*read.target.key().hostname, "h");
    }

    #[test]
    fn who_has_no_host_is_known_by_its_first_address() {
        let said = "zone=z&env=prod&appid=a&status=1&addrs=x:1,y:2";

        let read = Register::bind(&fields(said)).unwrap();

        assert_eq!(read.target.name, Name::Addr("x:1".into()));
        assert_eq!(&*read.target.key().hostname, "x:1");
    }

    #[test]
    fn what_is_missing_is_named_all_at_once() {
        let missing = Register::bind(&fields("zone=z")).unwrap_err().to_string();

        assert_eq!(missing.lines().count(), 5, "{missing}");
        assert!(missing.starts_with(
            "Key: 'ArgRegister.Status' Error:Field validation for 'Status' failed on the 'required' tag"
        ));
        assert!(missing.contains("'ArgRegister.Addrs'") && missing.contains("on the 'gt' tag"));
    }

    #[test]
    fn a_registration_that_means_nothing_is_refused() {
        for wrong in [
            "status=0",
            "status=3",
            "status=-1",
            "status=x",
            "status=1&metadata=%7B",
            "status=1&metadata=[1]",
            "status=1&metadata=%22x%22",
            "status=1&dirty_timestamp=x",
            &format!("status=1&version={}", "x".repeat(LONGEST_NAME + 1)),
            &format!("status=1&{}", "addrs=x&".repeat(MOST_ADDRS + 1)),
        ] {
            let said = format!("{WHO}&addrs=a&{wrong}");

            assert!(Register::bind(&fields(&said)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_of_set_are_empty_or_of_one_length() {
        let who = "zone=z&env=prod&appid=a";
        let bound = |more: &str| Set::bind(&fields(&format!("{who}&{more}")));

        let both = bound("hostname=a&hostname=b&status=1&status=2").unwrap().alterations;
        assert_eq!(both[1].status, Some(Standing::Waiting));
        let one = bound("hostname=a&metadata=%7B%22a%22%3A%221%22%7D").unwrap().alterations;
        assert_eq!((one[0].status, one[0].metadata.len()), (None, 1));
        for wrong in ["hostname=a&status=1&status=2", "status=1", "hostname=a&status=3"] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_service_polled_has_its_timestamp() {
        let bound = |more: &str| Poll::several(&fields(&format!("env=prod&hostname=me&{more}")));

        let repeated = bound("appid=a&appid=b&latest_timestamp=1&latest_timestamp=2").unwrap();
        let joined = bound("appid=a,b&latest_timestamp=1,2").unwrap();

        assert_eq!(repeated, joined);
        for wrong in ["appid=a", "appid=a&latest_timestamp=1,2", "appid=a&latest_timestamp=x", ""] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_query_is_too_odd(query in "[a-z_]{0,9}(=[0-9a-z%,+&=_]{0,40}){0,5}", set: bool) {
            let query = if set { format!("{WHO}&{query}") } else { query };
            let Ok(fields) = Fields::of_query(&query) else { return Ok(()) };

            let _ = Register::bind(&fields);
            let _ = Beat::renew(&fields);
            let _ = Set::bind(&fields);
            let _ = Fetch::several(&fields);
            let _ = Poll::several(&fields);
        }
    }
}
