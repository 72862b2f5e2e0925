//! A body that is sent piece by piece, as the test has it.

use std::io;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Body;

/// The sending end of a body. Dropped, the body is complete.
pub(crate) struct Pieces(mpsc::Sender<io::Result<Frame<Bytes>>>);

impl Pieces {
    /// Returns the sending end, and the body.
    pub(crate) fn new() -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(8);
        (Self(sender), Body::new(StreamBody::new(ReceiverStream::new(receiver))))
    }

    /// Sends a piece. Returns whether anyone wants more.
    pub(crate) async fn send(&self, piece: &'static str) -> bool {
        self.0.send(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).await.is_ok()
    }

    /// Breaks the body off.
    pub(crate) async fn break_off(self) {
        let _ = self.0.send(Err(io::Error::other("broken off"))).await;
    }

    /// Waits until nobody wants more.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}
