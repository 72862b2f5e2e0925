//! Machines, what is between them, and whatever happens next: one thread, a time of its own, one
//! source of chance.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dyelane::registry::peers::protocol::{Failure, Next, PeerKey};
use dyelane::registry::store;
use fastrand::Rng;

use super::machine::{Link, Machine, written};
use super::network::Network;
use super::provider::Provider;

/// How often time is told to a replica.
const TICK: Duration = Duration::from_millis(200);
/// How long a node waits for a connection, and for an answer.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(3);
/// How soon TCP sends again what was lost, at first, and how often before its sender gives up.
const AGAIN: Duration = Duration::from_millis(200);
const MOST_TRIES: u32 = 5;

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) random: Rng,
    pub(super) settings: store::Settings,
    pub(super) machines: Vec<Machine>,
    pub(super) network: Network,
    pub(super) providers: Vec<Provider>,
    /// Whether what happens is told.
    pub(super) talks: bool,
    /// Parcels sent since the beginning.
    pub(super) sent: u64,
    queue: BTreeMap<(Duration, u64), Event>,
    /// What waits for a process that stands still.
    backlog: Vec<Vec<Event>>,
    count: u64,
}

/// What happens.
#[derive(Debug)]
enum Event {
    /// A process looks at its way to another.
    Turn { of: Of, key: PeerKey, alarm: u64 },
    /// A parcel arrives, or the answer to one.
    Arrival { at: usize, message: Message },
    /// It did not, and is sent again by the kernel.
    Again { from: usize, to: usize, tries: u32, message: Message },
    /// There is no answer.
    Failure { back: Back, why: Failure },
    /// Time is told to a process.
    Tick(Of),
    /// The silent are looked for.
    Pass(Of),
    /// A provider does what it does every 30 s.
    Beat { who: usize, beat: u64 },
}

/// Which process: that of a machine, as long as it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Of {
    machine: usize,
    run: u64,
}

/// Whom an answer goes to, and to what it is one.
#[derive(Debug, Clone, Copy)]
struct Back {
    of: Of,
    key: PeerKey,
    exchange: u64,
}

/// What is under way from one machine to another.
#[derive(Debug, Clone)]
struct Message {
    bytes: Rc<Vec<u8>>,
    /// Of which exchange it is.
    back: Back,
    is_answer: bool,
}

impl Event {
    /// Returns the machine it happens at; none: it is no machine's.
    fn machine(&self) -> Option<usize> {
        match self {
            Self::Turn { of, .. } | Self::Tick(of) | Self::Pass(of) => Some(of.machine),
            Self::Arrival { at, .. } => Some(*at),
            Self::Failure { back, .. } => Some(back.of.machine),
            Self::Beat { .. } | Self::Again { .. } => None,
        }
    }
}

impl World {
    /// Machines that are all down, at the beginning of time.
    pub(super) fn new(random: Rng, settings: store::Settings, machines: Vec<Machine>) -> Self {
        Self {
            now: Duration::ZERO,
            random,
            settings,
            backlog: machines.iter().map(|_| Vec::new()).collect(),
            machines,
            network: Network::default(),
            providers: Vec::new(),
            talks: std::env::var_os("DYELANE_SIMULATION_SEED").is_some(),
            sent: 0,
            queue: BTreeMap::new(),
            count: 0,
        }
    }

    /// Tells what happens, if anybody wants to know.
    pub(super) fn tell(&self, what: &str) {
        if self.talks {
            eprintln!("{:?} {what}", self.now);
        }
    }

    /// Starts a process where there is none.
    pub(super) fn start(&mut self, machine: usize) {
        let Self { machines, now, random, settings, .. } = self;
        if machines[machine].process.is_some() {
            return;
        }
        machines[machine].start(*now, settings, random);
        let of = self.of(machine).unwrap();
        self.after(Duration::ZERO, Event::Tick(of));
        let pass = self.settings.pass;
        self.after(pass, Event::Pass(of));
        self.see_to(machine);
    }

