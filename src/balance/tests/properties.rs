//! What holds whatever happens to a rung, and in whatever order.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{T0, cases, instances, port, seconds, settings};
use crate::balance::{End, Endpoint, Endpoints, View};
use crate::config::Balance;

/// What happens to a rung.
#[derive(Debug, Clone)]
enum Event {
    Pick { without: u8 },
    Begin(usize),
    End(usize, End, u64),
    Drop(usize),
    Wait(u64),
    Reload { weights: Vec<u32> },
}

fn events() -> impl Strategy<Value = Event> {
    let end = prop_oneof![
        3 => Just(End::Failed),
        2 => Just(End::Unreachable),
        2 => Just(End::Answered),
        1 => Just(End::Abandoned),
    ];
    prop_oneof![
        2 => any::<u8>().prop_map(|without| Event::Pick { without }),
        6 => any::<usize>().prop_map(Event::Begin),
        6 => (any::<usize>(), end, 0_u64..100_000_000)
            .prop_map(|(at, end, micros)| Event::End(at, end, micros)),
        1 => any::<usize>().prop_map(Event::Drop),
        2 => (0_u64..20_000).prop_map(Event::Wait),
        1 => vec(1_u32..10_000, 1..6).prop_map(|weights| Event::Reload { weights }),
    ]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_rung_keeps_its_promises(
        weights in vec(1_u32..10_000, 1..6),
        is_random in any::<bool>(),
        max_percent in 0_u8..=100,
        events in vec(events(), 1..200),
    ) {
        let balance = if is_random { Balance::Random } else { Balance::LeastLoad };
        let mut settings = settings(balance);
        settings.outlier.max_percent = max_percent;
        let mut rung = Endpoints::new(&instances(&weights), &settings, &View::default());
        let (mut now, mut random, mut flights) = (T0, Rng::with_seed(9), Vec::new());

        for event in events {
            let all = rung.all();
            match event {
                Event::Pick { without } => {
                    let exclude = |it: &Endpoint| without & (1 << port(it)) != 0;
                    let picked = rung.pick(now, &mut random, exclude);
                    prop_assert_eq!(picked.is_none(), all.iter().all(|it| exclude(it)));
                    if let Some(picked) = picked {
                        prop_assert!(!exclude(picked));
                        prop_assert!(all.iter().any(|it| Arc::ptr_eq(it, picked)));
                        let is_well = |it: &Endpoint| it.is_available(now) && !exclude(it);
                        prop_assert!(is_well(picked) || !all.iter().any(|it| is_well(it)));
                    }
                }
                Event::Begin(at) => flights.push(all[at % all.len()].begin()),
                Event::End(at, end, micros) if !flights.is_empty() => {
                    let before = all.iter().filter(|it| it.is_ejected(now)).count();
                    let flight = flights.swap_remove(at % flights.len());
                    flight.end(end, Duration::from_micros(micros), now);
                    let after = all.iter().filter(|it| it.is_ejected(now)).count();
                    if after > before {
                        prop_assert!(after * 100 <= all.len() * usize::from(max_percent));
                        prop_assert!(all.iter().any(|it| it.is_available(now)), "one stays");
                    }
                }
                Event::Drop(at) if !flights.is_empty() => {
                    drop(flights.swap_remove(at % flights.len()));
                }
                Event::End(..) | Event::Drop(_) => {}
                Event::Wait(millis) => now += Duration::from_millis(millis),
                Event::Reload { weights } => {
                    // Requests under way keep counting; here they end first, so that the counts
                    // below are those of this rung alone.
                    flights.clear();
                    rung = Endpoints::succeed(&rung, &instances(&weights), &settings, &View::default());
                }
            }
            let held: u32 = rung.all().iter().map(|it| it.in_flight()).sum();
            prop_assert_eq!(held as usize, flights.len());
            for one in rung.all() {
                prop_assert!((0.1..=1.0).contains(&one.share(now)));
                prop_assert!(one.share(now) <= one.share(now + seconds(7)), "it only grows");
                prop_assert!(!one.is_ejected(now + seconds(60)));
            }
        }
    }
}
