//! Tables that an operator holds back, over captured logs: whatever is asked when, and wherever the process
//! is killed, each row is sent or told, with the number that it has anyway.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::rig::{Dice, Process, World};
use super::{CASES, KILLS_MAX, Way, undisturbed, world};
use crate::change::NameCase;
use crate::control::{Control, Order, Saved, tables};
use crate::encode::Lane;
use crate::telemetry::status::ControlKind;

pub(super) fn control(at_us: i64, pattern: &str) -> Control {
    Control {
        at_us,
        kind: ControlKind::Suppress,
        pattern: pattern.to_owned(),
        reason: "a test".to_owned(),
        by: "nobody".to_owned(),
        is_sending: false,
        until_us: None,
        rows_per_second: None,
    }
}

/// The same as a rate, of which too many rows come or not.
fn rate(at_us: i64, is_sending: bool) -> Control {
    let rows_per_second = Some(10);
    Control { kind: ControlKind::Rate, is_sending, rows_per_second, ..control(at_us, "all") }
}

/// Any order of suppressing, of exceeding a rate and of releasing everything, kills, breaks and waits.
fn run(case: (&str, Way), lanes: u32, seed: u64) -> World {
    let (mut world, mut dice) = (world(case, lanes), Dice(seed));
    let mut process = Process::start(&world, &mut dice);
    let (mut kills, mut breaks, mut orders) = (0, 0, 0);
    loop {
        for _ in 0..dice.below(4) {
            match dice.below(4) {
                0 => process.wait(&mut dice),
                1 => process.settle(&mut world, &mut dice),
                2 => process.wait_long(),
                _ => process.save(&mut world),
            }
        }
        if dice.below(8) == 0 {
            orders += 1;
            let saved = Saved::read(&world.saved.annotations).expect("own texts");
            process.order(match saved.controls.first() {
                Some(known) if !known.holds() => Order::Note(rate(known.at_us, true)),
                Some(known) => Order::Release(known.at_us),
                None if dice.below(2) == 0 => Order::Hold(rate(orders, false)),
                None => Order::Hold(control(orders, "all")),
            });
        }
        if kills < KILLS_MAX && dice.below(20) == 0 {
            kills += 1;
            process = Process::start(&world, &mut dice);
        }
        let is_break = breaks < 4 * KILLS_MAX && dice.below(12) == 0;
        breaks += u32::from(is_break);
        if !process.take(&mut world, &mut dice, is_break) {
            break;
        }
    }
    process.finish(&mut world, &mut dice);
    // A process that begins at the end tells what the one before may not have told.
    let mut again = Process::start(&world, &mut dice);
    while again.take(&mut world, &mut dice, false) {}
    again.wait_long();
    again.finish(&mut world, &mut dice);
    world
}

fn assert_whole(case: (&str, Way), lanes: u32, seed: u64) {
    let expected = undisturbed(case, lanes);
    let world = run(case, lanes, seed);
    for (key, text) in &expected {
        let (lane, number) = key;
        let found = world.delivered.get(key);
        // With its own number and content, or told.
        assert!(found.is_none_or(|found| found == text), "{key:?} is {found:?}, not {text}");
        let is_there = found.is_some() || world.is_told(lane, *number);
        assert!(is_there, "{key:?} of {case:?} neither came nor was told, seed {seed}");
    }
    for (lane, first, behind) in &world.told {
        for number in *first..*behind {
            let key = (lane.clone(), number);
            assert!(expected.contains_key(&key), "{key:?} was told and is no row, seed {seed}");
        }
    }
    let extra: Vec<_> = world.delivered.keys().filter(|key| !expected.contains_key(key)).collect();
    assert!(extra.is_empty(), "{extra:?} of {case:?}, seed {seed}");
}

