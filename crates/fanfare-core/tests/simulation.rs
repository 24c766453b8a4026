//! A seeded simulation of the core, through its public face alone.
//!
//! It checks one sentence about every subscriber, over its whole life with all its reconnects: in
//! order, exactly once, or an explicit gap, or the end. Channels are published to, closed,
//! deleted, removed when idle and begun anew; rings, journal and tombstones are tiny; subscribers
//! read in small steps, take part of what is written, break off, and come back with the last id
//! that they saw; hubs restart.
//!
//! `FANFARE_SIM_SEEDS` says how many seeds to run, `FANFARE_SIM_SEED` runs one and tells what it
//! did. A failure prints its seed.

#[cfg(test)]
mod simulation {
    pub(crate) mod client;
    pub(crate) mod random;
    pub(crate) mod world;
}

use std::panic::{AssertUnwindSafe, catch_unwind};

use simulation::world::World;

/// How many seeds run when nobody says: a few seconds without optimisation.
const SEEDS_DEFAULT: u64 = 400;
/// Steps of one seed: enough for several lives of every channel.
const STEPS: usize = 220;

#[test]
fn in_order_exactly_once_or_a_gap_or_the_end() {
    let set = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match set("FANFARE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..set("FANFARE_SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
    };
    let told = seeds.end - seeds.start == 1;
    let mut totals = [0; 10];
    for seed in seeds.clone() {
        let mut world = World::new(seed, told);
        let run = AssertUnwindSafe(|| {
            (0..STEPS).for_each(|_| world.step());
            world.settle();
        });
        if catch_unwind(run).is_err() {
            let story = world.story.join("\n");
            panic!(
                "seed {seed} failed; run it again with\n  FANFARE_SIM_SEED={seed} \
                 cargo test -p fanfare-core --test simulation\n{story}"
            );
        }
        totals.iter_mut().zip(world.totals).for_each(|(sum, more)| *sum += more);
    }
    // A simulation in which nothing happens checks nothing.
    if seeds.end - seeds.start >= SEEDS_DEFAULT {
        assert!(totals.iter().all(|total| *total > seeds.end / 20), "too quiet: {totals:?}");
    }
}
