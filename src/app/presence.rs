//! Joins what finds out who is well, and tells of us, to the rest of the sidecar.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::presence::{
    Checks, Plan, Prober, Registrar, Standing, Target, Wellness, watch_application,
};
use crate::proxy::{Shared, World};

/// What the control thread needs to begin.
pub(super) struct Beginning {
    /// Where requests for our application really come in.
    pub(super) inbound: Vec<SocketAddr>,
    /// What became of our registration.
    pub(super) standing: watch::Sender<Standing>,
    /// Cancelled when our instance is to be taken back for good.
    pub(super) leave: CancellationToken,
}

/// The watch over our application, our registration, and the probes of instances. Dropped, all of it
/// ends.
pub(super) struct Presence {
    inbound: Vec<SocketAddr>,
    checks: watch::Sender<Checks>,
    plan: watch::Sender<Option<Plan>>,
    wellness: watch::Receiver<Wellness>,
    _tasks: JoinSet<()>,
}

impl Presence {
    /// Begins. Must be called in a tokio runtime.
    pub(super) fn start(begin: Beginning, shared: Arc<Shared>) -> Self {
        let Beginning { inbound, standing, leave } = begin;
        let config = shared.world.snapshot().config.clone();
        let (checks, checked) = watch::channel(Checks::of(&config));
        let (plan, planned) = watch::channel(Plan::of(&config, &inbound));
        let (found, wellness) = watch::channel(Wellness::Unknown);
        let registrar = Registrar {
            plan: planned,
            application: wellness.clone(),
            standing,
            leave,
            metrics: shared.metrics.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_application(checked, found));
        tasks.spawn(registrar.run());
        tasks.spawn(probe(shared));
        Self { inbound, checks, plan, wellness, _tasks: tasks }
    }

    /// Goes by what a file says from now on.
    pub(super) fn follow(&self, config: &Config) {
        let checks = Checks::of(config);
        self.checks.send_if_modified(|it| replace(it, checks));
        let plan = Plan::of(config, &self.inbound);
        self.plan.send_if_modified(|it| replace(it, plan));
    }

    /// Waits until the application is otherwise than it was last time.
    ///
    /// Cancel safe.
    pub(super) async fn changed(&mut self) -> Wellness {
        if self.wellness.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.wellness.borrow_and_update().clone()
    }
}

fn replace<T: PartialEq>(it: &mut T, next: T) -> bool {
    let differs = *it != next;
    *it = next;
    differs
}

/// Has the instances of one world after the other asked how they are.
async fn probe(shared: Arc<Shared>) {
    let mut prober = Prober::new(shared.metrics.clone(), shared.origin);
    let mut generation = shared.generation.subscribe();
    loop {
        generation.mark_unchanged();
        prober.follow(targets(&shared.world.snapshot()));
        if generation.changed().await.is_err() {
            return;
        }
    }
}

/// Every instance of a world that is up.
fn targets(world: &World) -> Vec<Target> {
    let rungs = world.routes.rungs().iter();
    let all = rungs.filter_map(|rung| {
        let service = world.routes.service(rung.service)?;
        let endpoints = world.endpoints(rung.id)?.all();
        Some(endpoints.iter().map(|endpoint| Target {
            service: service.name.clone(),
            probe: service.settings.probe.clone(),
            endpoint: endpoint.clone(),
        }))
    });
    all.flatten().collect()
}
