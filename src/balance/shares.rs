//! How requests are shared out over the zones of a rung.
//!
//! Be `h` the weight of a zone's instances that are well, `H` that of all; `d` the share of all
//! requests that come from the zone. The requests of our own zone stay there as long as none of its
//! instances gets more than `slack` times what an instance gets on average:
//!
//! ```text
//! stay = min(1, slack × (h / H) / d)
//! ```
//!
//! The rest goes to the other zones, by the room they have left: `slack × h / H − d` of each.
//! Where it is not known where requests come from, `d` is the zone's part of all instances, well or
//! not: then a zone that is as well as all others keeps what is its own.
//!
//! The first formula with a slack of one, and the residual room, are those of Envoy's zone-aware
//! routing; the slack is its overprovisioning factor, whose default is 1.4 as well. With weights of
//! a scheduler, the share of a zone is its weight, less what it lacks in health, as with Envoy's
//! locality-weighted load balancing: `weight × min(1, slack × h / all of the zone)`.

/// A zone, as far as shares are concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Supply {
    /// The weight of its instances that are well.
    pub(super) well: f32,
    /// The weight of all its instances.
    pub(super) all: f32,
    /// The share of requests that come from there; none: not known.
    pub(super) demand: Option<f32>,
    /// Its weight, where a scheduler gives one.
    pub(super) weight: Option<f32>,
}

/// Who shares out, and how freely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sharing {
    /// The place of our own zone; none: it has no instance.
    pub(super) own: Option<usize>,
    pub(super) slack: f32,
    /// Whether the weights of a scheduler count.
    pub(super) is_scheduled: bool,
}

impl Sharing {
    /// Tells the share of each zone to `tell`, in order; they are not negative, and not all zero
    /// unless no zone has any weight. They add up to anything.
    ///
    /// `zones` is walked a few times. Allocates nothing.
    pub(super) fn share(
        self,
        zones: impl Iterator<Item = Supply> + Clone,
        mut tell: impl FnMut(f32),
    ) {
        let nobody_is_well = zones.clone().all(|it| it.well <= 0.0);
        // Trying goes on then as if all were.
        let zones =
            zones.map(move |it| if nobody_is_well { Supply { well: it.all, ..it } } else { it });
        let well: f32 = zones.clone().map(|it| it.well).sum();
        let all: f32 = zones.clone().map(|it| it.all).sum();
        if self.is_scheduled {
            self.follow(zones, tell);
            return;
        }
        let demand = |it: &Supply| it.demand.unwrap_or_else(|| part(it.all, all));
        let room = |it: &Supply| self.slack * it.well / well;
        let stay = |it: &Supply| match demand(it) {
            demand if demand > 0.0 => (room(it) / demand).min(1.0),
            _ => f32::from(u8::from(it.well > 0.0)),
        };
        let is_other = |place: usize| Some(place) != self.own;
        let others = || zones.clone().enumerate().filter(|(place, _)| is_other(*place));
        let own = self.own.and_then(|own| zones.clone().nth(own));
        let well_elsewhere: f32 = others().map(|(_, it)| it.well).sum();
        let stay = own.map_or(0.0, |it| if well_elsewhere > 0.0 { stay(&it) } else { 1.0 });
        let left = |it: &Supply| (room(it) - demand(it)).max(0.0);
        let left_in_all: f32 = others().map(|(_, it)| left(&it)).sum();
        let other = |it: &Supply| {
            if left_in_all > f32::EPSILON {
                part(left(it), left_in_all)
            } else {
                part(it.well, well_elsewhere)
            }
        };
        for (place, it) in zones.clone().enumerate() {
            tell(if is_other(place) { (1.0 - stay) * other(&it) } else { stay });
        }
    }

    /// Shares out by the weights of the scheduler; if those it names are all unwell, by who is well.
    fn follow(self, zones: impl Iterator<Item = Supply> + Clone, tell: impl FnMut(f32)) {
        let scheduled = |it: Supply| {
            it.weight.unwrap_or_default() * (self.slack * part(it.well, it.all)).min(1.0)
        };
        if zones.clone().any(|it| scheduled(it) > 0.0) {
            zones.map(scheduled).for_each(tell);
        } else {
            zones.map(|it| it.well).for_each(tell);
        }
    }
}

