//! Relaying the bytes of a connection we do not understand.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::Replay;

/// Bytes held in each direction at most, and only while they wait to go on.
pub const RELAY_BUFFER: usize = 16 * 1024;

/// How a relayed connection ended, and what went over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayEnd {
    /// Bytes that went from the client to the server.
    pub to_server: u64,
    /// Bytes that went from the server to the client.
    pub to_client: u64,
    /// How it ended.
    pub ending: RelayEnding,
}

/// How a relayed connection ended. All but [`RelayEnding::Closed`] reset both sides, so that
/// neither takes a cut for an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RelayEnding {
    /// Both sides said all they had to say.
    Closed,
    /// The client reset its side or vanished.
    ClientBroke,
    /// The server reset its side or vanished.
    ServerBroke,
    /// No byte moved either way for too long.
    Idle,
    /// The token was cancelled.
    Stopped,
}

impl RelayEnding {
    /// Returns the ending in one word, for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientBroke => "client_broke",
            Self::ServerBroke => "server_broke",
            Self::Idle => "idle",
            Self::Stopped => "stopped",
        }
    }
}

/// Relays bytes both ways until both sides have ended, one is broken, no byte moved for `idle`, or
/// `stop` is cancelled.
///
/// When one side ends, that end is passed on and the other side may go on talking. Backpressure is
/// passed on too: what one side does not take is not read from the other.
///
/// Dropped half way, it resets both sides.
pub async fn relay(
    client: Replay<TcpStream>,
    server: TcpStream,
    idle: Option<Duration>,
    stop: &CancellationToken,
) -> RelayEnd {
    let (prefix, client) = client.into_parts();
    let mut ends = Ends { client, server, in_peace: false };
    let progress = Progress::new();
    let (to_server, to_client) = (AtomicU64::new(0), AtomicU64::new(0));
    let ending = {
        let (client_says, client_hears) = ends.client.split();
        let (server_says, server_hears) = ends.server.split();
        let mut outward =
            Way { from: client_says, to: server_hears, bytes: &to_server, progress: &progress };
        let mut homeward =
            Way { from: server_says, to: client_hears, bytes: &to_client, progress: &progress };
        let outward = async {
            outward.pass_on(&prefix).await.map_err(outward_failure)?;
            drop(prefix);
            outward.carry().await.map_err(outward_failure)
        };
        let homeward = async { homeward.carry().await.map_err(homeward_failure) };
        let both = async { tokio::try_join!(outward, homeward) };
        tokio::select! {
            // In this order, so that bytes that came before a stop still go on.
            biased;
            ended = both => ended.map_or_else(|ending| ending, |_| RelayEnding::Closed),
            () = progress.none_for(idle) => RelayEnding::Idle,
            () = stop.cancelled() => RelayEnding::Stopped,
        }
    };
    ends.in_peace = ending == RelayEnding::Closed;
    RelayEnd { to_server: to_server.into_inner(), to_client: to_client.into_inner(), ending }
}

/// Both sides; resets them when dropped, unless they ended in peace.
struct Ends {
    client: TcpStream,
    server: TcpStream,
    in_peace: bool,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.in_peace {
            // Fails only for a socket that is gone already.
            let _ = self.client.set_zero_linger();
            let _ = self.server.set_zero_linger();
        }
    }
}

/// Which end of a way is broken.
#[derive(Clone, Copy)]
enum Broken {
    From,
    To,
}

/// What a failure on the way from client to server says of them.
fn outward_failure(broken: Broken) -> RelayEnding {
    match broken {
        Broken::From => RelayEnding::ClientBroke,
        Broken::To => RelayEnding::ServerBroke,
    }
}

/// What a failure on the way from server to client says of them.
fn homeward_failure(broken: Broken) -> RelayEnding {
    match broken {
        Broken::From => RelayEnding::ServerBroke,
        Broken::To => RelayEnding::ClientBroke,
    }
}

/// One of the two ways bytes go.
struct Way<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// Bytes that went so far. Atomic only so that the relay can move between threads.
    bytes: &'a AtomicU64,
    progress: &'a Progress,
}

