//! Keeps a registry told of our instance: registers, renews, takes back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::net::{Bounds, Client};
use crate::presence::dialect::{Call, Node, Trouble};
use crate::presence::plan::{Plan, reachable};
use crate::presence::standing::{Standing, Wellness};
use crate::telemetry::Metrics;

/// What a call to one node may take: a registry is near, or of no use.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(1), answer: Duration::from_secs(2), body: 1 << 20 };
/// The pause after the first time that no node did as it was asked; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause, on average.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Whoever was not taken back within this time is forgotten anyway: leases are 90 s.
const FORGOTTEN: Duration = Duration::from_secs(100);

/// Keeps a registry told of our instance while the application is well and we mean to stay.
pub struct Registrar {
    /// What is to be told; none: nothing.
    pub plan: watch::Receiver<Option<Plan>>,
    /// How the application is.
    pub application: watch::Receiver<Wellness>,
    /// What became of it.
    pub standing: watch::Sender<Standing>,
    /// Cancelled when our instance is to be taken back for good.
    pub leave: CancellationToken,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Our dealings with one registry.
struct Dealings {
    plan: Plan,
    nodes: Vec<(Client, Node)>,
    /// The node that is asked first: the one that answered last.
    at: usize,
    /// When the instance was last told of as it is, in milliseconds since 1970.
    told: u64,
    /// Whether a node has taken the registration, and none has forgotten it.
    is_registered: bool,
    /// Whether a node may have heard of the instance.
    may_be_known: bool,
    /// Times in a row that no node did as it was asked.
    failures: u32,
    /// Since when it is to be taken back.
    owed: Option<Instant>,
}

impl Dealings {
    /// With a node of its own to begin with, so that not all sidecars ask the same.
    fn new(plan: Plan) -> Self {
        let nodes = Node::all(&plan);
        let nodes: Vec<_> =
            nodes.into_iter().map(|(name, node)| (Client::new(name, BOUNDS), node)).collect();
        let at = fastrand::usize(..nodes.len().max(1));
        Self {
            plan,
            nodes,
            at,
            told: 0,
            is_registered: false,
            may_be_known: false,
            failures: 0,
            owed: None,
        }
    }

    /// Makes one call, of one node after the other until one does as it is asked. `give_up` ends it
    /// between two nodes.
    async fn call(&mut self, call: Call, give_up: impl Fn() -> bool) -> Result<(), Trouble> {
        let mut last = Trouble::Unable("nothing: it has no address".to_owned());
        for _ in 0..self.nodes.len() {
            let outcome = self.call_one(call).await;
            if call == Call::Register {
                self.may_be_known |= outcome.as_ref().map_or_else(Trouble::was_heard, |()| true);
            }
            match outcome {
                Err(trouble @ (Trouble::Silent(_) | Trouble::Unable(_) | Trouble::Nowhere(_))) => {
                    self.at = (self.at + 1) % self.nodes.len().max(1);
                    last = trouble;
                }
                settled => return settled,
            }
            if give_up() {
                break;
            }
        }
        Err(last)
    }

    async fn call_one(&mut self, call: Call) -> Result<(), Trouble> {
        let Some((client, node)) = self.nodes.get_mut(self.at) else { return Ok(()) };
        let own = self.plan.instance.address;
        let address = timeout(BOUNDS.connect, reachable(own, client.authority())).await;
        let address = address.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let address = address.map_err(Trouble::Nowhere)?;
        let words = node.say(call, &self.plan, address, self.told);
        let sent = client.send(words.method, &words.path, words.fields, words.body, None);
        node.read(call, &sent.await?)
    }

