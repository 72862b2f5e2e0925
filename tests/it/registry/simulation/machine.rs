//! One machine: a clock that may be wrong, a disk, and the process of a node that may stand still or
//! be gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dyelane::registry::peers::protocol::{
    Failure, MOST_BODY, Next, Parcel, PeerKey, Replica, RulesView, Settings, Speaker,
};
use dyelane::registry::record::{Id, Key, Moment, NodeId, Registration};
use dyelane::registry::rules::{Edit, Rule, Rules};
use dyelane::registry::store::{self, Store};
use fastrand::Rng;

/// When every simulation begins, in unix nanoseconds.
const DAWN: u64 = 1_795_000_000_000_000_000;
/// The service that nodes are.
const OWN_SERVICE: &str = "infra.discovery";

/// What a machine is, whatever runs on it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) at: Arc<str>,
    /// Other names it is reached by.
    pub(super) also: Vec<Arc<str>>,
    pub(super) zone: Arc<str>,
    /// The nodes it is told of at its start.
    pub(super) seeds: Vec<(Arc<str>, Arc<str>)>,
    /// By how much its clock is wrong, in nanoseconds.
    pub(super) skew: i64,
    /// Its number and its rules, if it has a disk.
    pub(super) disk: Option<(NodeId, Rules)>,
    pub(super) process: Option<Process>,
    /// Whether the process stands still.
    pub(super) hangs: bool,
}

/// A running node.
#[derive(Debug)]
pub(super) struct Process {
    number: NodeId,
    pub(super) run: u64,
    started: Duration,
    pub(super) replica: Replica,
    pub(super) store: Store,
    pub(super) rules: Rules,
    digest: u128,
    pub(super) links: BTreeMap<PeerKey, Link>,
    pub(super) random: Rng,
    me: (Key, Registration),
    renewed: Duration,
}

/// What a process knows of its way to another.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The run of the process at the far end of the connection; none: there is none.
    pub(super) connected: Option<u64>,
    /// The exchange under way.
    pub(super) exchange: Option<u64>,
    /// Which of its alarms still counts.
    pub(super) alarm: u64,
}

impl Machine {
    /// Starts a process that remembers what is on the disk alone.
    pub(super) fn start(&mut self, now: Duration, settings: &store::Settings, random: &mut Rng) {
        let own = random.fork();
        let drawn = || (NodeId(random.u64(1..u64::MAX / 2)), Rules::default());
        let (number, rules) = self.disk.clone().unwrap_or_else(drawn);
        let me = own_record(&self.at, &self.zone);
        let run = random.u64(1..);
        let speaker = Speaker {
            node: number,
            run,
            at: self.at.clone(),
            zone: self.zone.clone(),
            host: self.at.clone(),
            readable: false,
            filling: false,
        };
        let seeds = self.seeds.clone();
        let replica = Replica::new(Settings {
            me: speaker,
            own: vec![me.0.id()],
            seeds,
            believes_records: number.0 % 2 == 0,
        });
        let mut process = Process {
            number,
            run,
            started: now,
            replica,
            store: Store::new(number, settings.clone()),
            digest: rules.digest(),
            rules,
            links: BTreeMap::new(),
            random: own,
            me,
            renewed: now,
        };
        process.register_itself(process.moment(now, self.skew));
        self.process = Some(process);
        self.hangs = false;
    }

    /// Returns the process, if it runs and does not stand still.
    pub(super) fn alive(&mut self) -> Option<&mut Process> {
        self.process.as_mut().filter(|_| !self.hangs)
    }

    /// Returns the time as the process sees it.
    pub(super) fn moment(&self, now: Duration) -> Moment {
        self.process.as_ref().map(|it| it.moment(now, self.skew)).unwrap_or_default()
    }

    /// Does something with the store as a client of the node.
    pub(super) fn write<R>(
        &mut self,
        now: Duration,
        write: impl FnOnce(&mut Store, Moment) -> R,
    ) -> Option<R> {
        let moment = self.moment(now);
        let process = self.alive()?;
        let result = write(&mut process.store, moment);
        process.tell(moment);
        Some(result)
    }

    /// Renews a lease as a client of the node. False: it is to register again.
    pub(super) fn renew(&mut self, now: Duration, key: &Key) -> bool {
        let moment = self.moment(now);
        let Some(process) = self.alive() else { return false };
        let renewed = process.store.renew(key, moment);
        if let Some(record) = &renewed {
            process.replica.renewed(record.key.id(), record.version, moment);
        }
        renewed.is_some()
    }

    /// Writes a tenant rule as an operator.
    pub(super) fn rule(&mut self, now: Duration, edit: Edit) {
        let moment = self.moment(now);
        let Some(process) = self.alive() else { return };
        process.rules.write(edit, process.number, moment.unix).unwrap();
        process.rules_changed();
        self.save();
    }

    /// Evicts, registers itself, and sees to what comes with time.
    pub(super) fn pass(&mut self, now: Duration) -> Option<store::Pass> {
        let moment = self.moment(now);
        let process = self.alive()?;
        let pass = process.store.pass(moment, &mut process.random);
        process.tell(moment);
        Some(pass)
    }

