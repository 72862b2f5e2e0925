//! Either end of a connection, byte by byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::within;

/// A connection, and what was read of it and not looked at.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends as much as the other side takes; it may have gone.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.stream.write_all(bytes.as_ref())).await;
    }

    /// Ends what this side says.
    pub(crate) async fn end(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// Breaks the connection off.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads up to the first `end`, and returns that much, `end` included.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let end = end.as_bytes();
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|it| it == end) {
                let rest = self.read.split_off(at + end.len());
                return text(&std::mem::replace(&mut self.read, rest));
            }
            let count = within(self.stream.read_buf(&mut self.read)).await.unwrap_or(0);
            assert!(count > 0, "ended after {:?}", text(&self.read));
        }
    }

    /// Reads one head.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads so many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> String {
        while self.read.len() < count {
            let more = within(self.stream.read_buf(&mut self.read)).await.unwrap_or(0);
            assert!(more > 0, "ended after {:?}", text(&self.read));
        }
        let rest = self.read.split_off(count);
        text(&std::mem::replace(&mut self.read, rest))
    }

    /// Reads to the end, however it comes, and returns what came before and whether the end was
    /// clean: no reset.
    pub(crate) async fn rest(&mut self) -> (String, bool) {
        loop {
            match within(self.stream.read_buf(&mut self.read)).await {
                Ok(0) => return (text(&std::mem::take(&mut self.read)), true),
                Ok(_) => {}
                Err(_) => return (text(&std::mem::take(&mut self.read)), false),
            }
        }
    }

    /// Waits for the end, before which nothing comes.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(self.rest().await.0, "");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Someone who takes connections and sees every byte.
pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) async fn accept(&self) -> Wire {
        Wire::new(within(self.listener.accept()).await.unwrap().0)
    }
}

/// The value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The content of a chunked body.
pub(crate) fn unchunked(mut chunks: &str) -> String {
    let mut content = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        content.push_str(&rest[..size]);
        chunks = &rest[size + 2..];
        if size == 0 {
            return content;
        }
    }
}

/// Much text, no part of which looks like another.
pub(crate) fn much() -> String {
    use std::fmt::Write as _;
    (0..200_000).fold(String::new(), |mut text, number| {
        write!(text, "{number:06x}").unwrap();
        text
    })
}
