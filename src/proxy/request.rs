//! The life of one request: identify, route, send, answer, account.

use std::future::Future;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use arrayvec::ArrayVec;
use tokio::time::Instant;

use crate::balance::End as Ending;
use crate::balance::Flight;
use crate::http::Call;
use crate::http::CallError;
use crate::http::CallEvent;
use crate::http::ErrorCode;
use crate::http::Gone;
use crate::http::Incoming;
use crate::http::Pipe;
use crate::http::Reply;
use crate::http::Version;
use crate::model::RequestHead;
use crate::model::ResponseHead;
use crate::proxy::caller::{Caller, Story};
use crate::proxy::deadline::{Timer, earlier, grpc_timeout, write_grpc_timeout};
use crate::proxy::error::ProxyError;
use crate::proxy::pool::Terms;
use crate::proxy::reply;
use crate::proxy::retry;
use crate::proxy::route::{Hop, Route};
use crate::proxy::worker::Worker;
use crate::proxy::world::World;
use crate::telemetry::Retry;

/// Attempts a request has at most, whatever the policy.
const ATTEMPTS: usize = 10;

/// A request under way: what stays the same from attempt to attempt.
struct Passage<'a> {
    world: &'a World,
    route: &'a Route,
    head: Rc<RequestHead>,
    body: &'a Rc<Pipe>,
    reply: &'a Reply,
    version: Version,
    /// When it is to be over, whatever happens.
    due: Option<Instant>,
}

/// What an attempt brought: the answer's head, and the call its body comes by.
struct Answer {
    head: ResponseHead,
    call: Rc<Call>,
    flight: Option<Flight>,
}

impl Worker {
    /// Carries one request to an instance and its answer back, or says why it cannot.
    ///
    /// Every step is given the same world, so that a reload half way cannot leave one request of two
    /// minds.
    pub(super) async fn carry(self: Rc<Self>, caller: Rc<Caller>, incoming: Incoming) {
        let world = self.world();
        let mut story = Story::new();
        let _active = self.stream_began(caller.direction);
        let Incoming { mut head, nominated, body, reply, version } = incoming;
        for name in nominated.iter().filter(|it| !world.carriers.is_carrier_name(it.as_bytes())) {
            head.fields.remove(name.as_bytes());
        }
        let is_grpc = head.is_grpc();
        let outcome = match self.prepare(&world, &caller, &mut head, &mut story) {
            Ok(route) => {
                let head = Rc::new(head);
                let passage =
                    self.passage(&world, &route, head.clone(), (&body, &reply, version), &story);
                let outcome = self.deliver(&passage, &mut story).await;
                (head, outcome)
            }
            Err(error) => (Rc::new(head), Err(error)),
        };
        let (head, outcome) = outcome;
        let response = match outcome {
            Ok(response) => Some(response),
            Err(error) => self.apologise(&error, is_grpc, &body, &reply, &mut story).await,
        };
        story.end(self.recorder(), &world, &caller, &head, &body, response.as_deref());
    }

    /// Finds out whose request it is and where it goes, and makes its head ready to go there.
    fn prepare(
        &self,
        world: &World,
        caller: &Caller,
        head: &mut RequestHead,
        story: &mut Story,
    ) -> Result<Route, ProxyError> {
        if head.method == http::Method::CONNECT && head.protocol.is_none() {
            return Err(ProxyError::Malformed("CONNECT is not served here"));
        }
        let who = self.identify(world, caller, head, story)?;
        let route = self.route(world, caller, head, who, story)?;
        Ok(route)
    }

