//! The engine by itself, with a raw peer at the other end.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dyelane::http::frame::Settings;
use dyelane::http::{
    Call, CallError, CallEvent, Client, End, Ended, HeadLimits, Incoming, Options, Piece, Pipe,
    Server, connect, serve,
};
use dyelane::model::{RequestHead, ResponseHead};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::wire::{PATIENCE, Wire};

/// What a sidecar ships with, by and large.
pub(crate) const OPTIONS: Options = Options {
    streams: 100,
    head: HeadLimits { list: 64 * 1024, fields: 200 },
    stream_window: 64 * 1024,
    connection_buffer: 16 * 1024 * 1024,
    resets: 100,
    first_frame: Duration::from_secs(5),
    frame: Duration::from_secs(10),
    idle: Duration::from_secs(900),
    stall: Duration::from_secs(300),
};

/// Runs a test on one thread, as a worker does.
pub(crate) async fn local<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}

/// A socket and its other end.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// The engine as a server, and its client.
pub(crate) struct Serving {
    pub(crate) wire: Wire,
    pub(crate) server: Server,
    pub(crate) requests: mpsc::UnboundedReceiver<Incoming>,
    pub(crate) ended: JoinHandle<Ended>,
}

impl Serving {
    /// Over a socket; nothing was said yet.
    pub(crate) async fn silent(options: Options) -> Self {
        let (near, far) = sockets().await;
        Self::over(near, far, options)
    }

    /// Over a socket; both sides know the other's settings.
    pub(crate) async fn begun(options: Options) -> Self {
        let mut serving = Self::silent(options).await;
        serving.wire.greet(&Settings::default()).await;
        serving
    }

    /// Over a pipe in memory, whose clock can be stopped.
    pub(crate) async fn in_memory(options: Options, settings: &Settings) -> Self {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let mut serving = Self::over(near, far, options);
        serving.wire.greet(settings).await;
        serving
    }

    fn over(
        near: impl super::wire::Io + 'static,
        far: impl super::wire::Io + 'static,
        options: Options,
    ) -> Self {
        let (sender, requests) = mpsc::unbounded_channel();
        let (server, driver) = serve(far, options, move |incoming| {
            let _ = sender.send(incoming);
        });
        let ended = spawn_local(driver);
        Self { wire: Wire::new(near), server, requests, ended }
    }

    /// The next request that came in.
    pub(crate) async fn request(&mut self) -> Incoming {
        timeout(PATIENCE, self.requests.recv()).await.expect("a request in time").unwrap()
    }

    /// Answers each request with its body, once that is complete.
    pub(crate) fn echo(self) -> (Wire, Server, JoinHandle<Ended>) {
        let Self { wire, server, mut requests, ended } = self;
        spawn_local(async move {
            while let Some(incoming) = requests.recv().await {
                spawn_local(echo(incoming));
            }
        });
        (wire, server, ended)
    }

    /// How the connection ended.
    pub(crate) async fn end(self) -> Ended {
        timeout(PATIENCE, self.ended).await.expect("an end in time").unwrap()
    }
}

/// Answers a request with its body, once that is complete; with `hello`, if it has none.
pub(crate) async fn echo(incoming: Incoming) {
    let (mut body, end) = read(&incoming.body).await;
    let End::Complete(trailers) = end else { return };
    if body.is_empty() {
        body.extend_from_slice(b"hello");
    }
    incoming.reply.answer(ResponseHead::new(200), Pipe::full(Bytes::from(body), trailers));
}

/// Reads a body to its end.
pub(crate) async fn read(pipe: &Pipe) -> (Vec<u8>, End) {
    let mut body = Vec::new();
    loop {
        let piece = timeout(PATIENCE, poll_fn(|cx| pipe.poll_take(cx, usize::MAX)));
        match piece.await.expect("a piece in time") {
            Piece::Data(bytes) => body.extend_from_slice(&bytes),
            Piece::End(end) => return (body, end),
            Piece::Wait => {}
        }
    }
}

/// The engine as a client, and its server.
pub(crate) struct Calling {
    pub(crate) wire: Wire,
    pub(crate) client: Client,
    pub(crate) ended: JoinHandle<Ended>,
}

impl Calling {
    /// Over a socket; both sides know the other's settings.
    pub(crate) async fn begun(options: Options, settings: &Settings) -> Self {
        let (near, far) = sockets().await;
        let mut calling = Self::over(near, far, options);
        calling.wire.welcome(settings).await;
        calling
    }

    /// Over a pipe in memory, whose clock can be stopped.
    pub(crate) async fn in_memory(options: Options, settings: &Settings) -> Self {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let mut calling = Self::over(near, far, options);
        calling.wire.welcome(settings).await;
        calling
    }

    fn over(
        near: impl super::wire::Io + 'static,
        far: impl super::wire::Io + 'static,
        options: Options,
    ) -> Self {
        let (client, driver) = connect(near, options);
        Self { wire: Wire::new(far), client, ended: spawn_local(driver) }
    }

    /// Sends a request without a body.
    pub(crate) fn get(&self) -> Rc<Call> {
        self.client.call(Rc::new(request("GET")), Pipe::empty())
    }

    /// Sends a request with this body.
    pub(crate) fn post(&self, body: &Rc<Pipe>) -> Rc<Call> {
        self.client.call(Rc::new(request("POST")), body.clone())
    }
}

/// A request's head.
pub(crate) fn request(method: &str) -> RequestHead {
    RequestHead {
        method: method.parse().unwrap(),
        authority: "app.test".to_owned(),
        path: "/".to_owned(),
        ..RequestHead::default()
    }
}

/// The next event of a call.
pub(crate) async fn event(call: &Call) -> CallEvent {
    let event = timeout(PATIENCE, poll_fn(|cx| call.poll_event(cx)));
    event.await.expect("an event in time")
}

/// The head of a call's answer.
pub(crate) async fn answer(call: &Call) -> ResponseHead {
    match event(call).await {
        CallEvent::Head(head) => head,
        other => panic!("no answer: {other:?}"),
    }
}

/// Why a call brought no answer.
pub(crate) async fn failure(call: &Call) -> CallError {
    match event(call).await {
        CallEvent::Failed(error) => error,
        other => panic!("no failure: {other:?}"),
    }
}
