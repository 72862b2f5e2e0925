//! How an HTTP/2 connection behaves: its bounds, in numbers, bytes and time.

use std::time::Duration;

use crate::http::message::HeadLimits;

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
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.first_frame.min(self.frame).min(self.idle).min(self.stall);
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Bytes of a stream's window that are worth a frame to give back.
    pub(super) fn worth(&self) -> usize {
        (self.stream_window as usize / 2).max(1)
    }
}
