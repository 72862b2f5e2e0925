//! The clock of a serving connection, and the socket that tells it what moves.
//!
//! hyper owns the socket and wants to be able to send it to another thread, so the two share
//! atomics, though nothing here ever leaves its thread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::http::connection::Ended;
use crate::http::options::Options;
use crate::net::Replay;

/// How long a connection that we close stays to let the caller read our last answer.
const LINGER: Duration = Duration::from_secs(1);
/// Reads thrown away in one turn of a lingering connection.
const TURNS: usize = 16;

/// What the clock of a serving connection goes by.
#[derive(Debug)]
pub(super) struct Watch {
    origin: Instant,
    /// Answers that are not made, or not written whole.
    answers: AtomicU32,
    /// Request bodies that are not read whole.
    bodies: AtomicU32,
    /// When a byte last moved, either way.
    last: Moment,
    /// When the first byte of a head came that is not complete.
    head: Moment,
    /// Since when the caller takes none of what we write.
    stuck: Moment,
    /// The caller sent more than the request that is being answered.
    ahead: AtomicBool,
}

/// A time that may not have come: milliseconds after the origin, plus one; 0 if there is none.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn is_set(&self) -> bool {
        self.0.load(Relaxed) > 0
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Says that something is under way, for as long as it lives.
pub(super) struct Busy {
    watch: Arc<Watch>,
    what: fn(&Watch) -> &AtomicU32,
}

impl Drop for Busy {
    fn drop(&mut self) {
        (self.what)(&self.watch).fetch_sub(1, Relaxed);
        self.watch.set(&self.watch.last);
        if !self.watch.is_busy() && self.watch.ahead.swap(false, Relaxed) {
            // What came ahead of its turn may be half a head.
            self.watch.set(&self.watch.head);
        }
    }
}

impl Watch {
    fn new() -> Arc<Self> {
        let watch = Self {
            origin: Instant::now(),
            answers: AtomicU32::new(0),
            bodies: AtomicU32::new(0),
            last: Moment::default(),
            head: Moment::default(),
            stuck: Moment::default(),
            ahead: AtomicBool::new(false),
        };
        watch.set(&watch.last);
        Arc::new(watch)
    }

    fn set(&self, moment: &Moment) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        moment.0.store(millis + 1, Relaxed);
    }

    fn since(&self, moment: &Moment) -> Duration {
        let then = Duration::from_millis(moment.0.load(Relaxed).saturating_sub(1));
        self.origin.elapsed().saturating_sub(then)
    }

    fn is_busy(&self) -> bool {
        self.answers.load(Relaxed) + self.bodies.load(Relaxed) > 0
    }

    fn busy(self: &Arc<Self>, what: fn(&Self) -> &AtomicU32) -> Busy {
        what(self).fetch_add(1, Relaxed);
        Busy { watch: self.clone(), what }
    }

    /// A head is complete; its answer is under way for as long as what is returned lives.
    pub(super) fn answering(self: &Arc<Self>) -> Busy {
        self.head.clear();
        self.ahead.store(false, Relaxed);
        self.busy(|it| &it.answers)
    }

    /// A body is being received for as long as what is returned lives.
    pub(super) fn receiving(self: &Arc<Self>) -> Busy {
        self.busy(|it| &it.bodies)
    }

    /// Bytes came in.
    fn read(&self) {
        self.set(&self.last);
        if self.bodies.load(Relaxed) > 0 {
            return;
        }
        if self.answers.load(Relaxed) > 0 {
            self.ahead.store(true, Relaxed);
        } else if !self.head.is_set() {
            self.set(&self.head);
        }
    }

    fn wrote<T>(&self, written: &Poll<T>) {
        if written.is_ready() {
            self.set(&self.last);
            self.stuck.clear();
        } else if !self.stuck.is_set() {
            self.set(&self.stuck);
        }
    }

    /// Returns whether an answer is under way.
    pub(super) fn is_answering(&self) -> bool {
        self.answers.load(Relaxed) > 0
    }

    /// Returns why the connection is to end, if it is.
    ///
    /// How long an answer may take to come is for those to say who make it.
    pub(super) fn overdue(&self, options: &Options) -> Option<Ended> {
        let late = |moment, limit| self.since(moment) >= limit;
        if self.stuck.is_set() && late(&self.stuck, options.stall) {
            return Some(Ended::TimedOut("a caller that takes nothing"));
        }
        if self.answers.load(Relaxed) > 0 {
            return None;
        }
        if self.bodies.load(Relaxed) > 0 {
            let stalled = late(&self.last, options.stall);
            return stalled.then_some(Ended::TimedOut("a body that does not come"));
        }
        if self.head.is_set() && late(&self.head, options.frame) {
            return Some(Ended::TimedOut("an unfinished head"));
        }
        late(&self.last, options.idle).then_some(Ended::Idle)
    }
}