    /// Ends a process at once.
    pub(super) fn kill(&mut self, machine: usize) {
        self.machines[machine].process = None;
        self.machines[machine].hangs = false;
        self.backlog[machine].clear();
    }

    /// Has a process stand still.
    pub(super) fn hang(&mut self, machine: usize) {
        self.machines[machine].hangs = self.machines[machine].process.is_some();
    }

    /// Has it go on: whatever came meanwhile comes now.
    pub(super) fn wake(&mut self, machine: usize) {
        self.machines[machine].hangs = false;
        for event in std::mem::take(&mut self.backlog[machine]) {
            self.after(Duration::ZERO, event);
        }
    }

    /// Adds a provider, whose first beat is now.
    pub(super) fn add(&mut self, provider: Provider) {
        self.providers.push(provider);
        self.beat_after(Duration::ZERO, self.providers.len() - 1);
    }

    /// Has a provider beat after a time, and not before.
    pub(super) fn beat_after(&mut self, time: Duration, who: usize) {
        self.providers[who].beat += 1;
        let beat = self.providers[who].beat;
        self.after(time, Event::Beat { who, beat });
    }

    /// Lets time pass; `look` looks at the world after every quarter of a second.
    pub(super) fn pass(&mut self, time: Duration, mut look: impl FnMut(&Self)) {
        let end = self.now + time;
        while self.now < end {
            let until = (self.now + Duration::from_millis(250)).min(end);
            self.run_until(until);
            look(self);
        }
    }

