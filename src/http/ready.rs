//! How a connection learns which of its streams have something to do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

/// The streams of one connection that have something to do, and the task that does it.
///
/// Pipes and tasks of the same thread push; the connection's driver pops. The driver is woken
/// once, however many streams became ready before it ran: that is what lets their frames share a
/// write.
#[derive(Default)]
pub(super) struct Ready {
    streams: RefCell<VecDeque<u32>>,
    waker: RefCell<Option<Waker>>,
    /// The driver sleeps, and nobody has woken it yet.
    asleep: Cell<bool>,
}

impl Ready {
    pub(super) fn push(&self, stream: u32) {
        self.streams.borrow_mut().push_back(stream);
        self.wake();
    }

    pub(super) fn pop(&self) -> Option<u32> {
        self.streams.borrow_mut().pop_front()
    }

    /// Wakes the driver, if it is not awake.
    pub(super) fn wake(&self) {
        if self.asleep.replace(false)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// The driver is awake: until it goes to sleep, it looks by itself.
    pub(super) fn rouse(&self) {
        self.asleep.set(false);
    }

    /// The driver goes to sleep.
    pub(super) fn sleep(&self, waker: &Waker) {
        self.asleep.set(true);
        let mut slot = self.waker.borrow_mut();
        if !slot.as_ref().is_some_and(|it| it.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }
}

/// Bytes that a connection's peer may be allowed to send again, over all its streams.
pub(super) struct Credit {
    bytes: Cell<usize>,
    /// Bytes worth a frame.
    worth: usize,
    ready: Rc<Ready>,
}

impl Credit {
    pub(super) fn new(worth: usize, ready: Rc<Ready>) -> Rc<Self> {
        Rc::new(Self { bytes: Cell::new(0), worth, ready })
    }

    pub(super) fn add(&self, bytes: usize) {
        let before = self.bytes.get();
        self.bytes.set(before + bytes);
        if before < self.worth && before + bytes >= self.worth {
            self.ready.wake();
        }
    }

    /// Returns what has come together, if it is worth a frame.
    pub(super) fn take(&self) -> Option<usize> {
        (self.bytes.get() >= self.worth).then(|| self.bytes.take())
    }
}
