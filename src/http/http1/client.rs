//! The calling end of an HTTP/1.1 connection: one request after the other.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_KEY;
use hyper::body::Incoming as HyperBody;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::http::connection::Options;
use crate::http::exchange::{Call, CallError, CallEvent};
use crate::http::frame::ErrorCode;
use crate::http::http1::body::{PipeBody, is_empty, receive};
use crate::http::http1::head::{answered, request_of};
use crate::http::http1::upgrade;
use crate::http::message::{HeadError, HeadLimits};
use crate::http::pipe::{End, Pipe};
use crate::model::RequestHead;
use crate::model::ResponseHead;

/// Interim heads that wait to go on, at most.
const INTERIM: usize = 8;

/// A hold on a calling connection. Copies share the connection.
#[derive(Clone)]
pub struct Http1 {
    shared: Rc<Shared>,
}

struct Shared {
    /// There while nothing is under way.
    sender: RefCell<Option<SendRequest<PipeBody>>>,
    closed: Cell<bool>,
    /// Closes once nothing is under way.
    retired: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    driver: RefCell<Option<Waker>>,
    limits: HeadLimits,
}

impl Shared {
    fn wake(&self) {
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
        if let Some(driver) = self.driver.borrow_mut().take() {
            driver.wake();
        }
    }

    /// Nothing is under way any more; `sender` takes the next request.
    fn rest(&self, sender: SendRequest<PipeBody>) {
        if self.retired.get() {
            return self.close();
        }
        *self.sender.borrow_mut() = Some(sender);
        self.wake();
    }

    fn close(&self) {
        self.closed.set(true);
        *self.sender.borrow_mut() = None;
        self.wake();
    }
}

impl Http1 {
    /// Sends a request. One at a time: [`Http1::is_idle`] tells when.
    pub fn call(&self, head: Rc<RequestHead>, body: Rc<Pipe>) -> Rc<Call> {
        let call = Call::new();
        let sender = self.shared.sender.borrow_mut().take();
        let Some(sender) = sender.filter(|it| it.is_ready()) else {
            self.shared.close();
            call.event(CallEvent::Failed(CallError::NeverSent));
            return call;
        };
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

/// Speaks HTTP/1.1 on `io`.
///
/// The future is the connection; it ends with it.
///
/// # Errors
/// hyper says no, which it does for a connection that is over already.
pub async fn connect_http1<S>(
    io: S,
    options: Options,
) -> Result<(Http1, impl Future<Output = ()>), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(options.head.fields)
        .max_buf_size(options.head.list.max(8192))
        .handshake(TokioIo::new(io))
        .await?;
    let shared = Rc::new(Shared {
        sender: RefCell::new(Some(sender)),
        closed: Cell::new(false),
        retired: Cell::new(false),
        waiting: RefCell::default(),
        driver: RefCell::default(),
        limits: options.head,
    });
    let client = Http1 { shared: shared.clone() };
    let idle = options.idle;
    let driver = async move {
        let mut connection = std::pin::pin!(connection.with_upgrades());
        let mut unused = std::pin::pin!(tokio::time::sleep(idle));
        let mut resting = false;
        poll_fn(|cx| {
            *shared.driver.borrow_mut() = Some(cx.waker().clone());
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let rests = shared.sender.borrow().is_some();
            if rests && !resting {
                unused.as_mut().reset(tokio::time::Instant::now() + idle);
            }
            resting = rests;
            if rests && unused.as_mut().poll(cx).is_ready() {
                shared.close();
            }
            Poll::Pending
        })
        .await;
        shared.close();
    };
    Ok((client, driver))
}

/// One request and its answer.
struct Exchange {
    shared: Rc<Shared>,
    call: Rc<Call>,
    head: Rc<RequestHead>,
    body: Rc<Pipe>,
}

impl Exchange {
    async fn run(self, mut sender: SendRequest<PipeBody>) {
        let request = match self.request() {
            Ok(request) => request,
            Err(why) => {
                self.call.event(CallEvent::Failed(CallError::Malformed(why)));
                return self.shared.rest(sender);
            }
        };
        let call = self.call.clone();
        let cancelled = poll_fn(|cx| call.poll_cancelled(cx));
        let whole = tokio::select! {
            whole = self.exchange(&mut sender, request) => whole,
            _ = cancelled => false,
        };
        // A connection on which an exchange broke off is of no more use: its bytes are out of step.
        if whole && poll_fn(|cx| sender.poll_ready(cx)).await.is_ok() {
            self.shared.rest(sender);
        } else {
            self.call.body.end(End::Broken(ErrorCode::Cancel));
            self.shared.close();
        }
    }