    /// The pause before the next call: a renewal, or another attempt. Never the same for two, so
    /// that those who lost their registry together do not come back together.
    fn pause(&self) -> Duration {
        match self.failures {
            0 => self.plan.renew.mul_f32(0.85 + 0.15 * fastrand::f32()),
            failures => {
                let pause = FIRST_PAUSE * (1 << failures.saturating_sub(1).min(8));
                pause.min(LONGEST_PAUSE).mul_f32(0.5 + fastrand::f32())
            }
        }
    }
}

impl Registrar {
    /// Runs until our instance was to be taken back for good and has been, or for ever.
    ///
    /// Dropped, nothing more is said: a registry forgets us when our lease is over.
    pub async fn run(mut self) {
        let mut dealings: Option<Dealings> = None;
        loop {
            let leaves = self.leave.is_cancelled();
            let wanted = self.wanted().filter(|_| !leaves);
            dealings = self.take_up(dealings, wanted).await;
            if leaves && dealings.is_none() {
                return;
            }
            let pause = dealings.as_ref().map(Dealings::pause);
            let next = async {
                match pause {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let changed = async {
                let changed = tokio::select! {
                    it = self.plan.changed() => it,
                    it = self.application.changed() => it,
                };
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.leave.cancelled(), if !leaves => {}
                () = next => {}
                () = changed => {}
            }
        }
    }

    /// What a registry should know now.
    fn wanted(&mut self) -> Option<Plan> {
        let is_well = self.application.borrow_and_update().is_well();
        self.plan.borrow_and_update().clone().filter(|_| is_well)
    }

    /// Does the next thing there is to do, and returns what is left of our dealings.
    async fn take_up(&self, known: Option<Dealings>, wanted: Option<Plan>) -> Option<Dealings> {
        let mut known = known;
        if let Some(dealings) = &mut known {
            let stays = wanted.as_ref().is_some_and(|it| it.is_same_instance(&dealings.plan));
            if !stays {
                let owed = self.take_back(dealings).await;
                if owed && wanted.is_none() {
                    return known;
                }
                known = None;
            }
        }
        let plan = wanted?;
        let mut dealings = known.unwrap_or_else(|| Dealings::new(plan.clone()));
        if dealings.owed.take().is_some() || dealings.plan != plan {
            dealings.is_registered = false;
            dealings.plan = plan;
        }
        self.tell(&mut dealings).await;
        Some(dealings)
    }

    /// Registers, or renews.
    async fn tell(&self, dealings: &mut Dealings) {
        let leave = self.leave.clone();
        let give_up = || leave.is_cancelled();
        let mut outcome = Err(Trouble::Unknown);
        if dealings.is_registered {
            outcome = dealings.call(Call::Renew, give_up).await;
        }
        if matches!(outcome, Err(Trouble::Unknown)) && !give_up() {
            let was_registered = std::mem::replace(&mut dealings.is_registered, false);
            if was_registered {
                tracing::warn!("the registry has forgotten our instance; it is told again");
            }
            dealings.told = now();
            self.standing.send_modify(|it| it.is_known = true);
            outcome = dealings.call(Call::Register, give_up).await;
            if outcome.is_ok() {
                dealings.is_registered = true;
                self.metrics.registration_told();
                let Announcement { service, hostname, registry } = announcement(dealings);
                tracing::info!(service, hostname, registry, "our instance is registered");
            }
        }
        self.note(dealings, outcome);
    }

    /// Keeps what became of a call.
    fn note(&self, dealings: &mut Dealings, outcome: Result<(), Trouble>) {
        let is_done = outcome.is_ok();
        self.metrics.set_registered(is_done);
        self.standing.send_modify(|it| {
            it.is_known = dealings.may_be_known;
            it.is_registered = is_done;
            it.was_told |= is_done;
        });
        let Err(trouble) = outcome else {
            dealings.failures = 0;
            return;
        };
        self.metrics.registration_failed();
        // The first is told; the rest are the same outage.
        if dealings.failures == 0 {
            let error: &dyn std::error::Error = &trouble;
            tracing::warn!(error, "our instance cannot be registered; trying again");
        }
        dealings.failures = dealings.failures.saturating_add(1);
    }

    /// Takes our instance back; returns whether that is still to be done.
    async fn take_back(&self, dealings: &mut Dealings) -> bool {
        let since = *dealings.owed.get_or_insert_with(Instant::now);
        if dealings.may_be_known && since.elapsed() < FORGOTTEN {
            // Every node is tried: the last to hear of us may be the only one that is up.
            if let Err(trouble) = dealings.call(Call::Cancel, || false).await
                && !matches!(trouble, Trouble::Refused(_))
            {
                if dealings.failures == 0 {
                    let error: &dyn std::error::Error = &trouble;
                    tracing::warn!(error, "our instance cannot be taken back; trying again");
                }
                self.metrics.registration_failed();
                self.metrics.set_registered(false);
                dealings.failures = dealings.failures.saturating_add(1);
                self.standing.send_modify(|it| it.is_registered = false);
                return true;
            }
            tracing::info!(service = %dealings.plan.instance.service, "our instance is taken back");
        }
        let leaves = self.leave.is_cancelled();
        self.metrics.set_registered(false);
        self.standing.send_modify(|it| {
            let was_told = it.was_told && leaves;
            *it = Standing { was_told, ..Standing::default() };
        });
        false
    }
}

/// What a line of the log says of a registration.
struct Announcement<'a> {
    service: &'a str,
    hostname: &'a str,
    registry: &'a str,
}

fn announcement(dealings: &Dealings) -> Announcement<'_> {
    let instance = &dealings.plan.instance;
    let registry = dealings.nodes.get(dealings.at).map_or("", |(client, _)| client.authority());
    Announcement { service: instance.service.as_str(), hostname: &instance.hostname, registry }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
