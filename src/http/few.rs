//! A queue that mostly holds one thing, and then costs no allocation.

use std::collections::VecDeque;

/// A queue whose first entry lies in place.
#[derive(Debug)]
pub(super) struct Few<T> {
    /// There whenever anything is.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }
}

impl<T> Few<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn push_back(&mut self, entry: T) {
        match self.first {
            None => self.first = Some(entry),
            Some(_) => self.rest.push_back(entry),
        }
    }

    pub(super) fn push_front(&mut self, entry: T) {
        if let Some(second) = self.first.replace(entry) {
            self.rest.push_front(second);
        }
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take()?;
        self.first = self.rest.pop_front();
        Some(first)
    }

    pub(super) fn pop_back(&mut self) -> Option<T> {
        self.rest.pop_back().or_else(|| self.first.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_leave_as_they_would_leave_any_queue() {
        let (mut few, mut queue) = (Few::default(), VecDeque::new());
        let mut random = fastrand::Rng::with_seed(7);

        for round in 0..10_000 {
            match random.u8(..5) {
                0 => {
                    few.push_front(round);
                    queue.push_front(round);
                }
                1 | 2 => {
                    few.push_back(round);
                    queue.push_back(round);
                }
                3 => assert_eq!(few.pop_front(), queue.pop_front()),
                _ => assert_eq!(few.pop_back(), queue.pop_back()),
            }
            assert_eq!((few.len(), few.is_empty()), (queue.len(), queue.is_empty()));
            assert_eq!(few.front_mut(), queue.front_mut());
        }
    }
}
