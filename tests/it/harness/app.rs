//! An application: HTTP/2 and HTTP/1.1 on one port, answers by a function, can be killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{Body, within};

pub(crate) type Request = http::Request<Body>;
pub(crate) type Response = http::Response<Body>;

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The head of a request that an application was given.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    /// The connection it came on, counted from 1.
    pub(crate) connection: usize,
}

impl Seen {
    /// Returns the values of a header, joined by commas; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        joined(&self.headers, name)
    }
}

/// Returns the values of a header, joined by commas; empty if there is none.
pub(crate) fn joined(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
    values.join(",")
}

/// An application. Dropped, it is gone with its connections.
pub(crate) struct App {
    address: SocketAddr,
    shared: Arc<Shared>,
    running: Mutex<Running>,
}

enum Running {
    Listening(AbortHandle),
    /// The port is held, and refuses.
    Refusing(TcpSocket),
    Changing,
}

struct Shared {
    handler: Box<dyn Fn(Request) -> Answering + Send + Sync>,
    seen: Mutex<Vec<Seen>>,
    arrived: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    open: watch::Sender<usize>,
}

impl App {
    /// Starts an application that answers as `handler` does.
    pub(crate) fn start<H, A>(handler: H) -> Self
    where
        H: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            handler: Box::new(move |request| Box::pin(handler(request))),
            seen: Mutex::default(),
            arrived: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            open: watch::Sender::new(0),
        });
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let running = Mutex::new(Running::Refusing(socket));
        let app = Self { address, shared, running };
        app.revive();
        app
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes its connections, whatever is under way on them, and refuses new ones.
    pub(crate) async fn kill(&self) {
        let before = std::mem::replace(&mut *self.running.lock().unwrap(), Running::Changing);
        if let Running::Listening(task) = before {
            task.abort();
        }
        let mut open = self.shared.open.subscribe();
        within(open.wait_for(|it| *it == 0)).await.unwrap();
        let socket = within(async {
            loop {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                if socket.bind(self.address).is_ok() {
                    return socket;
                }
                tokio::task::yield_now().await;
            }
        });
        let socket = socket.await;
        *self.running.lock().unwrap() = Running::Refusing(socket);
    }

    /// Takes connections again.
    pub(crate) fn revive(&self) {
        let mut running = self.running.lock().unwrap();
        let before = std::mem::replace(&mut *running, Running::Changing);
        let Running::Refusing(socket) = before else { panic!("it is not dead") };
        let accepting = accept(socket.listen(1024).unwrap(), self.shared.clone());
        *running = Running::Listening(tokio::spawn(accepting).abort_handle());
    }

    /// Returns what came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Returns the head of the only request that came.
    #[track_caller]
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        let [only] = &*seen else { panic!("not one: {seen:?}") };
        only.clone()
    }

    /// Waits until so many requests came.
    pub(crate) async fn until_seen(&self, count: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        within(arrived.wait_for(|it| *it >= count)).await.unwrap();
    }

    /// Returns how many connections there ever were.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Waits until so many connections are open.
    pub(crate) async fn until_open(&self, count: usize) {
        let mut open = self.shared.open.subscribe();
        within(open.wait_for(|it| *it == count)).await.unwrap();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Running::Listening(task) = &*self.running.lock().unwrap() {
            task.abort();
        }
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|it| *it -= 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        stream.set_nodelay(true).unwrap();
        shared.connections.send_modify(|it| *it += 1);
        shared.open.send_modify(|it| *it += 1);
        let open = Open(shared.clone());
        let number = *shared.connections.borrow();
        connections.spawn(async move { serve(stream, open, number).await });
    }
}

async fn serve(stream: TcpStream, open: Open, connection: usize) {
    let shared = open.0.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let seen =
            Seen { version: request.version(), headers: request.headers().clone(), connection };
        shared.seen.lock().unwrap().push(seen);
        let answering = (shared.handler)(request.map(Body::new));
        shared.arrived.send_modify(|it| *it += 1);
        async { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http2().max_concurrent_streams(1000);
    // Callers go as they please; what they miss, they say.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    drop(open);
}

/// Reads the request's body, and answers with `text` and how long the body was.
pub(crate) async fn answer_with(text: String, request: Request) -> Response {
    let length = match request.into_body().collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => return answer(400, "the request broke off"),
    };
    let mut response = answer(200, &text);
    response.headers_mut().insert("x-bytes", length.into());
    response
}

/// An answer of one piece.
pub(crate) fn answer(status: u16, text: &str) -> Response {
    let body = Body::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    http::Response::builder().status(status).body(body).unwrap()
}

/// A port that refuses connections for as long as this is held.
pub(crate) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A peer that does with each connection what `handler` does. Dropped, it is gone.
pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Raw {
    pub(crate) async fn start<H, A>(handler: H) -> Self
    where
        H: Fn(TcpStream) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(handler(stream));
            }
        });
        Self { address, task: task.abort_handle() }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}
