//! What follows the agreement on another protocol: bytes, both ways.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::http::exchange::{Gone, Reply};
use crate::http::frame::ErrorCode;
use crate::http::http1::interim::Interrupted;
use crate::http::http1::watch::Watched;
use crate::http::pipe::{End, Piece, Pipe};
use crate::net::Replay;

/// Bytes moved at a time.
const PIECE: usize = 16 * 1024;

/// One way broke off.
struct BrokenOff;

/// A serving connection that goes on in another protocol.
pub(super) struct Tunnel {
    pub(super) upgrade: OnUpgrade,
    pub(super) body: Rc<Pipe>,
    pub(super) answer: Rc<Pipe>,
    pub(super) reply: Rc<Reply>,
}

impl Tunnel {
    /// Carries what follows the agreement, until both sides ended.
    pub(super) async fn carry(self) {
        let Self { upgrade, body, answer, reply } = self;
        let upgraded = upgrade.await.ok();
        let parts = upgraded.and_then(|it| it.downcast::<TokioIo<Interrupted<Watched>>>().ok());
        let whole = if let Some(parts) = parts {
            let (replayed, stream) = below(parts.io).into_parts();
            // hyper read the latter before it came to the end of the former.
            body.push(parts.read_buf);
            carry(stream, replayed, &body, &answer).await
        } else {
            break_off(&body, &answer);
            false
        };
        reply.finish(if whole { Gone::Answered } else { Gone::Left });
    }
}

/// The socket below what hyper was given to serve on.
pub(super) fn below(io: TokioIo<Interrupted<Watched>>) -> Replay<TcpStream> {
    io.into_inner().into_inner().into_inner()
}

/// Carries bytes both ways until both ended: what came first, then those from `stream`, into
/// `inward`; those from `outward` into `stream`. Returns whether both ended in peace.
///
/// An end leaves the other way open. If one way breaks off, so does the other: whoever speaks such
/// a protocol takes a lost connection for lost as a whole. The peer is told by a reset.
/// Dropped half way, it breaks off too.
pub(super) async fn carry(stream: TcpStream, first: Bytes, inward: &Pipe, outward: &Pipe) -> bool {
    inward.push(first);
    let mut socket = Socket { stream, in_peace: false };
    let (reader, writer) = socket.stream.split();
    let both = tokio::try_join!(read_into(reader, inward), write_from(writer, outward));
    socket.in_peace = both.is_ok();
    if !socket.in_peace {
        break_off(inward, outward);
    }
    socket.in_peace
}

/// A socket that is reset when it is dropped, unless it ended in peace.
struct Socket {
    stream: TcpStream,
    in_peace: bool,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !self.in_peace {
            // Fails only for a socket that is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

/// Tells both neighbours that there is nothing more to come or to be taken.
fn break_off(inward: &Pipe, outward: &Pipe) {
    inward.end(End::Broken(ErrorCode::Cancel));
    outward.close();
}

async fn read_into(mut reader: ReadHalf<'_>, pipe: &Pipe) -> Result<(), BrokenOff> {
    loop {
        poll_fn(|cx| pipe.poll_room(cx)).await.map_err(|_| BrokenOff)?;
        // Holds no buffer while it waits for bytes.
        let read = poll_fn(|cx| {
            let mut buffer = BytesMut::with_capacity(PIECE);
            let reading = std::pin::pin!(reader.read_buf(&mut buffer));
            if let Poll::Ready(read) = reading.poll(cx) {
                return Poll::Ready(read.map(|_| buffer.freeze()).map_err(|_| BrokenOff));
            }
            pipe.poll_closed(cx).map(|()| Err(BrokenOff))
        });
        let bytes = read.await?;
        if bytes.is_empty() {
            pipe.end(End::Complete(None));
            return Ok(());
        }
        pipe.push(bytes);
    }
}

async fn write_from(mut writer: WriteHalf<'_>, pipe: &Pipe) -> Result<(), BrokenOff> {
    loop {
        match poll_fn(|cx| pipe.poll_take(cx, PIECE)).await {
            Piece::Wait => {}
            Piece::Data(bytes) => writer.write_all(&bytes).await.map_err(|_| BrokenOff)?,
            Piece::End(End::Complete(_)) => return writer.shutdown().await.map_err(|_| BrokenOff),
            Piece::End(End::Broken(_)) => return Err(BrokenOff),
        }
    }
}
