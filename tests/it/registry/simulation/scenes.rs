//! Single faults, one at a time: what is promised of each.

use std::sync::Arc;
use std::time::Duration;

use dyelane::config::Tenant;
use dyelane::model::TenantId;
use dyelane::registry::peers::protocol::News;
use dyelane::registry::record::{Key, NodeId, Record, Registration, State, Version};
use dyelane::registry::rules::{Edit, Rules};
use dyelane::registry::store::Settings;
use dyelane::telemetry::PeerCounts;
use fastrand::Rng;

use super::machine::{Machine, Process};
use super::promises::{self, AGREEMENT, CONTACT, agrees, is_whole, wait};
use super::provider::{BEAT, Life, Provider};
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn at(number: usize) -> Arc<str> {
    format!("10.0.0.{number}:7171").into()
}

/// Machines in these zones, each of which is told of the first alone.
fn machines(zones: &[&str]) -> Vec<Machine> {
    let first = (at(0), Arc::from(zones[0]));
    let machine = |(number, zone): (usize, &&str)| Machine {
        at: at(number),
        also: Vec::new(),
        zone: Arc::from(*zone),
        seeds: vec![first.clone()],
        skew: 0,
        disk: Some((NodeId(number as u64 + 1), Rules::default())),
        process: None,
        hangs: false,
    };
    zones.iter().enumerate().map(machine).collect()
}

/// A cluster at rest: nodes that all know each other, and providers evenly beside them.
fn cluster(zones: &[&str], providers: usize, settings: Settings) -> World {
    started(machines(zones), providers, settings)
}

fn started(machines: Vec<Machine>, providers: usize, settings: Settings) -> World {
    let mut world = World::new(Rng::with_seed(7), settings, machines);
    let count = world.machines.len();
    (0..count).for_each(|it| world.start(it));
    for number in 0..providers {
        world.add(Provider::new(number, number % count, &world.machines));
    }
    // With the first pass, when numbers given out twice are mended.
    world.pass(MINUTE + 5 * SECOND, promises::hold_always);
    assert!(is_whole(&world) && agrees(&world), "{}", promises::told(&world));
    world
}

fn process(world: &World, machine: usize) -> &Process {
    world.machines[machine].process.as_ref().unwrap()
}

fn counts(world: &World) -> Vec<PeerCounts> {
    (0..world.machines.len()).map(|it| process(world, it).replica.counts()).collect()
}

fn key(hostname: &str) -> Key {
    let [env, appid, zone] = ["prod", "shop.cart", "za"].map(Arc::from);
    Key { env, appid, zone, hostname: hostname.into() }
}

fn register(world: &mut World, machine: usize, hostname: &str, addr: &str) -> Arc<Record> {
    let registration = Registration { addrs: vec![addr.into()], ..Registration::default() };
    let write = world.machines[machine]
        .write(world.now, |store, now| store.register(key(hostname), registration, now).unwrap());
    world.see_to(machine);
    write.unwrap()
}

fn is_live(world: &World, machine: usize, hostname: &str) -> bool {
    process(world, machine).live(key(hostname).id()).is_some()
}

/// Waits until the cluster is whole and of one mind again, for as long as is promised.
fn heal(world: &mut World) {
    world.network.mend();
    assert!(wait(world, CONTACT, is_whole).is_some(), "{}", promises::told(world));
    assert!(wait(world, AGREEMENT, agrees).is_some(), "{}", promises::told(world));
}

