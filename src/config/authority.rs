//! Where somebody is reached, as a host and a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::Serialize;

/// Longest name of a host (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

/// A host and a port: `10.0.0.1:7171`, `[::1]:7171`, `registry-0.registry:7171`. In lower case; the
/// port is never 0, and the host no address at which nobody can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Authority(Box<str>);

/// Why a text is no [`Authority`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthority {
    /// It names a scheme or a path.
    #[error("is no host but a URL")]
    Url,
    /// There is nothing behind the host.
    #[error("has no port")]
    NoPort,
    /// What is behind the host is no port that can be reached.
    #[error("has no good port")]
    Port,
    /// What is before the port is no host.
    #[error("is no host")]
    Host,
    /// The host is an address that stands for all there are.
    #[error("has an address at which nobody can be reached")]
    Unspecified,
}

impl InvalidAuthority {
    /// Returns what to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Url => "write the host and the port only, such as \"10.0.0.1:7171\"",
            Self::NoPort => "write it behind a colon: \"10.0.0.1:7171\"",
            Self::Port => "write a port of 1 to 65535 behind the colon",
            Self::Host => "write an address or a name, such as \"registry-0.registry:7171\"",
            Self::Unspecified => "write the address others reach it at, such as \"10.0.0.1:7171\"",
        }
    }
}

impl Authority {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(text: &str) -> Result<Self, InvalidAuthority> {
        if text.contains('/') {
            return Err(InvalidAuthority::Url);
        }
        let text = text.to_ascii_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => return Err(InvalidAuthority::NoPort),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            // An IPv6 address without brackets: where it ends nobody can tell.
            let bare = text.parse::<Ipv6Addr>().is_ok();
            return Err(if bare { InvalidAuthority::NoPort } else { InvalidAuthority::Host });
        }
        let port: u16 = port.parse().map_err(|_| InvalidAuthority::Port)?;
        if port == 0 {
            return Err(InvalidAuthority::Port);
        }
        match bracketed {
            Some(address) => match address.parse::<Ipv6Addr>() {
                Ok(address) if address.is_unspecified() => Err(InvalidAuthority::Unspecified),
                Ok(address) => Ok(Self(format!("[{address}]:{port}").into())),
                Err(_) => Err(InvalidAuthority::Host),
            },
            None if host == "0.0.0.0" => Err(InvalidAuthority::Unspecified),
            None if is_host(host) => Ok(Self(format!("{host}:{port}").into())),
            None => Err(InvalidAuthority::Host),
        }
    }
}

/// Whether `text`, in lower case, is an IPv4 address or a name: labels of letters, digits, `-` and
/// `_`.
fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    text.len() <= LONGEST && text.split('.').all(is_label)
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::net::SocketAddr> for Authority {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_read_as_people_write_them() {
        for (text, expected) in [
            ("10.0.0.1:7171", "10.0.0.1:7171"),
            ("Registry-0.registry:7171", "registry-0.registry:7171"),
            ("[::1]:80", "[::1]:80"),
            ("[0::0001]:80", "[::1]:80"),
            ("localhost:65535", "localhost:65535"),
        ] {
            assert_eq!(text.parse::<Authority>().map(|it| it.to_string()), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn what_is_none_is_told_why() {
        for (text, why) in [
            ("", InvalidAuthority::NoPort),
            ("registry", InvalidAuthority::NoPort),
            ("[::1]", InvalidAuthority::NoPort),
            ("fd00::1", InvalidAuthority::NoPort),
            ("http://registry:7171", InvalidAuthority::Url),
            ("registry:7171/", InvalidAuthority::Url),
            ("registry:", InvalidAuthority::Port),
            ("registry:0", InvalidAuthority::Port),
            ("registry:65536", InvalidAuthority::Port),
            ("registry:http", InvalidAuthority::Port),
            (":7171", InvalidAuthority::Host),
            ("a b:7171", InvalidAuthority::Host),
            ("a..b:7171", InvalidAuthority::Host),
            ("é:7171", InvalidAuthority::Host),
            ("[x]:7171", InvalidAuthority::Host),
            ("::x:7171", InvalidAuthority::Host),
            ("0.0.0.0:7171", InvalidAuthority::Unspecified),
            ("[::]:7171", InvalidAuthority::Unspecified),
        ] {
            assert_eq!(text.parse::<Authority>(), Err(why), "{text}");
        }
    }
}
