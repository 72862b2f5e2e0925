//! The serving end of an HTTP/1.1 connection.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::Version as HttpVersion;
use http::header;
use hyper::body::{Body, Incoming as HyperBody};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::http::connection::Ended;
use crate::http::exchange::{Gone, Incoming, Reply, Step, Version};
use crate::http::frame::ErrorCode;
use crate::http::http1::body::{PipeBody, receive_request};
use crate::http::http1::driver::Driver;
use crate::http::http1::head::{Received, announce, length_of, received, response_of};
use crate::http::http1::interim::{Interim, Interrupted};
use crate::http::http1::tunnel::{Tunnel, below};
use crate::http::http1::watch::{Busy, Watch, Watched};
use crate::http::http1::websocket;
use crate::http::message::{HeadError, HeadLimits};
use crate::http::options::Options;
use crate::http::pipe::{End, Pipe};
use crate::http::server::Server;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::net::Replay;

/// How long a connection that is to end waits for one more request, to say so in its answer: one that
/// is closed without a word may meet a request on its way, which is then lost.
const PARTING: Duration = Duration::from_secs(1);

/// What a serving connection and its handle have in common.
#[derive(Default)]
pub(in crate::http) struct Http1Shared {
    draining: Cell<bool>,
    driver: Driver,
}

impl Http1Shared {
    pub(in crate::http) fn drain(&self) {
        self.draining.set(true);
        self.driver.wake();
    }
}

/// Serves HTTP/1.1 on `io`: `handler` gets each request as its head is complete, one after the
/// other.
///
/// The future is the connection; it ends with it, though not before what goes on in another
/// protocol on the same socket. Dropping it breaks off what is under way.
pub fn serve_http1<H>(
    io: Replay<TcpStream>,
    options: Options,
    handler: H,
) -> (Server, impl Future<Output = Ended>)
where
    H: FnMut(Incoming) + 'static,
{
    let shared = Rc::new(Http1Shared::default());
    (Server::of_http1(shared.clone()), drive(io, options, handler, shared))
}

async fn drive<H>(
    io: Replay<TcpStream>,
    options: Options,
    handler: H,
    shared: Rc<Http1Shared>,
) -> Ended
where
    H: FnMut(Incoming) + 'static,
{
    let (io, watch) = Watched::new(io);
    let (io, interim) = Interrupted::new(io);
    let serving = Rc::new(Serving {
        handler: RefCell::new(handler),
        watch: watch.clone(),
        interim,
        limits: options.head,
        ends_by_closing: Cell::new(false),
        tunnel: RefCell::default(),
    });
    let service = {
        let serving = serving.clone();
        service_fn(move |request| {
            let serving = serving.clone();
            async move { serving.respond(request).await }
        })
    };
    let mut connection = hyper::server::conn::http1::Builder::new()
        .max_headers(options.head.fields)
        .max_buf_size(options.head.list.max(8192))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut drained = false;
    let tick = tick(options);
    let mut clock = pin!(tokio::time::sleep(tick));
    let mut parting = None;
    let outcome = poll_fn(|cx| {
        shared.driver.is(cx);
        let mut outcome = Pin::new(&mut connection).poll(cx);
        if shared.draining.get() && !drained {
            // The answer under way, or the next one, tells the caller that it is the last.
            let parting = parting.get_or_insert_with(|| Box::pin(tokio::time::sleep(PARTING)));
            if watch.is_answering() || parting.as_mut().poll(cx).is_ready() {
                drained = true;
                Pin::new(&mut connection).graceful_shutdown();
                outcome = Pin::new(&mut connection).poll(cx);
            }
        }
        if let Poll::Ready(outcome) = outcome {
            return Poll::Ready(outcome.map_err(|error| why(&error)));
        }
        while clock.as_mut().poll(cx).is_ready() {
            if let Some(ended) = watch.overdue(&options) {
                return Poll::Ready(Err(ended));
            }
            clock.as_mut().reset(Instant::now() + tick);
        }
        Poll::Pending
    })
    .await;
    if let Some(tunnel) = serving.tunnel.take() {
        tunnel.carry().await;
        return Ended::Closed;
    }
    if outcome.is_err()
        && serving.ends_by_closing.get()
        && let Some(parts) = connection.into_parts()
    {
        // Closed in peace, the answer would look whole.
        let _ = below(parts.io).get_ref().set_zero_linger();
    }
    outcome.err().unwrap_or(Ended::Closed)
}

