//! The endpoints of a rung, and the draw of one of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fastrand::Rng;

use crate::balance::draw::Draw;
use crate::balance::endpoint::{Endpoint, Knowledge, Neighbours};
use crate::config::{Balance, Service};
use crate::model::Instance;

/// Draws that may hit an endpoint which is not to be had, before all are looked at.
const DRAWS: usize = 8;

/// The endpoints of one rung.
#[derive(Debug)]
pub struct Endpoints {
    list: Box<[Arc<Endpoint>]>,
    rung: Arc<Neighbours>,
    balance: Balance,
    draw: Draw,
    mean_weight: f32,
    /// Where an endpoint was that could be reached.
    reachable: AtomicUsize,
}

impl Endpoints {
    /// The endpoints of `instances`, of which nothing is known.
    pub fn new(instances: &[Arc<Instance>], settings: &Service) -> Arc<Self> {
        Arc::new(Self::build(instances, settings, |_| Arc::default()))
    }

    /// The endpoints of `instances` with what `previous` learned of those that have the same
    /// address; `previous` itself where nothing changed.
    pub fn succeed(
        previous: &Arc<Self>,
        instances: &[Arc<Instance>],
        settings: &Service,
    ) -> Arc<Self> {
        let is_same = previous.balance == settings.balance
            && *previous.rung.policy() == settings.outlier
            && previous.rung.slow_start() == settings.slow_start
            && previous.list.iter().map(|it| it.instance()).eq(instances);
        if is_same {
            return Arc::clone(previous);
        }
        let known = previous.list.iter().map(|it| (it.instance().address, it.knowledge()));
        let known: BTreeMap<_, _> = known.collect();
        // Where all are new, none of them is to be spared.
        let stays = instances.iter().any(|it| known.contains_key(&it.address));
        let new = || if stays { Arc::new(Knowledge::of_new()) } else { Arc::default() };
        let knowledge = |it: &Instance| known.get(&it.address).map(|it| Arc::clone(it));
        Arc::new(Self::build(instances, settings, |it| knowledge(it).unwrap_or_else(new)))
    }

    fn build(
        instances: &[Arc<Instance>],
        settings: &Service,
        knowledge: impl Fn(&Instance) -> Arc<Knowledge>,
    ) -> Self {
        let all: Box<[_]> = instances.iter().map(|it| knowledge(it)).collect();
        let rung = Arc::new(Neighbours::new(all.clone(), settings.outlier, settings.slow_start));
        let new = |(instance, knowledge)| {
            Arc::new(Endpoint::new(Arc::clone(instance), knowledge, Arc::clone(&rung)))
        };
        let weights: Vec<_> = instances.iter().map(|it| weight(it)).collect();
        Self {
            list: instances.iter().zip(all).map(new).collect(),
            balance: settings.balance,
            mean_weight: mean(&weights),
            draw: Draw::new(&weights),
            reachable: AtomicUsize::new(0),
            rung,
        }
    }

    /// Returns all of them, in the order of the instances.
    pub fn all(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    /// Returns whether one of them can be reached, as far as we know: whether the rung is healthy.
    ///
    /// Ejection says nothing here: it never takes the last one. Where all is well this looks at one
    /// endpoint, however many there are.
    pub fn is_healthy(&self, now: Duration) -> bool {
        let last = self.list.get(self.reachable.load(Relaxed));
        if last.is_some_and(|it| it.is_reachable(now)) {
            return true;
        }
        let found = self.list.iter().position(|it| it.is_reachable(now));
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
        let Some((place, first)) = self.draw_first(now, random, exclude) else {
            return self.look_at_all(now, random, exclude);
        };
        if self.balance == Balance::Random {
            return Some(first);
        }
        let second = self.draw_rival(place, now, random, exclude);
        Some(second.map_or(first, |second| self.less_loaded(first, second, now)))
    }

    /// Draws one that is to be had, if a few draws find one.
    fn draw_first(
        &self,
        now: Duration,
        random: &mut Rng,
        exclude: impl Fn(&Endpoint) -> bool,
    ) -> Option<(usize, &Arc<Endpoint>)> {
        for _ in 0..DRAWS {
            let place = self.draw.draw(random)?;
            let drawn = self.list.get(place)?;
            if drawn.is_available(now) && !exclude(drawn) && has_its_turn(drawn, now, random) {
                return Some((place, drawn));
            }
        }
        None
    }

    /// Draws another than the one at `place`, if a few draws find one that is to be had.
    ///
    /// One that starts slowly is a rival no more often than its share, however few others there
    /// are: it is not drawn for until it is its turn.
    fn draw_rival(
        &self,
        place: usize,
        now: Duration,
        random: &mut Rng,
        exclude: impl Fn(&Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>> {
        for _ in 0..DRAWS {
            let drawn = self.list.get(self.draw.draw_rival(place, random)?)?;
            if drawn.is_available(now) && !exclude(drawn) {
                return Some(drawn).filter(|it| has_its_turn(it, now, random));
            }
        }
        None
    }

    /// Returns the one with less to do: its latency times the requests it has and would have,
    /// against its weight. At equal loads the first, which was drawn by weight.
    ///
    /// Of an endpoint of which nothing is known the latency is that of the other: it gets its part
    /// of the requests, and no more of them than it has answered.
    fn less_loaded<'a>(
        &self,
        first: &'a Arc<Endpoint>,
        second: &'a Arc<Endpoint>,
        now: Duration,
    ) -> &'a Arc<Endpoint> {
        let (one, two) = (first.micros(now), second.micros(now));
        let one_micros = one.or(two).unwrap_or(1.0);
        let two_micros = two.or(one).unwrap_or(1.0);
        let is_second = self.load(second, two_micros) < self.load(first, one_micros);
        if is_second { second } else { first }
    }

    /// Weights count for the requests an endpoint has, not for the one it would get: an idle
    /// endpoint of half the weight is as idle as any other.
    fn load(&self, endpoint: &Endpoint, micros: f32) -> f32 {
        let weight = float(weight(endpoint.instance())) / self.mean_weight;
        micros * (float(endpoint.in_flight()) / weight + 1.0)
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

/// Whether an endpoint that was drawn is to have the request, given the share it gets.
fn has_its_turn(endpoint: &Endpoint, now: Duration, random: &mut Rng) -> bool {
    let share = endpoint.share(now);
    share >= 1.0 || random.f32() < share
}

/// A weight a draw can use, whatever a source said.
fn weight(instance: &Instance) -> u32 {
    instance.weight.clamp(1, 10_000)
}

fn mean(weights: &[u32]) -> f32 {
    let total: f32 = weights.iter().copied().map(float).sum();
    total / float(u32::try_from(weights.len()).unwrap_or(u32::MAX)).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "a load is an estimate")]
fn float(number: u32) -> f32 {
    number as f32
}
