//! The life of one request: identify, route, send, answer, account.

use std::future::Future;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

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
use crate::proxy::caller::{Basis, Caller, Story};
use crate::proxy::deadline::{Timer, earlier, grpc_timeout, write_grpc_timeout};
use crate::proxy::error::ProxyError;
use crate::proxy::pool::Terms;
use crate::proxy::reply;
use crate::proxy::retry;
use crate::proxy::retry::{ATTEMPTS, Tried};
use crate::proxy::route::{Hop, Route};
use crate::proxy::worker::{Worker, options};
use crate::proxy::world::World;
use crate::telemetry::Retry;

/// How often an answer is looked at that may be silent for ever.
const LASTS: Duration = Duration::from_secs(60);
/// Connections that may turn out to be closed before one is an instance's failure.
const STALE: usize = 3;

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
        let route = self.prepare(&world, &caller, &mut head, &mut story);
        let head = Rc::new(head);
        let mut timer = Timer::default();
        let (route, outcome) = match route {
            Ok(route) => {
                let request = (head.clone(), &body, &*reply, version);
                let passage = Self::passage(&world, &route, request, &story);
                let outcome = self.attempts(&passage, &mut timer, &mut story).await;
                let due = passage.due;
                (Some(route), outcome.map(|answer| (answer, due)))
            }
            Err(error) => (None, Err(error)),
        };
        let mut basis = Basis::World(world);
        let response = match outcome {
            Ok((answer, due)) => {
                body.forget();
                let Answer { mut head, call, flight } = answer;
                story.answered(&head);
                basis.sign(route.as_ref(), &mut head, &story);
                reply.answer(head, call.body.clone());
                let idle = route.and_then(|it| it.settings.timeouts.idle);
                let rest = Rest { body: &body, reply: &reply, call: &call, due, idle };
                let failure = rest.see_through(timer, || basis.let_go(&story, &caller)).await;
                story.failure = failure;
                drop(flight);
                call.body.clone()
            }
            Err(error) => {
                let (mut answer, pipe) = reply::answer(&error, &head);
                basis.sign(route.as_ref(), &mut answer, &story);
                story.failure = Some(error.label());
                story.status = answer.status;
                story.grpc_status = retry::grpc_status(&answer);
                tracing::debug!(reason = error.label(), error = %Causes(&error), "not carried");
                apologise(answer, pipe.clone(), &body, &reply).await;
                pipe
            }
        };
        story.end(self.recorder(), &basis, &caller, &head, &body, &response);
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
        self.route(world, caller, head, who, story)
    }

    fn passage<'a>(
        world: &'a World,
        route: &'a Route,
        (head, body, reply, version): (Rc<RequestHead>, &'a Rc<Pipe>, &'a Reply, Version),
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

    /// Makes one attempt after the other for as long as the policy has it.
    async fn attempts(
        &self,
        passage: &Passage<'_>,
        timer: &mut Timer,
        story: &mut Story,
    ) -> Result<Answer, ProxyError> {
        let Passage { world, route, body, .. } = passage;
        let policy = &route.settings.retries;
        let budget = world.budget(route.service_name(world));
        let most = usize::from(policy.attempts).min(ATTEMPTS);
        let mut tried = Tried::default();
        let mut stale = 0;
        if !body.is_at_end() {
            body.keep(policy.buffer as usize);
        }
        budget.pay_in();
        loop {
            let hop = self.next_hop(world, route, &tried, story)?;
            story.attempts += 1;
            story.upstream = Some(hop.address);
            let address = hop.address;
            let outcome = self.attempt(passage, hop, timer).await;
            if stale < STALE && retry::met_a_closed_connection(&outcome) && body.rewind() {
                // It was not sent, and this is no retry: kept connections end when they please.
                story.attempts -= 1;
                stale += 1;
                continue;
            }
            let again = match &outcome {
                Ok(answer) => retry::after_answer(policy, &passage.head, &answer.head),
                Err(error) => retry::after_failure(policy, &passage.head, error),
            };
            if !again || passage.head.protocol.is_some() {
                return outcome;
            }
            let is_free = outcome.as_ref().is_err_and(retry::costs_nothing);
            let verdict = if story.attempts as usize >= most {
                Retry::NoAttempts
            } else if !body.can_rewind() {
                Retry::NoBody
            } else if !is_free && !budget.take() {
                Retry::NoBudget
            } else {
                Retry::Sent
            };
            self.retried(world, route.service(), verdict);
            if verdict != Retry::Sent {
                return outcome;
            }
            tried.note(address, &outcome);
            if let Ok(answer) = outcome {
                answer.call.cancel(ErrorCode::Cancel);
            }
            body.rewind();
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
        let terms = Terms::new(&route.settings, version, options(passage.world));
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
        let head = Self::head_for(passage);
        let call = connection.call(head, passage.body.clone());
        let mut patience = Patience::new(passage);
        timer.set(patience.due(passage));
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
            patience.poll_over(cx, passage, timer).map(|()| Err(ProxyError::Deadline))
        })
        .await;
        if outcome.is_err() {
            call.cancel(ErrorCode::Cancel);
        }
        Ok((outcome?, call))
    }

    /// Returns the head as it goes out: with what is left of the caller's time, if it set one.
    fn head_for(passage: &Passage<'_>) -> Rc<RequestHead> {
        match passage.due {
            Some(due) if passage.head.is_grpc() => {
                let mut head = RequestHead::clone(&passage.head);
                write_grpc_timeout(&mut head, due.saturating_duration_since(Instant::now()));
                Rc::new(head)
            }
            _ => passage.head.clone(),
        }
    }
}