/// How often the clock is looked at: often enough for the shortest of its times.
fn tick(options: Options) -> Duration {
    let shortest = options.frame.min(options.idle).min(options.stall);
    (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(5))
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

/// hyper closes the connection for this, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

/// What of a request its answer depends on.
///
/// Breaks the exchange off if it is dropped before its answer began: the caller went.
struct Asked {
    method: Method,
    version: HttpVersion,
    /// The protocol it wants to go on in, and the way there.
    wanted: Option<(String, OnUpgrade)>,
    key: Option<HeaderValue>,
    body: Rc<Pipe>,
    reply: Rc<Reply>,
    answered: bool,
}

impl Asked {
    fn new(
        request: &mut http::Request<HyperBody>,
        head: &RequestHead,
        key: Option<HeaderValue>,
    ) -> Self {
        let wanted = head.protocol.clone().map(|it| (it, hyper::upgrade::on(&mut *request)));
        let (method, version) = (request.method().clone(), request.version());
        let (body, reply) = (Pipe::new(), Reply::new());
        Self { method, version, wanted, key, body, reply, answered: false }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.answered {
            self.body.end(End::Broken(ErrorCode::Cancel));
            self.reply.finish(Gone::Left);
        }
    }
}

/// What the requests of one connection have in common.
struct Serving<H> {
    handler: RefCell<H>,
    watch: Arc<Watch>,
    interim: Arc<Interim>,
    limits: HeadLimits,
    /// The answer under way has no end but that of the connection: HTTP/1.0 knows no other.
    ends_by_closing: Cell<bool>,
    /// The protocol the connection goes on in.
    tunnel: RefCell<Option<Tunnel>>,
}

impl<H: FnMut(Incoming)> Serving<H> {
    /// Hands a request on, and waits for the head of its answer.
    async fn respond(
        &self,
        mut request: http::Request<HyperBody>,
    ) -> Result<http::Response<PipeBody>, NoAnswer> {
        let busy = self.watch.answering();
        let has_body = !request.body().is_end_stream();
        let Received { head, nominated, key } = match received(&request, has_body, self.limits) {
            Ok(received) => received,
            Err(error) => return refuse(error),
        };
        let asked = Asked::new(&mut request, &head, key);
        if has_body {
            self.receive(request.into_body(), &asked);
        } else if asked.wanted.is_none() {
            asked.body.end(End::Complete(None));
        }
        self.handler.borrow_mut()(Incoming {
            head,
            nominated,
            body: asked.body.clone(),
            reply: asked.reply.clone(),
            version: Version::Http1,
        });
        loop {
            match poll_fn(|cx| asked.reply.poll_next(cx)).await {
                Step::Answer(head, answer) => return self.answer(asked, &head, answer, busy),
                // HTTP/1.0 knows no interim answers.
                Step::Interim(head) if asked.version == HttpVersion::HTTP_11 => {
                    self.interim.say(&head);
                }
                Step::Interim(_) => {}
                Step::Reset(ErrorCode::ProtocolError) => {
                    return refuse(HeadError::Malformed("a body against the rules"));
                }
                Step::Reset(_) => return Err(NoAnswer),
            }
        }
    }

    /// Gives hyper an answer.
    fn answer(
        &self,
        mut asked: Asked,
        head: &ResponseHead,
        answer: Rc<Pipe>,
        busy: Busy,
    ) -> Result<http::Response<PipeBody>, NoAnswer> {
        let mut response = response_of(head).map_err(|_| NoAnswer)?;
        let wanted = asked.wanted.take();
        let (body, reply) = (asked.body.clone(), asked.reply.clone());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some((protocol, upgrade)) = wanted else { return Err(NoAnswer) };
            agree(response.headers_mut(), &protocol, asked.key.as_ref());
            asked.answered = true;
            *self.tunnel.borrow_mut() = Some(Tunnel { upgrade, body, answer, reply });
            return Ok(response.map(|()| PipeBody::empty()));
        }
        if wanted.is_some() {
            // The answer is no: nothing of the other protocol will come.
            body.end(End::Complete(None));
        }
        asked.answered = true;
        if asked.method == Method::CONNECT {
            // What follows is for whom the caller meant to reach, and not HTTP.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let bodiless =
            matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || asked.method == Method::HEAD {
            return Ok(response.map(|()| PipeBody::head_only(answer, reply, busy)));
        }
        let length = length_of(response.headers());
        self.ends_by_closing.set(length.is_none() && asked.version == HttpVersion::HTTP_10);
        Ok(response.map(|()| PipeBody::answer(answer, length, reply, busy)))
    }

    /// Has the body of a request move into its pipe.
    fn receive(&self, incoming: HyperBody, asked: &Asked) {
        let (body, reply, busy) = (asked.body.clone(), asked.reply.clone(), self.watch.receiving());
        tokio::task::spawn_local(async move {
            // Whoever waits for the answer is to know whose fault it is before the upstream does.
            let broken = || reply.reset(ErrorCode::ProtocolError);
            receive_request(incoming, &body, broken).await;
            drop(busy);
        });
    }
}

/// Says in the head of an answer that the connection goes on in `protocol`.
fn agree(headers: &mut http::HeaderMap, protocol: &str, key: Option<&HeaderValue>) {
    if let Ok(protocol) = HeaderValue::from_str(protocol) {
        announce(headers, protocol);
    }
    if let Some(key) = key {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, websocket::accept(key));
    }
}

/// Answers a request that is not passed on, and closes: what follows it cannot be trusted to begin
/// where we think.
fn refuse(error: HeadError) -> Result<http::Response<PipeBody>, NoAnswer> {
    let line = format!("{error}\n");
    let mut head = ResponseHead::new(match error {
        HeadError::Malformed(_) => 400,
        HeadError::TooLarge => 431,
    });
    head.fields.push(b"x-dyelane-reason", b"malformed");
    head.fields.push(b"content-type", b"text/plain; charset=utf-8");
    head.fields.push(b"content-length", line.len().to_string().as_bytes());
    let mut response = response_of(&head).map_err(|_| NoAnswer)?;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(response.map(|()| PipeBody::of(line.into())))
}
