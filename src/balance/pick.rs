//! The endpoints of a rung, and the draw of one of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;

use crate::balance::choice::{Choice, View};
use crate::balance::endpoint::{Endpoint, Knowledge, Neighbours};
use crate::balance::float;
use crate::balance::weight;
use crate::balance::zone::{Zone, ZoneState, Zones};
use crate::config::{Balance, Service};
use crate::model::Instance;

/// Draws that may hit an endpoint which is not to be had, before all are looked at.
const DRAWS: usize = 8;

/// The endpoints of one rung.
#[derive(Debug)]
pub struct Endpoints {
    /// By zone.
    list: Box<[Arc<Endpoint>]>,
    zones: Zones,
    rung: Arc<Neighbours>,
    balance: Balance,
    /// Where an endpoint was that could be reached.
    reachable: AtomicUsize,
    /// What it was built from.
    choice: Choice,
}

impl Endpoints {
    /// The endpoints of `instances`, of which nothing is known, as seen from where we are.
    pub fn new(instances: &[Arc<Instance>], settings: &Service, view: &View) -> Arc<Self> {
        Arc::new(Self::build(instances, settings, view, |_| Arc::default()))
    }

    /// The endpoints of `instances` with what `previous` learned of those that have the same
    /// address; `previous` itself where nothing changed.
    pub fn succeed(
        previous: &Arc<Self>,
        instances: &[Arc<Instance>],
        settings: &Service,
        view: &View,
    ) -> Arc<Self> {
        let is_same = previous.balance == settings.balance
            && *previous.rung.policy() == settings.outlier
            && previous.rung.slow_start() == settings.slow_start
            && previous.choice.is_of(instances, settings, view);
        if is_same {
            return Arc::clone(previous);
        }
        let known = previous.list.iter().map(|it| (it.instance().address, it.knowledge()));
        let known: BTreeMap<_, _> = known.collect();
        // Where all are new, none of them is to be spared.
        let stays = instances.iter().any(|it| known.contains_key(&it.address));
        let new = || if stays { Arc::new(Knowledge::of_new()) } else { Arc::default() };
        let knowledge = |it: &Instance| known.get(&it.address).map(|it| Arc::clone(it));
        Arc::new(Self::build(instances, settings, view, |it| knowledge(it).unwrap_or_else(new)))
    }

    fn build(
        instances: &[Arc<Instance>],
        settings: &Service,
        view: &View,
        knowledge: impl Fn(&Instance) -> Arc<Knowledge>,
    ) -> Self {
        let choice = Choice::of(instances, settings, view);
        let chosen = || choice.groups.iter().flat_map(|it| &it.chosen);
        let all: Box<[_]> = chosen().map(|it| knowledge(it)).collect();
        let rung = Arc::new(Neighbours::new(all.clone(), settings.outlier, settings.slow_start));
        let new = |(instance, knowledge): (&Arc<Instance>, _)| {
            Arc::new(Endpoint::new(Arc::clone(instance), knowledge, Arc::clone(&rung)))
        };
        Self {
            list: chosen().zip(all).map(new).collect(),
            zones: Zones::new(&choice),
            balance: settings.balance,
            reachable: AtomicUsize::new(0),
            rung,
            choice,
        }
    }

