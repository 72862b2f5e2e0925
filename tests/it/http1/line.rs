//! A caller, a sidecar and an application in a line.

use super::wire::{Upstream, Wire};
use crate::harness::side::{Side, merge, table};
use crate::harness::within;

/// Nothing is tried again: an upstream sees each request once.
pub(crate) const ONCE: &str = "defaults.retries.attempts = 1";

/// A sidecar before an application that speaks `protocol`.
pub(crate) async fn before(application: &Upstream, protocol: &str, more: &str) -> Side {
    let address = application.address();
    let mut told = table(&format!(
        "workload = {{ address = '{address}', protocol = '{protocol}' }}
         inbound.listen = '127.0.0.1:0'"
    ));
    merge(&mut told, more.parse().unwrap());
    let side = Side::start(told).await;
    // The sidecar asks whether the application is there.
    application.accept().await.ended().await;
    side
}

/// A caller, a sidecar and an application, with HTTP/1.1 on both sides.
pub(crate) struct Line {
    pub(crate) side: Side,
    pub(crate) upstream: Upstream,
}

impl Line {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    pub(crate) async fn with(more: &str) -> Self {
        let upstream = Upstream::new().await;
        let side = before(&upstream, "http/1.1", more).await;
        Self { side, upstream }
    }

    /// One before an application of each protocol: what is refused is refused before that matters.
    pub(crate) async fn both(more: &str) -> [Self; 2] {
        let http2 = format!("workload.protocol = 'h2'\n{more}");
        [Self::with(more).await, Self::with(&http2).await]
    }

    pub(crate) async fn caller(&self) -> Wire {
        Wire::to(self.side.inbound()).await
    }

    /// Sends a request and returns the caller, and the upstream with the head it got.
    pub(crate) async fn request(&self, request: &str) -> (Wire, Wire, String) {
        let mut caller = self.caller().await;
        caller.send(request).await;
        let mut upstream = self.upstream.accept().await;
        let head = upstream.head().await;
        (caller, upstream, head)
    }

    /// Sends bytes that are to be refused with that status, and the connection closed. Nothing may
    /// have reached the upstream.
    pub(crate) async fn refuses(&self, status: &str, bytes: impl AsRef<[u8]>) {
        let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        let mut caller = self.caller().await;
        caller.try_send(bytes).await;
        let (answer, _) = caller.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{shown:?}: {answer:?}");
        self.untouched(&shown).await;
    }

    /// Checks that nobody connected to the upstream: the first who does is we ourselves.
    pub(crate) async fn untouched(&self, shown: &str) {
        let mut mark = Wire::to(self.upstream.address()).await;
        mark.send("mark").await;
        let mut first = self.upstream.accept().await;
        let seen = within(first.bytes(4)).await;
        assert_eq!(seen, "mark", "{shown:?} reached the upstream");
    }
}