#[test]
fn both_sides_of_a_cut_serve_and_neither_evicts_the_other() {
    let mut world = cluster(&["za"; 5], 60, Settings::default());
    world.network.part(&[0, 1], 5);
    world.pass(SECOND, |_| {});

    register(&mut world, 0, "here", "grpc://here:1");
    register(&mut world, 4, "there", "grpc://there:1");
    let gone = world.providers.iter().position(|it| it.at == 3).unwrap();
    world.end(gone);
    world.pass(SECOND, |_| {});
    let seen: Vec<_> =
        (0..5).map(|it| (is_live(&world, it, "here"), is_live(&world, it, "there"))).collect();
    world.pass(20 * MINUTE, |world| {
        for provider in world.providers.iter().filter(|it| it.life == Life::Runs) {
            assert!((0..5).all(|it| process(world, it).live(provider.id).is_some()));
        }
    });
    let is_protected: Vec<_> = (0..5).map(|it| process(&world, it).store.is_protected()).collect();
    heal(&mut world);
    world.pass(2 * MINUTE, promises::hold_always);

    assert_eq!(seen, [(true, false), (true, false), (false, true), (false, true), (false, true)]);
    assert_eq!(is_protected, [true; 5]);
    promises::nothing_is_lost(&world);
    promises::nothing_is_back(&world);
    assert!((0..5).all(|it| !process(&world, it).store.is_protected()), "all are heard again");
}

#[test]
fn two_sides_that_evicted_each_other_meet_again() {
    let settings = Settings { ceiling: 5 * MINUTE, ..Settings::default() };
    let mut world = cluster(&["za"; 3], 30, settings);
    world.network.part(&[2], 3);

    world.pass(60 * MINUTE, promises::hold_always);
    let left: Vec<_> = (0..3).map(|it| process(&world, it).store.len()).collect();
    heal(&mut world);
    world.pass(BEAT + BEAT / 4, promises::hold_always);

    assert_eq!(left, [22, 22, 11], "each side has its own alone, the nodes themselves included");
    promises::nothing_is_lost(&world);
}

#[test]
fn two_nodes_that_were_named_by_nobody_meet_again_without_who_was() {
    let mut world = cluster(&["za"; 3], 9, Settings::default());
    world.kill(0);
    world.network.part(&[1], 3);

    world.pass(180 * MINUTE, |_| {});
    world.network.mend();
    let met = |world: &World| {
        [1, 2].into_iter().all(|it| {
            let status = process(world, it).replica.status(world.machines[it].moment(world.now));
            status.iter().any(|peer| peer.is_up)
        })
    };
    let took = wait(&mut world, CONTACT, met);

    assert!(took.is_some(), "{}", promises::told(&world));
}

#[test]
fn what_breaks_off_is_said_again_at_once() {
    let mut world = cluster(&["za"; 3], 0, Settings::default());
    world.network.break_off(0, 1);

    register(&mut world, 0, "one", "grpc://one:1");
    let took = wait(&mut world, SECOND / 3, |world| is_live(world, 1, "one"));

    assert!(took.is_some(), "{}", promises::told(&world));
}

#[test]
fn a_cut_in_one_direction_parts_nobody() {
    let mut world = cluster(&["za"; 3], 30, Settings::default());
    world.network.cut(0, 2);
    world.pass(6 * SECOND, promises::hold_always);

    register(&mut world, 0, "here", "grpc://here:1");
    let took = wait(&mut world, 6 * SECOND, |world| (0..3).all(|it| is_live(world, it, "here")));
    let before = world.sent;
    world.pass(10 * SECOND, promises::hold_always);
    let sent = world.sent - before;
    heal(&mut world);

    assert!(took.is_some(), "the one that is not told asks by itself");
    assert!(sent < 6 * 10 * 3, "{sent} parcels in 10 s");
}

#[test]
fn what_never_was_said_is_found_by_comparing() {
    let mut world = cluster(&["za"; 3], 0, Settings::default());
    let version = Version { at: 1_795_000_000_000_000_000, node: NodeId(9) };
    let silent = Record {
        key: key("silent"),
        version,
        state: State::Live(Arc::new(Registration::default())),
    };

    let moment = world.machines[1].moment(world.now);
    let alive = world.machines[1].process.as_mut().unwrap();
    alive.store.merge(silent, moment);
    alive.store.drain();
    let took = wait(&mut world, 10 * SECOND, agrees);

    assert!(took.is_some(), "{}", promises::told(&world));
    assert!((0..3).all(|it| is_live(&world, it, "silent")));
}

