//! One request, read whole.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Uri};

/// A request of a client or a peer, with its body.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// The target as it was sent: nothing of it is decoded.
    pub uri: Uri,
    /// The fields of the head.
    pub headers: HeaderMap,
    /// The body, whole; its length is bounded by the listener.
    pub body: Bytes,
    /// Who is at the other end of the connection.
    pub peer: SocketAddr,
}

impl Ask {
    /// Returns the path, percent-encoded as it came, beginning with `/`.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Returns the query, percent-encoded as it came; empty if there is none.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Returns the first field of this name as text; none if there is none, or if it is no text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
