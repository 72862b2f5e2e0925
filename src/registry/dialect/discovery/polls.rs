//! `poll` and `polls`: what there is, once it is something else than the consumer has.
//!
//! A consumer says the timestamp of each service it has. One that differs from ours, either way, is
//! news: a consumer may come from a node whose clock is ahead. Otherwise the answer is held until
//! something changes, the time is over (-304), or the consumer hangs up.
//!
//! A service whose last instance went is news too, to who knew it: told as an empty list, and named
//! among those that are not there. One that this node never heard of is no news.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::registry::dialect::discovery::app::{Filter, Glance, several, time};
use crate::registry::dialect::discovery::calls::Poll;
use crate::registry::dialect::discovery::envelope::{
    Answer, Code, not_there, wrapped, wrapped_polls,
};
use crate::registry::dialect::discovery::fields::{Fields, Invalid};
use crate::registry::fingerprint::Fingerprint;
use crate::registry::node::Node;
use crate::registry::store::ServiceKey;
use crate::registry::watch::{Interest, Repeat, Watch};

/// The header by which a client says how long it waits, in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x1-bmspy-timeout");
/// How much earlier than that an answer leaves.
const MARGIN: Duration = Duration::from_millis(20);
/// Polls deliver instances that take traffic.
const UP: u32 = 1;
/// How often an answer that tells something may be repeated freely. One that tells of no instance
/// may not be repeated at all.
const FREE: u32 = 3;

/// Returns how long an answer may be held.
pub(super) fn hold(node: &Node, headers: &HeaderMap) -> Duration {
    let said = headers.get(&TIMEOUT).and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let said = said.map(|it| Duration::from_millis(it).saturating_sub(MARGIN));
    let longest = node.settings().hold;
    said.map_or(longest, |it| it.min(longest))
}

/// One who polls.
#[derive(Debug)]
pub(super) struct Poller {
    poll: Poll,
    filter: Filter,
    /// Whether it asks for one service, and is answered in other words.
    is_one: bool,
    takes_gzip: bool,
    /// The fingerprint of its question, and of who asks it.
    question: u128,
}

/// What a poller would be told now.
#[derive(Debug, Default)]
struct News {
    /// Services that are others than the poller has, and their timestamps.
    changed: Vec<(Arc<str>, u64)>,
    /// Services that are not there.
    missing: Vec<Arc<str>>,
    instances: usize,
    /// Whether any instance told of takes traffic.
    is_up: bool,
}

impl Poller {
    /// Reads who polls for what.
    ///
    /// # Errors
    /// The request makes no sense.
    pub(super) fn bind(
        fields: &Fields,
        is_one: bool,
        peer: IpAddr,
        takes_gzip: bool,
    ) -> Result<Self, Invalid> {
        let poll = if is_one { Poll::one(fields)? } else { Poll::several(fields)? };
        let filter = Filter { env: poll.env.clone(), zone: poll.zone.clone(), status: UP };
        let mut question = Fingerprint::default()
            .text(&poll.consumer)
            .text(&peer.to_string())
            .text(&poll.env)
            .text(&poll.zone)
            .number(is_one.into());
        for (appid, timestamp) in &poll.apps {
            question.add_text(appid);
            question.add_number(timestamp.unsigned_abs().into());
        }
        Ok(Self { poll, filter, is_one, takes_gzip, question: question.finish() })
    }

    fn interest(&self) -> Interest {
        let apps = self.poll.apps.iter();
        let key =
            |appid: &Arc<str>| ServiceKey { env: self.poll.env.clone(), appid: appid.clone() };
        let topics = apps.map(|(appid, _)| key(appid)).collect();
        Interest { topics, ..Interest::default() }
    }

    /// Returns what it would be told now.
    fn look(&self, node: &Node) -> News {
        let mut news = News::default();
        node.read_spread(|store, schedulers| {
            for (appid, theirs) in &self.poll.apps {
                let glance = Glance::at(store, schedulers, &self.filter, appid);
                let differs = glance.latest != 0 && time(glance.latest) != *theirs;
                if glance.instances == 0 {
                    news.missing.push(appid.clone());
                }
                if differs && (glance.instances > 0 || *theirs != 0) {
                    news.changed.push((appid.clone(), glance.latest));
                    news.instances += glance.instances;
                    news.is_up |= glance.is_up;
                }
            }
        });
        news
    }
}

