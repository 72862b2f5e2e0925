//! An instance, what we learned about it, and a request on its way to it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::balance::load::Load;
use crate::balance::outlier::Pause;
use crate::balance::ramp::Ramp;
use crate::config::Outlier;
use crate::model::Instance;

/// How a request to an endpoint ended, as far as the endpoint is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It answered, and not with a failure of its own.
    Answered,
    /// It answered with a failure of its own, broke off, or did not answer in time.
    Failed,
    /// It could not be connected to.
    Unreachable,
    /// The caller gave up before it answered.
    Abandoned,
}

/// An instance and what we learned about it.
///
/// What we learned is shared with the endpoint of the same address in the next world, so that a
/// request that outlives its world still counts.
pub struct Endpoint {
    instance: Arc<Instance>,
    knowledge: Arc<Knowledge>,
    rung: Arc<Neighbours>,
}

/// What we learned about an address. A cache line of its own: workers write to it all the time.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Knowledge {
    pub(super) load: Load,
    /// Failures in a row, those to connect included.
    failures: AtomicU32,
    /// Failures to connect in a row.
    refusals: AtomicU32,
    pub(super) ejected: Pause,
    pub(super) unreachable: Pause,
    /// Probes find it unhealthy.
    unhealthy: AtomicBool,
    /// How it gets its share when it is new, or healthy again.
    start: Ramp,
}

/// Everyone of a rung, for the bounds of ejection.
#[derive(Debug)]
pub(super) struct Neighbours {
    all: Box<[Arc<Knowledge>]>,
    policy: Outlier,
    /// How long a return, or a start beside others, takes.
    slow_start: Option<Duration>,
    /// Whether a thread is ejecting someone.
    is_ejecting: AtomicBool,
}

impl Knowledge {
    /// What is known of an endpoint that came to others.
    pub(super) fn of_new() -> Self {
        Self { start: Ramp::of_new(), ..Self::default() }
    }

    pub(super) fn is_available(&self, now: Duration) -> bool {
        !self.ejected.is_on(now) && self.is_reachable(now)
    }

    fn is_reachable(&self, now: Duration) -> bool {
        !self.unreachable.is_on(now) && !self.unhealthy.load(Relaxed)
    }

    /// Whoever is healthy again is known anew: what was before says nothing of it.
    fn recovered(&self, now: Duration) {
        self.failures.store(0, Relaxed);
        self.refusals.store(0, Relaxed);
        self.load.forget();
        self.start.begin(now);
    }

    fn answered(&self, now: Duration) {
        // Writing what is there already would be free here: the line is ours by `Load::end`.
        self.failures.store(0, Relaxed);
        self.reached(now);
    }

    /// A failure makes it look slow, unless it is left alone for it: then what it was like before
    /// says nothing of what it is like after. To be avoided as slow on top of that would keep it
    /// from coming back for minutes.
    fn failed(&self, latency: Duration, now: Duration) {
        if self.is_available(now) {
            self.load.failed(latency, now);
        } else {
            self.load.forget();
        }
    }

    /// Whoever says anything at all can be reached.
    fn reached(&self, now: Duration) {
        self.refusals.store(0, Relaxed);
        self.unreachable.cut(now);
    }
}

impl Neighbours {
    pub(super) fn new(
        all: Box<[Arc<Knowledge>]>,
        policy: Outlier,
        slow_start: Option<Duration>,
    ) -> Self {
        Self { all, policy, slow_start, is_ejecting: AtomicBool::new(false) }
    }

    pub(super) fn slow_start(&self) -> Option<Duration> {
        self.slow_start
    }

    pub(super) fn policy(&self) -> &Outlier {
        &self.policy
    }

    fn failed(&self, one: &Arc<Knowledge>, now: Duration) {
        let failures = one.failures.fetch_add(1, Relaxed).saturating_add(1);
        let is_enough = self.policy.failures.is_some_and(|limit| failures >= limit);
        if is_enough && !one.ejected.is_on(now) {
            self.eject(one, now);
        }
    }

    fn refused(&self, one: &Knowledge, now: Duration) {
        let refusals = one.refusals.fetch_add(1, Relaxed).saturating_add(1);
        if self.policy.failures.is_some_and(|limit| refusals >= limit) {
            one.unreachable.start(&self.policy, now);
        }
    }