    fn request(&self) -> Result<http::Request<PipeBody>, &'static str> {
        let bodiless = self.body.is_at_end();
        let unwritable = "a request that HTTP/1.1 cannot carry";
        let mut request = request_of(&self.head, bodiless).map_err(|_| unwritable)?;
        let Some(protocol) = &self.head.protocol else {
            return Ok(request.map(|()| PipeBody::request(self.body.clone(), self.call.clone())));
        };
        upgrade::announce(request.headers_mut(), protocol);
        let key = upgrade::websocket_key();
        if protocol.eq_ignore_ascii_case("websocket")
            && !request.headers().contains_key(SEC_WEBSOCKET_KEY)
            && let Ok(key) = HeaderValue::from_str(&key)
        {
            // RFC 8441 section 5: HTTP/2 has no such field, HTTP/1.1 needs one.
            request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        }
        // What the caller sends is the new protocol's: none of it goes before the agreement.
        Ok(request.map(|()| PipeBody::own(Pipe::empty())))
    }

    /// Returns whether the exchange came to its proper end.
    async fn exchange(
        &self,
        sender: &mut SendRequest<PipeBody>,
        mut request: http::Request<PipeBody>,
    ) -> bool {
        let (interim, mut interims) = mpsc::channel(INTERIM);
        hyper::ext::on_informational(&mut request, move |response| {
            let mut copy = http::Response::new(());
            *copy.status_mut() = response.status();
            copy.headers_mut().clone_from(response.headers());
            let _ = interim.try_send(copy);
        });
        let mut answer = std::pin::pin!(sender.try_send_request(request));
        let answer = loop {
            tokio::select! {
                biased;
                Some(response) = interims.recv() => self.interim(&response),
                answer = &mut answer => break answer,
            }
        };
        match answer {
            Ok(response) => self.answer(response).await,
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                self.call.event(CallEvent::Failed(if unsent {
                    CallError::NeverSent
                } else {
                    failure(error.error())
                }));
                false
            }
        }
    }

    fn interim(&self, response: &http::Response<()>) {
        if let Ok(head) = answered(response, self.shared.limits) {
            self.call.event(CallEvent::Interim(head));
        }
    }

    async fn answer(&self, mut response: http::Response<HyperBody>) -> bool {
        let head = match answered(&response, self.shared.limits) {
            Ok(head) => head,
            Err(HeadError::Malformed(why)) => return self.malformed(why),
            Err(HeadError::TooLarge) => return self.malformed("header list too large"),
        };
        if head.status == 101 {
            let upgrade = hyper::upgrade::on(&mut response);
            return self.switch(head, upgrade).await;
        }
        let mut body = response.into_body();
        if is_empty(&body) {
            self.call.body.end(End::Complete(None));
            self.call.event(CallEvent::Head(head));
            return true;
        }
        self.call.event(CallEvent::Head(head));
        receive(&mut body, &self.call.body).await;
        self.call.body.with_end(|end| matches!(end, Some(End::Complete(_))))
    }

    fn malformed(&self, why: &'static str) -> bool {
        self.call.event(CallEvent::Failed(CallError::Malformed(why)));
        false
    }

    /// Goes on in the other protocol, until both sides ended. The connection is spent.
    async fn switch(&self, head: ResponseHead, upgrade: hyper::upgrade::OnUpgrade) -> bool {
        if self.head.protocol.is_none() {
            return self.malformed("101 to a request that asked for no other protocol");
        }
        let Ok(upgraded) = upgrade.await else {
            return self.malformed("the connection ended with the agreement");
        };
        self.call.event(CallEvent::Head(head));
        upgrade::carry(TokioIo::new(upgraded), &self.call.body, &self.body).await;
        false
    }
}

fn failure(error: &hyper::Error) -> CallError {
    if error.is_parse() || error.is_parse_too_large() {
        CallError::Malformed("not HTTP/1.1")
    } else {
        CallError::Lost
    }
}