impl News {
    /// Whether it is to be told: one service that is not there is told of too.
    fn is_told(&self, is_one: bool) -> bool {
        !self.changed.is_empty() || (is_one && !self.missing.is_empty())
    }

    /// Returns the fingerprint of what is told.
    fn fingerprint(&self, poller: &Poller) -> u128 {
        let mut of = Fingerprint::default().text("poll").text(&poller.filter.env);
        of = of.text(&poller.filter.zone).number(poller.is_one.into());
        for (appid, latest) in &self.changed {
            of.add_text(appid);
            of.add_number((*latest).into());
        }
        for appid in &self.missing {
            of.add_text(appid);
        }
        of.finish()
    }

    /// Answers the poller: in bytes made once for all who are told the same.
    async fn answer(self, node: &Arc<Node>, poller: &Poller) -> Answer {
        if poller.is_one
            && let Some(appid) = self.missing.first()
        {
            return not_there(appid);
        }
        let of = self.fingerprint(poller);
        let (writer, filter, is_one) = (Arc::clone(node), poller.filter.clone(), poller.is_one);
        let apps: Vec<_> = self.changed.into_iter().map(|(appid, _)| appid).collect();
        let missing = self.missing;
        let encode = move || {
            let data = several(&writer, &filter, &apps, true);
            if is_one {
                // The one service of the object, without its name.
                let head = serde_json::to_string(apps.first().map_or("", |it| &**it));
                let head = head.map_or(0, |it| "{:".len() + it.len());
                let end = data.len().saturating_sub("}".len());
                return wrapped(Code::Ok, data.get(head..end).unwrap_or(b"null"));
            }
            wrapped_polls(&data, &missing)
        };
        let encoded = node.encoded();
        let body = encoded.get_body(of, self.instances, poller.takes_gzip, encode).await;
        Answer::shared(Code::Ok, body)
    }
}

/// Answers a poller once there is news for it, or when it has waited for `hold`.
///
/// Cancel safe: who hangs up waits no more.
pub(super) async fn answer(node: &Arc<Node>, poller: Poller, hold: Duration) -> Answer {
    let until = Instant::now() + hold;
    if timeout_at(until, node.readable()).await.is_err() {
        node.metrics().shed("poll");
        return Answer::shed(Code::Overloaded);
    }
    // It waits before it looks: what changes in between wakes it.
    let Ok(watch) = node.hub().watch(poller.interest()) else {
        node.metrics().shed("poll");
        return Answer::shed(Code::LimitExceeded);
    };
    let mut news = poller.look(node);
    if news.is_told(poller.is_one) {
        let free = if !news.is_up && !news.missing_one(&poller) { 0 } else { FREE };
        let answer = news.fingerprint(&poller);
        let wait = node.damp(Repeat { question: poller.question, answer, free });
        if wait.is_zero() {
            return news.answer(node, &poller).await;
        }
        node.metrics().damped.inc();
        news = damped(node, &poller, &watch, answer, until.min(Instant::now() + wait)).await;
        if news.is_told(poller.is_one) {
            return news.answer(node, &poller).await;
        }
    }
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = sleep_until(until) => return Answer::of(Code::NotModified),
            () = node.stopping().cancelled() => return Answer::of(Code::NotModified),
        }
        let news = poller.look(node);
        if news.is_told(poller.is_one) {
            return news.answer(node, &poller).await;
        }
    }
}

/// Holds back an answer that was given again and again, until it is another one.
async fn damped(
    node: &Arc<Node>,
    poller: &Poller,
    watch: &Watch,
    answer: u128,
    until: Instant,
) -> News {
    loop {
        let is_over = tokio::select! {
            () = watch.changed() => false,
            () = sleep_until(until) => true,
            () = node.stopping().cancelled() => true,
        };
        let news = poller.look(node);
        if is_over || news.fingerprint(poller) != answer {
            return news;
        }
    }
}

impl News {
    /// Whether it is that the one service asked for is not there: a plain question, which is
    /// repeated by whoever waits for a service to come.
    fn missing_one(&self, poller: &Poller) -> bool {
        poller.is_one && !self.missing.is_empty()
    }
}