    pub(super) fn tick(&mut self, now: Duration) {
        let moment = self.moment(now);
        let Some(process) = self.alive() else { return };
        process.replica.tick(moment);
        let is_isolated = process.replica.is_isolated(moment);
        process.store.set_isolated(is_isolated);
        let is_due = moment.since_start.saturating_sub(process.renewed) >= Duration::from_secs(30);
        let is_gone = process.store.get(&process.me.0).is_none();
        if !is_due && !is_gone {
            return;
        }
        process.renewed = moment.since_start;
        match process.store.renew(&process.me.0, moment) {
            Some(record) => process.replica.renewed(record.key.id(), record.version, moment),
            None => process.register_itself(moment),
        }
    }

    /// Takes back its own registration.
    pub(super) fn farewell(&mut self, now: Duration) {
        let me = self.process.as_ref().map(|it| it.me.0.clone());
        if let Some(me) = me {
            self.write(now, |store, now| drop(store.cancel(&me, now)));
        }
    }

    /// Returns what the process has to say to another.
    pub(super) fn next(&mut self, now: Duration, key: PeerKey) -> Option<Next> {
        let moment = self.moment(now);
        let process = self.alive()?;
        let rules = RulesView { rules: &process.rules, digest: process.digest };
        let Process { replica, store, random, .. } = process;
        Some(replica.next(key, store, rules, moment, random))
    }

    /// Answers another process.
    pub(super) fn receive(&mut self, now: Duration, bytes: &[u8]) -> Option<Vec<u8>> {
        let moment = self.moment(now);
        let process = self.alive()?;
        let rules = RulesView { rules: &process.rules, digest: process.digest };
        let received = process.replica.receive(read(bytes), &mut process.store, rules, moment);
        process.tell(moment);
        process.merge_rules(received.rules);
        self.save();
        Some(written(&received.answer))
    }

    /// Takes an answer.
    pub(super) fn answered(&mut self, now: Duration, key: PeerKey, bytes: &[u8]) {
        let moment = self.moment(now);
        let Some(process) = self.alive() else { return };
        let rules = RulesView { rules: &process.rules, digest: process.digest };
        let Process { replica, store, random, .. } = process;
        let taken = replica.answered(key, read(bytes), store, rules, moment, random);
        process.tell(moment);
        process.merge_rules(taken);
        self.save();
    }

    /// Takes that there is no answer.
    pub(super) fn failed(&mut self, now: Duration, key: PeerKey, why: Failure) {
        let moment = self.moment(now);
        if let Some(Process { replica, random, .. }) = self.alive() {
            replica.failed(key, why, moment, random);
        }
    }

    fn save(&mut self) {
        if let (Some((_, disk)), Some(process)) = (&mut self.disk, &self.process) {
            disk.clone_from(&process.rules);
        }
    }
}

impl Process {
    fn moment(&self, now: Duration, skew: i64) -> Moment {
        let unix = DAWN + u64::try_from(now.as_nanos()).unwrap();
        Moment {
            since_start: now.saturating_sub(self.started),
            unix: unix.saturating_add_signed(skew),
        }
    }

    fn register_itself(&mut self, now: Moment) {
        let (key, registration) = self.me.clone();
        self.store.register(key, registration, now).unwrap();
        self.tell(now);
    }

    /// Tells the replica what changed in the store.
    fn tell(&mut self, now: Moment) {
        let changes = self.store.drain();
        self.replica.tell(&changes, now);
    }

    fn merge_rules(&mut self, theirs: Vec<Rule>) {
        let taken = theirs.into_iter().filter(|it| self.rules.merge(it.clone())).count();
        if taken > 0 {
            self.rules_changed();
        }
    }

    fn rules_changed(&mut self) {
        self.digest = self.rules.digest();
        self.replica.rules_changed(RulesView { rules: &self.rules, digest: self.digest });
    }

    /// Whether there is, of what is written, nothing that another one has and this has not.
    pub(super) fn digests(&self) -> (u128, u128) {
        (self.store.root(), self.digest)
    }

    /// Returns an instance's registration, if it is alive here.
    pub(super) fn live(&self, id: Id) -> Option<&Registration> {
        self.store.seen(id)?.record.live().map(|it| &**it)
    }
}

fn own_record(at: &Arc<str>, zone: &Arc<str>) -> (Key, Registration) {
    let key = Key {
        env: "prod".into(),
        appid: OWN_SERVICE.into(),
        zone: zone.clone(),
        hostname: at.clone(),
    };
    let addrs = vec![format!("http://{at}").into()];
    (key, Registration { addrs, ..Registration::default() })
}

/// Writes a parcel as it goes over the wire.
pub(super) fn written(parcel: &Parcel) -> Vec<u8> {
    let bytes = serde_json::to_vec(parcel).unwrap();
    assert_eq!(parcel.check(), Ok(()), "nobody says what nobody would take");
    assert!(bytes.len() < MOST_BODY, "a parcel of {} bytes", bytes.len());
    bytes
}

/// Reads a parcel as it comes from the wire.
fn read(bytes: &[u8]) -> Parcel {
    let parcel: Parcel = serde_json::from_slice(bytes).unwrap();
    assert_eq!(parcel.check(), Ok(()));
    parcel
}
