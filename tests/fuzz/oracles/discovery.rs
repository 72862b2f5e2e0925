//! What registries answer to a sidecar that follows them.

use std::net::{IpAddr, SocketAddr};

use dyelane::config::{Config, Discovery};
use dyelane::discovery::answers::{self, Read};
use serde_json::Value;

const FILE: &str = "
    [workload]
    service = 'order.shop'
    [outbound]
    [discovery.registry]
    addresses = ['registry:7171']
    [discovery.eureka]
    addresses = ['http://eureka/eureka']
";

fn section() -> Discovery {
    Config::check("sidecar.toml", FILE, &|_| None).unwrap().discovery
}

/// Whoever is in a catalog can be sent a request.
fn check(read: &Read) {
    for (service, instances) in read.catalog.services() {
        assert!(!instances.is_empty(), "{service}");
        for (address, instance) in instances {
            assert_eq!((&instance.service, &instance.address), (service, address));
            assert!((1..=10_000).contains(&instance.weight), "{instance:?}");
            assert!(address.port() > 0 && !address.ip().is_unspecified(), "{instance:?}");
        }
    }
    for (name, lane) in &read.rules.lanes {
        assert!(lane.makes_sense(name), "{name}");
    }
}

/// The bytes are an answer to our watch, or to the polls of bilibili/discovery.
pub fn registry(bytes: &[u8]) {
    let source = section().registry.unwrap();

    let read = [answers::watch(&source, bytes), answers::polls(&source, bytes)];

    read.iter().flatten().for_each(check);
}

/// The bytes are an answer of Eureka. Those of its instances that are written as servers of today
/// write them are read, whatever stands around them.
pub fn apps(bytes: &[u8]) {
    let source = section().eureka.unwrap();

    let read = answers::eureka(&source, bytes);

    let Some(read) = read else { return };
    check(&read);
    // What is read over need not be read by everybody.
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return };
    let apps = list(&document["applications"]["application"]);
    // Names that are there twice are read by their last value, as they are here; ids that are there
    // twice are one instance.
    let named: usize = apps.iter().map(|it| list(&it["instance"]).len()).sum();
    assert!(read.catalog.len() + read.left_out <= named, "{read:?}");
    for address in apps.iter().flat_map(|it| list(&it["instance"])).filter_map(plain) {
        if named == 1 {
            let mut all = read.catalog.services().flat_map(|(_, it)| it.keys());
            assert!(all.any(|it| *it == address), "{address} is not in {read:?}");
        }
    }
}

/// The objects of a list, or of one that is not in a list.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(all) => all.iter().filter(|it| it.is_object()).collect(),
        Value::Object(_) => vec![value],
        _ => Vec::new(),
    }
}

/// Where an instance is that is written as servers of today do, of the baseline.
fn plain(instance: &Value) -> Option<SocketAddr> {
    let port = instance.get("port")?;
    let is_enabled = port.get("@enabled")?.as_str()? == "true";
    let number = port.get("$")?.as_u64()?;
    let number = u16::try_from(number).ok().filter(|it| *it > 0 && is_enabled)?;
    let ip: IpAddr = instance.get("ipAddr")?.as_str()?.parse().ok()?;
    let vip = instance.get("vipAddress")?.as_str()?;
    let is_name =
        !vip.is_empty() && vip.len() < 64 && vip.bytes().all(|it| it.is_ascii_lowercase());
    let has_metadata = instance.get("metadata").is_some();
    let is_ordinary = !ip.is_unspecified() && !ip.is_multicast();
    (is_name && !has_metadata && is_ordinary).then(|| SocketAddr::new(ip, number))
}
