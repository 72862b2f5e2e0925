//! The calling end of an HTTP/2 connection: many requests of many callers share it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connection::{Connection, Ended, Role};
use crate::http::exchange::{Call, CallError, CallEvent, Incoming};
use crate::http::frame;
use crate::http::options::Options;
use crate::http::pipe::Pipe;
use crate::http::ready::Ready;
use crate::http::server::greet;
use crate::model::RequestHead;

/// The highest number a stream of ours can have.
pub(super) const LAST_STREAM: u32 = (1 << 31) - 1;

/// A request that waits for a stream.
pub(super) struct Opening {
    pub(super) head: Rc<RequestHead>,
    pub(super) body: Rc<Pipe>,
    pub(super) call: Rc<Call>,
}

/// What a calling connection and its handles have in common.
pub(super) struct ClientShared {
    queue: RefCell<VecDeque<Opening>>,
    /// Streams the peer and we allow at a time; none until the peer's settings came.
    limit: Cell<Option<u32>>,
    ours: u32,
    active: Cell<usize>,
    blocked: Cell<bool>,
    retired: Cell<bool>,
    closed: Cell<bool>,
    extended_connect: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    ready: Rc<Ready>,
}

impl ClientShared {
    /// Takes the next request that may go out, given how many are under way.
    pub(super) fn next(&self, active: usize, next_stream: u32) -> Option<Opening> {
        let limit = self.limit.get()?;
        if next_stream >= LAST_STREAM {
            self.retire();
        }
        if active >= limit as usize {
            return None;
        }
        loop {
            let opening = self.queue.borrow_mut().pop_front()?;
            if opening.call.cancelled().is_none() {
                return Some(opening);
            }
            // Its place is free again without a stream having ended.
            self.wake_waiting();
        }
    }

    pub(super) fn settings(&self, streams: Option<u32>, extended_connect: Option<bool>) {
        let theirs = streams.or(self.limit.get()).unwrap_or(u32::MAX);
        self.limit.set(Some(theirs.min(self.ours)));
        if let Some(allowed) = extended_connect {
            self.extended_connect.set(allowed);
        }
        self.wake_waiting();
    }

    pub(super) fn note_load(&self, active: usize, blocked: bool) {
        let less = active < self.active.get() || (self.blocked.get() && !blocked);
        self.active.set(active);
        self.blocked.set(blocked);
        if less {
            self.wake_waiting();
        }
    }

    fn wake_waiting(&self) {
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    pub(super) fn takes_extended_connect(&self) -> bool {
        self.extended_connect.get()
    }

    /// No more requests go out; those that wait for a stream are told so.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        for opening in self.queue.borrow_mut().drain(..) {
            opening.call.event(CallEvent::Failed(CallError::NeverSent));
        }
        self.wake_waiting();
    }

    pub(super) fn close(&self) {
        self.closed.set(true);
        self.retire();
    }
}

/// A hold on a calling connection. Copies share the connection.
#[derive(Clone)]
pub struct Client {
    shared: Rc<ClientShared>,
}

impl Client {
    /// Sends a request, as soon as the peer allows one more stream.
    ///
    /// The answer comes by the call. The request's body is read until the call is over.
    pub fn call(&self, head: Rc<RequestHead>, body: Rc<Pipe>) -> Rc<Call> {
        let call = Call::new();
        if self.shared.retired.get() {
            call.event(CallEvent::Failed(CallError::NeverSent));
        } else {
            self.shared.queue.borrow_mut().push_back(Opening { head, body, call: call.clone() });
            self.shared.ready.wake();
        }
        call
    }

    /// Returns how many requests are under way or wait for a stream.
    pub fn load(&self) -> usize {
        self.shared.active.get() + self.shared.queue.borrow().len()
    }

    /// Returns whether one more request would be sent at once.
    pub fn has_room(&self) -> bool {
        let limit = self.shared.limit.get().unwrap_or(0);
        !self.shared.retired.get() && self.load() < limit as usize
    }

    /// Returns whether requests already here wait for the peer to take bytes, so that one more
    /// would wait behind them.
    pub fn is_blocked(&self) -> bool {
        self.shared.blocked.get()
    }

    /// Returns whether the connection takes no more requests.
    pub fn is_retired(&self) -> bool {
        self.shared.retired.get()
    }

    /// Returns whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get()
    }

    /// Returns whether the peer takes extended CONNECT (RFC 8441).
    pub fn takes_extended_connect(&self) -> bool {
        self.shared.takes_extended_connect()
    }

    /// Begins no more requests; the connection closes with the last one under way.
    pub fn retire(&self) {
        self.shared.retire();
        self.shared.ready.wake();
    }

    /// Waits until the peer's settings came, so that how many streams it takes is known. `false`:
    /// the connection ended before.
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.shared.retired.get() {
            return Poll::Ready(false);
        }
        if self.shared.limit.get().is_some() {
            return Poll::Ready(true);
        }
        self.wait(cx);
        Poll::Pending
    }

    /// Has the task woken when there may be room for one more request, or the connection retires.
    pub fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.shared.waiting.borrow_mut();
        if !waiting.iter().any(|it| it.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }
}

/// Speaks HTTP/2 on `io`, with prior knowledge (RFC 9113 section 3.3).
///
/// The future is the connection; it ends with it. Dropping it breaks off what is under way.
pub fn connect<S>(io: S, options: Options) -> (Client, impl Future<Output = Ended>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let shared = Rc::new(ClientShared {
        queue: RefCell::default(),
        limit: Cell::new(None),
        ours: options.streams,
        active: Cell::new(0),
        blocked: Cell::new(false),
        retired: Cell::new(false),
        closed: Cell::new(false),
        extended_connect: Cell::new(false),
        waiting: RefCell::default(),
        ready: Rc::default(),
    });
    let role: Role<fn(Incoming)> = Role::Client(shared.clone());
    let mut connection = Connection::new(io, role, shared.ready.clone(), options);
    connection.output.extend_from_slice(frame::PREFACE);
    let settings = frame::Settings {
        enable_push: Some(false),
        initial_window_size: Some(options.stream_window),
        max_header_list_size: u32::try_from(options.head.list).ok(),
        ..frame::Settings::default()
    };
    greet(&mut connection.output, &settings, options);
    (Client { shared }, connection)
}
