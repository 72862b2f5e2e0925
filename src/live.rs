//! One value that is replaced whole and read by snapshot.
//!
//! Everything that changes under its readers is a [`Live`]: a writer builds the next value beside
//! the old one and publishes it in one step, so a reader sees all of a change or none of it.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// A shared value that readers see by snapshot and writers replace whole.
///
/// Reading costs one atomic increment. A request takes one snapshot and passes it on by reference;
/// asking twice could show it two different worlds.
#[derive(Debug)]
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// Publishes the first value.
    pub fn new(first: T) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// Returns the value as it is now; it stays as it is for as long as the caller holds it.
    pub fn snapshot(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Publishes `next`. Snapshots already taken are not affected.
    pub fn publish(&self, next: T) {
        self.0.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_outlives_the_value_that_replaces_it() {
        let live = Live::new(1);
        let before = live.snapshot();

        live.publish(2);

        assert_eq!((*before, *live.snapshot()), (1, 2));
    }
}