#[test]
fn each_row_is_sent_or_told_for_the_first_seeds() {
    for case in CASES {
        for seed in 0..12 {
            assert_whole(*case, 1 + u32::try_from(seed % 3).expect("small"), seed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn each_row_is_sent_or_told(
        case in prop::sample::select(CASES),
        lanes in 1_u32..4,
        seed: u64,
    ) {
        assert_whole(case, lanes, seed);
    }

    /// What is suppressed from the begin is never sent, whenever the process is killed; the checkpoint moves on
    /// all the same, and has exactly these rows for `release --send`.
    #[test]
    fn nothing_of_a_suppressed_table_is_sent_and_the_checkpoint_knows_all_of_it(
        case in prop::sample::select(CASES),
        lanes in 1_u32..4,
        seed: u64,
    ) {
        let expected = undisturbed(case, lanes);
        let tables_in_it: BTreeSet<_> =
            expected.keys().filter_map(|(lane, _)| Lane::table_of(lane)).collect();
        let Some((database, table, _)) = tables_in_it.first() else { return Ok(()) };
        let own = control(1, &format!("{database}.{table}"));
        let held = tables([&own], NameCase::Sensitive);
        let is_held = |lane: &str| {
            Lane::table_of(lane).is_some_and(|(database, table, _)| held.has(&database, &table))
        };
        let (mut world, mut dice) = (world(case, lanes), Dice(seed));
        let mut process = Process::start(&world, &mut dice);
        process.order(Order::Hold(own.clone()));
        process.save(&mut world);
        let mut kills = 0;
        loop {
            match dice.below(4) {
                0 => process.settle(&mut world, &mut dice),
                1 => process.save(&mut world),
                2 => process.wait(&mut dice),
                _ => {}
            }
            if kills < KILLS_MAX && dice.below(20) == 0 {
                kills += 1;
                process = Process::start(&world, &mut dice);
            }
            if !process.take(&mut world, &mut dice, false) {
                break;
            }
        }
        process.finish(&mut world, &mut dice);
        let saved = Saved::read(&world.saved.annotations).expect("own texts");
        prop_assert_eq!(&saved.controls, &[own]);
        for (lane, number) in expected.keys() {
            let key = (lane.clone(), *number);
            prop_assert_eq!(world.delivered.contains_key(&key), !is_held(lane), "{:?}", key);
            let range = saved.lanes.get(lane.as_str());
            let (first, next) = (range.map(|range| range.first), world.saved.lanes[lane.as_str()]);
            prop_assert!(*number < next);
            prop_assert_eq!(first.is_some_and(|first| first <= *number), is_held(lane));
            prop_assert_eq!(world.is_told(lane, *number), is_held(lane));
        }
    }

    /// A loop stands for as long as it was asked to, however often it is looked at, and then reads on.
    #[test]
    fn a_loop_stands_until_its_time_is_over(lasting in 1_u64..600, looks in 1_u64..6) {
        let mut world = world(CASES[0], 1);
        let mut process = Process::start(&world, &mut Dice(0));
        process.save(&mut world);
        let (reply, _standing) = oneshot::channel();
        process.order(Order::StopReading(std::time::Duration::from_secs(lasting), reply));
        for look in 1..=looks {
            process.wait_long();
            prop_assert_eq!(process.flow.reads_nothing(), look * 120 < lasting);
        }
    }

    /// A loop that stands goes live only if all was sent, and then the next row follows the last one.
    #[test]
    fn a_lane_goes_live_only_behind_the_last_row_that_was_sent(
        case in prop::sample::select(CASES),
        seed: u64,
        is_all_sent: bool,
        is_rate: bool,
    ) {
        let (mut world, mut dice) = (world(case, 1), Dice(seed));
        let mut process = Process::start(&world, &mut dice);
        process.save(&mut world);
        process.order(Order::Hold(if is_rate { rate(1, true) } else { control(1, "all") }));
        for _ in 0..dice.below(60) {
            process.take(&mut world, &mut dice, false);
        }
        let (reply, mut stopped) = oneshot::channel();
        process.order(Order::StopReading(std::time::Duration::from_secs(9), reply));
        // Behind the open transaction.
        while stopped.is_empty() && process.take(&mut world, &mut dice, false) {}
        let Ok(stopped) = stopped.try_recv() else { return Ok(()) };
        prop_assert!(process.flow.reads_nothing());
        let rows: u64 = stopped.lanes.iter().map(crate::pack::HeldLane::rows).sum();
        let short = u64::from(!is_all_sent);
        let expected = undisturbed(case, 1);
        let mut sent = Vec::new();
        for held in &stopped.lanes {
            let last = held.next - 1 - short;
            sent.push((held.lane.key.clone(), last));
            for number in held.range.first..=last {
                let key = (held.lane.key.to_string(), number);
                world.delivered.insert(key.clone(), expected[&key].clone());
            }
        }
        process.order(Order::Sent(sent.clone(), 0));
        let (reply, mut live) = oneshot::channel();
        process.order(Order::GoLive(1, reply));
        let is_live = live.try_recv().expect("it stands");
        prop_assert_eq!(is_live, is_all_sent || rows == 0);
        prop_assert!(!process.flow.reads_nothing());
        while process.take(&mut world, &mut dice, false) {}
        process.finish(&mut world, &mut dice);
        // A rate stays, and holds nothing back.
        let saved = Saved::read(&world.saved.annotations).expect("own texts");
        let stays = if is_rate { vec![rate(1, !is_live)] } else { vec![control(1, "all")] };
        prop_assert_eq!(saved.controls, if is_live && !is_rate { Vec::new() } else { stays });
        for (lane, number) in expected.keys() {
            let last = sent.iter().find(|(key, _)| **key == **lane).map_or(0, |(_, last)| *last);
            let came = world.delivered.contains_key(&(lane.clone(), *number));
            let is_row = Lane::table_of(lane).is_some();
            let wanted = !is_row || is_live || *number <= last;
            prop_assert_eq!(came, wanted, "{} {}", lane, number);
        }
    }
}
