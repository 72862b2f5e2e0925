//! What stands in messages on the wire: field names, hosts, methods, paths, networks.

use std::net::IpAddr;

use crate::config::reading::value::Value;

/// Why a text is refused, and the remedy.
type Refused = (String, String);

/// Fields that frame a message or end at this hop: they are gone, or rebuilt, before anybody
/// could look at them.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns whether `text` is a token (RFC 9110 section 5.6.2).
pub(in crate::config) fn is_token(text: &str) -> bool {
    let mark = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

/// Reads the name of a header field, in any case; gives it in lower case.
pub(in crate::config) fn field_name(text: &str) -> Result<String, Refused> {
    let name = text.to_ascii_lowercase();
    let refused = |why: &str, help: &str| Err((why.to_owned(), help.to_owned()));
    if name.starts_with(':') {
        return refused("names a pseudo-header", "match by `hosts`, `path_prefix` and `methods`");
    }
    if !is_token(&name) || name.len() > 256 {
        let help = "write letters, digits and '-', such as \"x-tenant\"";
        return refused("is no name of a header field", help);
    }
    if name == "host" {
        return refused("names `host`, which is no field here", "a host is matched by `hosts`");
    }
    if FRAMING.contains(&&*name) {
        let why = format!("names `{name}`, which frames a message and ends at each hop");
        return refused(&why, "choose a field that travels end to end, such as \"x-tenant\"");
    }
    Ok(name)
}

/// Reads a host, in any case, perhaps with a port; gives it in lower case without a trailing dot.
fn host(text: &str, port_allowed: bool, wildcard_allowed: bool) -> Result<String, Refused> {
    let text = text.to_ascii_lowercase();
    let refused = |why: &str, help: &str| Err((why.to_owned(), help.to_owned()));
    if text.contains("://") || text.contains('/') {
        return refused(
            "is no host but a URL",
            "write the host only, such as \"shop.example.com\"",
        );
    }
    let (name, port) = split_port(&text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = match name.strip_prefix("*.") {
        Some(rest) if wildcard_allowed => rest,
        Some(_) => return refused("has a wildcard", "name each host; `[[rule]]` takes wildcards"),
        None => name,
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bracketed = labels.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            labels.bytes().all(allowed)
                && labels.len() <= 253
                && labels.split('.').all(|label| !label.is_empty())
        }
    };
    if !good {
        return refused("is no host", "write a name such as \"shop.example.com\", without spaces");
    }
    match port {
        None => Ok(name.to_owned()),
        Some(_) if !port_allowed => {
            refused("has a port, which is not looked at here", "write the host without it")
        }
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 => Ok(format!("{name}:{number}")),
            _ => refused("has no good port", "write a port of 1 to 65535 behind the colon"),
        },
    }
}

/// Cuts the port off a host; the colons of `[::1]` begin none.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    }
}

/// Reads a network: address and prefix length, or one address.
fn network(text: &str) -> Result<(IpAddr, u8), Refused> {
    let refused = || {
        let help = "write an address and a prefix length, such as \"10.0.0.0/8\"";
        ("is no network".to_owned(), help.to_owned())
    };
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(length) => length.parse().ok().filter(|it| *it <= bits).ok_or_else(refused)?,
    };
    let masked = mask(address, length);
    if masked != address {
        let why = format!("has bits behind its first {length}");
        return Err((why, format!("write \"{masked}/{length}\"")));
    }
    Ok((address, length))
}

/// Clears the bits of `address` behind the first `length`.
fn mask(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(it) => {
            let kept = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V4((it.to_bits() & kept).into())
        }
        IpAddr::V6(it) => {
            let kept = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            IpAddr::V6((it.to_bits() & kept).into())
        }
    }
}

