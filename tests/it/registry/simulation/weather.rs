//! A storm: faults and deeds by chance for some minutes; then quiet, and what must hold.

use std::sync::Arc;
use std::time::Duration;

use dyelane::config::Tenant;
use dyelane::model::TenantId;
use dyelane::registry::record::NodeId;
use dyelane::registry::rules::{Edit, Rules};
use dyelane::registry::store;
use fastrand::Rng;

use super::machine::Machine;
use super::promises;
use super::provider::{Life, Provider};
use super::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// How wrong a clock may be.
const MOST_SKEW: i64 = 600_000_000_000;

/// One simulation.
pub(super) struct Storm {
    world: World,
    length: Duration,
    /// Mean time between two things that happen.
    pace: f64,
    clocks_are_wrong: bool,
}

impl Storm {
    /// Draws who there is and how bad it becomes.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let clocks_are_wrong = random.bool();
        let machines = machines(&mut random, clocks_are_wrong);
        let settings = store::Settings {
            pass: SECOND * random.choice([5, 20, 60]).unwrap(),
            ceiling: Duration::from_secs(300),
            tombstones: Duration::from_secs(3600),
            ..store::Settings::default()
        };
        let length = Duration::from_secs(random.u64(60..600));
        let pace = random.f64().mul_add(20.0, 2.0);
        let count = random.usize(3..40);
        let mut world = World::new(random, settings, machines);
        for machine in 0..world.machines.len() {
            world.start(machine);
        }
        for number in 0..count {
            let beside = world.random.usize(0..world.machines.len());
            world.add(Provider::new(number, beside, &world.machines));
        }
        Self { world, length, pace, clocks_are_wrong }
    }

    /// Lets it rage, lets it end, and looks at what is left.
    pub(super) fn run(mut self) {
        while self.world.now < self.length {
            let pause = -self.world.random.f64().max(1e-9).ln() * self.pace;
            self.world.pass(Duration::from_secs_f64(pause), promises::hold_always);
            self.strike();
        }
        self.calm();
        promises::hold_after(&mut self.world);
    }

    /// Does one thing by chance.
    fn strike(&mut self) {
        let count = self.world.machines.len();
        let machine = self.world.random.usize(0..count);
        let what = self.world.random.u32(0..100);
        self.world.tell(&format!("{what} at {machine}"));
        match what {
            0..5 => {
                let other = self.world.random.usize(0..count);
                self.world.network.cut(machine, other);
            }
            5..12 => {
                let all = 0..count;
                let side: Vec<usize> = all.filter(|_| self.world.random.bool()).collect();
                self.world.network.part(&side, count);
            }
            12..15 => self.world.network.trouble = self.world.random.f64(),
            15..25 => self.world.network.mend(),
            25..29 => self.world.hang(machine),
            29..36 => self.world.wake(machine),
            36..40 => {
                self.world.bereave(machine);
                self.world.kill(machine);
            }
            40..42 => self.leave(machine),
            42..50 => self.world.start(machine),
            50..53 if self.clocks_are_wrong => {
                self.world.machines[machine].skew = self.world.random.i64(-MOST_SKEW..=MOST_SKEW);
            }
            50..58 => self.rule(machine),
            _ => self.deed(),
        }
    }

    /// Stops a node as it should be.
    fn leave(&mut self, machine: usize) {
        let now = self.world.now;
        self.world.machines[machine].farewell(now);
        self.world.see_to(machine);
        self.world.pass(SECOND / 2, promises::hold_always);
        self.world.bereave(machine);
        self.world.kill(machine);
    }

    fn rule(&mut self, machine: usize) {
        let name = TenantId::new(["alice", "bob"][self.world.random.usize(0..2)]).unwrap();
        let tenant = Tenant { disabled: self.world.random.bool(), ..Tenant::default() };
        let edit = Edit::Tenant(name, self.world.random.bool().then_some(tenant));
        let now = self.world.now;
        self.world.machines[machine].rule(now, edit);
        self.world.see_to(machine);
    }

    /// Has somebody who registers, or an operator, do something.
    fn deed(&mut self) {
        let who = self.world.random.usize(0..self.world.providers.len());
        match self.world.random.u32(0..10) {
            0..3 => self.world.move_on(who),
            3..5 => self.world.restart(who),
            5..7 => self.world.end(who),
            7 => self.world.silence(who),
            _ => {
                let machine = self.world.random.usize(0..self.world.machines.len());
                let word = self.world.random.u32(1..100);
                self.world.set(who, machine, word);
            }
        }
    }

    /// Ends every fault but for clocks that are wrong.
    fn calm(&mut self) {
        // What was lost on a way that is none is given up by then, so that cuts alone are left.
        self.world.network.trouble = 0.0;
        self.world.pass(5 * SECOND, promises::hold_always);
        self.world.tell("all faults end");
        self.world.network.mend();
        for machine in 0..self.world.machines.len() {
            self.world.wake(machine);
            self.world.start(machine);
        }
        // One who ends is to have done so by now, as far as what is promised goes.
        for who in 0..self.world.providers.len() {
            if self.world.providers[who].life == Life::Ends && !promises::is_ended(&self.world, who)
            {
                self.world.beat_after(Duration::ZERO, who);
            }
        }
    }
}

/// Draws machines in one zone or two, who know all others or one.
fn machines(random: &mut Rng, clocks_are_wrong: bool) -> Vec<Machine> {
    let count = random.usize(3..=5);
    let is_one_zone = random.bool();
    let knows_all = random.bool();
    let zone =
        |number: usize| Arc::<str>::from(["za", "zb"][usize::from(!is_one_zone) * (number % 2)]);
    let at = |number: usize| Arc::<str>::from(format!("10.0.0.{number}:7171"));
    let all: Vec<_> = (0..count).map(|it| (at(it), zone(it))).collect();
    let machine = |number: usize| {
        let wrong = random.i64(-MOST_SKEW..=MOST_SKEW);
        let has_disk = random.bool();
        let disk = (NodeId(number as u64 + 1), Rules::default());
        Machine {
            at: at(number),
            also: Vec::new(),
            zone: zone(number),
            seeds: all.iter().take(if knows_all { count } else { 1 }).cloned().collect(),
            skew: if clocks_are_wrong { wrong } else { 0 },
            disk: has_disk.then_some(disk),
            process: None,
            hangs: false,
        }
    };
    (0..count).map(machine).collect()
}