    fn passage<'a>(
        &self,
        world: &'a World,
        route: &'a Route,
        head: Rc<RequestHead>,
        (body, reply, version): (&'a Rc<Pipe>, &'a Reply, Version),
        story: &Story,
    ) -> Passage<'a> {
        let total = route.settings.timeouts.total;
        let wanted = head.is_grpc().then(|| grpc_timeout(&head)).flatten();
        let limit = match (total, wanted) {
            (Some(total), Some(wanted)) => Some(total.min(wanted)),
            (total, wanted) => total.or(wanted),
        };
        let due = limit.and_then(|limit| story.begun.checked_add(limit));
        Passage { world, route, head, body, reply, version, due }
    }

    /// Sends the request until an attempt brings an answer, and sees the answer through.
    async fn deliver(
        &self,
        passage: &Passage<'_>,
        story: &mut Story,
    ) -> Result<Rc<Pipe>, ProxyError> {
        let mut timer = Timer::default();
        let answer = self.attempts(passage, &mut timer, story).await?;
        passage.body.forget();
        let Answer { mut head, call, flight } = answer;
        story.status = head.status;
        story.grpc_status = retry::grpc_status(&head);
        story.time_to_head.set(Some(story.begun.elapsed()));
        passage.route.sign(passage.world, &mut head, story);
        passage.reply.answer(head, call.body.clone());
        self.see_through(passage, &call, &mut timer, story).await;
        drop(flight);
        Ok(call.body.clone())
    }

    /// Makes one attempt after the other for as long as the policy has it.
    async fn attempts(
        &self,
        passage: &Passage<'_>,
        timer: &mut Timer,
        story: &mut Story,
    ) -> Result<Answer, ProxyError> {
        let Passage { world, route, .. } = passage;
        let policy = &route.settings.retries;
        let budget = world.budget(route.service_name(world));
        let most = usize::from(policy.attempts).min(ATTEMPTS);
        let mut tried = ArrayVec::<SocketAddr, ATTEMPTS>::new();
        if most > 1 && !passage.body.is_at_end() {
            passage.body.keep(policy.buffer as usize);
        }
        budget.pay_in();
        loop {
            let hop = self.next_hop(world, route, &tried, story)?;
            story.attempts += 1;
            story.upstream = Some(hop.address);
            let address = hop.address;
            let outcome = self.attempt(passage, hop, timer).await;
            let again = match &outcome {
                Ok(answer) => retry::after_answer(policy, &passage.head, &answer.head),
                Err(error) => retry::after_failure(policy, &passage.head, error),
            };
            if !again || passage.head.protocol.is_some() {
                return outcome;
            }
            let verdict = if story.attempts as usize >= most {
                Retry::NoAttempts
            } else if !passage.body.can_rewind() {
                Retry::NoBody
            } else if !budget.take() {
                Retry::NoBudget
            } else {
                Retry::Sent
            };
            self.retried(world, route.service(), verdict);
            if verdict != Retry::Sent {
                return outcome;
            }
            if let Ok(answer) = outcome {
                answer.call.cancel(ErrorCode::Cancel);
            }
            passage.body.rewind();
            let _ = tried.try_push(address);
        }
    }

    /// Sends the request to one instance, and waits for the head of its answer.
    async fn attempt(
        &self,
        passage: &Passage<'_>,
        hop: Hop,
        timer: &mut Timer,
    ) -> Result<Answer, ProxyError> {
        let Hop { address, flight } = hop;
        let begun = Instant::now();
        let outcome = self.exchange_heads(passage, address, timer).await;
        if let Some(flight) = &flight {
            let ending = match &outcome {
                Ok((head, _)) if is_failure(head) => Ending::Failed,
                Ok(_) => Ending::Answered,
                Err(ProxyError::Connect { .. }) => Ending::Unreachable,
                Err(
                    ProxyError::CallerLeft | ProxyError::Pending { .. } | ProxyError::Malformed(_),
                ) => Ending::Abandoned,
                Err(ProxyError::Interrupted { source, .. }) if source.never_processed() => {
                    Ending::Abandoned
                }
                Err(_) => Ending::Failed,
            };
            flight.report(ending, begun.elapsed(), self.now());
        }
        outcome.map(|(head, call)| Answer { head, call, flight })
    }

    async fn exchange_heads(
        &self,
        passage: &Passage<'_>,
        address: SocketAddr,
        timer: &mut Timer,
    ) -> Result<(ResponseHead, Rc<Call>), ProxyError> {
        let Passage { route, reply, due, .. } = passage;
        timer.set(*due);
        let version = route.version(passage.version, &passage.head);
        let terms = Terms::new(&route.settings, version, self.options());
        let service = route.service_name(passage.world);
        let service = service.unwrap_or(&passage.world.config.workload.service);
        let connection = {
            let connecting = self.pool().connection(address, version, &terms, service);
            let mut connecting = std::pin::pin!(connecting);
            poll_fn(|cx| {
                if reply.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(ProxyError::CallerLeft));
                }
                if timer.poll_due(cx).is_ready() {
                    return Poll::Ready(Err(ProxyError::Deadline));
                }
                connecting.as_mut().poll(cx)
            })
            .await?
        };
        let head = self.head_for(passage);
        let call = connection.call(head, passage.body.clone());
        let limit = route.settings.timeouts.head.map(|limit| Instant::now() + limit);
        timer.set(earlier(*due, limit));
        let outcome = poll_fn(|cx| {
            if reply.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(ProxyError::CallerLeft));
            }
            while let Poll::Ready(event) = call.poll_event(cx) {
                match event {
                    CallEvent::Interim(head) => reply.interim(head),
                    CallEvent::Head(head) => return Poll::Ready(Ok(head)),
                    CallEvent::Failed(CallError::Unfit(why)) => {
                        return Poll::Ready(Err(ProxyError::Malformed(why)));
                    }
                    CallEvent::Failed(source) => {
                        return Poll::Ready(Err(ProxyError::Interrupted { address, source }));
                    }
                }
            }
            timer.poll_due(cx).map(|()| Err(ProxyError::Deadline))
        })
        .await;
        if outcome.is_err() {
            call.cancel(ErrorCode::Cancel);
        }
        Ok((outcome?, call))
    }

    /// Returns the head as it goes out: with what is left of the caller's time, if it set one.
    fn head_for(&self, passage: &Passage<'_>) -> Rc<RequestHead> {
        match passage.due {
            Some(due) if passage.head.is_grpc() => {
                let mut head = RequestHead::clone(&passage.head);
                write_grpc_timeout(&mut head, due.saturating_duration_since(Instant::now()));
                Rc::new(head)
            }
            _ => passage.head.clone(),
        }
    }

    /// Waits until the caller has the whole answer, or the answer took too long, or either side
    /// broke off. The bodies move meanwhile without our doing.
    async fn see_through(
        &self,
        passage: &Passage<'_>,
        call: &Call,
        timer: &mut Timer,
        story: &mut Story,
    ) {
        let idle = passage.route.settings.timeouts.idle;
        let moved = || passage.body.moved() + call.body.moved();
        let mut last = (moved(), Instant::now());
        timer.set(earlier(passage.due, idle.map(|idle| last.1 + idle)));
        let gone = poll_fn(|cx| {
            loop {
                if let Poll::Ready(gone) = passage.reply.poll_gone(cx) {
                    return Poll::Ready(Some(gone));
                }
                if timer.poll_due(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = Instant::now();
                let late = passage.due.is_some_and(|due| due <= now);
                if late || moved() == last.0 {
                    return Poll::Ready(None);
                }
                last = (moved(), now);
                timer.set(earlier(passage.due, idle.map(|idle| now + idle)));
            }
        })
        .await;
        match gone {
            Some(Gone::Answered) => {}
            Some(Gone::Broken) => story.failure = Some("interrupted"),
            Some(Gone::Left) => {
                story.failure = Some(ProxyError::CallerLeft.label());
                call.cancel(ErrorCode::Cancel);
            }
            None => {
                story.failure = Some(ProxyError::Deadline.label());
                call.cancel(ErrorCode::Cancel);
                poll_fn(|cx| passage.reply.poll_gone(cx)).await;
            }
        }
    }

    /// Gives the caller our own answer.
    async fn apologise(
        &self,
        error: &ProxyError,
        is_grpc: bool,
        body: &Pipe,
        reply: &Reply,
        story: &mut Story,
    ) -> Option<Rc<Pipe>> {
        story.failure = Some(error.label());
        let (head, answer) = reply::answer(error, is_grpc);
        story.status = head.status;
        story.grpc_status = retry::grpc_status(&head);
        // What is left of the request has nowhere to go.
        body.close();
        if reply.gone().is_none() {
            tracing::debug!(reason = error.label(), error = %Causes(error), "request not carried");
            reply.answer(head, answer.clone());
            poll_fn(|cx| reply.poll_gone(cx)).await;
        }
        Some(answer)
    }
}

/// An error with its causes, in one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Whether an answer speaks against the instance that gave it: those of a proxy or a server that
/// cannot work, not those of an application that will not.
fn is_failure(head: &ResponseHead) -> bool {
    matches!(head.status, 502..=504) || retry::grpc_status(head) == Some(14)
}
