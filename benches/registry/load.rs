//! Load: as fast as it goes, or at a fixed rate; and what came of it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::server::Server;
use crate::wire::Connection;

/// Requests, made before the clock starts.
pub(crate) type Requests = Rc<[Vec<u8>]>;

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Connections, each with one request at a time.
    pub(crate) connections: usize,
    /// When it ends.
    pub(crate) until: Until,
    /// Requests a second; none: as fast as answers come.
    pub(crate) rate: Option<f64>,
}

/// When load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// All requests were sent, once each.
    AllSent,
    /// So long after its start; requests begin anew when all were sent.
    Passed(Duration),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How long each answer took, in seconds, rising. At a fixed rate it is counted from when the
    /// request was due, so that a server which stalls does not make us ask it less.
    pub(crate) took: Vec<f64>,
    /// Answers that were no success.
    pub(crate) failed: usize,
    /// Seconds from the first request to the last answer.
    pub(crate) seconds: f64,
    /// Processor time of the server, in seconds.
    pub(crate) cpu: f64,
}

impl Outcome {
    /// Returns requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.seconds
    }

    /// Returns the processor time of the server for each request, in seconds.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu / self.count()
    }

    /// Returns the time within which a share of the answers came.
    pub(crate) fn within(&self, share: f64) -> f64 {
        percentile(&self.took, share)
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 requests")]
    fn count(&self) -> f64 {
        self.took.len() as f64
    }
}

/// Returns the number below which a share of rising numbers lie.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list that is in memory"
)]
pub(crate) fn percentile(rising: &[f64], share: f64) -> f64 {
    let place = (rising.len() as f64 * share) as usize;
    rising.get(place.min(rising.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Returns the middle one of some numbers.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    percentile(&numbers, 0.5)
}

/// Sends requests to a server by several connections.
pub(crate) async fn send(
    server: &Server,
    requests: &Requests,
    load: Load,
) -> anyhow::Result<Outcome> {
    ensure!(!requests.is_empty(), "nothing to send");
    // They are open before the clock starts.
    let mut open = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        open.push(server.connect().await?);
    }
    let before = server.cpu_seconds()?;
    let started = Instant::now();
    let mut senders = JoinSet::new();
    for (first, connection) in open.into_iter().enumerate() {
        let sender =
            Sender { connection, addr: server.addr(), requests: Rc::clone(requests), load };
        senders.spawn_local(sender.run(first, started));
    }
    let mut outcome = Outcome::default();
    while let Some(sent) = senders.join_next().await {
        let sent = sent.context("a sender broke down")??;
        outcome.took.extend(sent.took);
        outcome.failed += sent.failed;
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome.cpu = server.cpu_seconds()? - before;
    outcome.took.sort_by(f64::total_cmp);
    Ok(outcome)
}

struct Sender {
    connection: Connection,
    addr: SocketAddr,
    requests: Requests,
    load: Load,
}

impl Sender {
    /// Sends every so manieth request, from the first on.
    async fn run(mut self, first: usize, started: Instant) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let step = self.load.connections;
        for number in (first..).step_by(step) {
            let due = self.load.rate.map(|rate| started + due_after(number, rate));
            let is_over = match self.load.until {
                Until::AllSent => number >= self.requests.len(),
                Until::Passed(time) => due.unwrap_or_else(Instant::now) >= started + time,
            };
            if is_over {
                break;
            }
            let Some(request) = self.requests.get(number % self.requests.len()) else { break };
            if let Some(due) = due {
                sleep_until(due.into()).await;
            }
            let began = due.unwrap_or_else(Instant::now);
            match self.connection.ask(request).await {
                Ok(answer) if is_good(answer.status, self.connection.body()) => {}
                Ok(_) => outcome.failed += 1,
                Err(_) => {
                    outcome.failed += 1;
                    self.connection = Connection::open(self.addr).await?;
                }
            }
            outcome.took.push(began.elapsed().as_secs_f64());
        }
        Ok(outcome)
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 requests")]
fn due_after(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// Whether an answer is a success in its dialect. What is not found is one: it was asked for.
fn is_good(status: u16, body: &[u8]) -> bool {
    const BAD: [&[u8]; 4] =
        [b"{\"code\":-400", b"{\"code\":-5", b"{\"code\":-409", b"{\"code\":-498"];
    (200..300).contains(&status) && !BAD.iter().any(|it| body.starts_with(it))
}
