//! Bodies between hyper and pipes.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http::exchange::{Call, Gone, Reply};
use crate::http::frame::ErrorCode;
use crate::http::http1::head::{fields_of, headers_of};
use crate::http::http1::watch::Busy;
use crate::http::pipe::{End, Piece, Pipe};

/// Bytes handed to hyper at a time, at most.
const PIECE: usize = 64 * 1024;
/// How long a caller may go on sending what nobody wants.
const LINGER: Duration = Duration::from_secs(2);

/// A pipe as a body that hyper sends.
pub(super) struct PipeBody {
    pipe: Rc<Pipe>,
    whose: Whose,
    /// Bytes still to come, if the head says how many there are. hyper takes no more than that, so
    /// the end of the pipe may never be seen.
    left: Option<u64>,
    /// The end was seen.
    over: bool,
}

/// Which message a body belongs to.
enum Whose {
    /// One of our own making.
    Ours,
    /// That of a call. Once it is cancelled, someone else may read the pipe from its beginning.
    Request(Rc<Call>),
    /// The answer that goes by this reply.
    Answer(Answer),
}

/// Whom to tell how an answer ended.
struct Answer {
    reply: Rc<Reply>,
    /// Nothing of the pipe is sent: so it is with what answers HEAD.
    head_only: bool,
    _busy: Busy,
}

impl PipeBody {
    /// Our own: `bytes`.
    pub(super) fn of(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self { pipe: Pipe::full(bytes, None), whose: Whose::Ours, left, over: false }
    }

    /// None at all.
    pub(super) fn empty() -> Self {
        Self { pipe: Pipe::empty(), whose: Whose::Ours, left: Some(0), over: false }
    }

    /// The body of a request, for as long as its call is not cancelled.
    pub(super) fn request(pipe: Rc<Pipe>, length: Option<u64>, call: Rc<Call>) -> Self {
        Self { pipe, whose: Whose::Request(call), left: length, over: false }
    }

    /// The body of an answer; `busy` until it is over.
    pub(super) fn answer(
        pipe: Rc<Pipe>,
        length: Option<u64>,
        reply: Rc<Reply>,
        busy: Busy,
    ) -> Self {
        let answer = Answer { reply, head_only: false, _busy: busy };
        Self { pipe, whose: Whose::Answer(answer), left: length, over: false }
    }

    /// An answer of which only the head is sent, whatever its length says.
    pub(super) fn head_only(pipe: Rc<Pipe>, reply: Rc<Reply>, busy: Busy) -> Self {
        let answer = Answer { reply, head_only: true, _busy: busy };
        Self { pipe, whose: Whose::Answer(answer), left: Some(0), over: false }
    }
}

/// The pipe broke off: hyper closes the connection, without an end that looks clean.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
pub(super) struct Broken(ErrorCode);

impl Body for PipeBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Whose::Request(call) = &self.whose
            && let Some(code) = call.cancelled()
        {
            return Poll::Ready(Some(Err(Broken(code))));
        }
        match self.pipe.poll_take(cx, PIECE) {
            Poll::Pending | Poll::Ready(Piece::Wait) => Poll::Pending,
            Poll::Ready(Piece::Data(bytes)) => {
                let left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                self.left = left;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Poll::Ready(Piece::End(End::Broken(code))) => Poll::Ready(Some(Err(Broken(code)))),
            Poll::Ready(Piece::End(End::Complete(trailers))) => {
                self.over = true;
                let trailers = trailers.and_then(|it| headers_of(&it).ok());
                Poll::Ready(trailers.map(|it| Ok(Frame::trailers(it))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.left == Some(0) || self.pipe.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        // Heads that know their length say so; hyper goes by that.
        SizeHint::default()
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        let Whose::Answer(answer) = &self.whose else { return };
        let broken = self.pipe.with_end(|end| matches!(end, Some(End::Broken(_))));
        let gone = match (self.is_end_stream(), broken) {
            (true, _) => Gone::Answered,
            (false, true) => Gone::Broken,
            (false, false) => Gone::Left,
        };
        answer.reply.finish(gone);
        if gone != Gone::Answered || answer.head_only {
            self.pipe.close();
        }
    }
}

/// How a body that hyper receives ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Whole.
    Whole,
    /// Whoever sent it broke off, or broke the rules.
    Broken,
    /// Whoever was to read it wants no more.
    Unwanted,
}

/// Moves a body that hyper receives into a pipe, as the pipe has room. `broken` is called before
/// the pipe says that the body broke off.
pub(super) async fn receive(body: &mut Incoming, pipe: &Pipe, broken: impl FnOnce()) -> Received {
    let unwanted = || {
        pipe.end(End::Broken(ErrorCode::Cancel));
        Received::Unwanted
    };
    loop {
        if poll_fn(|cx| pipe.poll_room(cx)).await.is_err() {
            return unwanted();
        }
        // A reader that leaves ends the wait for the next frame.
        let frame = poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Some(frame));
            }
            pipe.poll_closed(cx).map(|()| None)
        });
        let Some(frame) = frame.await else { return unwanted() };
        match frame.map(|it| it.map(Frame::into_data)) {
            Some(Ok(Ok(bytes))) => pipe.push(bytes),
            Some(Ok(Err(frame))) => {
                let trailers = frame.into_trailers().ok();
                pipe.end(End::Complete(trailers.as_ref().and_then(fields_of)));
                return Received::Whole;
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a body broke off");
                broken();
                pipe.end(End::Broken(ErrorCode::Cancel));
                return Received::Broken;
            }
            None => {
                pipe.end(End::Complete(None));
                return Received::Whole;
            }
        }
    }
}

/// Receives a request's body; what comes when nobody wants it any more is thrown away for a while.
///
/// hyper closes a connection on which something is left unread, and the kernel then takes back what
/// the caller has not read yet: the very answer that made the rest unwanted (RFC 9112 section 9.6).
pub(super) async fn receive_request(mut body: Incoming, pipe: &Pipe, broken: impl FnOnce()) {
    if receive(&mut body, pipe, broken).await == Received::Unwanted {
        let rest = async {
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }
}
