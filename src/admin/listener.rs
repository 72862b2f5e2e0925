//! Serves the operator's listener: few connections, each with its limits.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::routes;
use crate::admin::state::State;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long a request's head may take, and how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
/// How long one connection is kept, whatever happens on it: a reader that has stopped reading would
/// hold its place for ever.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long answers under way may take once we stop.
const PARTING: Duration = Duration::from_secs(1);
/// Longest request head, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Answers operators on `listener` until `stop` is cancelled; then finishes answers under way.
///
/// Cancel safe: a dropped future leaves connections to end by themselves.
pub async fn serve(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let service = TowerToHyperService::new(routes::router(state));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some((connection, place)) = accept(&listener, &places, &stop).await {
        let (service, stop) = (service.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES);
            let connection = server.serve_connection(TokioIo::new(connection), service);
            let ended = timeout(LIFETIME, until_stopped(connection, &stop)).await;
            if let Ok(Err(error)) = ended {
                tracing::debug!(%error, "admin connection broke");
            }
        });
    }
    connections.close();
    connections.wait().await;
}

/// Waits for a place, then for a connection. None: we are to stop.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepting = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((connection, _)) => return Some((connection, place)),
                Err(error) => {
                    // Out of descriptors, as a rule: others must end first.
                    tracing::warn!(%error, "cannot accept an admin connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepting).await.flatten()
}

/// Serves one connection; once we stop, finishes the answer under way.
async fn until_stopped<S, B>(
    connection: http1::Connection<TokioIo<TcpStream>, S>,
    stop: &CancellationToken,
) -> hyper::Result<()>
where
    S: hyper::service::Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<B>,
            Error = Infallible,
        >,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    timeout(PARTING, connection).await.unwrap_or(Ok(()))
}