#[test]
fn a_node_that_comes_back_with_nothing_is_read_once_it_has_everything() {
    let mut world = cluster(&["za"; 3], 30, Settings::default());
    let whole = process(&world, 0).store.len();
    world.kill(2);
    world.pass(10 * SECOND, |_| {});

    world.start(2);
    register(&mut world, 2, "early", "grpc://early:1");
    let end = world.now + 3 * SECOND;
    let mut was_partial = false;
    while !process(&world, 2).replica.is_readable() {
        assert!(world.now < end, "{}", promises::told(&world));
        was_partial |= process(&world, 2).store.len() < whole;
        world.pass(Duration::from_millis(2), |_| {});
    }
    let seen = process(&world, 2).store.len();
    let took = wait(&mut world, 3 * SECOND, agrees);

    assert!(was_partial && seen > whole, "{seen} of {whole} and one");
    assert!(took.is_some(), "{}", promises::told(&world));
    assert!((0..3).all(|it| is_live(&world, it, "early")), "it takes writings at once");
}

#[test]
fn a_cluster_that_lost_its_memory_has_it_again_within_a_heartbeat() {
    let mut world = cluster(&["za", "za", "zb"], 30, Settings::default());
    let alice = Edit::Tenant(TenantId::new("alice").unwrap(), Some(Tenant::default()));
    world.machines[1].rule(world.now, alice);
    world.see_to(1);
    world.pass(2 * SECOND, |_| {});
    let rules = process(&world, 0).digests().1;

    (0..3).for_each(|it| world.kill(it));
    world.pass(5 * SECOND, |_| {});
    (0..3).for_each(|it| world.start(it));
    let all = |world: &World| (0..3).all(|it| process(world, it).replica.is_readable());
    let read = wait(&mut world, 5 * SECOND, all);
    world.pass(BEAT + BEAT / 4, promises::hold_always);

    assert!(read.is_some(), "{}", promises::told(&world));
    promises::nothing_is_lost(&world);
    assert!((0..3).all(|it| process(&world, it).digests().1 == rules), "rules are on the disks");
}

#[test]
fn a_peer_that_hangs_is_lost_within_five_seconds_and_costs_bounded_memory() {
    let mut world = cluster(&["za"; 3], 0, Settings::default());
    world.hang(2);
    for number in 0..21_000 {
        register(&mut world, 0, &format!("h{number}"), "grpc://h:1");
    }

    let waits = |world: &World| {
        let status = process(world, 0).replica.status(world.machines[0].moment(world.now));
        let peer = status.into_iter().find(|it| it.at == at(2)).unwrap();
        (peer.is_up, peer.waiting)
    };
    let most = waits(&world).1;
    let lost = wait(&mut world, 5 * SECOND, |world| !waits(world).0);
    let left = waits(&world);
    world.pass(10 * SECOND, |_| {});
    world.wake(2);
    let took = wait(&mut world, CONTACT + AGREEMENT, |world| is_whole(world) && agrees(world));

    assert!(most <= 20_000, "{most}");
    assert!(lost.is_some() && took.is_some());
    assert_eq!(left, (false, 0), "what a lost node lacks is found by comparing");
    assert_eq!(process(&world, 2).store.len(), 21_003);
}

#[test]
fn a_writing_crosses_the_border_of_a_zone_once() {
    let mut world = cluster(&["za", "za", "za", "zb", "zb"], 0, Settings::default());
    let before = counts(&world);

    register(&mut world, 0, "one", "grpc://one:1");
    world.pass(SECOND, |_| {});
    let after = counts(&world);

    assert!((0..5).all(|it| is_live(&world, it, "one")));
    let sent: Vec<_> =
        before.iter().zip(&after).map(|(it, now)| now.records_sent - it.records_sent).collect();
    assert_eq!((sent[0], sent[1] + sent[2], sent[3] + sent[4]), (3, 0, 1), "{sent:?}");
}

