//! A stream whose first bytes were read already, and are read again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives `prefix` to its reader first, then what the stream gives. Writing is the stream's own.
#[derive(Debug)]
pub struct Replay<S> {
    prefix: Bytes,
    stream: S,
}

impl<S> Replay<S> {
    /// A stream that begins with `prefix`.
    pub fn new(prefix: Bytes, stream: S) -> Self {
        Self { prefix, stream }
    }

    /// Returns what of the prefix is not yet read.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Returns the stream behind the prefix.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns what of the prefix is not yet read, and the stream.
    pub fn into_parts(self) -> (Bytes, S) {
        (self.prefix, self.stream)
    }
}

impl<S> From<S> for Replay<S> {
    /// A stream of which nothing was read.
    fn from(stream: S) -> Self {
        Self::new(Bytes::new(), stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() || buffer.remaining() == 0 {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(self.prefix.get(..length).unwrap_or_default());
        self.prefix.advance(length);
        if self.prefix.is_empty() {
            // Gives the memory back: the connection may live long.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_prefix_is_read_before_the_stream() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b" world").await.unwrap();
        drop(far);
        let mut replay = Replay::new(Bytes::from_static(b"hello"), near);

        let mut first = [0; 3];
        replay.read_exact(&mut first).await.unwrap();
        let left = replay.prefix().to_vec();
        let mut rest = String::new();
        replay.read_to_string(&mut rest).await.unwrap();

        assert_eq!(&first, b"hel");
        assert_eq!(left, b"lo");
        assert_eq!(rest, "lo world");
    }

    #[tokio::test]
    async fn what_is_written_goes_to_the_stream() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut replay = Replay::new(Bytes::from_static(b"unread"), near);

        replay.write_all(b"answer").await.unwrap();
        let (prefix, near) = replay.into_parts();
        drop(near);
        let mut seen = String::new();
        far.read_to_string(&mut seen).await.unwrap();

        assert_eq!(seen, "answer");
        assert_eq!(&prefix[..], b"unread");
    }
}