impl Value<'_> {
    fn checked<T>(
        &self,
        expected: &str,
        check: impl FnOnce(&str) -> Result<T, Refused>,
    ) -> Option<T> {
        let text = self.text(expected)?;
        match check(&text) {
            Ok(good) => Some(good),
            Err((why, help)) => self.refuse(why, help),
        }
    }

    /// Reads the name of a header field; gives it in lower case.
    pub(in crate::config) fn field_name(&self) -> Option<String> {
        self.checked("the name of a header field in quotes", field_name)
    }

    /// Reads a host, perhaps with a port.
    pub(in crate::config) fn host(&self) -> Option<String> {
        self.checked("a host in quotes", |text| host(text, true, false))
    }

    /// Reads a host without port, perhaps beginning with `*.`.
    pub(in crate::config) fn host_pattern(&self) -> Option<String> {
        self.checked("a host in quotes", |text| host(text, false, true))
    }

    /// Reads a network as address and prefix length.
    pub(in crate::config) fn network(&self) -> Option<(IpAddr, u8)> {
        self.checked("a network in quotes, such as \"10.0.0.0/8\"", network)
    }

    /// Reads a token: a key of `baggage`, the name of a cookie.
    pub(in crate::config) fn token(&self) -> Option<String> {
        self.checked("a key in quotes", |text| {
            let help = "write letters, digits and marks such as '-', without spaces".to_owned();
            let good = is_token(text) && text.len() <= 256;
            if good { Ok(text.to_owned()) } else { Err(("is no key".to_owned(), help)) }
        })
    }

    /// Reads a key of `tracestate` (W3C Trace Context section 3.3.1.3.1).
    pub(in crate::config) fn tracestate_key(&self) -> Option<String> {
        self.checked("a key in quotes", |text| {
            let first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let allowed = |byte: u8| first(byte) || b"_-*/@".contains(&byte);
            let good = text.bytes().all(allowed) && text.bytes().next().is_some_and(first);
            let help = "write lower-case letters, digits, '_', '-', '*' and '/'".to_owned();
            let why = "is no key of `tracestate`".to_owned();
            if good && text.len() <= 256 { Ok(text.to_owned()) } else { Err((why, help)) }
        })
    }

    /// Reads a method.
    pub(in crate::config) fn method(&self) -> Option<String> {
        self.checked("a method in quotes", |text| {
            let upper = text.to_ascii_uppercase();
            if !is_token(text) || text.len() > 64 {
                return Err(("is no method".to_owned(), "write one such as \"GET\"".to_owned()));
            }
            if upper != text {
                let why = "is in lower case; methods are told apart by case".to_owned();
                return Err((why, format!("write \"{upper}\"")));
            }
            Ok(upper)
        })
    }

    /// Reads the beginning of a path; gives it without a trailing slash.
    pub(in crate::config) fn path_prefix(&self) -> Option<String> {
        self.checked("a path in quotes", |text| {
            if !text.starts_with('/') {
                let help = format!("write \"/{}\"", text.trim_start_matches('*'));
                return Err(("does not begin with a slash".to_owned(), help));
            }
            if let Some(odd) = text.find(['?', '#', '*', ' ']).and_then(|at| text.get(at..=at)) {
                let why = format!("has {odd:?}, which no path prefix has");
                return Err((
                    why,
                    "write the path alone; what lies below it is matched".to_owned(),
                ));
            }
            let trimmed = text.trim_end_matches('/');
            Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_lower_case_without_its_last_dot() {
        for (text, expected) in [
            ("Shop.Example.COM", "shop.example.com"),
            ("users.:9000", "users:9000"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(host(text, true, false).as_deref(), Ok(expected));
        }
        for bad in
            ["", ".", "a b", "a..b", "http://a", "a:0", "a:x", "a:", "*.a", "é", "::1", "[x]"]
        {
            assert!(host(bad, true, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_has_no_bits_behind_its_length() {
        assert_eq!(network("10.0.0.0/8"), Ok((IpAddr::from([10, 0, 0, 0]), 8)));
        assert_eq!(network("0.0.0.0/0"), Ok((IpAddr::from([0, 0, 0, 0]), 0)));
        assert_eq!(network("::1").unwrap().1, 128);
        assert_eq!(network("10.1.2.3/8").unwrap_err().1, "write \"10.0.0.0/8\"");
        assert_eq!(network("fd00::1/16").unwrap_err().1, "write \"fd00::/16\"");
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "::/-1"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_that_frame_a_message_are_refused() {
        assert_eq!(field_name("X-Tenant").as_deref(), Ok("x-tenant"));
        for bad in ["", ":path", "host", "Connection", "content-length", "a b", "a:b", "é"] {
            assert!(field_name(bad).is_err(), "{bad}");
        }
    }
}
