//! What a source says of one instance, as the catalog has it; or why it is of no use.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{Instance, InvalidName, LaneName};

/// Longest name that is kept of what a source says, in characters.
const SHOWN: usize = 128;

/// Why nobody could send a request to an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Its service has a name that is none.
    #[error("its service cannot be called {0:?}: {1}")]
    Service(Arc<str>, InvalidName),
    /// It says that it is in a lane that cannot be. As the baseline it would get everybody's
    /// requests.
    #[error("a lane cannot be called {0:?}: {1}")]
    Lane(Arc<str>, InvalidName),
    /// It has no address.
    #[error("it has no address")]
    NoAddress,
    /// Each of its addresses has a scheme that we do not speak.
    #[error("{0:?} speaks what we do not: of schemes there are grpc and http")]
    Scheme(Arc<str>),
    /// Its host is a name.
    #[error("{0:?} is no IP address and port")]
    Address(Arc<str>),
    /// Its address is that of every machine, or of none.
    #[error("nobody can be reached at {0}")]
    Nowhere(SocketAddr),
}

/// The first of what a source calls something, for people.
pub(super) fn shown(text: &str) -> Arc<str> {
    text.chars().filter(|it| !it.is_control()).take(SHOWN).collect::<String>().into()
}

/// Chooses among an instance's addresses: `grpc://` before `http://` before one without scheme, and
/// of equals the first. A path, and whatever follows it, says nothing.
///
/// # Errors
/// None can be used; of several reasons, that of the first address.
pub(super) fn address<'a>(
    addresses: impl IntoIterator<Item = &'a str>,
) -> Result<SocketAddr, Unusable> {
    let mut best: Option<(u8, SocketAddr)> = None;
    let mut refused = None;
    for text in addresses.into_iter().map(str::trim).filter(|it| !it.is_empty()) {
        match one_address(text) {
            Ok(found) if best.is_none_or(|it| found.0 < it.0) => best = Some(found),
            Ok(_) => {}
            Err(why) => drop(refused.get_or_insert(why)),
        }
    }
    match (best, refused) {
        (Some((_, address)), _) => Ok(address),
        (None, why) => Err(why.unwrap_or(Unusable::NoAddress)),
    }
}

/// Returns one address and how far behind others it comes.
fn one_address(text: &str) -> Result<(u8, SocketAddr), Unusable> {
    let (rank, rest) = match text.split_once("://") {
        None => (2, text),
        Some(("grpc", rest)) => (0, rest),
        Some(("http", rest)) => (1, rest),
        Some(_) => return Err(Unusable::Scheme(shown(text))),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (place, query) = rest.split_at(end);
    // What Kratos writes behind an address that speaks TLS.
    if query.contains("isSecure=true") {
        return Err(Unusable::Scheme(shown(text)));
    }
    let address: SocketAddr = place.parse().map_err(|_| Unusable::Address(shown(text)))?;
    reachable(address).map(|it| (rank, it))
}

/// Refuses an address at which there is nobody.
pub(super) fn reachable(address: SocketAddr) -> Result<SocketAddr, Unusable> {
    let nowhere =
        address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0;
    if nowhere { Err(Unusable::Nowhere(address)) } else { Ok(address) }
}

/// Reads a lane; the empty name is the baseline.
pub(super) fn lane(text: Option<&str>) -> Result<Option<LaneName>, Unusable> {
    let Some(text) = text.filter(|it| !it.is_empty()) else { return Ok(None) };
    LaneName::new(text).map(Some).map_err(|why| Unusable::Lane(shown(text), why))
}

/// Reads a weight: whole numbers from 1 on, at most 10,000. None: there is none, or no such number.
pub(super) fn weight(text: &str) -> Option<u32> {
    let weight: u64 = text.trim().parse().ok()?;
    let most = u64::from(Instance::MOST_WEIGHT);
    u32::try_from(weight.min(most)).ok().filter(|it| *it > 0)
}

/// The first of `keys` that is there and not empty.
pub(super) fn first<'a, K: AsRef<str>, V: AsRef<str>>(
    metadata: &'a BTreeMap<Arc<str>, V>,
    keys: &[K],
) -> Option<&'a str> {
    let mut found = keys.iter().filter_map(|key| metadata.get(key.as_ref()));
    found.find(|it| !it.as_ref().is_empty()).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_comes_before_http_before_no_scheme() {
        for (addresses, expected) in [
            (&["http://10.0.0.1:80", "grpc://10.0.0.1:90"][..], "10.0.0.1:90"),
            (&["10.0.0.1:70", "http://10.0.0.1:80/a?b"], "10.0.0.1:80"),
            (&["https://10.0.0.1:443", "10.0.0.1:70"], "10.0.0.1:70"),
            (&["grpc://10.0.0.1:90?isSecure=false", "grpc://10.0.0.2:90"], "10.0.0.1:90"),
            (&["", " grpc://[fd00::1]:90 "], "[fd00::1]:90"),
            (&["grpc://user.shop:90", "http://10.0.0.1:80"], "10.0.0.1:80"),
        ] {
            let found = address(addresses.iter().copied());

            assert_eq!(found.unwrap().to_string(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (text, why) in [
            ("", Unusable::NoAddress),
            ("https://10.0.0.1:443", Unusable::Scheme("https://10.0.0.1:443".into())),
            (
                "grpc://1.1.1.1:9?isSecure=true",
                Unusable::Scheme("grpc://1.1.1.1:9?isSecure=true".into()),
            ),
            ("grpc://user.shop:90", Unusable::Address("grpc://user.shop:90".into())),
            ("10.0.0.1", Unusable::Address("10.0.0.1".into())),
            ("grpc://0.0.0.0:90", Unusable::Nowhere("0.0.0.0:90".parse().unwrap())),
            ("10.0.0.1:0", Unusable::Nowhere("10.0.0.1:0".parse().unwrap())),
            ("[ff02::1]:80", Unusable::Nowhere("[ff02::1]:80".parse().unwrap())),
        ] {
            assert_eq!(address([text]), Err(why), "{text}");
        }
    }

    #[test]
    fn weights_are_whole_numbers_from_one_on() {
        let read = ["7", " 20 ", "99999", "0", "-1", "1.5", "", "x"].map(weight);

        assert_eq!(read, [Some(7), Some(20), Some(10_000), None, None, None, None, None]);
    }

    #[test]
    fn a_lane_is_a_name_or_none() {
        assert_eq!((lane(None), lane(Some(""))), (Ok(None), Ok(None)));
        assert_eq!(lane(Some("alice")).unwrap().unwrap().as_str(), "alice");
        assert!(matches!(lane(Some("a b")), Err(Unusable::Lane(..))));
    }
}
