//! An upstream that is played by the test, and a sidecar before it.

use std::net::SocketAddr;

use dyelane::http::frame::Settings;
use tokio::net::TcpListener;

use super::wire::Wire;
use crate::harness::{BASELINE, Mesh, within};

/// A mesh whose instance is somebody else's.
pub(super) async fn mesh(snippet: &str, upstream: SocketAddr) -> Mesh {
    Mesh::new(snippet).at("app.test", BASELINE, upstream).start().await
}

pub(super) async fn caller(mesh: &Mesh) -> Wire {
    Wire::call(mesh.side.outbound(), &Settings::default()).await
}

/// An upstream that is played by the test, one connection after the other.
pub(super) struct Played(TcpListener);

impl Played {
    pub(super) async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(super) async fn connection(&self) -> Wire {
        let settings = Settings { enable_connect_protocol: Some(true), ..Settings::default() };
        let (socket, _) = within(self.0.accept()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut wire = Wire::new(socket);
        wire.welcome(&settings).await;
        wire
    }
}
