//! One stream of an HTTP/2 connection: what was received, what was sent, what may still be.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::http::exchange::{Call, CallError, CallEvent, Gone, Reply};
use crate::http::frame::ErrorCode;
use crate::http::pipe::{End, Pipe};

/// What the peer has still to send on a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiving {
    /// The head of the answer.
    Head,
    /// Body and trailers.
    Body,
    /// Nothing.
    Done,
}

/// What we have still to send on a stream.
#[derive(Debug)]
pub(super) enum Sending {
    /// The head of the answer.
    Head,
    /// What comes out of this pipe.
    Body(Rc<Pipe>),
    /// Nothing.
    Done,
}

/// Whose request it is.
#[derive(Debug)]
pub(super) enum Side {
    /// The peer's: we answer.
    Server(Rc<Reply>),
    /// Ours: the peer answers. `head` is the request's method being HEAD, whose answers have no
    /// body whatever their length says.
    Client { call: Rc<Call>, head: bool, written_at: u64 },
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("body", &self.body).finish_non_exhaustive()
    }
}

/// One stream (RFC 9113 section 5.1).
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) side: Side,
    pub(super) receiving: Receiving,
    pub(super) sending: Sending,
    /// Where the body goes that the peer sends.
    pub(super) inbound: Rc<Pipe>,
    /// Bytes the peer may still send.
    pub(super) receive_window: i64,
    /// Bytes we may still send.
    pub(super) send_window: i64,
    /// Bytes of body the peer still owes by its `content-length`.
    pub(super) owed: Option<u64>,
    /// Waits in the queue for the connection's window.
    pub(super) starved: bool,
    /// Bytes moved since this was last looked at.
    pub(super) moved: bool,
    /// Looks in a row that found bytes waiting and none moved.
    pub(super) stalled: u32,
}

impl Stream {
    pub(super) fn is_over(&self) -> bool {
        self.receiving == Receiving::Done && matches!(self.sending, Sending::Done)
    }

    /// Counts body bytes against the length the head claimed.
    pub(super) fn owe_less(&mut self, bytes: usize) -> Result<(), &'static str> {
        if let Some(owed) = &mut self.owed {
            *owed = owed
                .checked_sub(bytes as u64)
                .ok_or("the body is longer than its content-length")?;
        }
        Ok(())
    }

    /// The peer sent everything: its half is closed.
    pub(super) fn received_all(&mut self, trailers: Option<crate::model::Fields>) {
        self.receiving = Receiving::Done;
        self.inbound.end(End::Complete(trailers));
        self.inbound.writer_left();
    }

    /// Whether the length the head claimed was kept, now that the body ended.
    pub(super) fn kept_its_length(&self) -> bool {
        self.owed.is_none_or(|owed| owed == 0)
    }

    /// Tells everyone concerned that the stream ended before its time.
    ///
    /// `code` is what the other side of the exchange is told.
    pub(super) fn break_off(&mut self, error: CallError, code: ErrorCode) {
        match &self.side {
            Side::Server(reply) => {
                self.inbound.end(End::Broken(code));
                reply.finish(Gone::Left);
                if let Sending::Body(body) = &self.sending {
                    body.close();
                }
            }
            Side::Client { call, .. } => {
                let answered = self.receiving != Receiving::Head;
                if !answered {
                    call.event(CallEvent::Failed(error));
                } else if let Sending::Body(body) = &self.sending
                    && call.cancelled().is_none()
                {
                    // The answer is on its way to the caller: this request is not sent again. But
                    // for whoever cancelled, the body is theirs: they may send it elsewhere.
                    body.close();
                }
                self.inbound.end(End::Broken(code));
            }
        }
        self.inbound.writer_left();
        self.receiving = Receiving::Done;
        self.sending = Sending::Done;
    }
}

/// Streams that ended of which the peer may not know yet.
///
/// What it sent meanwhile is not its fault (RFC 9113 section 5.1, "closed").
#[derive(Debug, Default)]
pub(super) struct Abandoned(VecDeque<u32>);

impl Abandoned {
    const KEPT: usize = 256;

    pub(super) fn push(&mut self, stream: u32) {
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back(stream);
    }

    pub(super) fn contains(&self, stream: u32) -> bool {
        self.0.contains(&stream)
    }
}