/// A socket that tells the clock what moves.
pub(super) struct Watched {
    io: Replay<TcpStream>,
    watch: Arc<Watch>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(io: Replay<TcpStream>) -> (Self, Arc<Watch>) {
        let watch = Watch::new();
        (Self { io, watch: watch.clone(), lingering: None }, watch)
    }

    pub(super) fn into_inner(self) -> Replay<TcpStream> {
        self.io
    }

    /// Throws away what the caller still sends, until it ends or we lose patience.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut thrown = [0; 4096];
        for _ in 0..TURNS {
            let mut buffer = ReadBuf::new(&mut thrown);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Watched {
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

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Ends our side and waits for the caller's: to close on bytes that were not read would reset
    /// the connection, and our last answer might be lost with it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.watch.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::message::HeadLimits;

    const OPTIONS: Options = Options {
        streams: 1,
        head: HeadLimits { list: 1, fields: 1 },
        stream_window: 1,
        connection_buffer: 1,
        resets: 1,
        first_frame: Duration::from_secs(1),
        frame: Duration::from_secs(2),
        idle: Duration::from_secs(20),
        stall: Duration::from_secs(10),
    };

    async fn after(watch: &Watch, seconds: u64) -> Option<Ended> {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        watch.overdue(&OPTIONS)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_timed_from_its_first_byte_and_not_by_its_last() {
        let watch = Watch::new();

        watch.read();
        assert_eq!(after(&watch, 1).await, None);
        watch.read();

        assert_eq!(after(&watch, 1).await, Some(Ended::TimedOut("an unfinished head")));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_answered_has_all_the_time_others_give_it() {
        let watch = Watch::new();
        watch.read();

        let answer = watch.answering();
        watch.read();
        assert_eq!(after(&watch, 100).await, None);
        drop(answer);

        // What came meanwhile is the beginning of the next head.
        assert_eq!(after(&watch, 2).await, Some(Ended::TimedOut("an unfinished head")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_connection_ends() {
        let watch = Watch::new();
        drop(watch.answering());

        assert_eq!(after(&watch, 19).await, None);
        assert_eq!(after(&watch, 1).await, Some(Ended::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_outlives_its_answer_must_move() {
        let watch = Watch::new();
        let _body = watch.receiving();
        drop(watch.answering());

        assert_eq!(after(&watch, 9).await, None);
        watch.read();
        assert_eq!(after(&watch, 9).await, None);
        assert_eq!(after(&watch, 1).await, Some(Ended::TimedOut("a body that does not come")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_let_go() {
        let watch = Watch::new();
        let _answer = watch.answering();

        watch.wrote(&Poll::<()>::Pending);
        assert_eq!(after(&watch, 9).await, None);
        watch.wrote(&Poll::<()>::Pending);

        assert_eq!(after(&watch, 1).await, Some(Ended::TimedOut("a caller that takes nothing")));
        watch.wrote(&Poll::Ready(()));
        assert_eq!(after(&watch, 100).await, None);
    }
}