impl Way<'_> {
    /// Carries bytes until the sender ends, then passes its end on.
    async fn carry(&mut self) -> Result<(), Broken> {
        loop {
            let bytes = read(&mut self.from).await.map_err(|_| Broken::From)?;
            if bytes.is_empty() {
                // Fails only if the receiver is gone, which the other way notices.
                let _ = self.to.shutdown().await;
                return Ok(());
            }
            self.pass_on(&bytes).await?;
        }
    }

    /// Writes all of `bytes`.
    async fn pass_on(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            // While the receiver takes nothing we do not read, so a reset would go unnoticed.
            let taken = tokio::select! {
                biased;
                written = self.to.write(bytes) => written.map_err(|_| Broken::To)?,
                () = reset(&self.from) => return Err(Broken::From),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            self.bytes.fetch_add(taken as u64, Ordering::Relaxed);
            self.progress.note();
        }
        Ok(())
    }
}

/// Waits for bytes and returns them; none is the end. Holds no buffer while it waits.
async fn read(from: &mut ReadHalf<'_>) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut bytes = Vec::with_capacity(RELAY_BUFFER);
        let reading = pin!(from.read_buf(&mut bytes));
        ready!(reading.poll(context))?;
        Poll::Ready(Ok(bytes))
    })
    .await
}

/// Waits until the peer has reset its side, without reading.
async fn reset(from: &ReadHalf<'_>) {
    let failed = from.ready(Interest::ERROR).await.is_err();
    if !failed && from.as_ref().take_error().is_ok_and(|error| error.is_none()) {
        pending::<()>().await;
    }
}

