//! The task that drives a connection, as whoever wants something of it knows it.

use std::cell::RefCell;
use std::task::{Context, Waker};

/// The task that drives a connection.
#[derive(Default)]
pub(super) struct Driver(RefCell<Option<Waker>>);

impl Driver {
    /// Says which task it is.
    pub(super) fn is(&self, cx: &Context<'_>) {
        match &mut *self.0.borrow_mut() {
            // Clones nothing if it is the same.
            Some(driver) => driver.clone_from(cx.waker()),
            driver => *driver = Some(cx.waker().clone()),
        }
    }

    /// Has it look again.
    pub(super) fn wake(&self) {
        if let Some(driver) = &*self.0.borrow() {
            driver.wake_by_ref();
        }
    }
}
