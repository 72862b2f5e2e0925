//! One request on a calling connection, and its answer.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::http::exchange::{Call, CallError, CallEvent};
use crate::http::frame::ErrorCode;
use crate::http::http1::body::{PipeBody, Received, receive};
use crate::http::http1::client::Shared;
use crate::http::http1::head::{Unwritable, agrees, answered, length_of, request_of};
use crate::http::http1::{tunnel, websocket};
use crate::http::message::HeadError;
use crate::http::pipe::{End, Pipe};
use crate::model::RequestHead;
use crate::model::ResponseHead;

/// A request under way.
pub(super) struct Exchange {
    pub(super) shared: Rc<Shared>,
    pub(super) call: Rc<Call>,
    pub(super) head: Rc<RequestHead>,
    pub(super) body: Rc<Pipe>,
}

impl Exchange {
    /// Sends the request by `sender`, which is given back if the connection can be used again.
    pub(super) async fn run(self, mut sender: SendRequest<PipeBody>) {
        let Ok((request, key)) = self.request() else {
            let why = "HTTP/1.1 has no way to say this request";
            self.call.event(CallEvent::Failed(CallError::Unfit(why)));
            return self.shared.rest(sender);
        };
        let call = self.call.clone();
        let cancelled = poll_fn(|cx| call.poll_cancelled(cx));
        let reusable = async {
            self.exchange(&mut sender, request, key).await && self.settled(&mut sender).await
        };
        let reusable = tokio::select! {
            // First, since what follows a cancellation is none of our doing.
            biased;
            _ = cancelled => false,
            reusable = reusable => reusable,
        };
        if reusable {
            return self.shared.rest(sender);
        }
        // A connection on which an exchange broke off is of no more use: its bytes are out of step.
        self.call.body.end(End::Broken(ErrorCode::Cancel));
        self.shared.close();
    }

    /// Returns the request for hyper, with the key of its handshake if it has one.
    fn request(&self) -> Result<(http::Request<PipeBody>, Option<HeaderValue>), Unwritable> {
        let protocol = self.head.protocol.as_deref();
        let has_body = protocol.is_none() && !self.body.is_at_end();
        let mut request = request_of(&self.head, has_body)?;
        let key = protocol.filter(|it| websocket::is_websocket(it)).map(|_| websocket::new_key());
        if let Some(key) = &key {
            request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key.clone());
        }
        // What a caller sends for another protocol goes nowhere before the agreement.
        let body = if has_body {
            let length = length_of(request.headers());
            PipeBody::request(self.body.clone(), length, self.call.clone())
        } else {
            PipeBody::empty()
        };
        Ok((request.map(|()| body), key))
    }

    /// Returns whether the answer came to its proper end.
    async fn exchange(
        &self,
        sender: &mut SendRequest<PipeBody>,
        mut request: http::Request<PipeBody>,
        key: Option<HeaderValue>,
    ) -> bool {
        let heard = &self.shared.heard;
        heard.listen(&mut request);
        let mut answer = pin!(sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            while let Poll::Ready(head) = heard.poll_next(cx) {
                self.interim(&head);
            }
            answer.as_mut().poll(cx)
        });
        let answer = answer.await;
        match answer {
            Ok(response) => self.answer(response, key).await,
            Err(mut error) => self.fail(match error.take_message() {
                Some(_) => CallError::NeverSent,
                None => failure(error.error()),
            }),
        }
    }

    fn interim(&self, response: &http::Response<()>) {
        if let Ok(head) = answered(response, self.shared.options.head) {
            self.call.event(CallEvent::Interim(head));
        }
    }

    async fn answer(
        &self,
        mut response: http::Response<Incoming>,
        key: Option<HeaderValue>,
    ) -> bool {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS
            && let Err(why) = self.check_agreement(&mut response, key)
        {
            return self.fail(CallError::Malformed(why));
        }
        let head = match answered(&response, self.shared.options.head) {
            Ok(head) => head,
            Err(HeadError::Malformed(why)) => return self.fail(CallError::Malformed(why)),
            Err(HeadError::TooLarge) => {
                return self.fail(CallError::Malformed("header list too large"));
            }
        };
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = hyper::upgrade::on(&mut response);
            return self.switch(head, upgrade).await;
        }
        if status.is_success()
            && self.head.protocol.is_some()
            && self.head.method == Method::CONNECT
        {
            // In HTTP/2 this would say that the other protocol begins.
            return self.fail(CallError::Malformed("no agreement on the other protocol"));
        }
        let mut body = response.into_body();
        if body.is_end_stream() {
            self.call.body.end(End::Complete(None));
            self.call.event(CallEvent::Head(head));
            return true;
        }
        self.call.event(CallEvent::Head(head));
        let whole = receive(&mut body, &self.call.body, || {}).await == Received::Whole;
        if !whole {
            self.close_body();
        }
        whole
    }

    /// Waits until the connection takes the next request: it may still take the rest of this one.
    /// Returns whether it does in the end.
    async fn settled(&self, sender: &mut SendRequest<PipeBody>) -> bool {
        let patience = self.shared.options.idle;
        let mut moved = self.body.moved();
        let mut quiet = pin!(tokio::time::sleep(patience));
        let settled = poll_fn(|cx| {
            loop {
                if let Poll::Ready(ready) = sender.poll_ready(cx) {
                    return Poll::Ready(ready.is_ok());
                }
                if quiet.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if std::mem::replace(&mut moved, self.body.moved()) == self.body.moved() {
                    return Poll::Ready(false);
                }
                quiet.as_mut().reset(Instant::now() + patience.max(Duration::from_millis(1)));
            }
        });
        let settled = settled.await;
        if !settled {
            self.close_body();
        }
        settled
    }

    /// Says that nobody reads the rest of the request, now that the answer is on its way. Whoever
    /// cancelled the call may send it again.
    fn close_body(&self) {
        if self.call.cancelled().is_none() {
            self.body.close();
        }
    }

    fn fail(&self, why: CallError) -> bool {
        self.call.event(CallEvent::Failed(why));
        false
    }

    /// Checks that the upstream agrees to what was asked for, and takes its proof out of the head.
    fn check_agreement(
        &self,
        response: &mut http::Response<Incoming>,
        key: Option<HeaderValue>,
    ) -> Result<(), &'static str> {
        let protocol = self.head.protocol.as_deref();
        let protocol = protocol.ok_or("101 to a request that asked for no other protocol")?;
        if !agrees(response.headers(), protocol) {
            return Err("101 for a protocol nobody asked for");
        }
        let proof = response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
        match key {
            Some(key) if proof != Some(websocket::accept(&key)) => {
                Err("the WebSocket handshake was not understood")
            }
            _ => Ok(()),
        }
    }

    /// Goes on in the other protocol, until both sides ended. The connection is spent.
    async fn switch(&self, head: ResponseHead, upgrade: OnUpgrade) -> bool {
        let Some((stream, first)) = upgrade.await.ok().and_then(parts) else {
            return self.fail(CallError::Malformed("the connection ended with the agreement"));
        };
        self.call.event(CallEvent::Head(head));
        tunnel::carry(stream, first, &self.call.body, &self.body).await;
        false
    }
}

fn parts(upgraded: Upgraded) -> Option<(TcpStream, Bytes)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf))
}

fn failure(error: &hyper::Error) -> CallError {
    if error.is_parse() || error.is_parse_too_large() {
        CallError::Malformed("not HTTP/1.1")
    } else {
        CallError::Lost
    }
}