/// When a byte last moved either way.
struct Progress {
    started: Instant,
    /// Milliseconds after the start.
    moved: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { started: Instant::now(), moved: AtomicU64::new(0) }
    }

    fn note(&self) {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(passed, Ordering::Relaxed);
    }

    /// Waits until no byte has moved for `idle`; for ever if there is no such limit.
    async fn none_for(&self, idle: Option<Duration>) {
        let Some(idle) = idle else { return pending().await };
        loop {
            let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
            let Some(deadline) = self.started.checked_add(moved.saturating_add(idle)) else {
                return pending().await;
            };
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::SocketAddr;

    use bytes::Bytes;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::net::{dial, listen};

    const LIMIT: Duration = Duration::from_secs(10);

    /// A client and a server with a relay between them.
    struct Line {
        client: TcpStream,
        server: TcpStream,
        relay: JoinHandle<RelayEnd>,
        stop: CancellationToken,
    }

    impl Line {
        async fn new(loopback: &str, prefix: &'static [u8], idle: Option<Duration>) -> Self {
            let (client, near_client) = pair(loopback).await;
            let (near_server, server) = pair(loopback).await;
            let stop = CancellationToken::new();
            let token = stop.clone();
            let near_client = Replay::new(Bytes::from_static(prefix), near_client);
            let relay =
                tokio::spawn(async move { relay(near_client, near_server, idle, &token).await });
            Self { client, server, relay, stop }
        }

        async fn end(self) -> RelayEnd {
            tokio::time::timeout(LIMIT, self.relay).await.unwrap().unwrap()
        }
    }

    /// A connection: the side that dialled and the side that accepted.
    async fn pair(loopback: &str) -> (TcpStream, TcpStream) {
        let address: SocketAddr = loopback.parse().unwrap();
        let listener: TcpListener = listen(address, false).unwrap();
        let dialled = dial(listener.local_addr().unwrap(), LIMIT).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (dialled, accepted)
    }

    const LOOPBACK: &str = "127.0.0.1:0";

    async fn read_all(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
        let mut seen = Vec::new();
        let reading = stream.read_to_end(&mut seen);
        tokio::time::timeout(LIMIT, reading).await.unwrap().map_err(|error| error.kind())?;
        Ok(seen)
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_an_end_leaves_the_other_way_open() {
        for loopback in [LOOPBACK, "[::1]:0"] {
            let mut line = Line::new(loopback, b"first ", None).await;

            line.client.write_all(b"question").await.unwrap();
            line.client.shutdown().await.unwrap();
            let question = read_all(&mut line.server).await;
            line.server.write_all(b"the answer").await.unwrap();
            line.server.shutdown().await.unwrap();
            let answer = read_all(&mut line.client).await;

            assert_eq!(question.unwrap(), b"first question");
            assert_eq!(answer.unwrap(), b"the answer");
            let expected = RelayEnd { to_server: 14, to_client: 10, ending: RelayEnding::Closed };
            assert_eq!(line.end().await, expected);
        }
    }

    #[tokio::test]
    async fn much_data_both_ways_at_once_arrives_whole() {
        let line = Line::new(LOOPBACK, b"", None).await;
        let data: Vec<u8> = (0..3_000_000_u32).map(|it| it.to_le_bytes()[0]).collect();

        let talk = async |stream: TcpStream| {
            let (mut reader, mut writer) = stream.into_split();
            let mut seen = Vec::new();
            let send = async {
                writer.write_all(&data).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let ((), read) = tokio::join!(send, reader.read_to_end(&mut seen));
            read.unwrap();
            seen
        };
        let (to_client, to_server) = tokio::join!(talk(line.client), talk(line.server));

        assert!(to_client == data && to_server == data);
        let end = tokio::time::timeout(LIMIT, line.relay).await.unwrap().unwrap();
        assert_eq!(end.to_server + end.to_client, 6_000_000);
        assert_eq!(end.ending, RelayEnding::Closed);
    }

    #[tokio::test]
    async fn a_reset_by_one_side_resets_the_other() {
        for server_breaks in [false, true] {
            let mut line = Line::new(LOOPBACK, b"", None).await;
            line.client.write_all(b"x").await.unwrap();
            line.server.read_u8().await.unwrap();
            let Line { client, server, relay, stop: _stop } = line;

            let (broken, mut other) =
                if server_breaks { (server, client) } else { (client, server) };
            broken.set_zero_linger().unwrap();
            drop(broken);
            let seen = read_all(&mut other).await;

            let end = tokio::time::timeout(LIMIT, relay).await.unwrap().unwrap();
            let expected =
                if server_breaks { RelayEnding::ServerBroke } else { RelayEnding::ClientBroke };
            assert_eq!(seen, Err(ErrorKind::ConnectionReset));
            assert_eq!(end.ending, expected);
        }
    }

    #[tokio::test]
    async fn a_reset_is_noticed_while_the_other_side_takes_nothing() {
        let line = Line::new(LOOPBACK, b"", None).await;
        let Line { client, server, relay, stop: _stop } = line;
        let chunk = vec![0; 1 << 16];
        // Fills every buffer on the way, or as good as.
        while tokio::time::timeout(Duration::from_millis(50), client.writable()).await.is_ok() {
            let _ = client.try_write(&chunk);
        }

        client.set_zero_linger().unwrap();
        drop(client);

        let end = tokio::time::timeout(LIMIT, relay).await.unwrap().unwrap();
        assert_eq!(end.ending, RelayEnding::ClientBroke);
        drop(server);
    }

    #[tokio::test]
    async fn a_line_on_which_nothing_moves_is_reset() {
        let mut line = Line::new(LOOPBACK, b"", Some(Duration::from_millis(30))).await;
        line.client.write_all(b"x").await.unwrap();

        let seen = read_all(&mut line.client).await;

        assert_eq!(seen, Err(ErrorKind::ConnectionReset));
        let end = line.end().await;
        assert_eq!((end.to_server, end.ending), (1, RelayEnding::Idle));
    }

    #[tokio::test]
    async fn a_stop_resets_both_sides() {
        let mut line = Line::new(LOOPBACK, b"", None).await;
        line.client.write_all(b"x").await.unwrap();
        line.server.read_u8().await.unwrap();

        line.stop.cancel();

        assert_eq!(read_all(&mut line.client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(read_all(&mut line.server).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(line.end().await.ending, RelayEnding::Stopped);
    }

    #[tokio::test]
    async fn a_relay_that_is_dropped_is_no_clean_end() {
        let mut line = Line::new(LOOPBACK, b"", None).await;
        line.client.write_all(b"x").await.unwrap();
        line.server.read_u8().await.unwrap();

        line.relay.abort();

        assert_eq!(read_all(&mut line.client).await, Err(ErrorKind::ConnectionReset));
    }
}
