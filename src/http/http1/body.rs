//! Bodies between hyper and pipes.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::http::exchange::{Call, Gone, Reply};
use crate::http::frame::ErrorCode;
use crate::http::http1::head::{fields_of, headers_of};
use crate::http::pipe::{End, Piece, Pipe};

/// Bytes handed to hyper at a time, at most.
const PIECE: usize = 64 * 1024;

/// How long a caller may go on sending what nobody wants.
const LINGER: Duration = Duration::from_secs(2);

/// A pipe as a body that hyper sends.
pub(super) struct PipeBody {
    pipe: Rc<Pipe>,
    /// Told when the body is over, if it is an answer's.
    reply: Option<Rc<Reply>>,
    /// The call whose request it is, if it is a request's: once it is cancelled, the body is someone
    /// else's to read.
    call: Option<Rc<Call>>,
    over: bool,
}

impl PipeBody {
    pub(super) fn request(pipe: Rc<Pipe>, call: Rc<Call>) -> Self {
        Self { pipe, reply: None, call: Some(call), over: false }
    }

    /// A body that is nobody's message: complete, and ours.
    pub(super) fn own(pipe: Rc<Pipe>) -> Self {
        Self { pipe, reply: None, call: None, over: false }
    }

    pub(super) fn answer(pipe: Rc<Pipe>, reply: Rc<Reply>) -> Self {
        Self { pipe, reply: Some(reply), call: None, over: false }
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
        if let Some(code) = self.call.as_ref().and_then(|call| call.cancelled()) {
            return Poll::Ready(Some(Err(Broken(code))));
        }
        match self.pipe.poll_take(cx, PIECE) {
            Poll::Pending | Poll::Ready(Piece::Wait) => Poll::Pending,
            Poll::Ready(Piece::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(Piece::End(End::Broken(code))) => Poll::Ready(Some(Err(Broken(code)))),
            Poll::Ready(Piece::End(End::Complete(trailers))) => {
                let first = !std::mem::replace(&mut self.over, true);
                match trailers.filter(|_| first).and_then(|it| headers_of(&it).ok()) {
                    Some(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    None => Poll::Ready(None),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.pipe.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        if self.pipe.is_at_end() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl Drop for PipeBody {
    fn drop(&mut self) {
        let whole = self.is_end_stream();
        if let Some(reply) = &self.reply {
            let broken = self.pipe.with_end(|end| matches!(end, Some(End::Broken(_))));
            reply.finish(match (whole, broken) {
                (true, _) => Gone::Answered,
                (false, true) => Gone::Broken,
                (false, false) => Gone::Left,
            });
            self.pipe.close();
        }
    }
}

/// Moves a body that hyper receives into a pipe, as the pipe has room.
pub(super) async fn receive(body: &mut Incoming, pipe: &Pipe) {
    let end = loop {
        if poll_fn(|cx| pipe.poll_room(cx)).await.is_err() {
            break End::Broken(ErrorCode::Cancel);
        }
        // A reader that leaves ends the wait for the next frame.
        let frame = poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Some(frame));
            }
            pipe.poll_closed(cx).map(|()| None)
        });
        match frame.await {
            None => break End::Broken(ErrorCode::Cancel),
            Some(None) => break End::Complete(None),
            Some(Some(Err(error))) => {
                tracing::debug!(%error, "a body broke off");
                break End::Broken(ErrorCode::Cancel);
            }
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => pipe.push(bytes),
                Err(frame) => break End::Complete(frame.into_trailers().ok().and_then(trailers)),
            },
        }
    };
    pipe.end(end);
}

/// Receives a request's body; what comes when nobody wants it any more is thrown away for a while.
///
/// hyper closes a connection on which something is left unread, and the kernel then takes back what
/// the caller has not read yet: the very answer that made the rest unwanted (RFC 9112 section 9.6).
pub(super) async fn receive_request(mut body: Incoming, pipe: Rc<Pipe>) {
    receive(&mut body, &pipe).await;
    let rest =
        async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

fn trailers(headers: HeaderMap) -> Option<crate::model::Fields> {
    Some(fields_of(&headers)).filter(|it| !it.is_empty())
}

/// Whether hyper has nothing of a body to give.
pub(super) fn is_empty(body: &Incoming) -> bool {
    body.is_end_stream()
}
