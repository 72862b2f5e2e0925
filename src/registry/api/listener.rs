//! Takes connections and serves each: many that wait, and few that do much.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::net;
use crate::registry::api::routes;
use crate::registry::api::socket::Socket;
use crate::registry::node::Node;

/// How long a request's head may take, and how long a connection may be idle: more than twice the
/// time between two heartbeats.
const HEAD: Duration = Duration::from_secs(75);
/// How long the far side may leave unacknowledged what we have sent, a full window included, before
/// it counts as gone.
const SILENCE: Duration = Duration::from_secs(30);
/// How long answers under way may take once we stop.
const PARTING: Duration = Duration::from_secs(2);
/// Longest request head, in bytes: room for the names and times of a thousand services. A buffer
/// begins at 8 KiB and grows only if it must.
const HEAD_BYTES: usize = 128 << 10;

/// Answers clients and peers on `listener` until the node stops; then lets go those who wait, and
/// finishes answers under way.
///
/// Cancel safe: a dropped future leaves connections to end by themselves.
///
/// # Errors
/// The listener will never give another connection.
pub async fn serve(listener: TcpListener, node: Arc<Node>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(node.settings().connections));
    let connections = TaskTracker::new();
    let accepting = async {
        loop {
            // Never closed. Who finds no place waits in the kernel's queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let (stream, peer) = net::accept(&listener).await?;
            let node = Arc::clone(&node);
            connections.spawn(async move {
                let _place = place;
                connection(stream, peer, &node).await;
            });
        }
    };
    let ended = node.stopping().run_until_cancelled(accepting).await;
    connections.close();
    connections.wait().await;
    ended.unwrap_or(Ok(()))
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, peer: SocketAddr, node: &Arc<Node>) {
    if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(SILENCE)) {
        tracing::trace!(%error, "the connection broke before it began");
    }
    let open = &node.metrics().connections;
    open.inc();
    let socket = Socket::new(stream);
    let service = service_fn(|request| {
        let gone = socket.clone().gone();
        // In a box, or every idle connection would keep room for the largest of the answers.
        Box::pin(routes::answer(Arc::clone(node), request, peer, gone))
    });
    let mut server = http1::Builder::new();
    // Who has nothing more to ask is answered all the same; who waits is watched by `gone`.
    server.half_close(true);
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(server.serve_connection(TokioIo::new(socket.clone()), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = node.stopping().cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(PARTING, connection).await.unwrap_or(Ok(()))
        }
    };
    open.dec();
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection broke");
    }
}
