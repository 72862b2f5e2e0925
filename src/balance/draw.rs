//! Draws by weight in constant time, however many there are.

/// Weights to draw places by.
///
/// Equal weights need one random number. Others are drawn from an alias table (Walker, in the
/// construction of Vose): one place at random, and one more number says whether it or its alias.
#[derive(Debug, Default)]
pub(super) struct Draw {
    places: u32,
    /// One for each place; empty if all weigh the same.
    aliases: Vec<Alias>,
}

#[derive(Debug, Clone, Copy)]
struct Alias {
    /// The chance that a draw stays at this place.
    stay: f32,
    /// Where it goes else.
    other: u32,
}

impl Draw {
    /// Prepares draws among as many places as there are `weights`, all above zero.
    pub(super) fn new(weights: &[u32]) -> Self {
        let places = u32::try_from(weights.len()).unwrap_or(u32::MAX);
        let first = weights.first().copied().unwrap_or_default();
        if weights.iter().all(|it| *it == first) {
            return Self { places, aliases: Vec::new() };
        }
        Self { places, aliases: aliases(weights, places) }
    }

    /// Returns a place, by weight; none if there is no place.
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Option<usize> {
        if self.places == 0 {
            return None;
        }
        let place = random.u32(..self.places) as usize;
        let Some(alias) = self.aliases.get(place) else { return Some(place) };
        Some(if random.f32() < alias.stay { place } else { alias.other as usize })
    }

    /// Returns a place to compare with one that was drawn; none if there is no other.
    ///
    /// Where all weigh the same it is another one, so that the worse of two can get nothing. Where
    /// they differ it may be the same again, so that each keeps about the share that its weight
    /// gives it: between the square of it and twice of it.
    pub(super) fn draw_rival(&self, first: usize, random: &mut fastrand::Rng) -> Option<usize> {
        if !self.aliases.is_empty() {
            return self.draw(random);
        }
        let others = self.places.checked_sub(1).filter(|others| *others > 0)?;
        let drawn = random.u32(..others) as usize;
        Some(if drawn < first { drawn } else { drawn + 1 })
    }
}

/// Fills each place that has less than an even share from one that has more.
#[expect(clippy::cast_possible_truncation, reason = "a chance; 24 bits of it are plenty")]
fn aliases(weights: &[u32], places: u32) -> Vec<Alias> {
    let total: u64 = weights.iter().map(|it| u64::from(*it)).sum();
    // An even share is 1. The sum is below 2^53: exact.
    #[expect(clippy::cast_precision_loss, reason = "weights are at most 10,000")]
    let even = total as f64 / f64::from(places);
    let shares = weights.iter().zip(0_u32..).map(|(it, place)| (place, f64::from(*it) / even));
    let (mut small, mut large): (Vec<_>, Vec<_>) = shares.partition(|(_, share)| *share < 1.0);
    let mut aliases: Vec<_> = (0..places).map(|other| Alias { stay: 1.0, other }).collect();
    while let (Some((place, share)), Some((giver, rest))) = (small.pop(), large.pop()) {
        if let Some(alias) = aliases.get_mut(place as usize) {
            *alias = Alias { stay: share as f32, other: giver };
        }
        let rest = rest - (1.0 - share);
        let list = if rest < 1.0 { &mut small } else { &mut large };
        list.push((giver, rest));
    }
    // Whoever is left has an even share, but for rounding.
    aliases
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The chance of each place, worked out from the table.
    fn chances(draw: &Draw) -> Vec<f64> {
        let even = 1.0 / f64::from(draw.places);
        let mut chances = vec![0.0; draw.places as usize];
        for (place, alias) in draw.aliases.iter().enumerate() {
            chances[place] += even * f64::from(alias.stay);
            chances[alias.other as usize] += even * (1.0 - f64::from(alias.stay));
        }
        chances
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        assert_eq!(Draw::new(&[]).draw(&mut fastrand::Rng::with_seed(1)), None);
    }

    #[test]
    fn equal_weights_are_drawn_evenly() {
        let (draw, mut random) = (Draw::new(&[7; 4]), fastrand::Rng::with_seed(1));
        let mut seen = [0; 4];

        for _ in 0..40_000 {
            seen[draw.draw(&mut random).unwrap()] += 1;
        }

        assert!(draw.aliases.is_empty());
        assert!(seen.iter().all(|it| (9_500..10_500).contains(it)), "{seen:?}");
    }

    #[test]
    fn a_rival_of_equal_weight_is_anyone_else() {
        let (draw, mut random) = (Draw::new(&[7; 4]), fastrand::Rng::with_seed(1));
        let mut seen = [0; 4];

        for _ in 0..30_000 {
            seen[draw.draw_rival(2, &mut random).unwrap()] += 1;
        }

        assert_eq!(seen[2], 0);
        assert!([0, 1, 3].iter().all(|it| (9_500..10_500).contains(&seen[*it])), "{seen:?}");
        assert_eq!(Draw::new(&[7]).draw_rival(0, &mut random), None);
    }

    proptest! {
        #[test]
        fn every_place_has_the_chance_of_its_weight(
            weights in proptest::collection::vec(1_u32..=10_000, 1..200),
        ) {
            let draw = Draw::new(&weights);

            let total: f64 = weights.iter().map(|it| f64::from(*it)).sum();
            if !draw.aliases.is_empty() {
                for (chance, weight) in chances(&draw).iter().zip(&weights) {
                    prop_assert!((chance - f64::from(*weight) / total).abs() < 1e-6);
                }
            }
        }
    }
}
