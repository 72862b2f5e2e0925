//! Bytes in pieces, in order.

use bytes::{Bytes, BytesMut};

use crate::http::few::Few;

/// Bytes in pieces. Small ones that wait behind others are gathered into larger ones, so that a
/// body in tiny pieces takes no more memory than its bytes.
#[derive(Default)]
pub(super) struct Chunks {
    whole: Few<Bytes>,
    /// Small pieces, behind the others.
    tail: BytesMut,
}

impl Chunks {
    /// Pieces below this many bytes are gathered.
    const SMALL: usize = 1024;
    /// Bytes that are gathered into one piece.
    const GATHERED: usize = 16 * 1024;

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.tail.is_empty()
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < Self::SMALL && !self.is_empty() {
            return self.gather(&bytes);
        }
        self.seal();
        self.whole.push_back(bytes);
    }

    pub(super) fn push_slice(&mut self, bytes: &[u8]) {
        if bytes.len() < Self::SMALL && !self.is_empty() {
            return self.gather(bytes);
        }
        self.seal();
        self.whole.push_back(Bytes::copy_from_slice(bytes));
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= Self::GATHERED {
            self.seal();
        }
    }

    /// Makes one piece of what was gathered.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Takes the next piece, of at most `limit` bytes.
    pub(super) fn take(&mut self, limit: usize) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.seal();
        }
        let front = self.whole.front_mut()?;
        if front.len() > limit { Some(front.split_to(limit)) } else { self.whole.pop_front() }
    }

    /// Puts what `others` hold in front.
    pub(super) fn put_back(&mut self, mut others: Self) {
        others.seal();
        while let Some(chunk) = others.whole.pop_back() {
            self.whole.push_front(chunk);
        }
    }
}
