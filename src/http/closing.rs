//! How a connection ends: in peace, for a fault or a time, and what the socket is told.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::http::connection::{Closing, Connection, Ended, TURNS};
use crate::http::exchange::Incoming;
use crate::http::frame::{ErrorCode, write};

/// How long a connection that ended for a fault stays to let the peer read why.
const LINGER: Duration = Duration::from_secs(1);

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    pub(super) fn end_of_input(&mut self) {
        // The peer sends no more: what it owes will not come. Answers may still be under way to a
        // caller that only shut its sending side, which no HTTP/2 implementation does on purpose.
        self.close(Ended::Closed);
    }

    /// Ends a draining connection with its last stream.
    pub(super) fn finish_if_done(&mut self) -> bool {
        let done = matches!(self.closing, Closing::Draining | Closing::Parting)
            && self.streams.is_empty()
            && self.output.is_empty();
        if done {
            self.close(Ended::Closed);
        }
        matches!(self.closing, Closing::Flushing(_))
    }

    /// Ends a connection that took too long over something.
    pub(super) fn part(&mut self, why: Ended) {
        let code = match why {
            Ended::Idle => ErrorCode::NoError,
            _ => ErrorCode::EnhanceYourCalm,
        };
        write::go_away(&mut self.output, self.last_taken, code, "");
        self.close(why);
    }

    /// Shuts the socket in the order that lets the peer read our last word: flush, shut our side,
    /// throw away what still comes, for a bounded time. Closing at once would make the kernel
    /// answer late bytes with a reset, which throws away what the peer has not read.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Closing::Flushing(why) = self.closing {
            let until = Instant::now() + LINGER;
            self.clock.tick.as_mut().reset(until);
            self.closing = Closing::Lingering(why);
        }
        let Closing::Lingering(why) = self.closing else { return Poll::Pending };
        // A peer that reads nothing does not keep us: the clock rings.
        match self.poll_flush(cx) {
            Poll::Ready(Ok(())) if self.read_closed => return Poll::Ready(why),
            Poll::Ready(Ok(())) => {
                let _ = Pin::new(&mut self.io).poll_shutdown(cx);
            }
            Poll::Ready(Err(_)) => return Poll::Ready(why),
            Poll::Pending => {}
        }
        for turn in 1.. {
            self.input.clear();
            match self.poll_read(cx) {
                Poll::Ready(Ok(true)) if turn < TURNS => {}
                Poll::Ready(Ok(true)) => {
                    cx.waker().wake_by_ref();
                    break;
                }
                Poll::Ready(_) => return Poll::Ready(why),
                Poll::Pending => break,
            }
        }
        self.clock.tick.as_mut().poll(cx).map(|()| why)
    }
}
