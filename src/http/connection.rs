//! One HTTP/2 connection: its socket, its buffers, its turns.
//!
//! ```text
//!           poll ──► read ──► receive.rs, heads.rs: frames in  ──► pipes, replies, calls
//!            ▲       write ◄── send.rs: frames out             ◄── ready streams
//!            │       clock.rs: what took too long;  closing.rs: the end
//!            └── woken by the socket, by ready streams, by the tick
//! ```
//!
//! The connection is one future on one thread. It never waits for anything but its socket: a
//! stream whose other side is slow just has its window left shut. Everything it holds is bounded:
//! the input by one frame, the output by [`OUTPUT_HIGH`] and one frame, bodies by the windows it
//! gave, heads by the limits, the work it does for a peer's faults by a budget.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use crate::http::client::ClientShared;
use crate::http::clock::{Clock, Rang};
use crate::http::exchange::{CallError, Incoming};
use crate::http::frame::{self, DEFAULT_WINDOW, ErrorCode, write};
use crate::http::heads::Unfinished;
use crate::http::hpack::{self, Decoder, Encoder};
use crate::http::options::Options;
use crate::http::pace::Pace;
use crate::http::ready::{Credit, Ready};
use crate::http::server::ServerShared;
use crate::http::stream::{Abandoned, Side, Stream};

/// Output beyond which no more is produced until some was written.
pub(super) const OUTPUT_HIGH: usize = 64 * 1024;
/// Output beyond which no more is read: answers to control frames wait here too.
const OUTPUT_STUCK: usize = 256 * 1024;
/// Bytes read at a time.
const READ: usize = 32 * 1024;
/// Reads in one turn, before others on the thread have theirs.
pub(super) const TURNS: usize = 16;
/// Frames in a row that move nothing before a peer is taken for hostile.
pub(super) const CHATTER: u32 = 10_000;
/// The largest frame payload we take: the protocol's smallest limit, which we leave in place.
pub(super) const MAX_FRAME: u32 = frame::DEFAULT_MAX_FRAME_SIZE;

/// Which end of the connection we are.
pub(super) enum Role<H> {
    Server { shared: Rc<ServerShared>, handler: H },
    Client(Rc<ClientShared>),
}

/// A fault that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fatal(pub(super) ErrorCode, pub(super) &'static str);

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The peer closed it, or it was drained.
    #[error("closed")]
    Closed,
    /// It was idle for too long.
    #[error("idle")]
    Idle,
    /// The peer took too long over this.
    #[error("timeout: {0}")]
    TimedOut(&'static str),
    /// The peer broke this rule.
    #[error("{0}: {1}")]
    Fault(ErrorCode, &'static str),
    /// The socket failed.
    #[error("socket: {0:?}")]
    Io(std::io::ErrorKind),
}

impl Ended {
    /// Returns the end in one word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::TimedOut(_) => "timeout",
            Self::Fault(code, _) => code.name(),
            Self::Io(_) => "io",
        }
    }
}

/// What the peer's settings say.
pub(super) struct Peer {
    pub(super) initial_window: u32,
    pub(super) max_frame: u32,
}

/// How far the end of the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// Not at all.
    No,
    /// We asked for no more streams; this one was the last the peer may have begun meanwhile.
    Announced { since: Instant },
    /// The last stream we take is said; we end with the last of them.
    Draining,
    /// The peer said goodbye; we end with the last of its streams.
    Parting,
    /// What is written is to be flushed, then the socket shut.
    Flushing(Ended),
    /// The same, and what still comes is thrown away, for a bounded time.
    Lingering(Ended),
    /// There is nothing left to do.
    Over,
}

/// One HTTP/2 connection.
pub(super) struct Connection<S, H> {
    pub(super) io: S,
    pub(super) role: Role<H>,
    pub(super) options: Options,
    pub(super) input: BytesMut,
    pub(super) output: Vec<u8>,
    /// Bytes of `output` that were written.
    pub(super) written: usize,
    /// Bytes that were ever written before those of `output`.
    pub(super) written_before: u64,
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) streams: hashbrown::HashMap<u32, Stream>,
    pub(super) ready: Rc<Ready>,
    pub(super) credit: Rc<Credit>,
    pub(super) peer: Peer,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    /// Streams that have bytes and wait for the connection's window.
    pub(super) starved: std::collections::VecDeque<u32>,
    /// The highest stream the peer began.
    pub(super) last_peer_stream: u32,
    /// The highest of them that was taken.
    pub(super) last_taken: u32,
    /// The next stream we begin.
    pub(super) next_stream: u32,
    pub(super) unfinished: Option<Unfinished>,
    pub(super) abandoned: Abandoned,
    /// Streams of ours that are over and to be reset.
    pub(super) pace: Pace,
    pub(super) first_frame_seen: bool,
    pub(super) settings_acked: bool,
    /// Streams broken off beyond those that ended in peace.
    pub(super) faults: u32,
    /// Frames in a row that moved nothing.
    pub(super) chatter: u32,
    /// Frames that were complete, and the heads in them; wraps.
    pub(super) finished: u32,
    pub(super) closing: Closing,
    pub(super) clock: Clock,
    pub(super) read_closed: bool,
}

impl<S, H> Drop for Connection<S, H> {
    fn drop(&mut self) {
        if self.closing != Closing::Over {
            self.abandon_streams();
        }
    }
}

impl<S, H> Connection<S, H> {
    /// Bytes given to the socket or waiting for it, ever.
    pub(super) fn position(&self) -> u64 {
        self.written_before + self.output.len() as u64
    }

