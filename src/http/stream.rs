//! One stream of an HTTP/2 connection: what was received, what was sent, what may still be.

use std::rc::Rc;

use tokio::time::Instant;

use crate::http::exchange::{Call, CallError, CallEvent, Gone, Reply};
use crate::http::frame::ErrorCode;
use crate::http::pipe::{End, Pipe};
use crate::model::RequestHead;

/// Bytes as windows count them, which may be below nothing.
#[inline]
pub(super) fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

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
    Server { reply: Rc<Reply>, asks: Asks },
    /// Ours: the peer answers. The request's head ended at that position of all output.
    Client { call: Rc<Call>, asks: Asks, written_at: u64 },
}

/// What a request's method makes of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing particular.
    Content,
    /// HEAD: there is no body, whatever the answer's length says.
    HeadOnly,
    /// To go on in another protocol (RFC 8441): once agreed, what follows is no body.
    Tunnel,
}

impl Asks {
    pub(super) fn of(head: &RequestHead) -> Self {
        if head.protocol.is_some() {
            Self::Tunnel
        } else if head.method == http::Method::HEAD {
            Self::HeadOnly
        } else {
            Self::Content
        }
    }
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
    /// When it was first found with bytes waiting, of which none moved since.
    pub(super) stalled_since: Option<Instant>,
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

    /// Tells everyone concerned that the stream ended before its time. `code` is why.
    pub(super) fn break_off(&mut self, error: CallError, code: ErrorCode) {
        match &self.side {
            Side::Server { reply, .. } => {
                // Whatever the caller did wrong, the upstream has no part in it.
                self.inbound.end(End::Broken(ErrorCode::Cancel));
                reply.finish(Gone::Left);
                if let Sending::Body(body) = &self.sending {
                    body.close();
                }
            }
            Side::Client { call, .. } => {
                self.inbound.end(End::Broken(passed_on(code)));
                if self.receiving == Receiving::Head {
                    call.event(CallEvent::Failed(error));
                } else if let Sending::Body(body) = &self.sending
                    && call.cancelled().is_none()
                {
                    // The answer is on its way to the caller: this request is not sent again. But
                    // for whoever cancelled, the body is theirs: they may send it elsewhere.
                    body.close();
                }
            }
        }
        self.inbound.writer_left();
        self.receiving = Receiving::Done;
        self.sending = Sending::Done;
    }
}

/// Returns what a caller is told of an answer that broke off upstream for this reason.
///
/// Codes that speak of the other connection would mislead on this one; above all, a request whose
/// answer began was not refused, and one whose answer broke off did not end well.
fn passed_on(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::Cancel
        | ErrorCode::ConnectError
        | ErrorCode::EnhanceYourCalm
        | ErrorCode::Http11Required => code,
        _ => ErrorCode::InternalError,
    }
}

/// Streams that ended of which the peer may not know yet.
///
/// What it sent meanwhile is not its fault (RFC 9113 section 5.1, "closed").
#[derive(Debug, Default)]
pub(super) struct Abandoned {
    newer: hashbrown::HashSet<u32>,
    older: hashbrown::HashSet<u32>,
}

impl Abandoned {
    /// Streams of which at least the newest are remembered; twice as many at most.
    const KEPT: usize = 1024;

    pub(super) fn push(&mut self, stream: u32) {
        if self.newer.len() == Self::KEPT {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(stream);
    }

    pub(super) fn contains(&self, stream: u32) -> bool {
        self.newer.contains(&stream) || self.older.contains(&stream)
    }
}
