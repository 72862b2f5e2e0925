//! A background load with an opinion: every answer must be one that the file allows at the time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::client::{self, Caller};
use super::mesh::SANDBOX;

/// Callers: half of them are alice, half are nobody. Each has one call under way at a time.
pub(super) const CALLERS: u64 = 8;
/// How long a load lasts at most, whatever happens.
const LONGEST: Duration = Duration::from_secs(60);
/// Failures remembered word for word.
const EXAMPLES: usize = 5;

/// What the file says of alice, as far as callers can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alice {
    /// Her calls go to her sandbox.
    On,
    /// Her calls go like everyone else's.
    Off,
    /// The file is being changed: either may happen.
    Changing,
}

/// A change counter and the state it leads to, in one atomic: a caller sees whether anything
/// changed between its call and its answer.
#[derive(Debug, Default)]
struct Phase(AtomicU64);

impl Phase {
    fn set(&self, alice: Alice) {
        let change = (self.0.load(Ordering::Acquire) >> 2) + 1;
        self.0.store((change << 2) | alice as u64, Ordering::Release);
    }

    fn read(&self) -> (u64, Alice) {
        let word = self.0.load(Ordering::Acquire);
        let alice = match word & 3 {
            0 => Alice::On,
            1 => Alice::Off,
            _ => Alice::Changing,
        };
        (word, alice)
    }
}

/// What came of a load.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    /// Calls that were answered as they should be, by the path they took.
    pub(super) paths: BTreeMap<String, u64>,
    /// Calls that failed, or went where they should not.
    pub(super) failed: u64,
    /// The first few of those, in words.
    pub(super) examples: Vec<String>,
}

impl Tally {
    /// Returns how many calls there were.
    pub(super) fn total(&self) -> u64 {
        self.paths.values().sum::<u64>() + self.failed
    }

    fn add(&mut self, outcome: Result<String, String>) {
        match outcome {
            Ok(path) => *self.paths.entry(path).or_default() += 1,
            Err(why) => {
                self.failed += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(why);
                }
            }
        }
    }
}

/// Callers at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    stop: CancellationToken,
    callers: JoinSet<()>,
}

struct Shared {
    phase: Phase,
    tally: Mutex<Tally>,
}

impl Load {
    /// Starts alice and everyone else calling, all on the one connection of `channel`.
    pub(super) fn start(channel: &Channel) -> Self {
        let shared = Arc::new(Shared { phase: Phase::default(), tally: Mutex::default() });
        shared.phase.set(Alice::On);
        let stop = CancellationToken::new();
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let caller = if number % 2 == 0 { Caller::Alice } else { Caller::Nobody };
            let call = call_until(stop.clone(), channel.clone(), caller, Arc::clone(&shared));
            callers.spawn(call);
        }
        Self { shared, stop, callers }
    }

    /// Says what answers alice's calls must have from now on.
    pub(super) fn expect(&self, alice: Alice) {
        self.shared.phase.set(alice);
    }

    /// Returns how many calls were answered so far.
    pub(super) fn answered(&self) -> u64 {
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).total()
    }

    /// Waits for the calls under way, and returns what came of all.
    pub(super) async fn finish(mut self) -> Tally {
        self.stop.cancel();
        while self.callers.join_next().await.is_some() {}
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Calls, one call after the other, until told to stop.
async fn call_until(
    stop: CancellationToken,
    channel: Channel,
    caller: Caller,
    shared: Arc<Shared>,
) {
    let end = Instant::now() + LONGEST;
    while !stop.is_cancelled() && Instant::now() < end {
        let before = shared.phase.read();
        let answer = client::call(&channel, caller).await;
        let after = shared.phase.read();
        // An answer that spans a change may be by either rule.
        let alice = if before == after { before.1 } else { Alice::Changing };
        let outcome = match answer {
            Ok(answer) => judge(caller, alice, &answer.path()).map(|()| answer.to_string()),
            Err(status) => Err(format!("{caller}: {status}")),
        };
        shared.tally.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
    }
}

/// Says whether a call of `caller` may have come by that path.
pub(super) fn judge(caller: Caller, alice: Alice, path: &[&str]) -> Result<(), String> {
    let baseline = path == ["A", "B", "C", "D"];
    let sandbox = path == ["A", SANDBOX, "C", "D"];
    let allowed = match (caller, alice) {
        (Caller::Nobody | Caller::Bob, _) | (Caller::Alice, Alice::Off) => baseline,
        (Caller::Alice, Alice::On) => sandbox,
        (Caller::Alice, Alice::Changing) => baseline || sandbox,
    };
    if allowed { Ok(()) } else { Err(format!("{caller} went {}", path.join(" → "))) }
}
