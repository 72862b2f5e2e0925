//! Connections that go on in another protocol, and the clock of those that do not.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderMap;
use http::HeaderValue;
use http::header::{CONNECTION, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::http::connection::Ended;
use crate::http::exchange::{Gone, Reply};
use crate::http::frame::ErrorCode;
use crate::http::pipe::{End, Piece, Pipe};

/// Bytes moved at a time.
const PIECE: usize = 16 * 1024;

/// Says in a head that the connection goes on in `protocol`.
pub(super) fn announce(headers: &mut HeaderMap, protocol: &str) {
    if let Ok(protocol) = HeaderValue::from_str(protocol) {
        headers.insert(UPGRADE, protocol);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Carries what follows the agreement, both ways, at the serving end.
pub(super) async fn serve(upgrade: OnUpgrade, body: Rc<Pipe>, answer: Rc<Pipe>, reply: Rc<Reply>) {
    let Ok(upgraded) = upgrade.await else {
        body.end(End::Broken(ErrorCode::Cancel));
        answer.close();
        return reply.finish(Gone::Left);
    };
    let whole = carry(TokioIo::new(upgraded), &body, &answer).await;
    reply.finish(if whole { Gone::Answered } else { Gone::Left });
}

/// Carries bytes both ways until both ended: from `io` into `inward`, from `outward` into `io`.
/// Returns whether both ended in peace.
pub(super) async fn carry(
    io: impl AsyncRead + AsyncWrite + Unpin,
    inward: &Pipe,
    outward: &Pipe,
) -> bool {
    let (reader, writer) = tokio::io::split(io);
    let (read, written) = tokio::join!(read_into(reader, inward), write_from(writer, outward));
    read && written
}

async fn read_into(mut reader: impl AsyncRead + Unpin, pipe: &Pipe) -> bool {
    let mut buffer = BytesMut::new();
    loop {
        if poll_fn(|cx| pipe.poll_room(cx)).await.is_err() {
            return false;
        }
        buffer.reserve(PIECE);
        let read = {
            let mut reading = std::pin::pin!(reader.read_buf(&mut buffer));
            poll_fn(|cx| {
                if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                    return Poll::Ready(Some(read));
                }
                pipe.poll_closed(cx).map(|()| None)
            })
            .await
        };
        match read {
            None => return false,
            Some(Ok(0)) => {
                pipe.end(End::Complete(None));
                return true;
            }
            Some(Ok(_)) => pipe.push(buffer.split().freeze()),
            Some(Err(_)) => {
                pipe.end(End::Broken(ErrorCode::Cancel));
                return false;
            }
        }
    }
}

async fn write_from(mut writer: impl AsyncWrite + Unpin, pipe: &Pipe) -> bool {
    loop {
        let written = match poll_fn(|cx| pipe.poll_take(cx, PIECE)).await {
            Piece::Wait => continue,
            Piece::Data(bytes) => writer.write_all(&bytes).await.is_ok(),
            Piece::End(End::Complete(_)) => return writer.shutdown().await.is_ok(),
            Piece::End(End::Broken(_)) => false,
        };
        if !written {
            pipe.close();
            return false;
        }
    }
}

/// What the clock of a serving connection goes by. hyper owns the socket, so this is shared.
#[derive(Debug)]
pub(super) struct Watch {
    origin: Instant,
    /// Requests whose answer is not made yet.
    active: AtomicU32,
    /// Milliseconds from the origin to the last byte either way.
    last: AtomicU64,
    /// Milliseconds from the origin to the first byte of a head that is not complete, plus one; 0
    /// if there is none.
    head: AtomicU64,
}

impl Watch {
    fn millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moved(&self) {
        self.last.store(self.millis(), Relaxed);
    }

    fn read(&self) {
        self.moved();
        if self.active.load(Relaxed) == 0 && self.head.load(Relaxed) == 0 {
            self.head.store(self.millis() + 1, Relaxed);
        }
    }

    pub(super) fn request_began(&self) {
        self.active.fetch_add(1, Relaxed);
        self.head.store(0, Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.active.fetch_sub(1, Relaxed);
        self.moved();
    }

    /// Returns why the connection is to end: a head that takes longer than `head`, or nothing at
    /// all for `idle`.
    pub(super) fn overdue(&self, head: Duration, idle: Duration) -> Option<Ended> {
        let now = self.millis();
        let late = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        if self.active.load(Relaxed) > 0 {
            return None;
        }
        let begun = self.head.load(Relaxed);
        if begun > 0 && late(begun - 1, head) {
            return Some(Ended::TimedOut("an unfinished head"));
        }
        late(self.last.load(Relaxed), idle).then_some(Ended::Idle)
    }
}

/// A socket that tells the clock what moves.
pub(super) struct Watched<S> {
    io: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    pub(super) fn new(io: S) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch {
            origin: Instant::now(),
            active: AtomicU32::new(0),
            last: AtomicU64::new(0),
            head: AtomicU64::new(0),
        });
        (Self { io, watch: watch.clone() }, watch)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.watch.read();
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.moved();
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.moved();
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// A key for a WebSocket handshake: sixteen random bytes in base 64 (RFC 6455 section 4.1).
pub(super) fn websocket_key() -> String {
    base64(fastrand::u128(..).to_be_bytes())
}

/// Base 64 of sixteen bytes (RFC 4648 section 4).
fn base64(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // 128 bits are 21 digits of six and one of two, filled up with zeros.
    let number = u128::from_be_bytes(bytes);
    let digit = |value: u128| {
        let index = usize::try_from(value & 63).unwrap_or(0);
        char::from(DIGITS.get(index).copied().unwrap_or(b'A'))
    };
    let mut text: String = (0..21).map(|at| digit(number >> (122 - 6 * at))).collect();
    text.push(digit(number << 4));
    text.push_str("==");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bytes_are_twenty_four_digits() {
        assert_eq!(base64(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(base64([0xff; 16]), "/////////////////////w==");
    }
}
