//! An instance as Eureka's callers are shown it, however it was registered.
//!
//! What was registered by other means is told as a Java server would tell it: its callers connect to
//! `hostName` or `ipAddr` and `port`, so both are of its address, an `http` one rather than another.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::registry::dialect::eureka::mapping::is_grpc_port;
use crate::registry::eureka::{Named, Port, Said, Status, app_of};
use crate::registry::record::{Record, Registration};
use crate::registry::store::{Action, Member};

/// An instance, taken out of the store.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its id.
    pub name: Arc<str>,
    /// What is registered.
    pub member: Member,
    /// When it was last heard of, in unix nanoseconds.
    pub renewed: u64,
    /// What became of it.
    pub action: Action,
}

/// An instance: everything that is told of it.
#[derive(Debug)]
pub struct Shown<'a> {
    pub(super) id: &'a str,
    pub(super) app: Cow<'a, str>,
    pub(super) host: Cow<'a, str>,
    pub(super) ip: Cow<'a, str>,
    pub(super) status: Status,
    pub(super) overridden: Status,
    pub(super) port: Port,
    pub(super) secure_port: Port,
    pub(super) data_center_class: &'a str,
    pub(super) data_center_name: &'a str,
    pub(super) data_center_metadata: Option<&'a Texts>,
    pub(super) lease: Lease,
    pub(super) metadata: Cow<'a, Texts>,
    pub(super) texts: &'a [Named],
    pub(super) vips: [&'a str; 2],
    /// In milliseconds, as all times.
    pub(super) updated: u64,
    pub(super) dirty: u64,
    pub(super) action: Action,
}

/// Texts by name.
pub(super) type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// How long it may be silent, and its times in milliseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lease {
    pub(super) renewal_interval_in_secs: u32,
    pub(super) duration_in_secs: u64,
    pub(super) registration_timestamp: u64,
    pub(super) last_renewal_timestamp: u64,
    /// Always 0: what was evicted is not shown.
    pub(super) eviction_timestamp: u64,
    pub(super) service_up_timestamp: u64,
}

/// Where and when it is that instances are shown.
#[derive(Debug, Clone)]
pub struct View {
    /// The application's name, where that is known.
    pub app: Option<Arc<str>>,
    /// How long those may be silent who do not say so themselves, in seconds.
    pub lease: u64,
}

impl<'a> Shown<'a> {
    /// Shows a row. None: it is of nothing alive.
    pub fn of(row: &'a Row, view: &'a View) -> Option<Self> {
        let record: &Record = &row.member.record;
        let (key, live) = (&record.key, record.live()?);
        let app = view.app.as_deref();
        let written = millis(record.version.at);
        let lease = Lease {
            renewal_interval_in_secs: live.said().map_or(30, |it| it.renewal),
            duration_in_secs: live.lease.map_or(view.lease, u64::from),
            registration_timestamp: millis(live.registered),
            last_renewal_timestamp: millis(row.renewed),
            eviction_timestamp: 0,
            service_up_timestamp: millis(live.up_since),
        };
        let mut shown = Self {
            id: &row.name,
            app: app.map_or_else(|| app_of(&key.appid).into(), Cow::Borrowed),
            host: "".into(),
            ip: "".into(),
            status: live.eureka_status(),
            overridden: overridden(live),
            port: Port::default(),
            secure_port: Port::default(),
            data_center_class: "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            data_center_name: "MyOwn",
            data_center_metadata: None,
            lease,
            metadata: Cow::Borrowed(&live.metadata),
            texts: &[],
            vips: live.vips(key),
            updated: written,
            dirty: written,
            action: row.action,
        };
        match live.said() {
            Some(said) => shown.take_said(said),
            None => shown.take_addrs(live, &key.zone),
        }
        Some(shown)
    }

    fn take_said(&mut self, said: &'a Said) {
        (self.host, self.ip) = (Cow::Borrowed(&*said.host), Cow::Borrowed(&*said.ip));
        (self.port, self.secure_port) = (said.port, said.secure_port);
        let center = &said.data_center;
        (self.data_center_class, self.data_center_name) = (&center.class, &center.name);
        self.data_center_metadata = Some(&center.metadata).filter(|it| !it.is_empty());
        self.texts = &said.texts;
        self.dirty = said.last_dirty;
    }

    /// Shows what was registered with addresses: the first of each scheme.
    fn take_addrs(&mut self, live: &Registration, zone: &Arc<str>) {
        let addrs: Vec<_> = live.addrs.iter().filter_map(|it| Addr::read(it)).collect();
        let of = |scheme: &str| addrs.iter().find(|it| it.scheme == scheme);
        let (http, https, grpc) = (of("http"), of("https"), of("grpc"));
        let other = addrs.iter().find(|it| it.scheme != "https");
        let plain = http.or(grpc).or(other);
        if let Some(addr) = plain.or(https) {
            self.host = addr.host.to_owned().into();
            self.ip = addr.host.trim_start_matches('[').trim_end_matches(']').to_owned().into();
        }
        self.port = plain.map_or(Port { number: 0, enabled: false }, Addr::port);
        let no_secure = Port { number: 443, enabled: false };
        self.secure_port = https.map_or(no_secure, Addr::port);
        let metadata = self.metadata.to_mut();
        metadata.entry("zone".into()).or_insert_with(|| zone.clone());
        if !live.version.is_empty() {
            metadata.entry("version".into()).or_insert_with(|| live.version.clone());
        }
        let port = grpc.and_then(|it| it.port);
        if let Some(port) = port.filter(|_| !metadata.keys().any(|it| is_grpc_port(it))) {
            metadata.insert("gRPC_port".into(), port.to_string().into());
        }
    }
}

fn overridden(live: &Registration) -> Status {
    live.eureka.as_ref().and_then(|it| it.overridden).unwrap_or(Status::Unknown)
}

/// Returns unix nanoseconds as milliseconds.
fn millis(unix: u64) -> u64 {
    unix / 1_000_000
}

/// An address of an instance: `scheme://host:port`.
struct Addr<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Addr<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        (!host.is_empty()).then_some(Self { scheme, host, port })
    }

    fn port(&self) -> Port {
        let known = match self.scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = self.port.or(known);
        Port { number: port.unwrap_or_default().into(), enabled: port.is_some() }
    }
}
