//! A body on its way from one connection to another: bounded, in order, ended exactly once.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::http::chunks::Chunks;
use crate::http::frame::ErrorCode;
use crate::http::ready::{Credit, Ready};
use crate::model::Fields;

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is complete; with trailers, if it had any.
    Complete(Option<Fields>),
    /// It broke off. Whoever reads it must not make it look complete.
    Broken(ErrorCode),
}

/// What the reader of a pipe finds.
#[derive(Debug)]
pub enum Piece {
    /// The next bytes; never empty.
    Data(Bytes),
    /// Nothing more will come.
    End(End),
    /// Nothing yet.
    Wait,
}

/// Whom to tell that something happened at the other end.
#[derive(Default)]
pub(super) enum Listener {
    #[default]
    Nobody,
    Task(Waker),
    Stream(Rc<Ready>, u32),
}

impl Listener {
    /// Tells, and is then deaf if it was a task: a task asks anew each time it looks.
    pub(super) fn tell(&mut self) {
        match self {
            Self::Nobody => {}
            Self::Task(_) => {
                if let Self::Task(waker) = std::mem::take(self) {
                    waker.wake();
                }
            }
            Self::Stream(ready, stream) => ready.push(*stream),
        }
    }
}

/// A body between its writer and its reader, which run on the same thread.
///
/// The writer is the connection the bytes come in on. It may write more than the pipe's bound: an
/// HTTP/2 peer is held back by the window the connection gives it, which is opened again as the
/// reader takes; whoever reads from a socket asks [`Pipe::poll_room`] first.
#[derive(Default)]
pub struct Pipe {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    chunks: Chunks,
    buffered: usize,
    /// Bytes in front that were taken before: credit for them was given then.
    retaken: usize,
    end: Option<End>,
    /// The reader wants no more; what still comes is dropped.
    closed: bool,
    reader: Listener,
    /// The reader was told since it last looked.
    told: bool,
    writer: Listener,
    /// Bytes taken since the writer last asked.
    freed: usize,
    /// Someone who is neither writer nor reader, and waits for the end.
    observer: Option<Waker>,
    /// Bytes taken before the writer is told of it.
    tell_freed_at: usize,
    credit: Option<Rc<Credit>>,
    kept: Option<Kept>,
    total: u64,
}

/// What the reader took, kept so that it can be read again.
struct Kept {
    chunks: Chunks,
    bytes: usize,
    limit: usize,
}

impl Pipe {
    /// Bytes a pipe holds before a writer that can be asked to wait is asked to.
    pub const ROOM: usize = 64 * 1024;

    /// An empty pipe whose body is not ended.
    pub fn new() -> Rc<Self> {
        Rc::default()
    }

    /// A pipe whose body is complete and empty.
    pub fn empty() -> Rc<Self> {
        let pipe = Self::new();
        pipe.end(End::Complete(None));
        pipe
    }

    /// A pipe whose body is complete: `bytes`, then `trailers`.
    pub fn full(bytes: Bytes, trailers: Option<Fields>) -> Rc<Self> {
        let pipe = Self::new();
        pipe.push(bytes);
        pipe.end(End::Complete(trailers));
        pipe
    }

    // The writer's side.

    /// Appends bytes; drops them if the body has ended or its reader wants no more.
    pub fn push(&self, bytes: Bytes) {
        let mut state = self.state.borrow_mut();
        if state.takes(bytes.len()) {
            state.chunks.push(bytes);
            state.tell_reader();
        }
    }

    /// Appends a copy of bytes, likewise.
    pub(super) fn push_slice(&self, bytes: &[u8]) {
        let mut state = self.state.borrow_mut();
        if state.takes(bytes.len()) {
            state.chunks.push_slice(bytes);
            state.tell_reader();
        }
    }

    /// Counts bytes that were sent along with the body and are none of it, as if they were taken.
    pub(super) fn pad(&self, bytes: usize) {
        if bytes > 0 {
            self.state.borrow_mut().release(bytes);
        }
    }

    /// Ends the body; the first end counts.
    pub fn end(&self, end: End) {
        let mut state = self.state.borrow_mut();
        if state.end.is_none() {
            state.end = Some(end);
            state.tell_reader();
            if let Some(observer) = state.observer.take() {
                observer.wake();
            }
        }
    }

    /// Breaks the body off, whatever was written of it: the reader finds no more of it than it took,
    /// and not that it was complete.
    pub(super) fn break_off(&self, code: ErrorCode) {
        let mut state = self.state.borrow_mut();
        let delivered = state.end.is_some() && state.chunks.is_empty();
        if state.closed || delivered {
            state.closed = true;
            return;
        }
        state.end = Some(End::Broken(code));
        // Told again: a reader that waits for a window of its own has not looked since.
        state.told = false;
        state.tell_reader();
        state.shut();
    }

