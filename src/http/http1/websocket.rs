//! The proof of a WebSocket handshake in HTTP/1.1 (RFC 6455 section 4), which HTTP/2 has no use for
//! (RFC 8441 section 5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_KEY;
use sha1::{Digest, Sha1};

/// What every server appends to a client's key, to show that it knows the protocol.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether that is the protocol with the handshake.
pub(super) fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("websocket")
}

/// A key for a handshake: sixteen random bytes in base 64.
pub(super) fn new_key() -> HeaderValue {
    value(STANDARD.encode(fastrand::u128(..).to_be_bytes()))
}

/// The answer to a key, which proves that it was understood.
pub(super) fn accept(key: &HeaderValue) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(SUFFIX).finalize();
    value(STANDARD.encode(digest))
}

/// The key of a client's handshake, if it has one and is of the right length.
pub(super) fn key_of(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).into_iter();
    let key = keys.next().filter(|key| STANDARD.decode(key).is_ok_and(|it| it.len() == 16));
    key.filter(|_| keys.next().is_none())
}

fn value(base64: String) -> HeaderValue {
    // Base 64 has only characters that a field value can have.
    HeaderValue::try_from(base64).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        // RFC 6455 section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");

        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_sixteen_bytes_and_the_only_one() {
        let of = |keys: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static(key));
            }
            key_of(&headers).is_some()
        };

        assert!(of(&["dGhlIHNhbXBsZSBub25jZQ=="]));
        assert!(!of(&["dGhlIHNhbXBsZQ=="]));
        assert!(!of(&["no base 64"]));
        assert!(!of(&["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="]));
        assert!(!of(&[]));
    }

    #[test]
    fn a_new_key_is_a_key() {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_KEY, new_key());

        assert!(key_of(&headers).is_some());
    }
}
