//! Accepting connections for as long as the listener can give any.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// First pause when the kernel has no descriptor or memory for a connection; doubled up to
/// [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a failed `accept` means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// That one connection was lost, which says nothing about the next.
    Lost,
    /// We or the machine ran out of something; whoever waits stays in the kernel's queue.
    Exhausted,
    /// The socket is no listener, and never will be.
    Fatal,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            // Pending errors of the new connection are passed on by accept(2).
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::NetworkDown
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable => Self::Lost,
            ErrorKind::InvalidInput => Self::Fatal,
            _ if matches!(error.raw_os_error(), Some(EBADF | EFAULT | ENOTSOCK)) => Self::Fatal,
            // Above all EMFILE, ENFILE, ENOBUFS and ENOMEM.
            _ => Self::Exhausted,
        }
    }
}

/// Not an open descriptor.
const EBADF: i32 = 9;
/// Not our memory.
const EFAULT: i32 = 14;
/// Not a socket.
const ENOTSOCK: i32 = 88;

/// Waits for the next connection and returns it, small writes undelayed, with its peer.
///
/// Connections that broke while they waited are passed over. Where descriptors or memory run out
/// it pauses, longer each time up to a second, and tries again: callers wait in the kernel's queue
/// meanwhile. An error means that the listener will never give another one.
///
/// Cancel safe: no accepted connection is lost.
pub async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let error = match listener.accept().await {
            Ok((stream, peer)) => {
                // Fails only for a connection that is broken already; reading it will say so.
                let _ = stream.set_nodelay(true);
                return Ok((stream, peer));
            }
            Err(error) => error,
        };
        match Failure::of(&error) {
            Failure::Lost => {
                tracing::debug!(%error, "lost a connection before it was accepted");
            }
            Failure::Exhausted => {
                tracing::warn!(%error, ?pause, "cannot accept connections for now");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Failure::Fatal => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen;

    #[tokio::test]
    async fn an_accepted_connection_does_not_delay_small_writes() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();

        let (accepted, peer) = accept(&listener).await.unwrap();

        assert!(accepted.nodelay().unwrap());
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[test]
    fn only_a_socket_that_never_listens_ends_the_accepting() {
        let cases = [
            (103, Failure::Lost),      // ECONNABORTED
            (4, Failure::Lost),        // EINTR
            (113, Failure::Lost),      // EHOSTUNREACH
            (24, Failure::Exhausted),  // EMFILE
            (23, Failure::Exhausted),  // ENFILE
            (105, Failure::Exhausted), // ENOBUFS
            (12, Failure::Exhausted),  // ENOMEM
            (1, Failure::Exhausted),   // EPERM: may be for ever, so it must not spin
            (71, Failure::Exhausted),  // EPROTO
            (9, Failure::Fatal),       // EBADF
            (22, Failure::Fatal),      // EINVAL
            (88, Failure::Fatal),      // ENOTSOCK
        ];

        for (number, expected) in cases {
            let error = io::Error::from_raw_os_error(number);

            assert_eq!(Failure::of(&error), expected, "{error}");
        }
    }
}
