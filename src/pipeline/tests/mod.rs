//! Resuming equals never having stopped, over captured logs.

#[path = "../../../tests/support/aws/mod.rs"]
mod aws;
mod filters;
mod flowing;
mod handle_next;
mod held;
mod log;
mod made;
mod rig;
#[allow(
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::type_complexity,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod snapshots;

use proptest::prelude::*;

use crate::encode::Origin;

use log::Log;
use rig::{Delivered, Dice, Process, Way, World};

/// Where the rows of these tests come from.
fn origin() -> Origin {
    Origin {
        stream: "s".into(),
        server_uuid: "server".to_owned(),
        server_id: 1,
        epoch: 1,
        connector_version: "test",
        snapshot: false,
        replay: None,
    }
}

/// Logs, and the ways in which a streamer can take them up.
const CASES: &[(&str, Way)] = &[
    ("rows/mysql-9.7", Way::Gtid),
    ("rows/mysql-9.7", Way::GtidFrom),
    ("rows/mysql-9.7", Way::Offset),
    ("rows/mysql-5.7", Way::OffsetThenGtid),
    ("rows/mysql-5.6", Way::Offset),
    ("rows/mariadb-10.11", Way::Maria),
    ("payload/mysql-9.7", Way::Gtid),
    ("payload/mysql-9.7", Way::Offset),
    ("minimal/mysql-9.7", Way::Gtid),
    ("rotation/mysql-9.7", Way::OffsetThenGtid),
    ("rotation/mysql-9.7", Way::GtidFrom),
    ("rotation/mysql-5.6", Way::Offset),
    ("rotation/mariadb-10.11", Way::Maria),
    ("no_checksum/mysql-9.7", Way::Offset),
    ("savepoint/mariadb-10.11", Way::Maria),
    ("tagged_gtid/mysql-9.7", Way::Gtid),
    ("tagged_gtid/mysql-9.7", Way::GtidFrom),
    ("compressed_events/mariadb-10.11", Way::Maria),
    ("xa/mysql-9.7", Way::Gtid),
    ("xa/mysql-9.7", Way::GtidFrom),
    ("xa/mysql-9.7", Way::OffsetThenGtid),
    ("xa/mysql-9.7", Way::Offset),
    ("xa/mysql-5.7", Way::Gtid),
    ("xa/mysql-5.7", Way::Offset),
    ("xa/mariadb-10.11", Way::Maria),
    ("xa/mariadb-10.11", Way::Offset),
];

/// Kills of one run.
const KILLS_MAX: u32 = 12;

fn world(case: (&str, Way), lanes: u32) -> World {
    let (fixture, way) = case;
    let is_mysql = fixture.contains("mysql");
    World::new(Log::load(fixture, way == Way::Offset && is_mysql), way, lanes)
}

/// What is delivered if nothing ever stops.
fn undisturbed(case: (&str, Way), lanes: u32) -> Delivered {
    let (mut world, mut dice) = (world(case, lanes), Dice(0));
    let mut process = Process::start(&world, &mut dice);
    while process.take(&mut world, &mut dice, false) {}
    process.finish(&mut world, &mut dice);
    world.delivered
}

/// The same with everything that can happen.
fn disturbed(case: (&str, Way), lanes: u32, seed: u64) -> Delivered {
    let (mut world, mut dice) = (world(case, lanes), Dice(seed));
    let mut process = Process::start(&world, &mut dice);
    let (mut kills, mut breaks) = (0, 0);
    loop {
        for _ in 0..dice.below(4) {
            match dice.below(3) {
                0 => process.wait(&mut dice),
                1 => process.settle(&mut world, &mut dice),
                _ => process.save(&mut world),
            }
        }
        if kills < KILLS_MAX && dice.below(25) == 0 {
            kills += 1;
            process = Process::start(&world, &mut dice);
        }
        let is_break = breaks < 4 * KILLS_MAX && dice.below(12) == 0;
        breaks += u32::from(is_break);
        if !process.take(&mut world, &mut dice, is_break) {
            process.finish(&mut world, &mut dice);
            // Again from the end: nothing new may come.
            let mut again = Process::start(&world, &mut dice);
            while again.take(&mut world, &mut dice, false) {}
            again.finish(&mut world, &mut dice);
            return world.delivered;
        }
    }
}

fn assert_same(case: (&str, Way), lanes: u32, seed: u64) {
    let (expected, found) = (undisturbed(case, lanes), disturbed(case, lanes, seed));
    assert!(!expected.is_empty());
    for (key, text) in &expected {
        assert_eq!(found.get(key), Some(text), "{key:?} of {case:?}, lanes {lanes}, seed {seed}");
    }
    let extra: Vec<_> = found.keys().filter(|key| !expected.contains_key(key)).collect();
    assert!(extra.is_empty(), "{extra:?} of {case:?}, lanes {lanes}, seed {seed}");
}

#[test]
fn every_log_is_resumed_the_same_for_the_first_seeds() {
    for case in CASES {
        for seed in 0..12 {
            assert_same(*case, 1 + u32::try_from(seed % 3).expect("small"), seed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn resume_equals_never_having_stopped(
        case in prop::sample::select(CASES),
        lanes in 1_u32..4,
        seed: u64,
    ) {
        assert_same(case, lanes, seed);
    }
}
