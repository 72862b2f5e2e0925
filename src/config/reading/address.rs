//! Addresses: of our own listeners, and of those we call.

use std::net::{IpAddr, SocketAddr};

use crate::config::reading::value::Value;

impl Value<'_> {
    /// Reads where to listen. Port 0 is whichever the system finds free.
    pub(in crate::config) fn listen_address(&self) -> Option<SocketAddr> {
        self.address("127.0.0.1:15001")
    }

    /// Reads where somebody can be reached.
    pub(in crate::config) fn target_address(&self) -> Option<SocketAddr> {
        let address = self.address("127.0.0.1:8080")?;
        if address.port() == 0 {
            return self.refuse("has port 0, at which nobody listens", "write the port");
        }
        if address.ip().is_unspecified() {
            let help = "write the address others reach it at, such as 127.0.0.1";
            return self
                .refuse(format!("has {}, at which nobody can be reached", address.ip()), help);
        }
        Some(address)
    }

    fn address(&self, example: &str) -> Option<SocketAddr> {
        let text = self.text(&format!("IP address and port in quotes, such as \"{example}\""))?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let host = text.rsplit_once(':').map_or(&*text, |(host, _)| host);
        let port = text.strip_prefix(':').filter(|port| port.parse::<u16>().is_ok());
        if let Some(port) = port {
            return self.refuse("has no IP address", format!("write \"0.0.0.0:{port}\""));
        }
        if text.parse::<IpAddr>().is_ok() {
            return self.refuse("has no port", format!("write it behind a colon: \"{example}\""));
        }
        if host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':') {
            let help = format!("names are not resolved here; write IP:port, such as \"{example}\"");
            return self.refuse("names a host, where an IP address is expected", help);
        }
        let help = format!("write IP:port, such as \"{example}\" or \"[::1]:8080\"");
        self.refuse("is no address", help)
    }
}
