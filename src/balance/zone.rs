//! The zones of a rung, and the draw of one of them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use fastrand::Rng;

use crate::balance::choice::{Choice, Group};
use crate::balance::draw::Draw;
use crate::balance::endpoint::Endpoint;
use crate::balance::float;
use crate::balance::shares::{Sharing, Supply};
use crate::balance::weight;
use crate::model::Instance;

/// How long the shares of zones count, in milliseconds.
const REFRESH: u64 = 100;

/// The zones of a rung: one of no name where zones make no difference.
///
/// The shares are worked out anew every so often, by whichever pick comes first then. The others go
/// on by the old ones meanwhile; whoever reads them half old and half new draws no worse than by
/// either.
#[derive(Debug)]
pub(super) struct Zones {
    list: Box<[Zone]>,
    sharing: Sharing,
    /// When the shares are to be worked out again, in milliseconds since the origin.
    due: AtomicU64,
}

/// The endpoints of one zone.
#[derive(Debug)]
pub(super) struct Zone {
    name: Option<Arc<str>>,
    /// Which of the rung's endpoints they are.
    places: Range<usize>,
    pub(super) draw: Draw,
    mean_weight: f32,
    /// The weight of all its instances, those included that are left to other clients.
    weight: f32,
    /// What that is to the weight of its endpoints.
    scale: f32,
    demand: Option<f32>,
    scheduled: Option<f32>,
    /// The weight of its instances that are well, as the bits of an `f32`.
    well: AtomicU32,
    /// Which numbers draw this zone, of all numbers: those from the bound of the zone before on, up
    /// to this.
    bound: AtomicU32,
}

/// How a zone is.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneState {
    /// Its name; none: zones make no difference here, or instances that name none.
    pub name: Option<Arc<str>>,
    /// Its part of our requests: 0.0 to 1.0.
    pub share: f32,
    /// The part of its weight that is well: 0.0 to 1.0.
    pub health: f32,
    /// How many endpoints it has.
    pub endpoints: usize,
}

impl Zones {
    pub(super) fn new(choice: &Choice) -> Self {
        let mut from = 0;
        let zone = |group: &Group| {
            let places = from..from + group.chosen.len();
            from = places.end;
            Zone::new(group, places)
        };
        let list = choice.groups.iter().map(zone).collect();
        Self { list, sharing: choice.sharing, due: AtomicU64::new(0) }
    }

    /// Draws the zone of a request; none only if there is none.
    pub(super) fn draw(
        &self,
        endpoints: &[Arc<Endpoint>],
        now: Duration,
        random: &mut Rng,
    ) -> Option<&Zone> {
        if self.list.len() < 2 {
            return self.list.first();
        }
        self.refresh(endpoints, now);
        let drawn = random.u32(..);
        // None but for rounding.
        self.list.iter().find(|it| drawn < it.bound.load(Relaxed)).or(self.list.first())
    }

    /// Works out the shares, if it is time.
    fn refresh(&self, endpoints: &[Arc<Endpoint>], now: Duration) {
        let (now_ms, due) = (millis(now), self.due.load(Relaxed));
        let next = now_ms.saturating_add(REFRESH);
        if now_ms < due || self.due.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return;
        }
        for zone in &self.list {
            zone.well.store(zone.find_well(endpoints, now).to_bits(), Relaxed);
        }
        let supplies = self.list.iter().map(Zone::supply);
        let mut total = 0.0;
        self.sharing.share(supplies.clone(), |share| total += share);
        let (mut zones, mut below) = (self.list.iter(), 0.0);
        self.sharing.share(supplies, |share| {
            below += share / total;
            if let Some(zone) = zones.next() {
                zone.bound.store(bound(below), Relaxed);
            }
        });
    }

    /// Returns how the zones are.
    pub(super) fn states(&self, endpoints: &[Arc<Endpoint>], now: Duration) -> Vec<ZoneState> {
        if let [only] = &*self.list {
            let health = only.find_well(endpoints, now) / only.weight;
            return vec![ZoneState { share: 1.0, ..only.state(0.0, health) }];
        }
        self.refresh(endpoints, now);
        let mut below = 0;
        let state = |zone: &Zone| {
            let bound = zone.bound.load(Relaxed);
            let share = fraction(bound.saturating_sub(below));
            below = bound;
            zone.state(share, f32::from_bits(zone.well.load(Relaxed)) / zone.weight)
        };
        self.list.iter().map(state).collect()
    }
}

impl Zone {
    fn new(group: &Group, places: Range<usize>) -> Self {
        let weights: Vec<_> = group.chosen.iter().map(|it| weight(it)).collect();
        let chosen = sum(&group.chosen);
        let count = u32::try_from(weights.len()).unwrap_or(u32::MAX);
        Self {
            name: group.zone.clone(),
            places,
            draw: Draw::new(&weights),
            mean_weight: chosen / float(count).max(1.0),
            weight: group.weight,
            scale: group.weight / chosen.max(1.0),
            demand: group.demand,
            scheduled: group.scheduled.map(float),
            well: AtomicU32::new(group.weight.to_bits()),
            bound: AtomicU32::new(u32::MAX),
        }
    }

    /// Returns the endpoint at a place of the zone.
    pub(super) fn endpoint<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        place: usize,
    ) -> Option<&'a Arc<Endpoint>> {
        endpoints.get(self.places.start + place)
    }

    /// Adds up the weight of what is well; what starts slowly counts with its share.
    fn find_well(&self, endpoints: &[Arc<Endpoint>], now: Duration) -> f32 {
        let endpoints = endpoints.get(self.places.clone()).unwrap_or_default();
        let well = endpoints.iter().filter(|it| it.is_available(now));
        self.scale * well.map(|it| float(weight(it.instance())) * it.share(now)).sum::<f32>()
    }

    fn supply(&self) -> Supply {
        Supply {
            well: f32::from_bits(self.well.load(Relaxed)),
            all: self.weight,
            demand: self.demand,
            weight: self.scheduled,
        }
    }

    fn state(&self, share: f32, health: f32) -> ZoneState {
        let health = if health.is_finite() { health.clamp(0.0, 1.0) } else { 0.0 };
        ZoneState { name: self.name.clone(), share, health, endpoints: self.places.len() }
    }

    /// Returns the one with less to do: its latency times the requests it has and would have,
    /// against its weight. At equal loads the first, which was drawn by weight.
    ///
    /// Of an endpoint of which nothing is known the latency is that of the other: it gets its part
    /// of the requests, and no more of them than it has answered.
    pub(super) fn less_loaded<'a>(
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
}

/// The weight of instances together.
pub(super) fn sum(instances: &[Arc<Instance>]) -> f32 {
    instances.iter().map(|it| float(weight(it))).sum()
}

fn millis(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The part of all numbers that are below a bound, as that bound.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn bound(part: f32) -> u32 {
    (f64::from(part) * f64::from(u32::MAX)).round() as u32
}

#[expect(clippy::cast_possible_truncation, reason = "24 bits of a share are plenty")]
fn fraction(numbers: u32) -> f32 {
    (f64::from(numbers) / f64::from(u32::MAX)) as f32
}
