//! Interim answers (1xx), which hyper's client mentions in passing and hyper's server cannot send:
//! said on the socket, ahead of what hyper writes next.
//!
//! A proxy forwards them (RFC 9110 section 15.2). hyper flushes whenever it has nothing to write, so
//! the moment between two answers is known: only then may anyone but hyper say something.

use std::collections::VecDeque;
use std::io;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::http1::head::headers_of;
use crate::model::ResponseHead;

/// Bytes of interim heads that may wait for the socket; more are dropped, as advice may be.
const MOST: usize = 16 * 1024;

/// Interim heads that wait for their call to take them, at most.
const HEARD: usize = 8;

/// What an upstream says ahead of its answer, on its way out of hyper's parser. One for all requests
/// of a connection, which come one after the other.
#[derive(Default)]
pub(super) struct Heard(Mutex<Listening>);

#[derive(Default)]
struct Listening {
    heads: VecDeque<http::Response<()>>,
    task: Option<Waker>,
}

impl Heard {
    /// Hears what comes ahead of the answer to `request`.
    pub(super) fn listen<B>(self: &Arc<Self>, request: &mut http::Request<B>) {
        self.state().heads.clear();
        let ears = self.clone();
        hyper::ext::on_informational(request, move |response| {
            let mut state = ears.state();
            if state.heads.len() < HEARD {
                let mut head = http::Response::new(());
                *head.status_mut() = response.status();
                head.headers_mut().clone_from(response.headers());
                state.heads.push_back(head);
            }
            if let Some(task) = state.task.take() {
                task.wake();
            }
        });
    }

    /// Waits for the next head.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<http::Response<()>> {
        let mut state = self.state();
        if let Some(head) = state.heads.pop_front() {
            return Poll::Ready(head);
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