    /// Returns the bytes taken since this last said so, once they are `worth` it; else 0.
    pub(super) fn take_freed(&self, worth: usize) -> usize {
        let mut state = self.state.borrow_mut();
        if state.freed >= worth { std::mem::take(&mut state.freed) } else { 0 }
    }

    /// Says whom to tell once `at` bytes were taken, and by which account the connection is paid.
    pub(super) fn written_by(&self, ready: &Rc<Ready>, stream: u32, at: usize, credit: Rc<Credit>) {
        let mut state = self.state.borrow_mut();
        state.writer = Listener::Stream(ready.clone(), stream);
        state.tell_freed_at = at;
        state.credit = Some(credit);
    }

    /// The stream the bytes came in on is over: it has no use for a window. What waits here is still
    /// its connection's, and is credited as it is taken.
    pub(super) fn writer_left(&self) {
        self.state.borrow_mut().writer = Listener::Nobody;
    }

    /// Waits until the pipe has room, or its reader wants no more.
    ///
    /// # Errors
    /// The reader wants no more.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        if state.buffered < Self::ROOM {
            return Poll::Ready(Ok(()));
        }
        state.writer = Listener::Task(cx.waker().clone());
        state.tell_freed_at = Self::ROOM / 2;
        state.freed = 0;
        Poll::Pending
    }

    /// Waits until the reader wants no more.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Poll::Ready(());
        }
        state.writer = Listener::Task(cx.waker().clone());
        Poll::Pending
    }

    // The reader's side.

    /// Takes the next piece of at most `limit` bytes.
    pub fn take(&self, limit: usize) -> Piece {
        let mut state = self.state.borrow_mut();
        state.told = false;
        let Some(bytes) = state.chunks.take(limit) else {
            return match &state.end {
                Some(end) => Piece::End(end.clone()),
                None if state.closed => Piece::End(End::Broken(ErrorCode::Cancel)),
                None => Piece::Wait,
            };
        };
        state.buffered -= bytes.len();
        state.keep(&bytes);
        state.leave(bytes.len());
        Piece::Data(bytes)
    }

    /// Takes the next piece, or waits for it.
    pub fn poll_take(&self, cx: &mut Context<'_>, limit: usize) -> Poll<Piece> {
        match self.take(limit) {
            Piece::Wait => {
                self.state.borrow_mut().reader = Listener::Task(cx.waker().clone());
                Poll::Pending
            }
            piece => Poll::Ready(piece),
        }
    }

    /// Returns whether nothing is left but a clean end without trailers.
    pub fn is_at_end(&self) -> bool {
        let state = self.state.borrow();
        state.chunks.is_empty() && matches!(state.end, Some(End::Complete(None)))
    }

    /// Returns the bytes that wait to be taken.
    pub fn buffered(&self) -> usize {
        self.state.borrow().buffered
    }

    /// Says which stream to tell when there is something to take.
    pub(super) fn read_by(&self, ready: &Rc<Ready>, stream: u32) {
        self.state.borrow_mut().reader = Listener::Stream(ready.clone(), stream);
    }

    /// The reader wants no more: what waits is dropped, and what still comes.
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        if !state.closed {
            state.shut();
        }
    }

    /// Returns whether the reader wants no more.
    pub fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Looks at how the body ended, if it did.
    pub fn with_end<T>(&self, look: impl FnOnce(Option<&End>) -> T) -> T {
        look(self.state.borrow().end.as_ref())
    }

    /// Returns whether the body ended, be it that its last bytes were not taken yet.
    pub fn has_ended(&self) -> bool {
        self.state.borrow().end.is_some()
    }

    /// Waits until the body has ended, be it that its last bytes were not taken yet. For one task.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        if state.end.is_some() {
            return Poll::Ready(());
        }
        if !state.observer.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.observer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns all bytes that were ever written.
    pub fn total(&self) -> u64 {
        self.state.borrow().total
    }

    /// Returns a number that changes whenever bytes come in or go out.
    pub fn moved(&self) -> u64 {
        let state = self.state.borrow();
        2 * state.total - state.buffered as u64 + state.retaken as u64
    }

    // Reading again.

    /// Keeps what is taken from now on, up to `limit` bytes, so that [`Pipe::rewind`] can bring it
    /// back.
    pub fn keep(&self, limit: usize) {
        self.state.borrow_mut().kept = Some(Kept { chunks: Chunks::default(), bytes: 0, limit });
    }

    /// Forgets what was kept: the body will not be read again.
    pub fn forget(&self) {
        self.state.borrow_mut().kept = None;
    }

    /// Returns whether all that was taken can be brought back.
    pub fn can_rewind(&self) -> bool {
        self.state.borrow().can_rewind()
    }

    /// Puts what was taken back in front. Returns whether that could be done.
    pub fn rewind(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.can_rewind() {
            return false;
        }
        state.reader = Listener::Nobody;
        state.told = false;
        let Some(kept) = &mut state.kept else { return true };
        let bytes = std::mem::take(&mut kept.bytes);
        let chunks = std::mem::take(&mut kept.chunks);
        state.buffered += bytes;
        state.retaken += bytes;
        state.chunks.put_back(chunks);
        true
    }
}