    /// Tells everyone concerned that the connection is lost.
    fn abandon_streams(&mut self) {
        if let Role::Client(shared) = &self.role {
            shared.close();
        }
        let written = self.written_before + self.written as u64;
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            let error = match stream.side {
                Side::Client { written_at, .. } if written_at > written => CallError::NeverSent,
                _ => CallError::Lost,
            };
            stream.break_off(error, ErrorCode::InternalError);
        }
        self.starved.clear();
        if let Role::Client(shared) = &self.role {
            shared.note_load(0, false);
        }
    }
}

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    pub(super) fn new(io: S, role: Role<H>, ready: Rc<Ready>, options: Options) -> Self {
        let buffer = options.connection_buffer.max(DEFAULT_WINDOW);
        Self {
            io,
            role,
            input: BytesMut::with_capacity(READ),
            output: Vec::with_capacity(4096),
            written: 0,
            written_before: 0,
            decoder: Decoder::new(hpack::DEFAULT_TABLE_SIZE),
            encoder: Encoder::new(),
            streams: hashbrown::HashMap::new(),
            credit: Credit::new(buffer as usize / 4, ready.clone()),
            ready,
            peer: Peer { initial_window: DEFAULT_WINDOW, max_frame: frame::DEFAULT_MAX_FRAME_SIZE },
            send_window: i64::from(DEFAULT_WINDOW),
            receive_window: i64::from(buffer),
            starved: std::collections::VecDeque::new(),
            last_peer_stream: 0,
            last_taken: 0,
            next_stream: 1,
            unfinished: None,
            abandoned: Abandoned::default(),
            pace: Pace::default(),
            first_frame_seen: false,
            settings_acked: false,
            faults: 0,
            chatter: 0,
            finished: 0,
            closing: Closing::No,
            clock: Clock::new(&options),
            read_closed: false,
            options,
        }
    }

    /// Whether the peer does not keep up: the connection's window is as good as used up, or its
    /// socket full.
    pub(super) fn is_blocked(&self) -> bool {
        self.send_window < i64::from(MAX_FRAME)
            || !self.starved.is_empty()
            || self.output.len() - self.written >= OUTPUT_HIGH
    }

    /// Whether there is still something to say and to hear.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.closing, Closing::Flushing(_) | Closing::Lingering(_) | Closing::Over)
    }

    /// Reads once. `Ready(false)`: nothing more will come.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Ended>> {
        if self.read_closed {
            return Poll::Pending;
        }
        if self.input.capacity() - self.input.len() < READ / 2 {
            self.input.reserve(READ);
        }
        let read = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx));
        let count = read.map_err(|error| Ended::Io(error.kind()))?;
        self.clock.active = true;
        self.read_closed = count == 0;
        Poll::Ready(Ok(count > 0))
    }

    /// Writes what there is, as far as the socket takes it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            let Poll::Ready(count) = Pin::new(&mut self.io).poll_write(cx, rest) else {
                self.forget_written();
                return Poll::Pending;
            };
            match count.map_err(|error| Ended::Io(error.kind()))? {
                0 => return Poll::Ready(Err(Ended::Io(std::io::ErrorKind::WriteZero))),
                count => self.written += count,
            }
            self.clock.active = true;
        }
        self.written_before += self.output.len() as u64;
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Gives back the room of what was written, once it is most of the output: a peer that never
    /// reads all of it would make it grow without end.
    fn forget_written(&mut self) {
        if self.written >= OUTPUT_HIGH && self.written >= self.output.len() / 2 {
            self.output.drain(..self.written);
            self.written_before += self.written as u64;
            self.written = 0;
        }
    }

    /// Handles the frames that are complete.
    fn process(&mut self) {
        while self.is_open() {
            match self.next_frame() {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fatal(code, why)) => self.fail(code, why),
            }
        }
    }

    /// Ends the connection for a fault of the peer's, and says so.
    fn fail(&mut self, code: ErrorCode, why: &'static str) {
        write::go_away(&mut self.output, self.last_taken, code, why);
        self.close(Ended::Fault(code, why));
    }

    /// Ends the connection once what is written has gone out.
    pub(super) fn close(&mut self, why: Ended) {
        self.closing = Closing::Flushing(why);
        self.abandon_streams();
    }

    /// One turn: what can be read, handled, produced and written without waiting.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..TURNS {
            let stuck = self.output.len() - self.written >= OUTPUT_STUCK;
            let read = if stuck { Poll::Pending } else { self.poll_read(cx) };
            match read {
                Poll::Ready(Ok(true)) => self.process(),
                Poll::Ready(Ok(false)) => self.end_of_input(),
                Poll::Ready(Err(why)) => return Poll::Ready(why),
                Poll::Pending => {}
            }
            // A sweep over the ready streams may fill the output; writing makes room for more.
            loop {
                self.produce();
                let full = self.output.len() >= OUTPUT_HIGH;
                match self.poll_flush(cx) {
                    Poll::Ready(Ok(())) if full => {}
                    Poll::Ready(Err(why)) => return Poll::Ready(why),
                    _ => break,
                }
            }
            // What was not read because too much waited is to be read once it went out: nobody else
            // would wake us for it.
            let unstuck = stuck && self.output.is_empty();
            if self.finish_if_done() || (read.is_pending() && !unstuck) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S, H> Future for Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming) + Unpin,
{
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        this.ready.rouse();
        let ended = this.run(cx);
        this.ready.sleep(cx.waker());
        if ended.is_ready() {
            this.abandon_streams();
            this.closing = Closing::Over;
        }
        ended
    }
}

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        while self.is_open() {
            if let Poll::Ready(why) = self.turn(cx) {
                return Poll::Ready(why);
            }
            self.note_load();
            self.set_clock();
            match self.poll_clock(cx) {
                Rang::No => break,
                // What came of it is written before we sleep.
                Rang::Yes => {}
                Rang::Last(why) => self.part(why),
            }
        }
        self.poll_close(cx)
    }
}
