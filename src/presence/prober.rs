//! Asks instances how they are, and tells their endpoints what it finds.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::balance::Endpoint;
use crate::config::{Probe, ProbeKind};
use crate::model::ServiceName;
use crate::presence::check::check;
use crate::presence::judge::Judge;
use crate::telemetry::Metrics;

/// Questions under way at once; the rest wait.
const AT_ONCE: usize = 256;

/// An instance that may be asked how it is.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service it is a copy of.
    pub service: ServiceName,
    /// How it is asked.
    pub probe: Probe,
    /// Who is told.
    pub endpoint: Arc<Endpoint>,
}

/// Asks the instances of the newest world how they are. Dropped, it asks nobody any more.
#[derive(Debug)]
pub struct Prober {
    metrics: Arc<Metrics>,
    /// The origin of the clock that balancing goes by.
    origin: Instant,
    permits: Arc<Semaphore>,
    asked: HashMap<(ServiceName, SocketAddr), Asked>,
}

/// One that is asked.
#[derive(Debug)]
struct Asked {
    probe: Probe,
    found: Arc<Mutex<Found>>,
    _asking: AbortOnDropHandle<()>,
}

/// What was found of one, and who is told. An address may be in several lanes.
#[derive(Debug)]
struct Found {
    is_well: bool,
    endpoints: Vec<Arc<Endpoint>>,
}

impl Found {
    fn tell(&self, now: Duration) {
        for endpoint in &self.endpoints {
            endpoint.set_healthy(self.is_well, now);
        }
    }
}

impl Prober {
    /// Asks nobody yet. `origin` is that of the clock that balancing goes by.
    pub fn new(metrics: Arc<Metrics>, origin: Instant) -> Self {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        Self { metrics, origin, permits, asked: HashMap::new() }
    }

    /// Asks these from now on, and nobody else. What was found of one that stays, stays.
    ///
    /// Must be called in a tokio runtime.
    pub fn follow(&mut self, targets: impl IntoIterator<Item = Target>) {
        let mut before = std::mem::take(&mut self.asked);
        let mut wanted: HashMap<_, (Probe, Vec<Arc<Endpoint>>)> = HashMap::new();
        for Target { service, probe, endpoint } in targets {
            if probe.kind == ProbeKind::Off {
                endpoint.set_healthy(true, self.origin.elapsed());
                continue;
            }
            let key = (service, endpoint.instance().address);
            wanted.entry(key).or_insert_with(|| (probe, Vec::new())).1.push(endpoint);
        }
        for (key, (probe, endpoints)) in wanted {
            let known = before.remove(&key);
            let is_well = known.as_ref().is_none_or(|it| lock(&it.found).is_well);
            let asked = match known.filter(|it| it.probe == probe) {
                Some(known) => {
                    lock(&known.found).endpoints = endpoints;
                    known
                }
                None => self.begin(&key, probe, Found { is_well, endpoints }),
            };
            lock(&asked.found).tell(self.origin.elapsed());
            self.asked.insert(key, asked);
        }
        self.count();
    }

    fn begin(&self, key: &(ServiceName, SocketAddr), probe: Probe, found: Found) -> Asked {
        let found = Arc::new(Mutex::new(found));
        let asking = Asking {
            service: key.0.clone(),
            address: key.1,
            probe: probe.clone(),
            found: found.clone(),
            metrics: self.metrics.clone(),
            permits: self.permits.clone(),
            origin: self.origin,
        };
        let task = tokio::spawn(asking.run());
        Asked { probe, found, _asking: AbortOnDropHandle::new(task) }
    }

    /// Counts the unhealthy anew: those that went are no longer among them.
    fn count(&self) {
        let mut unhealthy: HashMap<&ServiceName, i64> = HashMap::new();
        for ((service, _), asked) in &self.asked {
            *unhealthy.entry(service).or_default() += i64::from(!lock(&asked.found).is_well);
        }
        self.metrics.set_unhealthy(unhealthy);
    }
}

/// What it takes to ask one.
struct Asking {
    service: ServiceName,
    address: SocketAddr,
    probe: Probe,
    found: Arc<Mutex<Found>>,
    metrics: Arc<Metrics>,
    permits: Arc<Semaphore>,
    origin: Instant,
}

impl Asking {
    /// Asks again and again, at first at a moment of its own: not all at once, and not all callers
    /// together.
    async fn run(self) {
        let interval = self.probe.interval;
        let mut judge = Judge::new(lock(&self.found).is_well);
        sleep(interval.mul_f32(fastrand::f32())).await;
        loop {
            let outcome = {
                let Ok(_permit) = self.permits.acquire().await else { return };
                check(&self.probe, self.address).await
            };
            if outcome.is_err() {
                self.metrics.probe_failed(&self.service);
            }
            if judge.hear(outcome.is_ok(), &self.probe) {
                self.changed(judge.is_well(), outcome.err().map(|it| it.to_string()));
            }
            sleep(interval.mul_f32(0.9 + 0.2 * fastrand::f32())).await;
        }
    }

    fn changed(&self, is_well: bool, why: Option<String>) {
        let mut found = lock(&self.found);
        found.is_well = is_well;
        found.tell(self.origin.elapsed());
        self.metrics.unhealthy_changed(&self.service, !is_well);
        let (service, address) = (self.service.as_str(), self.address);
        if let Some(why) = why {
            tracing::warn!(%service, %address, %why, "an instance is unhealthy");
        } else {
            tracing::info!(%service, %address, "an instance is healthy again");
        }
    }
}

/// What is behind the lock is whole between any two statements.
fn lock(found: &Mutex<Found>) -> std::sync::MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}
