//! A cluster of nodes in a time and on a network of its own: everything that may go wrong does, by
//! chance, and afterwards it must be as if nothing had.
//!
//! The protocol and the store are those of the real node; what is made up is the clock, the network,
//! the processes and those who register. Nothing here waits, and a seed decides everything: one that
//! fails says so, and fails again with
//!
//! ```text
//! DYELANE_SIMULATION_SEED=… cargo nextest run --test it -E 'test(simulation)'
//! DYELANE_SIMULATION_RUNS=300 cargo test --test it simulation     so many seeds, instead of a few
//! ```
//!
//! The idea is that of `FoundationDB` (Zhou et al., SIGMOD 2021, section 4).

mod machine;
mod network;
mod promises;
mod provider;
mod scenes;
mod weather;
mod world;

use std::time::{SystemTime, UNIX_EPOCH};

use weather::Storm;

/// Seeds that once found something, and some that did not.
const SEEDS: &[u64] = &[1, 2, 3, 4];
/// How many others there are in an ordinary run.
const FRESH: u64 = 3;

/// Says which seed it was, should it fail.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was DYELANE_SIMULATION_SEED={}", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|it| it.parse().unwrap())
}

fn run(seed: u64) {
    let seed = Seed(seed);
    Storm::new(seed.0).run();
}

#[test]
fn a_cluster_comes_out_of_every_storm_as_if_nothing_had_been() {
    for seed in SEEDS {
        run(*seed);
    }
}

#[test]
fn a_cluster_comes_out_of_a_storm_that_nobody_has_seen_yet() {
    if let Some(seed) = number("DYELANE_SIMULATION_SEED") {
        return run(seed);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = u64::try_from(since.as_micros()).unwrap();
    for seed in 0..number("DYELANE_SIMULATION_RUNS").unwrap_or(FRESH) {
        run(first + seed);
    }
}
