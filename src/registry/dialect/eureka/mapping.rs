//! What an instance that registers by Eureka's API is to everybody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::registry::dialect::eureka::instance::Info;
use crate::registry::eureka::{EurekaPart, Said, Status, appid_of};
use crate::registry::record::{Key, Registration};

/// What the node says of whoever does not say it himself.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Eureka knows no environments: all its instances are in this one.
    pub env: &'a Arc<str>,
    /// The region.
    pub region: &'a Arc<str>,
    /// The zone.
    pub zone: &'a Arc<str>,
}

/// Returns the key of an instance.
pub fn key(info: &Info, place: Place<'_>) -> Key {
    Key {
        env: place.env.clone(),
        appid: appid_of(&info.app).into(),
        zone: info.zone().unwrap_or(place.zone).clone(),
        hostname: info.id.clone(),
    }
}

/// Returns what is registered of an instance that says `info`, where `before` is what there was of
/// it. The store fills in the rest.
pub fn registration(info: Info, before: Option<&Registration>, place: Place<'_>) -> Registration {
    let overridden = before.and_then(|it| it.eureka.as_ref()?.overridden).or(info.overridden);
    let status = match info.status {
        // Of these an instance knows best.
        Status::Down | Status::Starting | Status::Unknown => info.status,
        Status::Up | Status::OutOfService => overridden.unwrap_or(info.status),
    };
    let text = |key: &str| info.metadata.get(key).cloned();
    Registration {
        region: text("region").unwrap_or_else(|| place.region.clone()),
        addrs: addrs(&info.said, &info.metadata),
        version: text("version").unwrap_or_default(),
        status: status.standing(),
        lease: info.lease,
        eureka: Some(Box::new(EurekaPart { status, overridden, said: Some(Box::new(info.said)) })),
        metadata: info.metadata,
        ..Registration::default()
    }
}

/// Whether a registration says what there is already: what the store fills in does not count.
pub fn is_same(new: &Registration, live: &Registration) -> bool {
    let mut new = new.clone();
    (new.registered, new.up_since) = (live.registered, live.up_since);
    (new.slot, new.said) = (live.slot, live.said);
    new == *live
}

/// Returns where an instance takes requests: its ports that are on, and the port of gRPC that Spring
/// and others write into metadata, as `gRPC.port`, `gRPC_port` or `grpcPort`.
fn addrs(said: &Said, metadata: &BTreeMap<Arc<str>, Arc<str>>) -> Vec<Arc<str>> {
    let host = if said.ip.contains(':') && !said.ip.starts_with('[') {
        format!("[{}]", said.ip)
    } else {
        said.ip.to_string()
    };
    let grpc = metadata.iter().find(|(key, _)| is_grpc_port(key));
    let grpc = grpc.and_then(|(_, it)| it.trim().parse::<u16>().ok()).filter(|it| *it > 0);
    let all = [("http", said.port.usable()), ("https", said.secure_port.usable()), ("grpc", grpc)];
    let all = all.into_iter().filter_map(|(scheme, port)| Some((scheme, port?)));
    all.map(|(scheme, port)| format!("{scheme}://{host}:{port}").into()).collect()
}

/// Whether metadata of this key is the port of gRPC.
pub(super) fn is_grpc_port(key: &str) -> bool {
    let letters = key.chars().filter(|it| !matches!(it, '.' | '_' | '-'));
    letters.map(|it| it.to_ascii_lowercase()).eq("grpcport".chars())
}
