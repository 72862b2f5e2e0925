//! One request and its answer, between the connection they came on and the task that carries them.
//!
//! ```text
//!  caller's connection ──Incoming──► the request's task ──Call──► upstream connection
//!          ▲                               │    ▲                        │
//!          └────────── Reply ──────────────┘    └──── heads, failure ────┘
//!
//!  bodies never pass through the task: each is a Pipe from one connection to the other
//! ```
//!
//! All of it belongs to one thread; nothing here locks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::http::few::Few;
use crate::http::frame::ErrorCode;
use crate::http::pipe::{Listener, Pipe};
use crate::http::ready::Ready;
use crate::model::RequestHead;
use crate::model::ResponseHead;

/// Which protocol a message came in, or goes out in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0 or HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// A request that came in.
#[derive(Debug)]
pub struct Incoming {
    /// What it says; well-formed.
    pub head: RequestHead,
    /// Fields that the caller's `connection` says are between neighbours only (RFC 9110 section
    /// 7.6.1); they are still in the head.
    pub nominated: Vec<String>,
    /// Its body, as it comes.
    pub body: Rc<Pipe>,
    /// Where its answer goes.
    pub reply: Rc<Reply>,
    /// The protocol it came in.
    pub version: Version,
}

/// How a caller's part in an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It was given the whole answer.
    Answered,
    /// The answer broke off, and the caller was told so.
    Broken,
    /// It broke off itself, or its connection did.
    Left,
}

/// One step of an answer.
#[derive(Debug)]
pub(super) enum Step {
    Interim(ResponseHead),
    Answer(ResponseHead, Rc<Pipe>),
    Reset(ErrorCode),
}

/// The way back to a caller.
#[derive(Default)]
pub struct Reply {
    state: RefCell<ReplyState>,
}

#[derive(Default)]
struct ReplyState {
    steps: Few<Step>,
    connection: Listener,
    task: Option<Waker>,
    gone: Option<Gone>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("gone", &self.state.borrow().gone).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Sends an interim head (1xx) ahead of the answer.
    pub fn interim(&self, head: ResponseHead) {
        // More than a few wait only if the caller does not read; they are advice, not answers.
        if self.state.borrow().steps.len() < 8 {
            self.step(Step::Interim(head));
        }
    }

    /// Sends the answer: its head now, its body as it comes. Called once.
    pub fn answer(&self, head: ResponseHead, body: Rc<Pipe>) {
        self.step(Step::Answer(head, body));
    }

    /// Breaks the exchange off without an answer.
    pub fn reset(&self, code: ErrorCode) {
        self.step(Step::Reset(code));
    }

    fn step(&self, step: Step) {
        let mut state = self.state.borrow_mut();
        if state.gone.is_none() {
            state.steps.push_back(step);
            state.connection.tell();
        } else if let Step::Answer(_, body) = step {
            body.close();
        }
    }

    /// Waits until the caller's part is over.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Gone> {
        let mut state = self.state.borrow_mut();
        if let Some(gone) = state.gone {
            return Poll::Ready(gone);
        }
        if !state.task.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns how the caller's part ended, if it did.
    pub fn gone(&self) -> Option<Gone> {
        self.state.borrow().gone
    }

    pub(super) fn sent_by(&self, ready: &Rc<Ready>, stream: u32) {
        self.state.borrow_mut().connection = Listener::Stream(ready.clone(), stream);
    }

    pub(super) fn next(&self) -> Option<Step> {
        self.state.borrow_mut().steps.pop_front()
    }

    /// Waits for the next step of the answer.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Step> {
        let mut state = self.state.borrow_mut();
        if let Some(step) = state.steps.pop_front() {
            return Poll::Ready(step);
        }
        state.connection = Listener::Task(cx.waker().clone());
        Poll::Pending
    }

    /// The caller's part is over; the first word counts.
    pub(super) fn finish(&self, gone: Gone) {
        let mut state = self.state.borrow_mut();
        if state.gone.is_some() {
            return;
        }
        state.gone = Some(gone);
        state.connection = Listener::Nobody;
        while let Some(step) = state.steps.pop_front() {
            if let Step::Answer(_, body) = step {
                body.close();
            }
        }
        if let Some(task) = state.task.take() {
            task.wake();
        }
    }
}

