//! One HTTP/2 connection: its socket, its buffers, its clock.
//!
//! ```text
//!           poll ──► read ──► receive.rs: frames in  ──► pipes, replies, calls
//!            ▲       write ◄── send.rs: frames out   ◄── ready streams
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
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::http::client::ClientShared;
use crate::http::exchange::{CallError, Incoming};
use crate::http::frame::{self, DEFAULT_WINDOW, ErrorCode, write};
use crate::http::hpack::{self, Decoder, Encoder};
use crate::http::message::HeadLimits;
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
const TURNS: usize = 16;
/// How long a connection that ended for a fault stays to let the peer read why.
const LINGER: Duration = Duration::from_secs(1);
/// Buffers are given back after this long without a byte.
const SHRINK_AFTER: Duration = Duration::from_secs(5);
/// Frames in a row that move nothing before a peer is taken for hostile.
pub(super) const CHATTER: u32 = 10_000;
/// The largest frame payload we take: the protocol's smallest limit, which we leave in place.
pub(super) const MAX_FRAME: u32 = frame::DEFAULT_MAX_FRAME_SIZE;

/// How an HTTP/2 connection behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Requests the peer may have under way.
    pub streams: u32,
    /// Bounds on each message's fields.
    pub head: HeadLimits,
    /// Bytes a peer may send on one stream before any of them went on.
    pub stream_window: u32,
    /// Bytes all streams may make us hold together.
    pub connection_buffer: u32,
    /// Streams broken off by the peer or by its faults, beyond those that ended in peace, before
    /// the connection is ended.
    pub resets: u32,
    /// How long the peer may take to its first frame.
    pub first_frame: Duration,
    /// How long a frame or a head may take from its first byte to its last.
    pub frame: Duration,
    /// How long a connection without streams is kept.
    pub idle: Duration,
    /// How long a stream may have bytes for a peer that takes none.
    pub stall: Duration,
}

impl Options {
    /// How often the clock is looked at: often enough for the shortest of the times.
    fn tick(&self) -> Duration {
        let shortest = self.first_frame.min(self.frame).min(self.idle).min(self.stall);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Bytes of a stream's window that are worth a frame to give back.
    pub(super) fn worth(&self) -> usize {
        (self.stream_window as usize / 2).max(1)
    }
}

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

/// A head whose frames are not all there.
#[derive(Default)]
pub(super) struct Unfinished {
    pub(super) stream: u32,
    pub(super) end_stream: bool,
    /// The head's frame has this fault; it is decoded all the same.
    pub(super) fault: Option<ErrorCode>,
    pub(super) block: Vec<u8>,
    pub(super) frames: u32,
}

/// One HTTP/2 connection.
pub(super) struct Connection<S, H> {
    io: S,
    pub(super) role: Role<H>,
    pub(super) options: Options,
    pub(super) input: BytesMut,
    pub(super) output: Vec<u8>,
    /// Bytes of `output` that were written.
    written: usize,
    /// Bytes that were ever written before those of `output`.
    written_before: u64,
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
    clock: Clock,
    read_closed: bool,
}

/// What the connection's clock goes by. Nothing here is looked at but when the tick rings: what
/// moves leaves a mark, and the time is read once for all of it.
struct Clock {
    tick: Pin<Box<Sleep>>,
    every: Duration,
    /// Nothing was under way when it rang last: it is set for long, until something is.
    resting: bool,
    began: Instant,
    /// Bytes came or went since the last tick.
    active: bool,
    last_active: Instant,
    /// When the last stream was seen.
    last_busy: Instant,
    /// `finished` when it was looked at, and since when a frame is unfinished.
    partial: (u32, Option<Instant>),
    /// Bytes written when they were looked at, and since when no more were while some waited.
    unwritten: (u64, Option<Instant>),
    /// Until when what is long ago was taken back.
    forgiven: Instant,
}

impl Clock {
    fn new(options: &Options) -> Self {
        let now = Instant::now();
        let every = options.tick();
        Self {
            tick: Box::pin(tokio::time::sleep_until(now + every)),
            every,
            resting: false,
            began: now,
            active: false,
            last_active: now,
            last_busy: now,
            partial: (0, None),
            unwritten: (0, None),
            forgiven: now,
        }
    }
}

/// What the clock said.
enum Rang {
    /// Nothing yet.
    No,
    /// It was time to look; there may be something to write.
    Yes,
    /// The connection is to end.
    Last(Ended),
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
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Ended>> {
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
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
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

    fn end_of_input(&mut self) {
        // The peer sends no more: what it owes will not come. Answers may still be under way to a
        // caller that only shut its sending side, which no HTTP/2 implementation does on purpose.
        self.close(Ended::Closed);
    }

    /// Ends a draining connection with its last stream.
    fn finish_if_done(&mut self) -> bool {
        let done = matches!(self.closing, Closing::Draining | Closing::Parting)
            && self.streams.is_empty()
            && self.output.is_empty();
        if done {
            self.close(Ended::Closed);
        }
        matches!(self.closing, Closing::Flushing(_))
    }

    /// Whether nothing is under way that could take too long.
    fn is_at_rest(&self) -> bool {
        self.streams.is_empty()
            && self.input.is_empty()
            && self.output.is_empty()
            && self.unfinished.is_none()
            && self.first_frame_seen
            && self.closing == Closing::No
    }

    /// Sets the clock for what came under way since it was set.
    fn set_clock(&mut self) {
        let roused = self.clock.resting && !self.is_at_rest();
        if !roused && self.pace.len() == 0 {
            return;
        }
        let now = Instant::now();
        if roused {
            self.clock.resting = false;
            self.clock.last_busy = now;
            self.clock.partial.1 = None;
            self.clock.unwritten.1 = None;
        }
        let due = self.pace.again(now).unwrap_or(now + self.clock.every);
        if due < self.clock.tick.deadline() {
            self.clock.tick.as_mut().reset(due);
        }
    }

    /// Looks at the clock.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Rang {
        if self.clock.tick.as_mut().poll(cx).is_pending() {
            return Rang::No;
        }
        let now = Instant::now();
        if std::mem::take(&mut self.clock.active) {
            self.clock.last_active = now;
        }
        if let Some(why) = self.overdue(now) {
            return Rang::Last(why);
        }
        self.clock.resting = self.is_at_rest();
        let next = if !self.clock.resting {
            now + self.clock.every
        } else if now < self.clock.last_active + SHRINK_AFTER {
            self.clock.last_active + SHRINK_AFTER
        } else {
            self.shrink();
            self.clock.last_busy + self.options.idle
        };
        self.clock.tick.as_mut().reset(next.max(now + Duration::from_millis(1)));
        Rang::Yes
    }

