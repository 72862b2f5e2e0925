//! A sidecar in this process, from a file as an operator writes it.

use std::net::SocketAddr;

use dyelane::app::Sidecar;
use tempfile::TempDir;

use super::wire::{Upstream, Wire, within};

/// A running sidecar; ends when dropped.
pub(crate) struct Pod {
    pub(crate) sidecar: Sidecar,
    _directory: TempDir,
}

impl Pod {
    /// Starts a sidecar on `file`, to which is added what every test wants.
    pub(crate) async fn start(file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sidecar.toml");
        let common = "[admin]\nlisten = \"off\"\n[log]\nlevel = \"warn\"\n";
        let runtime = "[runtime]\nworkers = 1\ndrain_timeout = \"10s\"\n";
        let runtime = if file.contains("[runtime]") { "" } else { runtime };
        std::fs::write(&path, format!("{file}\n{common}{runtime}")).unwrap();
        let sidecar = Sidecar::start(&path).await.unwrap_or_else(|error| panic!("{error}"));
        Self { sidecar, _directory: directory }
    }

    /// A sidecar before an application that speaks `protocol`.
    pub(crate) async fn before(application: &Upstream, protocol: &str, more: &str) -> Self {
        let pod = Self::start(&format!(
            "[workload]\nservice = \"app.test\"\naddress = \"{}\"\nprotocol = \"{protocol}\"\n\
             [inbound]\nlisten = \"127.0.0.1:0\"\n{more}",
            application.address()
        ))
        .await;
        // The sidecar asks whether the application is there.
        application.accept().await.ended().await;
        pod
    }

    /// Where requests for the application come in.
    pub(crate) fn inbound(&self) -> SocketAddr {
        self.sidecar.inbound()[0]
    }

    /// Where the application sends its requests.
    pub(crate) fn outbound(&self) -> SocketAddr {
        self.sidecar.outbound()[0]
    }

    /// The listener of the one service that has its own.
    pub(crate) fn service(&self) -> SocketAddr {
        self.sidecar.service_listeners()[0].1
    }
}

/// A caller, a sidecar and an application, with HTTP/1.1 on both sides.
pub(crate) struct Line {
    pub(crate) pod: Pod,
    pub(crate) upstream: Upstream,
}

impl Line {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    pub(crate) async fn with(more: &str) -> Self {
        let upstream = Upstream::new().await;
        let pod = Pod::before(&upstream, "http/1.1", more).await;
        Self { pod, upstream }
    }

    pub(crate) async fn caller(&self) -> Wire {
        Wire::to(self.pod.inbound()).await
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