/// What is left of a request once its answer has begun.
struct Rest<'a> {
    body: &'a Pipe,
    reply: &'a Reply,
    call: &'a Call,
    /// When it is to be over, whatever happens.
    due: Option<Instant>,
    /// How long nothing may move.
    idle: Option<Duration>,
}

impl Rest<'_> {
    /// Waits until the caller has the whole answer, or the answer took too long, or either side
    /// broke off; returns why, if it was not whole. The bodies move meanwhile without our doing.
    ///
    /// `lasts` is called whenever that turns out to take long.
    async fn see_through(&self, mut timer: Timer, mut lasts: impl FnMut()) -> Option<&'static str> {
        let mut last = (self.moved(), Instant::now());
        timer.set(self.next_look(last.1, last.1));
        let gone = poll_fn(|cx| {
            loop {
                if let Poll::Ready(gone) = self.reply.poll_gone(cx) {
                    return Poll::Ready(Some(gone));
                }
                if timer.poll_due(cx).is_pending() {
                    return Poll::Pending;
                }
                lasts();
                let now = Instant::now();
                if self.moved() != last.0 {
                    last = (self.moved(), now);
                }
                let silent = self.idle.is_some_and(|idle| now.duration_since(last.1) >= idle);
                if silent || self.due.is_some_and(|due| due <= now) {
                    return Poll::Ready(None);
                }
                timer.set(self.next_look(last.1, now));
            }
        })
        .await;
        match gone {
            Some(Gone::Answered) => None,
            Some(Gone::Broken) => Some("interrupted"),
            Some(Gone::Left) => {
                self.call.cancel(ErrorCode::Cancel);
                Some(ProxyError::CallerLeft.label())
            }
            None => {
                self.call.cancel(ErrorCode::Cancel);
                self.body.close();
                poll_fn(|cx| self.reply.poll_gone(cx)).await;
                Some(ProxyError::Deadline.label())
            }
        }
    }

    fn moved(&self) -> u64 {
        self.body.moved() + self.call.body.moved()
    }

    fn next_look(&self, last_moved: Instant, now: Instant) -> Option<Instant> {
        let silent = self.idle.and_then(|idle| last_moved.checked_add(idle));
        earlier(self.due, silent.or(Some(now + LASTS)))
    }
}

/// How long the head of an answer is awaited.
///
/// The time for it begins when the caller has sent everything: until then the two may have a long
/// conversation of which the answer's head is the last word, and only silence ends it.
struct Patience {
    since: Instant,
    /// The caller has sent everything.
    whole: bool,
    moved: u64,
}

impl Patience {
    fn new(passage: &Passage<'_>) -> Self {
        // What an upgrade's caller sends comes after the answer.
        let whole = passage.head.protocol.is_some() || passage.body.has_ended();
        Self { since: Instant::now(), whole, moved: passage.body.moved() }
    }

    fn due(&self, passage: &Passage<'_>) -> Option<Instant> {
        let timeouts = &passage.route.settings.timeouts;
        let limit = timeouts.head.filter(|_| self.whole).or(timeouts.idle);
        earlier(passage.due, limit.and_then(|limit| self.since.checked_add(limit)))
    }

    /// Waits until it is over.
    fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        passage: &Passage<'_>,
        timer: &mut Timer,
    ) -> Poll<()> {
        if !self.whole && passage.body.poll_ended(cx).is_ready() {
            (self.whole, self.since) = (true, Instant::now());
            timer.set(self.due(passage));
        }
        loop {
            ready!(timer.poll_due(cx));
            let now = Instant::now();
            let moved = passage.body.moved();
            if self.whole || moved == self.moved || passage.due.is_some_and(|due| due <= now) {
                return Poll::Ready(());
            }
            (self.since, self.moved) = (now, moved);
            timer.set(self.due(passage));
        }
    }
}

/// Gives the caller our own answer.
async fn apologise(head: ResponseHead, answer: Rc<Pipe>, body: &Pipe, reply: &Reply) {
    // What is left of the request has nowhere to go.
    body.close();
    if reply.gone().is_none() {
        reply.answer(head, answer);
        poll_fn(|cx| reply.poll_gone(cx)).await;
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
