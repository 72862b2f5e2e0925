//! What a cluster promises: while it is torn, and once it is whole.

use std::time::Duration;

use super::machine::{Machine, Process};
use super::provider::{BEAT, Life, Promise, Provider};
use super::world::World;

/// How soon nodes that reach each other again speak to each other.
pub(super) const CONTACT: Duration = Duration::from_secs(2);
/// How soon after that all have the same.
pub(super) const AGREEMENT: Duration = Duration::from_secs(5);

fn processes(world: &World) -> impl Iterator<Item = &Process> {
    world.machines.iter().filter_map(|it| it.process.as_ref())
}

/// What holds at any time.
pub(super) fn hold_always(world: &World) {
    let most = 2 * (world.providers.len() + world.machines.len());
    for machine in &world.machines {
        let Some(process) = &machine.process else { continue };
        for peer in process.replica.status(machine.moment(world.now)) {
            assert!(peer.waiting <= most, "{} things wait for {}", peer.waiting, peer.at);
        }
    }
    for provider in &world.providers {
        for process in processes(world) {
            hold_of(provider, process);
        }
    }
}

/// Whoever has heard of a cancelling does not show what was cancelled.
fn hold_of(provider: &Provider, process: &Process) {
    let Some(Promise { version, is_end: true, is_latest: true, .. }) = provider.promise else {
        return;
    };
    let Some(ours) = process.store.by_id(provider.id) else { return };
    let is_back = ours.version >= version && ours.live().is_some();
    assert!(!is_back, "{} was cancelled at {version:?} and is {ours:?}", provider.key);
}

/// Whether a provider has been promised that it is gone.
pub(super) fn is_ended(world: &World, who: usize) -> bool {
    world.providers[who].promise.is_some_and(|it| it.is_end)
}

/// What holds once every fault is over.
pub(super) fn hold_after(world: &mut World) {
    await_contact(world);
    await_agreement(world);
    world.pass(BEAT + BEAT / 4, hold_always);
    nothing_is_lost(world);
    nothing_is_back(world);
    ghosts_go(world);
    rest_is_quiet(world);
    world.pass(AGREEMENT, |_| {});
    assert!(agrees(world), "all is quiet, and they differ");
}

pub(super) fn agrees(world: &World) -> bool {
    let mut digests = processes(world).map(Process::digests);
    let first = digests.next();
    digests.all(|it| Some(it) == first)
}

pub(super) fn is_whole(world: &World) -> bool {
    let others = world.machines.len() - 1;
    world.machines.iter().all(|it| {
        let process = it.process.as_ref().unwrap();
        let status = process.replica.status(it.moment(world.now));
        status.iter().filter(|it| it.is_up).count() == others
    })
}

/// Waits until something holds, and returns how long that took.
pub(super) fn wait(
    world: &mut World,
    most: Duration,
    holds: impl Fn(&World) -> bool,
) -> Option<Duration> {
    let start = world.now;
    while !holds(world) {
        if world.now > start + most {
            return None;
        }
        world.pass(Duration::from_millis(100), hold_always);
    }
    Some(world.now.saturating_sub(start))
}

fn await_contact(world: &mut World) {
    let took = wait(world, CONTACT, is_whole);
    assert!(took.is_some(), "not all speak to all {CONTACT:?} after they can: {}", told(world));
}

fn await_agreement(world: &mut World) {
    let took = wait(world, AGREEMENT, agrees);
    assert!(took.is_some(), "they differ {AGREEMENT:?} after they speak: {}", told(world));
}

/// Whoever renews is there on every node, as it last said it is: unless the only node that had heard
/// that is gone, or is left for another while a clock that is wrong has something older go before it;
/// then another took the next renewal by what it knew.
pub(super) fn nothing_is_lost(world: &World) {
    for provider in world.providers.iter().filter(|it| it.life == Life::Runs) {
        for machine in &world.machines {
            let process = machine.process.as_ref().unwrap();
            let seen = process.live(provider.id).and_then(|it| it.addrs.first());
            let left = |it: Promise| !it.is_latest && it.at != provider.at;
            let is_known_by_none = provider.is_bereft || provider.promise.is_some_and(left);
            let is_right = seen == Some(&provider.addr()) || is_known_by_none && seen.is_some();
            assert!(is_right, "{} at {}: {seen:?} {}", provider.key, machine.at, told(world));
        }
    }
}

/// Whoever cancelled is on none.
pub(super) fn nothing_is_back(world: &World) {
    let kept = |it: &Promise| it.is_end && it.is_latest;
    let ended = world.providers.iter().filter(|it| it.promise.as_ref().is_some_and(kept));
    for provider in ended.filter(|it| !it.is_bereft) {
        for process in processes(world) {
            assert_eq!(process.live(provider.id), None, "{} is back", provider.key);
        }
    }
}

/// Whoever fell silent goes, protected or not, and nobody else does.
fn ghosts_go(world: &mut World) {
    let store = &world.settings;
    let passes = u32::try_from(world.providers.len()).unwrap() + 2;
    let most = store.ceiling + store.lease + store.pass * passes;
    let end = world.now + most;
    let is_gone = |world: &World| {
        let ghosts = world.providers.iter().filter(|it| it.life != Life::Runs);
        let mut ghosts = ghosts.map(|it| it.id);
        ghosts.all(|id| processes(world).all(|it| it.live(id).is_none()))
    };
    while !is_gone(world) {
        assert!(world.now < end, "ghosts do not go: {}", told(world));
        world.pass(Duration::from_secs(5), |_| {});
    }
    nothing_is_lost(world);
}

/// Whole and at rest, nodes say little.
fn rest_is_quiet(world: &mut World) {
    const TIME: u64 = 20;
    let before = world.sent;
    world.pass(Duration::from_secs(TIME), |_| {});
    let links = u64::try_from(world.machines.len() * (world.machines.len() - 1)).unwrap();
    let sent = world.sent - before;
    assert!(sent <= 3 * TIME * links, "{sent} parcels in {TIME} s on {links} links");
}

/// What there is to know of a world that is not as it should be.
pub(super) fn told(world: &World) -> String {
    let mut lines = vec![format!("at {:?}", world.now)];
    for machine in &world.machines {
        let Machine { at, zone, skew, process, .. } = machine;
        let Some(process) = process else { continue };
        let (readable, digests) = (process.replica.is_readable(), process.digests());
        lines.push(format!("{at} of {zone}, skew {skew}, readable {readable}, {digests:x?}"));
        let peers = process.replica.status(machine.moment(world.now));
        lines.extend(peers.iter().map(|it| format!("    {it:?}")));
        lines.extend(world.providers.iter().map(|it| {
            let there = process.store.by_id(it.id).map(|it| (it.version, &it.state));
            format!("    {} {:?} {there:?}", it.key, it.life)
        }));
    }
    lines.join("\n")
}
