//! An admin address as operators write it.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

/// Where a sidecar's admin listener is unless its file says otherwise.
pub(super) const DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);

/// Reads `127.0.0.1:15000`, `localhost:15000`, `:15000`, `15000` or an `http://` URL of one.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let port = host.strip_prefix(':').unwrap_or(host);
    if let Ok(port) = port.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let problem = || format!("write it as 127.0.0.1:{}", DEFAULT.port());
    let mut found = host.to_socket_addrs().map_err(|_| problem())?;
    found.next().ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_operators_write_it() {
        for text in ["127.0.0.1:15000", ":15000", "15000", "http://127.0.0.1:15000/"] {
            assert_eq!(parse(text), Ok(DEFAULT), "{text}");
        }
        for text in ["", "127.0.0.1", "99999", "http://", "127.0.0.1:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
