//! Which service a host is of.

use std::hash::BuildHasher;

use arrayvec::ArrayString;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};

use crate::routing::ServiceId;

/// Longest host that is looked for, in bytes: that of a DNS name (RFC 1035 section 2.3.4), and
/// its trailing dot.
const HOST_BYTES: usize = 254;
/// The port an authority means that names none: what we can read is `http`.
const HTTP_PORT: u16 = 80;

/// Hosts, each with a port that must match or for any port, and the service they are of.
///
/// All names lie in one text, so that looking for one touches little memory.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    entries: HashTable<Host>,
    names: String,
    /// By the start of the host's name in `names`, and port.
    ports: HashMap<(u32, u16), ServiceId, RandomState>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Host {
    /// Where its name begins.
    start: u32,
    length: u16,
    has_ports: bool,
    /// The service it is of at any port that is not its own.
    service: Option<ServiceId>,
}

impl Hosts {
    /// Adds a host of a service: `host`, or `host:port`. Whoever has it already keeps it.
    pub(super) fn add(&mut self, authority: &str, service: ServiceId) {
        let Some((host, port)) = split(authority) else { return };
        let Some(name) = lower(host) else { return };
        let Some(host) = self.intern(&name) else { return };
        match port {
            None => host.service = host.service.or(Some(service)),
            Some(port) => {
                host.has_ports = true;
                let place = (host.start, port);
                self.ports.entry(place).or_insert(service);
            }
        }
    }

    fn intern(&mut self, name: &str) -> Option<&mut Host> {
        let Self { entries, names, hasher, .. } = self;
        let hash = hasher.hash_one(name);
        if entries.find(hash, |it| it.name(names) == name).is_none() {
            let start = u32::try_from(names.len()).ok()?;
            let length = u16::try_from(name.len()).ok()?;
            names.push_str(name);
            let host = Host { start, length, has_ports: false, service: None };
            entries.insert_unique(hash, host, |it| hasher.hash_one(it.name(names)));
        }
        entries.find_mut(hash, |it| it.name(names) == name)
    }

    /// Returns the service an authority is of: by host and port, else by host.
    pub(super) fn service(&self, authority: &str) -> Option<ServiceId> {
        let (host, port) = split(authority)?;
        let name = lower(host)?;
        let hash = self.hasher.hash_one(&*name);
        let host = self.entries.find(hash, |it| it.name(&self.names) == &*name)?;
        let at_port = if host.has_ports {
            self.ports.get(&(host.start, port.unwrap_or(HTTP_PORT))).copied()
        } else {
            None
        };
        at_port.or(host.service)
    }
}

impl Host {
    fn name<'a>(&self, names: &'a str) -> &'a str {
        let start = self.start as usize;
        names.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

/// Splits an authority into host, without its trailing dot, and port; none if it is malformed.
///
/// An empty port is none (RFC 3986 section 3.2.3). The brackets of an IPv6 address stay.
pub(super) fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority.get(bracket..)?.rfind(':') {
        Some(colon) => (authority.get(..bracket + colon)?, authority.get(bracket + colon + 1..)?),
        None => (authority, ""),
    };
    let port = match port {
        "" => None,
        digits if digits.bytes().all(|it| it.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() { None } else { Some((host, port)) }
}

fn lower(host: &str) -> Option<ArrayString<HOST_BYTES>> {
    let mut lower = ArrayString::from(host).ok()?;
    lower.make_ascii_lowercase();
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[(&str, u32)]) -> Hosts {
        let mut hosts = Hosts::default();
        for (host, service) in entries {
            hosts.add(host, ServiceId::from(*service));
        }
        hosts
    }

    #[test]
    fn a_host_is_found_whatever_its_case_port_and_trailing_dot() {
        let hosts = hosts(&[("User.shop", 1)]);

        for authority in ["user.shop", "USER.SHOP", "user.shop.", "user.shop:80", "user.shop.:9"] {
            assert_eq!(hosts.service(authority), Some(ServiceId::from(1)), "{authority}");
        }
        for authority in ["", ".", "user", "user.shop:x", "user.shop:70000", "a@user.shop"] {
            assert_eq!(hosts.service(authority), None, "{authority}");
        }
    }

    #[test]
    fn a_port_that_is_configured_must_match_and_is_tried_first() {
        let hosts = hosts(&[("users:9000", 1), ("users", 2), ("orders:9000", 3), ("web:80", 4)]);

        let found = |authority| hosts.service(authority).map(ServiceId::number);
        assert_eq!(found("users:9000"), Some(1));
        assert_eq!(found("users:9001"), Some(2));
        assert_eq!(found("users"), Some(2));
        assert_eq!(found("orders"), None);
        assert_eq!(found("web"), Some(4), "http means port 80");
    }

    #[test]
    fn an_address_is_a_host_too() {
        let hosts = hosts(&[("[::1]", 1), ("10.0.0.1:80", 2)]);

        let found = |authority| hosts.service(authority).map(ServiceId::number);
        assert_eq!(found("[::1]:8080"), Some(1));
        assert_eq!(found("[::1]"), Some(1));
        assert_eq!(found("10.0.0.1:80"), Some(2));
        assert_eq!(found("10.0.0.1:81"), None);
    }

    #[test]
    fn the_first_service_that_has_a_host_keeps_it() {
        let hosts = hosts(&[("users", 1), ("USERS", 2)]);

        assert_eq!(hosts.service("users"), Some(ServiceId::from(1)));
    }
}