impl Drop for Pipe {
    /// What nobody took any more is not held any more.
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let dropped = std::mem::take(&mut state.buffered);
        state.leave(dropped);
    }
}

impl State {
    /// A body whose reader wanted no more has lost bytes, or will.
    fn can_rewind(&self) -> bool {
        !self.closed && (self.kept.is_some() || self.total == self.buffered as u64)
    }

    fn tell_reader(&mut self) {
        if !self.told {
            self.told = matches!(self.reader, Listener::Stream(..));
            self.reader.tell();
        }
    }

    /// Counts bytes that come in. Returns whether anybody wants them.
    fn takes(&mut self, bytes: usize) -> bool {
        if bytes == 0 {
            return false;
        }
        if self.end.is_some() || self.closed {
            self.total += if self.end.is_none() { bytes as u64 } else { 0 };
            self.release(bytes);
            return false;
        }
        self.total += bytes as u64;
        self.buffered += bytes;
        true
    }

    /// Nothing more is read.
    fn shut(&mut self) {
        self.closed = true;
        self.chunks = Chunks::default();
        self.kept = None;
        self.reader = Listener::Nobody;
        let dropped = std::mem::take(&mut self.buffered);
        self.leave(dropped);
        // Told even if little was freed: a writer may wait for just this.
        self.writer.tell();
    }

    /// Bytes left the pipe in front.
    fn leave(&mut self, bytes: usize) {
        let again = bytes.min(self.retaken);
        self.retaken -= again;
        self.release(bytes - again);
        // Their window was given when they were taken first, but a writer that waits for room waits
        // for these too.
        if matches!(self.writer, Listener::Task(_)) {
            self.free(again);
        }
    }

    /// Counts bytes that are held no more.
    fn release(&mut self, bytes: usize) {
        if let Some(credit) = &self.credit {
            credit.add(bytes);
        }
        self.free(bytes);
    }

    /// Counts bytes that made room, and tells the writer if it is worth it.
    fn free(&mut self, bytes: usize) {
        let before = self.freed;
        self.freed += bytes;
        // Once the body ended, its writer has nothing to send and no use for credit.
        if self.end.is_none() && before < self.tell_freed_at && self.freed >= self.tell_freed_at {
            self.writer.tell();
        }
    }

    fn keep(&mut self, bytes: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.bytes += bytes.len();
            if kept.bytes > kept.limit {
                self.kept = None;
            } else {
                kept.chunks.push(bytes.clone());
            }
        }
    }
}

/// The reader of a pipe wants no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other side takes no more")]
pub struct Closed;

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        let mut shown = f.debug_struct("Pipe");
        shown.field("buffered", &state.buffered).field("end", &state.end);
        shown.field("closed", &state.closed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe of ten bytes whose stream is over, and the account of its connection.
    fn left() -> (Rc<Pipe>, Rc<Credit>) {
        let ready = Rc::default();
        let credit = Credit::new(10, Rc::clone(&ready));
        let pipe = Pipe::new();
        pipe.written_by(&ready, 1, 10, credit.clone());
        pipe.push(Bytes::from_static(b"0123456789"));
        pipe.end(End::Complete(None));
        pipe.writer_left();
        (pipe, credit)
    }

    #[test]
    fn bytes_taken_after_their_stream_ended_are_paid_to_the_connection() {
        let (pipe, credit) = left();

        pipe.take(4);
        pipe.take(6);

        assert_eq!(credit.take(), Some(10));
    }

    #[test]
    fn bytes_nobody_takes_are_paid_to_the_connection_once() {
        for close in [true, false] {
            let (pipe, credit) = left();

            if close {
                pipe.close();
            }
            drop(pipe);

            assert_eq!(credit.take(), Some(10));
            assert_eq!(credit.take(), None);
        }
    }
}