    /// Gives the buffers of a quiet connection back.
    fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = BytesMut::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        self.streams.shrink_to_fit();
    }

    /// Returns why the connection is to end now, if it took too long over something; does what else
    /// is due.
    fn overdue(&mut self, now: Instant) -> Option<Ended> {
        let late = |since: Instant, limit: Duration| now.duration_since(since) >= limit;
        if !self.first_frame_seen && late(self.clock.began, self.options.first_frame) {
            return Some(Ended::TimedOut("no settings"));
        }
        let partial = !self.input.is_empty() || self.unfinished.is_some();
        if !partial || self.clock.partial.0 != self.finished {
            self.clock.partial = (self.finished, partial.then_some(now));
        } else if late(*self.clock.partial.1.get_or_insert(now), self.options.frame) {
            return Some(Ended::TimedOut("an unfinished frame"));
        }
        let written = self.written_before + self.written as u64;
        if self.output.is_empty() || self.clock.unwritten.0 != written {
            self.clock.unwritten = (written, (!self.output.is_empty()).then_some(now));
        } else if late(*self.clock.unwritten.1.get_or_insert(now), self.options.stall) {
            return Some(Ended::TimedOut("a peer that reads nothing"));
        }
        if !self.streams.is_empty() {
            self.clock.last_busy = now;
        } else if late(self.clock.last_busy, self.options.idle) {
            return Some(Ended::Idle);
        }
        if let Closing::Announced { since } = self.closing
            && late(since, Duration::from_secs(1))
        {
            self.announce_last();
        }
        self.forgive(now);
        self.reset_stalled(now);
        None
    }

    /// Takes back what is long ago: for each second a quarter of the faults that are allowed, and a
    /// hundredth of the frames that move nothing, so that a peer may ask for ever whether we live.
    fn forgive(&mut self, now: Instant) {
        let seconds = now.duration_since(self.clock.forgiven).as_secs();
        if seconds > 0 {
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            let faults = (self.options.resets / 4).max(1).saturating_mul(seconds);
            self.faults = self.faults.saturating_sub(faults);
            self.chatter = self.chatter.saturating_sub((CHATTER / 100).saturating_mul(seconds));
            self.clock.forgiven = now;
        }
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

    /// Ends a connection that took too long over something.
    fn part(&mut self, why: Ended) {
        let code = match why {
            Ended::Idle => ErrorCode::NoError,
            _ => ErrorCode::EnhanceYourCalm,
        };
        write::go_away(&mut self.output, self.last_taken, code, "");
        self.close(why);
    }
}

impl<S, H> Connection<S, H>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: FnMut(Incoming),
{
    /// Shuts the socket in the order that lets the peer read our last word: flush, shut our side,
    /// throw away what still comes, for a bounded time. Closing at once would make the kernel
    /// answer late bytes with a reset, which throws away what the peer has not read.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
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