    /// Returns all requests may go to, by zone: our own first, then by name; within one in the order
    /// of the instances.
    pub fn all(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    /// Returns the instances that are left to other clients.
    pub fn left_out(&self) -> &[Arc<Instance>] {
        &self.choice.left_out
    }

    /// Returns the zones, each with the share of our requests that goes there; one of no name if
    /// zones make no difference.
    pub fn zones(&self, now: Duration) -> Vec<ZoneState> {
        self.zones.states(&self.list, now)
    }

    /// Returns whether one of them can be reached, as far as we know: whether the rung is healthy. To a
    /// request that could not connect to some, the `refused`, they are no part of it.
    ///
    /// Ejection says nothing here: it never takes the last one. Where all is well this looks at one
    /// endpoint, however many there are.
    pub fn is_healthy(&self, now: Duration, refused: &[SocketAddr]) -> bool {
        let is_left =
            |it: &Endpoint| it.is_reachable(now) && !refused.contains(&it.instance().address);
        let last = self.list.get(self.reachable.load(Relaxed));
        if last.is_some_and(|it| is_left(it)) {
            return true;
        }
        let found = self.list.iter().position(|it| is_left(it));
        if let Some(place) = found {
            self.reachable.store(place, Relaxed);
        }
        found.is_some()
    }

    /// Picks the endpoint the next request goes to; none only if `exclude` says so of all, or
    /// there is none.
    ///
    /// `exclude` is for those a retry has tried. Takes constant time while most endpoints are
    /// available.
    pub fn pick(
        &self,
        now: Duration,
        random: &mut Rng,
        exclude: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        let exclude = &exclude;
        let Some((drawn, first)) = self.draw_first(now, random, exclude) else {
            return self.look_at_all(now, random, exclude);
        };
        if self.balance == Balance::Random {
            return Some(first);
        }
        let second = self.draw_rival(drawn, now, random, exclude);
        Some(second.map_or(first, |second| drawn.zone.less_loaded(first, second, now)))
    }

    /// Draws one that is to be had, if a few draws find one.
    fn draw_first(
        &self,
        now: Duration,
        random: &mut Rng,
        exclude: impl Fn(&Endpoint) -> bool,
    ) -> Option<(Drawn<'_>, &Arc<Endpoint>)> {
        // Once: a zone that is half well would else lose what its other half may get.
        let zone = self.zones.draw(&self.list, now, random)?;
        for _ in 0..DRAWS {
            let place = zone.draw.draw(random)?;
            let drawn = zone.endpoint(&self.list, place)?;
            if drawn.is_available(now) && !exclude(drawn) && has_its_turn(drawn, now, random) {
                return Some((Drawn { zone, place }, drawn));
            }
        }
        None
    }

    /// Draws another of the same zone, if a few draws find one that is to be had.
    ///
    /// One that starts slowly is a rival no more often than its share, however few others there
    /// are: it is not drawn for until it is its turn.
    fn draw_rival(
        &self,
        Drawn { zone, place }: Drawn<'_>,
        now: Duration,
        random: &mut Rng,
        exclude: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        for _ in 0..DRAWS {
            let drawn = zone.endpoint(&self.list, zone.draw.draw_rival(place, random)?)?;
            if drawn.is_available(now) && !exclude(drawn) {
                return Some(drawn).filter(|it| has_its_turn(it, now, random));
            }
        }
        None
    }

    /// Picks by weight among the best there are: who is available, else who is ejected, else
    /// anyone. Looks at all of them once.
    fn look_at_all(
        &self,
        now: Duration,
        random: &mut Rng,
        exclude: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        let mut best = (0, None, 0.0);
        for endpoint in self.list.iter().filter(|it| !exclude(it)) {
            let rank =
                1 + u8::from(endpoint.is_reachable(now)) + u8::from(endpoint.is_available(now));
            if rank > best.0 {
                best = (rank, None, 0.0);
            }
            if rank == best.0 {
                let weight = float(weight(endpoint.instance())) * endpoint.share(now);
                let total = best.2 + weight;
                // Each replaces the one before with the chance of its part of the sum so far.
                let is_taken = best.1.is_none() || random.f32() * total < weight;
                best = (rank, if is_taken { Some(endpoint) } else { best.1 }, total);
            }
        }
        best.1
    }
}

/// Where an endpoint was drawn.
#[derive(Debug, Clone, Copy)]
struct Drawn<'a> {
    zone: &'a Zone,
    /// Its place in the zone.
    place: usize,
}

/// Whether an endpoint that was drawn is to have the request, given the share it gets.
fn has_its_turn(endpoint: &Endpoint, now: Duration, random: &mut Rng) -> bool {
    let share = endpoint.share(now);
    share >= 1.0 || random.f32() < share
}