fn part(of: f32, whole: f32) -> f32 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PREFERRING: Sharing = Sharing { own: Some(0), slack: 1.4, is_scheduled: false };

    fn zone(well: f32, all: f32) -> Supply {
        Supply { well, all, demand: None, weight: None }
    }

    fn shares(sharing: Sharing, zones: &[Supply]) -> Vec<f32> {
        let mut shares = Vec::new();
        sharing.share(zones.iter().copied(), |it| shares.push(it));
        shares
    }

    #[track_caller]
    fn is_about(shares: &[f32], expected: &[f32]) {
        let near = shares.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.005);
        assert!(near && shares.len() == expected.len(), "{shares:?} is not {expected:?}");
    }

    #[test]
    fn a_zone_that_is_well_keeps_its_requests() {
        is_about(&shares(PREFERRING, &[zone(3.0, 3.0); 3]), &[1.0, 0.0, 0.0]);
        is_about(&shares(PREFERRING, &[zone(1.0, 1.0), zone(9.0, 9.0)]), &[1.0, 0.0]);
    }

    #[test]
    fn a_zone_that_fails_overflows_by_its_slack() {
        let own = |well| shares(PREFERRING, &[zone(well, 6.0), zone(6.0, 6.0), zone(6.0, 6.0)]);

        is_about(&own(5.0), &[1.0, 0.0, 0.0]);
        is_about(&own(3.0), &[0.84, 0.08, 0.08]);
        is_about(&own(2.0), &[0.6, 0.2, 0.2]);
        is_about(&own(0.0), &[0.0, 0.5, 0.5]);
    }

    #[test]
    fn an_overflow_goes_where_there_is_room() {
        let zones = [zone(0.0, 6.0), zone(6.0, 6.0), zone(2.0, 6.0)];

        is_about(&shares(PREFERRING, &zones), &[0.0, 0.98, 0.02]);
    }

    #[test]
    fn a_zone_with_more_callers_than_instances_overflows() {
        let crowded = |demand, all| Supply { demand: Some(demand), ..zone(all, all) };
        let zones = [crowded(0.6, 2.0), crowded(0.2, 4.0), crowded(0.2, 4.0)];

        is_about(&shares(PREFERRING, &zones), &[0.467, 0.267, 0.267]);
    }

    #[test]
    fn zones_that_are_all_as_unwell_stay_by_themselves() {
        is_about(&shares(PREFERRING, &[zone(1.0, 6.0); 3]), &[1.0, 0.0, 0.0]);
        is_about(&shares(PREFERRING, &[zone(0.0, 6.0); 3]), &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_scheduler_s_weights_count_as_far_as_zones_are_well() {
        let sharing = Sharing { is_scheduled: true, ..PREFERRING };
        let weighs = |weight, well| Supply { weight: Some(weight), ..zone(well, 6.0) };

        is_about(&shares(sharing, &[weighs(10.0, 6.0), weighs(30.0, 6.0)]), &[10.0, 30.0]);
        is_about(&shares(sharing, &[weighs(10.0, 3.0), weighs(30.0, 5.0)]), &[7.0, 30.0]);
        is_about(&shares(sharing, &[weighs(10.0, 0.0), zone(5.0, 6.0)]), &[0.0, 5.0]);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_go_to_whoever_is_well(
            zones in vec((0_u8..10, 0_u8..10), 2..6),
            slack in 1.0_f32..10.0,
        ) {
            let zones: Vec<_> = zones
                .into_iter()
                .map(|(well, ill)| zone(f32::from(well), f32::from(well) + f32::from(ill)))
                .collect();
            prop_assume!(zones.iter().any(|it| it.well > 0.0));

            let shares = shares(Sharing { slack, ..PREFERRING }, &zones);

            prop_assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-3, "{:?}", shares);
            for (share, zone) in shares.iter().zip(&zones) {
                prop_assert!(*share >= 0.0);
                prop_assert!(*share < 1e-6 || zone.well > 0.0, "{:?}", shares);
            }
        }

        #[test]
        fn no_instance_of_our_zone_gets_more_than_the_slack(
            wells in vec(1_u8..10, 2..6),
            slack in 1.0_f32..3.0,
            demand in 0.01_f32..1.0,
        ) {
            let total: f32 = wells.iter().map(|it| f32::from(*it)).sum();
            let other = (1.0 - demand) / f32::from(u8::try_from(wells.len() - 1).unwrap());
            let with = |(place, well): (usize, &u8)| {
                let demand = Some(if place == 0 { demand } else { other });
                Supply { demand, ..zone(f32::from(*well), 10.0) }
            };
            let zones: Vec<_> = wells.iter().enumerate().map(with).collect();

            let shares = shares(Sharing { slack, ..PREFERRING }, &zones);

            let each = demand * shares[0] / f32::from(wells[0]);
            prop_assert!(each <= slack / total * 1.001, "{} of {}", each, slack / total);
        }
    }
}
