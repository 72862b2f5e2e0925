//! The serving end of an HTTP/1.1 connection.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use hyper::body::Incoming as HyperBody;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::http::connection::{Ended, Options};
use crate::http::exchange::{Gone, Incoming, Reply, Step, Version};
use crate::http::frame::ErrorCode;
use crate::http::http1::body::{PipeBody, is_empty, receive_request};
use crate::http::http1::head::{received, response_of};
use crate::http::http1::interim::{Interim, Interrupted};
use crate::http::http1::upgrade;
use crate::http::http1::upgrade::Watched;
use crate::http::message::{HeadError, HeadLimits};
use crate::http::pipe::{End, Pipe};
use crate::http::server::Server;
use crate::model::ResponseHead;

/// What a serving connection and its handle have in common.
#[derive(Default)]
pub(in crate::http) struct Http1Shared {
    draining: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

impl Http1Shared {
    pub(in crate::http) fn drain(&self) {
        self.draining.set(true);
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Serves HTTP/1.1 on `io`: `handler` gets each request as its head is complete, one after the
/// other.
///
/// The future is the connection; it ends with it.
pub fn serve_http1<S, H>(
    io: S,
    options: Options,
    handler: H,
) -> (Server, impl Future<Output = Ended>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: FnMut(Incoming) + 'static,
{
    let shared = Rc::new(Http1Shared::default());
    (Server::of_http1(shared.clone()), drive(io, options, handler, shared))
}

async fn drive<S, H>(io: S, options: Options, handler: H, shared: Rc<Http1Shared>) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: FnMut(Incoming) + 'static,
{
    let (io, watch) = Watched::new(io);
    let (io, interim) = Interrupted::new(io);
    let handler = Rc::new(RefCell::new(handler));
    let serving = watch.clone();
    let service = service_fn(move |request| {
        let (handler, watch, interim) = (handler.clone(), serving.clone(), interim.clone());
        async move {
            watch.request_began();
            let answer = respond(request, options.head, &handler, &interim).await;
            watch.request_ended();
            answer
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_headers(options.head.fields)
        .max_buf_size(options.head.list.max(8192))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut drained = false;
    let tick = tick(options);
    let mut clock = pin!(tokio::time::sleep(tick));
    poll_fn(|cx| {
        *shared.driver.borrow_mut() = Some(cx.waker().clone());
        if shared.draining.get() && !std::mem::replace(&mut drained, true) {
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map_or_else(|error| why(&error), |()| Ended::Closed));
        }
        while clock.as_mut().poll(cx).is_ready() {
            if let Some(ended) = watch.overdue(options.frame, options.idle) {
                return Poll::Ready(ended);
            }
            clock.as_mut().reset(Instant::now() + tick);
        }
        Poll::Pending
    })
    .await
}

/// How often the clock is looked at: often enough for the shorter of the two times.
fn tick(options: Options) -> std::time::Duration {
    let shortest = options.frame.min(options.idle);
    (shortest / 4).clamp(std::time::Duration::from_millis(5), std::time::Duration::from_secs(5))
}

/// Why hyper gave the connection up.
fn why(error: &hyper::Error) -> Ended {
    if error.is_parse_too_large() || error.is_parse() {
        return Ended::Fault(ErrorCode::ProtocolError, "malformed HTTP/1.1");
    }
    if error.is_body_write_aborted() || error.is_incomplete_message() || error.is_user() {
        return Ended::Closed;
    }
    let io = std::error::Error::source(error).and_then(|it| it.downcast_ref::<io::Error>());
    io.map_or(Ended::Closed, |error| Ended::Io(error.kind()))
}

/// Breaks an exchange off if it is dropped before its answer began: the caller went.
struct Unanswered {
    reply: Rc<Reply>,
    body: Rc<Pipe>,
    answered: bool,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if !self.answered {
            self.body.end(End::Broken(ErrorCode::Cancel));
            self.reply.finish(Gone::Left);
        }
    }
}

/// hyper closes the connection for this, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

async fn respond<H: FnMut(Incoming)>(
    mut request: http::Request<HyperBody>,
    limits: HeadLimits,
    handler: &RefCell<H>,
    interim: &Interim,
) -> Result<http::Response<PipeBody>, NoAnswer> {
    // HTTP/1.0 knows no interim answers.
    let takes_interim = request.version() == http::Version::HTTP_11;
    let read = match received(&request, limits) {
        Ok(read) => read,
        Err(error) => return refuse(error),
    };
    let upgrade = read.head.protocol.as_ref().map(|_| hyper::upgrade::on(&mut request));
    let wanted = read.head.protocol.clone();
    let body = Pipe::new();
    let reply = Reply::new();
    let mut guard = Unanswered { reply: reply.clone(), body: body.clone(), answered: false };
    let incoming = request.into_body();
    if wanted.is_some() {
        // What follows the head is the new protocol's, once it is agreed on; not a byte before.
    } else if is_empty(&incoming) {
        body.end(End::Complete(None));
    } else {
        tokio::task::spawn_local(receive_request(incoming, body.clone()));
    }
    handler.borrow_mut()(Incoming {
        head: read.head,
        nominated: read.nominated,
        body: body.clone(),
        reply: reply.clone(),
        version: Version::Http1,
    });
    let (head, answer) = loop {
        match poll_fn(|cx| reply.poll_next(cx)).await {
            Step::Answer(head, answer) => break (head, answer),
            Step::Interim(head) if takes_interim => interim.say(&head),
            Step::Interim(_) => {}
            Step::Reset(_) => return Err(NoAnswer),
        }
    };
    let Ok(mut response) = response_of(&head) else { return Err(NoAnswer) };
    guard.answered = true;
    if let (101, Some(upgrade), Some(protocol)) = (head.status, upgrade, wanted) {
        upgrade::announce(response.headers_mut(), &protocol);
        tokio::task::spawn_local(upgrade::serve(upgrade, body, answer, reply));
        return Ok(response.map(|()| PipeBody::own(Pipe::empty())));
    }
    Ok(response.map(|()| PipeBody::answer(answer, reply)))
}

/// Answers a head that is not passed on, and closes: what follows it cannot be trusted to begin
/// where we think.
fn refuse(error: HeadError) -> Result<http::Response<PipeBody>, NoAnswer> {
    let status = match error {
        HeadError::Malformed(_) => 400,
        HeadError::TooLarge => 431,
    };
    let mut head = ResponseHead::new(status);
    head.fields.push(b"x-dyelane-reason", b"malformed");
    head.fields.push(b"content-type", b"text/plain; charset=utf-8");
    let mut response = response_of(&head).map_err(|_| NoAnswer)?;
    let close = http::HeaderValue::from_static("close");
    response.headers_mut().insert(http::header::CONNECTION, close);
    let line = Pipe::full(format!("{error}\n").into(), None);
    Ok(response.map(|()| PipeBody::own(line)))
}