#[test]
fn a_node_of_two_names_is_spoken_to_by_one() {
    let mut machines = machines(&["za"; 3]);
    machines[1].also = vec!["one.registry:7171".into()];
    for machine in &mut machines {
        let zone = machine.zone.clone();
        machine.seeds.push(("one.registry:7171".into(), zone.clone()));
        machine.seeds.push((machine.at.clone(), zone));
    }

    let mut world = started(machines, 0, Settings::default());
    let before = world.sent;
    world.pass(30 * SECOND, |_| {});

    let sent = world.sent - before;
    assert!(sent <= 6 * 30 * 2, "{sent} parcels in 30 s on 6 links");
    for machine in &world.machines {
        let process = machine.process.as_ref().unwrap();
        let names: Vec<_> = process.replica.status(machine.moment(world.now));
        let hosts: std::collections::BTreeSet<_> = names.iter().map(|it| &it.host).collect();
        assert_eq!((names.len(), hosts.len()), (2, 2), "{names:?}");
    }
}

#[test]
fn two_nodes_of_one_number_are_told_of_and_still_agree() {
    let mut machines = machines(&["za"; 3]);
    machines[2].disk = machines[1].disk.clone();
    let mut world = started(machines, 12, Settings::default());

    let news = world.machines[1].process.as_mut().unwrap().replica.news();
    register(&mut world, 1, "same", "grpc://by-one:1");
    register(&mut world, 2, "same", "grpc://by-two:1");
    world.pass(7 * SECOND, |_| {});

    assert!(news.contains(&News::Twin(at(2))), "{news:?}");
    assert!(agrees(&world), "{}", promises::told(&world));
}

#[test]
fn a_clock_that_is_fast_wins_no_longer_than_a_heartbeat() {
    for skew in [60_000_000_000, 600_000_000_000] {
        let mut machines = machines(&["za"; 3]);
        machines[0].skew = skew;
        let mut world = started(machines, 1, Settings::default());
        world.network.part(&[0], 3);
        world.pass(5 * SECOND, |_| {});

        // It says something to the fast node, moves away, and says something else.
        for (node, beside) in [(0, 0), (1, 1)] {
            let provider = &mut world.providers[0];
            (provider.life, provider.at, provider.beside) = (Life::Runs, node, beside);
            provider.say_anew();
            world.beat_after(Duration::ZERO, 0);
            world.pass(2 * SECOND, |_| {});
        }
        heal(&mut world);
        world.pass(BEAT + BEAT / 4, promises::hold_always);

        promises::nothing_is_lost(&world);
    }
}

#[test]
fn a_cancelling_holds_though_an_eviction_was_contradicted_after_it() {
    let settings = Settings { pass: 5 * SECOND, ..Settings::default() };
    let mut world = cluster(&["za"; 3], 0, settings);
    // So many beside node 1 that it takes the loss of all others for what it is.
    for (number, beside) in [0].into_iter().chain([1; 40]).enumerate() {
        world.add(Provider::new(number, beside, &world.machines));
    }
    world.pass(5 * SECOND, promises::hold_always);
    let provider = world.providers[0].id;
    world.network.part(&[1], 3);
    world.network.part(&[2], 3);

    // Node 1 evicts whom it does not hear; who speaks to node 0 goes and cancels at node 2.
    world.pass(100 * SECOND, promises::hold_always);
    let evicted = process(&world, 1).store.by_id(provider).unwrap().state.clone();
    (world.providers[0].beside, world.providers[0].at) = (2, 2);
    world.end(0);
    world.pass(SECOND, promises::hold_always);
    // Node 0 hears of the eviction, and contradicts it: that is later than the cancelling.
    world.network.mend();
    world.network.part(&[2], 3);
    world.pass(5 * SECOND, |_| {});
    let contradicted = process(&world, 1).live(provider).is_some();
    heal(&mut world);

    assert_eq!((evicted, contradicted), (State::Evicted, true));
    promises::nothing_is_back(&world);
}
