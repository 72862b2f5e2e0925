//! A connection that came in: what it speaks, and who serves it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::Ended;
use crate::http::Incoming;
use crate::http::Server;
use crate::model::ServiceName;
use crate::net;
use crate::net::Detected;
use crate::net::Replay;
use crate::proxy::caller::Caller;
use crate::proxy::worker::{Worker, options};
use crate::proxy::world::World;
use crate::telemetry::Direction;
use crate::telemetry::Protocol;

/// How long a connection that said nothing yet may take to its first bytes once the sidecar drains.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A listener's way in, and what its connections are for.
#[derive(Clone)]
struct Gate {
    direction: Direction,
    service: Option<ServiceName>,
}

impl Worker {
    /// Takes connections until the sidecar drains; no more at a time than the limits allow.
    pub(super) async fn accept(
        self: Rc<Self>,
        listener: TcpListener,
        direction: Direction,
        service: Option<ServiceName>,
    ) {
        let gate = Gate { direction, service };
        let most = self.world().config.limits.connections as usize;
        let room = Arc::new(Semaphore::new(most));
        loop {
            let accepting = async {
                let place = room.clone().acquire_owned().await.ok()?;
                let (stream, peer) = net::accept(&listener).await.ok()?;
                Some((place, stream, peer))
            };
            let accepted = tokio::select! {
                accepted = accepting => accepted,
                () = self.drain().cancelled() => return self.take_the_rest(listener, &gate),
            };
            let Some((place, stream, peer)) = accepted else {
                tracing::error!(?direction, "a listener failed; no more connections come in there");
                return;
            };
            self.begin(&gate, stream, peer, Some(place));
        }
    }

    /// Takes the connections that the kernel took in our name until now, whatever the limits: those
    /// who made them have sent their requests, for all we know.
    fn take_the_rest(self: &Rc<Self>, listener: TcpListener, gate: &Gate) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            let Ok(stream) = stream else { continue };
            let _ = stream.set_nodelay(true);
            self.begin(gate, stream, peer, None);
        }
    }

    /// Serves a connection in a task of its own.
    fn begin(
        self: &Rc<Self>,
        gate: &Gate,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let Gate { direction, service } = gate.clone();
        let original = net::original_destination(&stream);
        let caller = Caller { direction, peer, original, service };
        let worker = self.clone();
        self.tasks.spawn_local(async move {
            worker.connection(Rc::new(caller), stream).await;
            drop(place);
        });
    }

    /// Serves one connection from its first byte to its last.
    async fn connection(self: Rc<Self>, caller: Rc<Caller>, stream: TcpStream) {
        let world = self.world();
        if is_opaque(&world, &caller) {
            return self.relay(&world, &caller, Replay::new(bytes::Bytes::new(), stream)).await;
        }
        let limit = world.config.limits.detect_timeout;
        let too_late = async {
            self.drain().cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let sniffed = tokio::select! {
            sniffed = net::sniff(stream, limit) => sniffed,
            () = too_late => return,
        };
        let Ok(sniffed) = sniffed else { return };
        let options = options(&world);
        let direction = caller.direction;
        match sniffed.detected {
            Detected::Http2 => {
                let _active = self.metrics().connection_opened(direction, Protocol::H2);
                let handler = self.handler(&caller);
                let (server, driver) = crate::http::serve(sniffed.stream, options, handler);
                let ended = self.until_ended(server, driver).await;
                self.note_end(&caller, ended);
            }
            Detected::Http1 => {
                let _active = self.metrics().connection_opened(direction, Protocol::Http1);
                let handler = self.handler(&caller);
                let (server, driver) = crate::http::serve_http1(sniffed.stream, options, handler);
                let ended = self.until_ended(server, driver).await;
                self.note_end(&caller, ended);
            }
            Detected::More if !sniffed.timed_out => {}
            // A peer that says nothing may wait for the server to speak first.
            Detected::Tls | Detected::Opaque | Detected::More => {
                self.relay(&world, &caller, sniffed.stream).await;
            }
        }
    }

    /// Gives each request a task of its own.
    fn handler(self: &Rc<Self>, caller: &Rc<Caller>) -> impl FnMut(Incoming) + Unpin + use<> {
        let (worker, caller) = (self.clone(), caller.clone());
        move |incoming| {
            // In a box: spawning moves what it is given eight times, and this is 2 KiB of it.
            worker.tasks.spawn_local(Box::pin(worker.clone().carry(caller.clone(), incoming)));
        }
    }

    /// Drives a connection to its end; when the sidecar drains, that is soon.
    async fn until_ended(&self, server: Server, driver: impl Future<Output = Ended>) -> Ended {
        let mut driver = std::pin::pin!(driver);
        tokio::select! {
            biased;
            ended = &mut driver => return ended,
            () = self.drain().cancelled() => server.drain(),
        }
        driver.await
    }

    fn note_end(&self, caller: &Caller, ended: Ended) {
        match ended {
            Ended::Closed | Ended::Idle => {}
            Ended::Io(kind) => tracing::trace!(peer = %caller.peer, ?kind, "connection lost"),
            Ended::TimedOut(_) | Ended::Fault(..) => {
                self.metrics().protocol_error(caller.direction, ended.label());
                tracing::debug!(peer = %caller.peer, why = %ended, "connection ended");
            }
        }
    }
}

/// Whether the connection is relayed as bytes without a look at them.
fn is_opaque(world: &World, caller: &Caller) -> bool {
    let config = &world.config;
    let ports = match caller.direction {
        Direction::Inbound => &config.inbound.opaque_ports,
        Direction::Outbound => &config.outbound.opaque_ports,
    };
    let listed = caller.original.is_some_and(|it| ports.contains(&it.port()));
    listed || crate::proxy::tcp::is_tcp(world, caller)
}
