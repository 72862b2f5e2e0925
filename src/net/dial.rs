//! Connecting to an instance.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

/// How long a connection is silent before the kernel asks whether the peer is still there, and
/// how long it waits between asking.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long bytes may stay unacknowledged before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there.
    #[error("{address} refuses connections")]
    Refused {
        /// Where we meant to connect.
        address: SocketAddr,
    },
    /// Nobody answered in time.
    #[error("{address} did not take the connection within {limit:?}")]
    TimedOut {
        /// Where we meant to connect.
        address: SocketAddr,
        /// The time it had.
        limit: Duration,
    },
    /// Anything else: no route, no descriptor or local port left.
    #[error("cannot connect to {address}")]
    Other {
        /// Where we meant to connect.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

impl DialError {
    /// Returns the failure in one word, for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::TimedOut { .. } => "timeout",
            Self::Other { .. } => "other",
        }
    }
}

/// Connects to `address` within `limit`.
///
/// Small writes are not delayed; a peer that vanished is noticed within about a minute.
///
/// Cancel safe: dropping it abandons the attempt.
pub async fn dial(address: SocketAddr, limit: Duration) -> Result<TcpStream, DialError> {
    let connecting = async { prepare(address)?.connect(address).await };
    match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::ConnectionRefused => DialError::Refused { address },
            ErrorKind::TimedOut => DialError::TimedOut { address, limit },
            _ => DialError::Other { address, source: error },
        }),
        Err(_) => Err(DialError::TimedOut { address, limit }),
    }
}

/// A socket that can reach `address`, not yet connected.
fn prepare(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    options.set_tcp_keepalive(&keep_alive)?;
    options.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_dialled_connection_is_prompt_and_notices_a_dead_peer() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen(loopback.parse().unwrap(), false).unwrap();

            let stream = dial(listener.local_addr().unwrap(), LIMIT).await.unwrap();

            let options = SockRef::from(&stream);
            assert!(stream.nodelay().unwrap());
            assert!(options.keepalive().unwrap());
            assert_eq!(options.tcp_keepalive_time().unwrap(), KEEP_ALIVE);
            assert_eq!(options.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
        }
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_refuses() {
        // Bound but not listening: nobody else gets the port meanwhile.
        let holder = TcpSocket::new_v4().unwrap();
        holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();

        let error = dial(address, LIMIT).await.unwrap_err();

        assert!(matches!(error, DialError::Refused { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{address} refuses connections"));
    }

    #[tokio::test]
    async fn a_peer_that_does_not_answer_is_given_up_at_the_limit() {
        // A full backlog: the kernel drops further attempts without a word.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let _fills_the_queue = TcpStream::connect(address).await.unwrap();

        let error = dial(address, Duration::from_millis(50)).await.unwrap_err();

        assert!(matches!(error, DialError::TimedOut { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("{address} did not take the connection within 50ms"));
    }
}
