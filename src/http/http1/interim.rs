//! Interim answers (1xx), which hyper's server cannot send: said on the socket, ahead of what hyper
//! writes next.
//!
//! A proxy forwards them (RFC 9110 section 15.2). hyper flushes whenever it has nothing to write, so
//! the moment between two answers is known: only then may anyone but hyper say something.

use std::io;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::http1::head::headers_of;
use crate::model::ResponseHead;

/// Bytes of interim heads that may wait for the socket; more are dropped, as advice may be.
const MOST: usize = 16 * 1024;

/// Where interim heads are said.
#[derive(Debug)]
pub(super) struct Interim(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Heads that are not written yet.
    waiting: Vec<u8>,
    /// hyper has given everything it has to the socket: we would interrupt nobody.
    between: bool,
}

impl Interim {
    /// Says `head` before the answer, unless that would break into the one before.
    pub(super) fn say(&self, head: &ResponseHead) {
        let mut state = self.state();
        let Ok(fields) = headers_of(&head.fields) else { return };
        let Ok(status) = http::StatusCode::from_u16(head.status) else { return };
        // hyper says 100 itself, when it reads the body; 101 is no interim answer of ours.
        if !state.between || state.waiting.len() > MOST || matches!(head.status, 100 | 101) {
            return;
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let _ = write!(state.waiting, "HTTP/1.1 {} {reason}\r\n", head.status);
        for (name, value) in &fields {
            state.waiting.extend_from_slice(name.as_ref());
            state.waiting.extend_from_slice(b": ");
            state.waiting.extend_from_slice(value.as_bytes());
            state.waiting.extend_from_slice(b"\r\n");
        }
        state.waiting.extend_from_slice(b"\r\n");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket on which interim heads are said between what is written.
pub(super) struct Interrupted<S> {
    io: S,
    interim: Arc<Interim>,
}

impl<S> Interrupted<S> {
    pub(super) fn new(io: S) -> (Self, Arc<Interim>) {
        let state = State { waiting: Vec::new(), between: true };
        let interim = Arc::new(Interim(Mutex::new(state)));
        (Self { io, interim: interim.clone() }, interim)
    }

    pub(super) fn into_inner(self) -> S {
        self.io
    }
}

impl<S: AsyncWrite + Unpin> Interrupted<S> {
    /// Writes the heads that wait, and notes whether hyper is in the middle of something then.
    fn poll_interim(&mut self, cx: &mut Context<'_>, between: bool) -> Poll<io::Result<()>> {
        let mut state = self.interim.state();
        while !state.waiting.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &state.waiting))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.waiting.drain(..count);
        }
        state.between = between;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Interrupted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Interrupted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx, true))?;
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
        ready!(self.poll_interim(cx, false))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
