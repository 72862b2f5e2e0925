//! Reading as much of a connection as tells its protocol.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::net::{DETECT_BYTES, Detected, Replay, detect};

/// A connection whose protocol is known, or as known as it will be.
#[derive(Debug)]
pub struct Sniffed<S> {
    /// What it speaks. [`Detected::More`] if the peer, or our patience, ended before that was
    /// clear; a peer that said nothing at all may be waiting for the server to speak first.
    pub detected: Detected,
    /// Whether it was our patience that ended.
    pub timed_out: bool,
    /// The connection, from its very first byte.
    pub stream: Replay<S>,
}

/// Reads until it is clear what `stream` speaks, for `limit` at most.
///
/// Not cancel safe: what was read is lost with the stream.
pub async fn sniff<S: AsyncRead + Unpin>(mut stream: S, limit: Duration) -> io::Result<Sniffed<S>> {
    // No more than the decision needs: the rest is better read into the engine's own buffers.
    let mut bytes = BytesMut::with_capacity(DETECT_BYTES);
    let reading = async {
        loop {
            let ended = stream.read_buf(&mut bytes).await? == 0;
            let detected = detect(&bytes);
            if ended || detected != Detected::More {
                return io::Result::Ok(detected);
            }
        }
    };
    let outcome = tokio::time::timeout(limit, reading).await;
    let timed_out = outcome.is_err();
    let detected = outcome.unwrap_or(Ok(Detected::More))?;
    Ok(Sniffed { detected, timed_out, stream: Replay::new(bytes.freeze(), stream) })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn nothing_of_what_was_read_is_lost() {
        let request = "GET /some/path HTTP/1.1\r\nhost: example.com\r\n\r\n";
        for pipe in [1, 3, 1024] {
            let (near, mut far) = tokio::io::duplex(pipe);
            let client = async move { far.write_all(request.as_bytes()).await };

            let server = async {
                let mut sniffed = sniff(near, LIMIT).await.unwrap();
                let mut seen = String::new();
                sniffed.stream.read_to_string(&mut seen).await.unwrap();
                (sniffed.detected, seen)
            };
            let (sent, (detected, seen)) = tokio::join!(client, server);

            assert!(sent.is_ok());
            assert_eq!((detected, &*seen), (Detected::Http1, request));
        }
    }

    #[tokio::test]
    async fn a_silent_peer_is_left_undecided_at_the_limit() {
        let (near, _far) = tokio::io::duplex(8);

        let sniffed = sniff(near, Duration::from_millis(10)).await.unwrap();

        assert_eq!((sniffed.detected, sniffed.timed_out), (Detected::More, true));
        assert!(sniffed.stream.prefix().is_empty());
    }

    #[tokio::test]
    async fn half_a_preface_is_kept_when_patience_ends() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"PRI * HT").await.unwrap();

        let sniffed = sniff(near, Duration::from_millis(10)).await.unwrap();

        assert_eq!((sniffed.detected, sniffed.timed_out), (Detected::More, true));
        assert_eq!(sniffed.stream.prefix(), b"PRI * HT");
    }

    #[tokio::test]
    async fn a_peer_that_ends_early_is_left_undecided_at_once() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"GE").await.unwrap();
        drop(far);

        let sniffed = sniff(near, LIMIT).await.unwrap();

        assert_eq!((sniffed.detected, sniffed.timed_out), (Detected::More, false));
        assert_eq!(sniffed.stream.prefix(), b"GE");
    }
}
