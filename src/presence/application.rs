//! Watches the application beside us.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{Config, Health, Probe, ProbeKind};
use crate::presence::check::check;
use crate::presence::judge::Judge;
use crate::presence::standing::Wellness;

/// How often the application is asked until it is well for the first time, at least.
const FIRST: Duration = Duration::from_millis(250);

/// Where and how the application is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    address: Option<SocketAddr>,
    probe: Probe,
}

impl Checks {
    /// What a file says of it. Without `[registration]` it is asked until it takes a connection, if
    /// there is anything that comes in for it.
    pub fn of(config: &Config) -> Self {
        let workload = config.workload.address;
        match &config.registration {
            Some(it) => {
                let Health { address, probe } = &it.health;
                Self { address: address.or(workload), probe: probe.clone() }
            }
            None => Self {
                address: workload.filter(|_| !config.inbound.listen.is_empty()),
                probe: Probe::default(),
            },
        }
    }

    /// Returns whether there is anybody to be waited for.
    pub fn is_asking(&self) -> bool {
        self.address.is_some()
    }
}

/// Asks the application how it is, and tells what it finds, for as long as `checks` are there.
///
/// Cancel safe.
pub async fn watch_application(mut checks: watch::Receiver<Checks>, tell: watch::Sender<Wellness>) {
    loop {
        let now = checks.borrow_and_update().clone();
        let changed = tokio::select! {
            it = checks.changed() => it,
            () = ask(&now, &tell) => checks.changed().await,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Asks until there is no more to ask.
async fn ask(checks: &Checks, tell: &watch::Sender<Wellness>) {
    let Some(address) = checks.address else {
        tell.send_if_modified(|it| takes(it, Wellness::Well));
        return;
    };
    if checks.probe.kind == ProbeKind::Off {
        let first = Probe { kind: ProbeKind::Tcp, ..checks.probe.clone() };
        while !tell.borrow().is_well() && check(&first, address).await.is_err() {
            sleep(FIRST).await;
        }
        tell.send_if_modified(|it| takes(it, Wellness::Well));
        return;
    }
    let mut judge = Judge::new(tell.borrow().is_well());
    let mut was_well = judge.is_well();
    loop {
        let found = check(&checks.probe, address).await;
        judge.hear(found.is_ok(), &checks.probe);
        was_well |= judge.is_well();
        match found {
            _ if judge.is_well() => tell.send_if_modified(|it| takes(it, Wellness::Well)),
            Err(why) => {
                tell.send_if_modified(|it| takes(it, Wellness::Unwell(why.to_string().into())))
            }
            Ok(()) => false,
        };
        let pause = checks.probe.interval;
        sleep(if was_well { pause } else { pause.min(FIRST) }).await;
    }
}

/// Puts `next` in the place of `it`; returns whether that changes anything.
fn takes(it: &mut Wellness, next: Wellness) -> bool {
    let changes = *it != next;
    *it = next;
    changes
}