    fn run_until(&mut self, end: Duration) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            match event.machine().filter(|it| self.machines[*it].hangs) {
                Some(machine) => self.backlog[machine].push(event),
                None => self.happen(event),
            }
        }
        self.now = end;
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + time, self.count), event);
    }

    fn of(&self, machine: usize) -> Option<Of> {
        self.machines[machine].process.as_ref().map(|it| Of { machine, run: it.run })
    }

    /// Whether a process is still the one it was.
    fn is(&self, of: Of) -> bool {
        self.of(of.machine) == Some(of)
    }

    fn link(&mut self, of: Of, key: PeerKey) -> Option<&mut Link> {
        let process = self.machines[of.machine].process.as_mut()?;
        process.links.get_mut(&key).filter(|_| process.run == of.run)
    }

    fn happen(&mut self, event: Event) {
        let machine = event.machine();
        match event {
            Event::Turn { of, key, alarm } => {
                if self.link(of, key).is_some_and(|it| it.alarm == alarm) {
                    self.turn(of, key);
                }
            }
            Event::Arrival { message: Message { bytes, back, is_answer: true }, .. } => {
                self.settle(back, Ok(bytes));
            }
            Event::Arrival { at, message } => self.arrive(at, &message.bytes, message.back),
            Event::Again { from, to, tries, message } => {
                let Back { of, key, exchange } = message.back;
                if self.link(of, key).is_some_and(|it| it.exchange == Some(exchange)) {
                    self.carry(from, to, tries + 1, message);
                }
            }
            Event::Failure { back, why } => self.settle(back, Err(why)),
            Event::Tick(of) if self.is(of) => {
                self.machines[of.machine].tick(self.now);
                self.after(TICK, Event::Tick(of));
            }
            Event::Pass(of) if self.is(of) => {
                self.machines[of.machine].pass(self.now);
                self.after(self.settings.pass, Event::Pass(of));
            }
            Event::Tick(_) | Event::Pass(_) => {}
            Event::Beat { who, beat } => {
                if self.providers[who].beat == beat {
                    self.beat(who);
                }
            }
        }
        if let Some(machine) = machine {
            self.see_to(machine);
        }
    }

    /// Gives a turn to the ways that a process was woken for, or has only just come to know.
    pub(super) fn see_to(&mut self, machine: usize) {
        let Some(of) = self.of(machine) else { return };
        let Some(process) = self.machines[machine].alive() else { return };
        let mut woken = process.replica.woken();
        for key in process.replica.peers() {
            process.links.entry(key).or_insert_with(|| {
                woken.insert(key);
                Link::default()
            });
        }
        for key in woken {
            self.set_alarm(of, key, Duration::ZERO);
        }
    }

    fn set_alarm(&mut self, of: Of, key: PeerKey, time: Duration) {
        if let Some(link) = self.link(of, key)
            && link.exchange.is_none()
        {
            link.alarm += 1;
            let alarm = link.alarm;
            self.after(time, Event::Turn { of, key, alarm });
        }
    }

    fn turn(&mut self, of: Of, key: PeerKey) {
        let machine = &mut self.machines[of.machine];
        match machine.next(self.now, key) {
            Some(Next::Send(parcel)) => {
                let process = machine.process.as_ref().unwrap();
                let at = process.replica.address(key).unwrap().clone();
                self.send(of, key, &at, Rc::new(written(&parcel)));
            }
            Some(Next::Wait(until)) => {
                let left = until.saturating_sub(machine.moment(self.now).since_start);
                assert!(!left.is_zero(), "a node is asked again and again");
                self.set_alarm(of, key, left);
            }
            Some(Next::Gone) => drop(machine.process.as_mut().unwrap().links.remove(&key)),
            None => {}
        }
    }

    /// Sends a parcel over a connection, which is made if there is none.
    fn send(&mut self, of: Of, key: PeerKey, at: &Arc<str>, bytes: Rc<Vec<u8>>) {
        self.sent += 1;
        self.count += 1;
        let back = Back { of, key, exchange: self.count };
        let to = self.machines.iter().position(|it| it.at == *at || it.also.contains(at));
        let run = to.and_then(|it| self.of(it)).map(|it| it.run);
        let link = self.link(of, key).unwrap();
        link.exchange = Some(back.exchange);
        let is_new = run.is_none() || link.connected != run;
        link.connected = run;
        let fail = |why| Event::Failure { back, why };
        match (to, run) {
            (Some(to), _) if is_new && !self.network.joins(of.machine, to) => {
                self.after(CONNECT, fail(Failure::Unconnected));
            }
            (Some(to), Some(_)) if !self.network.breaks(of.machine, to) => {
                self.after(ANSWER, fail(Failure::TimedOut));
                self.carry(of.machine, to, 0, Message { bytes, back, is_answer: false });
            }
            _ => self.after(Duration::from_micros(300), fail(Failure::Broken)),
        }
    }

    fn arrive(&mut self, at: usize, bytes: &[u8], back: Back) {
        let Some(answer) = self.machines[at].receive(self.now, bytes) else {
            let reset = Event::Failure { back, why: Failure::Broken };
            return self.after(Duration::from_micros(300), reset);
        };
        let answer = Message { bytes: Rc::new(answer), back, is_answer: true };
        self.carry(at, back.of.machine, 0, answer);
    }

    /// Puts something on its way; what is lost is sent again, as TCP does, until nobody waits for it.
    fn carry(&mut self, from: usize, to: usize, tries: u32, message: Message) {
        let delays = self.network.delays(from, to, &mut self.random);
        for delay in &delays {
            self.after(*delay, Event::Arrival { at: to, message: message.clone() });
        }
        if delays.is_empty() && tries < MOST_TRIES {
            self.after(AGAIN * 2_u32.pow(tries), Event::Again { from, to, tries, message });
        }
    }

    /// Ends an exchange, if it has not ended yet.
    fn settle(&mut self, back: Back, how: Result<Rc<Vec<u8>>, Failure>) {
        let Back { of, key, exchange } = back;
        let Some(link) = self.link(of, key).filter(|it| it.exchange == Some(exchange)) else {
            return;
        };
        link.exchange = None;
        if how.is_err() {
            link.connected = None;
        }
        match how {
            Ok(bytes) => self.machines[of.machine].answered(self.now, key, &bytes),
            Err(why) => self.machines[of.machine].failed(self.now, key, why),
        }
        self.set_alarm(of, key, Duration::ZERO);
    }
}
