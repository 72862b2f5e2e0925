//! The calling end of an HTTP/1.1 connection: one request after the other.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::http::exchange::{Call, CallError, CallEvent};
use crate::http::http1::body::PipeBody;
use crate::http::http1::call::Exchange;
use crate::http::http1::driver::Driver;
use crate::http::http1::interim::Heard;
use crate::http::options::Options;
use crate::http::pipe::Pipe;
use crate::model::RequestHead;

/// A hold on a calling connection. Copies share the connection.
#[derive(Clone)]
pub struct Http1 {
    shared: Rc<Shared>,
}

/// What a calling connection, its handles and the request on it have in common.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) heard: Arc<Heard>,
    /// There while nothing is under way.
    sender: RefCell<Option<SendRequest<PipeBody>>>,
    /// Since when.
    rested: Cell<Instant>,
    closed: Cell<bool>,
    /// Closes once nothing is under way.
    retired: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    driver: Driver,
}

impl Shared {
    fn wake(&self) {
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Nothing is under way any more; `sender` takes the next request.
    pub(super) fn rest(&self, sender: SendRequest<PipeBody>) {
        if self.retired.get() {
            return self.close();
        }
        *self.sender.borrow_mut() = Some(sender);
        self.rested.set(Instant::now());
        self.wake();
    }

    /// Nothing is under way any more, and nothing will be.
    pub(super) fn close(&self) {
        self.closed.set(true);
        *self.sender.borrow_mut() = None;
        self.wake();
        self.driver.wake();
    }
}

impl Http1 {
    /// Sends a request. One at a time: [`Http1::is_idle`] tells when.
    pub fn call(&self, head: Rc<RequestHead>, body: Rc<Pipe>) -> Rc<Call> {
        let call = Call::new();
        let Some(sender) = self.shared.sender.borrow_mut().take() else {
            call.event(CallEvent::Failed(CallError::NeverSent));
            return call;
        };
        if !sender.is_ready() {
            // It was closed since anyone looked.
            self.shared.close();
            call.event(CallEvent::Failed(CallError::NeverSent));
            return call;
        }
        let exchange = Exchange { shared: self.shared.clone(), call: call.clone(), head, body };
        tokio::task::spawn_local(exchange.run(sender));
        call
    }

    /// Returns whether it takes a request now.
    pub fn is_idle(&self) -> bool {
        !self.is_closed() && self.shared.sender.borrow().as_ref().is_some_and(SendRequest::is_ready)
    }

    /// Returns whether it takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.get() || self.shared.retired.get()
    }

    /// Closes the connection, once nothing is under way.
    pub fn retire(&self) {
        self.shared.retired.set(true);
        if self.shared.sender.borrow_mut().take().is_some() {
            self.shared.close();
        }
    }

    /// Has the task woken when the connection is idle again, or over.
    pub fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.shared.waiting.borrow_mut();
        if !waiting.iter().any(|it| it.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }
}

/// Speaks HTTP/1.1 on `stream`.
///
/// The future is the connection; it ends with it, though not before what goes on in another
/// protocol on the same socket.
///
/// # Errors
/// hyper says no, which it does for a connection that is over already.
pub async fn connect_http1(
    stream: TcpStream,
    options: Options,
) -> Result<(Http1, impl Future<Output = ()>), hyper::Error> {
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(options.head.fields)
        .max_buf_size(options.head.list.max(8192))
        .handshake(TokioIo::new(stream))
        .await?;
    let shared = Rc::new(Shared {
        options,
        heard: Arc::default(),
        sender: RefCell::new(Some(sender)),
        rested: Cell::new(Instant::now()),
        closed: Cell::new(false),
        retired: Cell::new(false),
        waiting: RefCell::default(),
        driver: Driver::default(),
    });
    let client = Http1 { shared: shared.clone() };
    let driver = async move {
        drive(connection.with_upgrades(), &shared).await;
        // What is still under way ends by itself: it has lost its connection, or taken it over.
        shared.retired.set(true);
        if shared.sender.borrow().is_some() {
            shared.close();
        }
        poll_fn(|cx| {
            if shared.closed.get() {
                return Poll::Ready(());
            }
            shared.driver.is(cx);
            Poll::Pending
        })
        .await;
    };
    Ok((client, driver))
}

/// Drives the connection to its end, which it has when it was unused for too long.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, shared: &Shared) {
    let idle = shared.options.idle;
    let mut connection = pin!(connection);
    let mut clock = pin!(tokio::time::sleep(idle));
    poll_fn(|cx| {
        shared.driver.is(cx);
        // Looked at first, so that hyper sees at once that its sender is gone.
        while !shared.closed.get() && clock.as_mut().poll(cx).is_ready() {
            let since = shared.sender.borrow().as_ref().map(|_| shared.rested.get());
            match since {
                Some(since) if since.elapsed() >= idle => shared.close(),
                since => clock.as_mut().reset(since.unwrap_or_else(Instant::now) + idle),
            }
        }
        connection.as_mut().poll(cx).map(drop)
    })
    .await;
}