/// Why a call brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection was lost, or closed by its peer, before the request was written.
    #[error("connection lost before the request was sent")]
    NeverSent,
    /// The peer went away, and said it did not look at the request (a GOAWAY that leaves it out; RFC
    /// 9113 section 6.8).
    #[error("left out by a peer that goes away")]
    LeftOut,
    /// The peer said it did not look at the request (`REFUSED_STREAM`; RFC 9113 section 8.7).
    #[error("refused unprocessed")]
    Refused,
    /// The peer reset the stream.
    #[error("stream reset: {0}")]
    Reset(ErrorCode),
    /// The connection was lost while the answer was awaited.
    #[error("connection lost")]
    Lost,
    /// The answer breaks the rules of its protocol.
    #[error("malformed answer: {0}")]
    Malformed(&'static str),
    /// The request cannot be said in the peer's protocol; nothing of it was sent.
    #[error("unfit for the peer's protocol: {0}")]
    Unfit(&'static str),
    /// The request asks for another protocol, and the peer does not take such requests over HTTP/2
    /// (`SETTINGS_ENABLE_CONNECT_PROTOCOL`, RFC 8441 section 3).
    #[error("the peer takes no extended CONNECT")]
    NoTunnels,
}

impl CallError {
    /// Whether the peer's application certainly never saw the request, so that sending it again is
    /// safe whatever it does.
    pub fn never_processed(self) -> bool {
        match self {
            Self::NeverSent | Self::LeftOut | Self::Refused | Self::NoTunnels | Self::Unfit(_) => {
                true
            }
            Self::Reset(_) | Self::Lost | Self::Malformed(_) => false,
        }
    }
}

/// What comes back on a call.
#[derive(Debug)]
pub enum CallEvent {
    /// An interim head (1xx); more follows.
    Interim(ResponseHead),
    /// The head of the answer; its body is [`Call::body`].
    Head(ResponseHead),
    /// There will be no answer.
    Failed(CallError),
}

/// One request on an upstream connection, and the answer to it as it comes.
///
/// Dropping a call does not end it; [`Call::cancel`] does.
pub struct Call {
    /// The body of the answer.
    pub body: Rc<Pipe>,
    events: RefCell<Few<CallEvent>>,
    task: RefCell<Option<Waker>>,
    cancelled: Cell<Option<ErrorCode>>,
    connection: RefCell<Listener>,
}

impl Call {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            body: Pipe::new(),
            events: RefCell::default(),
            task: RefCell::default(),
            cancelled: Cell::new(None),
            connection: RefCell::default(),
        })
    }

    /// Waits for the next event.
    pub fn poll_event(&self, cx: &mut Context<'_>) -> Poll<CallEvent> {
        if let Some(event) = self.events.borrow_mut().pop_front() {
            return Poll::Ready(event);
        }
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends the call: the peer is told at once, and nothing more is read from the request's body.
    pub fn cancel(&self, code: ErrorCode) {
        if self.cancelled.get().is_none() {
            self.cancelled.set(Some(code));
            self.body.break_off(code);
            self.connection.borrow_mut().tell();
        }
    }

    /// Waits until the call is cancelled.
    pub(super) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<ErrorCode> {
        if let Some(code) = self.cancelled.get() {
            return Poll::Ready(code);
        }
        *self.connection.borrow_mut() = Listener::Task(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn cancelled(&self) -> Option<ErrorCode> {
        self.cancelled.get()
    }

    pub(super) fn carried_by(&self, ready: &Rc<Ready>, stream: u32) {
        *self.connection.borrow_mut() = Listener::Stream(ready.clone(), stream);
    }

    pub(super) fn event(&self, event: CallEvent) {
        let mut events = self.events.borrow_mut();
        // Interim heads are advice; a flood of them is not kept.
        if matches!(event, CallEvent::Interim(_)) && events.len() >= 8 {
            return;
        }
        events.push_back(event);
        drop(events);
        if let Some(task) = self.task.borrow_mut().take() {
            task.wake();
        }
    }
}