    /// Ejects one, within the bounds. One thread at a time: two that looked together would each
    /// see the other's victim as the one that stays. Whoever comes second leaves it to the next
    /// failure. The flag orders what the threads see of each other's pauses.
    fn eject(&self, one: &Arc<Knowledge>, now: Duration) {
        if self.is_ejecting.compare_exchange(false, true, Acquire, Relaxed).is_err() {
            return;
        }
        let out = self.all.iter().filter(|it| it.ejected.is_on(now)).count();
        let mut others = self.all.iter().filter(|it| !Arc::ptr_eq(it, one));
        let is_within = (out + 1) * 100 <= self.all.len() * usize::from(self.policy.max_percent);
        if is_within && others.any(|it| it.is_available(now)) {
            one.ejected.start(&self.policy, now);
        }
        self.is_ejecting.store(false, Release);
    }
}

impl Endpoint {
    pub(super) fn new(
        instance: Arc<Instance>,
        knowledge: Arc<Knowledge>,
        rung: Arc<Neighbours>,
    ) -> Self {
        Self { instance, knowledge, rung }
    }

    pub(super) fn knowledge(&self) -> &Arc<Knowledge> {
        &self.knowledge
    }

    /// Returns the instance.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Counts a request that begins; it is in flight until what is returned is ended or dropped.
    pub fn begin(self: &Arc<Self>) -> Flight {
        self.knowledge.load.begin();
        Flight { endpoint: Arc::clone(self) }
    }

    /// Returns whether it is neither ejected, nor unreachable, nor unhealthy.
    pub fn is_available(&self, now: Duration) -> bool {
        self.knowledge.is_available(now)
    }

    /// Returns whether it is left alone because it failed too often in a row.
    pub fn is_ejected(&self, now: Duration) -> bool {
        self.knowledge.ejected.is_on(now)
    }

    /// Returns whether connecting to it does not fail and probes find it healthy, as far as we
    /// know.
    pub fn is_reachable(&self, now: Duration) -> bool {
        self.knowledge.is_reachable(now)
    }

    /// Returns whether probes find it unhealthy.
    pub fn is_unhealthy(&self) -> bool {
        self.knowledge.unhealthy.load(Relaxed)
    }

    /// Takes in what probes find. One that is healthy again comes back slowly.
    pub fn set_healthy(&self, is_healthy: bool, now: Duration) {
        // The return is prepared before anybody is sent there.
        if is_healthy && self.is_unhealthy() {
            self.knowledge.recovered(now);
        }
        self.knowledge.unhealthy.store(!is_healthy, Relaxed);
    }

    /// Returns the share of its requests it gets while it starts, or comes back, slowly: 0.1 to
    /// 1.0.
    pub fn share(&self, now: Duration) -> f32 {
        let Knowledge { ejected, unreachable, start, .. } = &*self.knowledge;
        let period = self.rung.slow_start;
        let back = ejected.share(now, period).min(unreachable.share(now, period));
        back.min(start.share(now, period))
    }

    /// Returns the requests in flight, of all worker threads and worlds.
    pub fn in_flight(&self) -> u32 {
        self.knowledge.load.in_flight()
    }

    /// Returns the moving average of its latency; none as long as nothing is known.
    pub fn latency(&self, now: Duration) -> Option<Duration> {
        let micros = self.knowledge.load.micros(now)?;
        Some(Duration::from_secs_f32(micros / 1e6))
    }

    /// Returns the moving average of its latency in microseconds.
    pub(super) fn micros(&self, now: Duration) -> Option<f32> {
        self.knowledge.load.micros(now)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.instance.address)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// A request on its way to an endpoint. Dropped without an end, it counts as no request.
#[derive(Debug)]
#[must_use = "a request is in flight for as long as this is held"]
pub struct Flight {
    endpoint: Arc<Endpoint>,
}

impl Flight {
    /// Returns the endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Takes in what the endpoint said, while the request goes on: `latency` is from the request's
    /// head sent to the answer's head, or to the failure.
    ///
    /// For requests that last: an answer that streams for an hour says at once that the endpoint is
    /// well.
    pub fn report(&self, end: End, latency: Duration, now: Duration) {
        let Endpoint { knowledge, rung, .. } = &*self.endpoint;
        match end {
            End::Answered => {
                knowledge.load.answered(latency, now);
                knowledge.answered(now);
            }
            End::Failed => {
                knowledge.reached(now);
                rung.failed(knowledge, now);
                knowledge.failed(latency, now);
            }
            End::Unreachable => {
                rung.refused(knowledge, now);
                rung.failed(knowledge, now);
                knowledge.failed(latency, now);
            }
            End::Abandoned => knowledge.load.abandoned(latency, now),
        }
    }

    /// Takes in how the request ended, which is then no longer in flight.
    pub fn end(self, end: End, latency: Duration, now: Duration) {
        self.report(end, latency, now);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.endpoint.knowledge.load.end();
    }
}
