//! Filters that change, while the stream runs and by restarts, over captured logs: wherever the process is
//! killed, each number has one row for ever, and whoever reads the log again by the checkpoint's versions
//! finds what was sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::held::control;
use super::rig::{Dice, Process, World, filter};
use super::{CASES, KILLS_MAX, Way, undisturbed, world};
use crate::control::{FilterChange, Order};
use crate::encode::Lane;
use crate::filter::{Since, Versions};

/// The places behind each transaction of the log, in their order, and its tables.
fn places(case: (&str, Way), lanes: u32) -> (Vec<Since>, Vec<String>) {
    let (mut world, mut dice) = (world(case, lanes), Dice(0));
    let mut process = Process::start(&world, &mut dice);
    let mut places = vec![process.flow.place()];
    while process.take(&mut world, &mut dice, false) {
        let place = process.flow.place();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }
    let lanes = undisturbed(case, lanes);
    let tables: BTreeSet<_> =
        lanes.keys().filter_map(|(lane, _)| Lane::table_of(lane)).map(|it| (it.0, it.1)).collect();
    (places, tables.into_iter().map(|(database, table)| format!("{database}.{table}")).collect())
}

/// One run, and what every process could see of the end of the log.
struct Run {
    world: World,
    process: Process,
    dice: Dice,
    places: Vec<Since>,
    tables: Vec<String>,
    /// The furthest place that was read, by its index among the places.
    read: usize,
    orders: Vec<oneshot::Receiver<crate::filter::Version>>,
}

impl Run {
    fn begin(case: (&str, Way), lanes: u32, seed: u64) -> Self {
        let (mut world, mut dice) = (world(case, lanes), Dice(seed));
        world.has_indexes = false;
        let (places, tables) = places(case, lanes);
        let process = Process::start(&world, &mut dice);
        Self { world, process, dice, places, tables, read: 0, orders: Vec::new() }
    }

    /// Filters for a part of the tables.
    fn some_filter(&mut self) -> crate::filter::Config {
        let chosen: Vec<_> = self.tables.iter().filter(|_| self.dice.below(3) > 0).collect();
        let mut texts: Vec<_> = chosen.into_iter().map(String::as_str).collect();
        texts.push("no.table");
        filter(&texts)
    }

    /// The settings change, and the process is asked to read them.
    fn reload(&mut self) {
        self.world.filter = self.some_filter();
        let (reply, holds) = oneshot::channel();
        let config = self.world.filter.clone();
        self.process.order(Order::Filter(Box::new(FilterChange { config, at_us: 1, reply })));
        self.orders.push(holds);
    }

    /// It is killed, and begins again, maybe with other settings.
    fn kill(&mut self, other_settings: bool) {
        if other_settings {
            self.world.filter = self.some_filter();
        }
        // The log has grown by what was read at least.
        let more = usize::try_from(self.dice.below(6)).expect("small");
        let end = (self.read + 1 + more).min(self.places.len() - 1);
        self.world.end = self.places[end].clone();
        self.orders.clear();
        self.process = Process::start(&self.world, &mut self.dice);
    }

    /// The next event; false at the end.
    fn take(&mut self, breaks: bool) -> bool {
        let goes_on = self.process.take(&mut self.world, &mut self.dice, breaks);
        let place = self.process.flow.place();
        let read = self.places.iter().position(|it| it.position == place.position);
        self.read = self.read.max(read.unwrap_or_default());
        goes_on
    }

    fn something_else(&mut self) {
        match self.dice.below(4) {
            0 => self.process.wait(&mut self.dice),
            1 => self.process.settle(&mut self.world, &mut self.dice),
            2 => self.process.wait_long(),
            _ => self.process.save(&mut self.world),
        }
    }

    fn finish(mut self) -> World {
        while self.take(false) {}
        self.process.finish(&mut self.world, &mut self.dice);
        self.world
    }
}

/// What the log holds by the versions of the checkpoint: whoever replays it reads it so.
fn by_versions(case: (&str, Way), lanes: u32, disturbed: &World) -> World {
    let (mut world, mut dice) = (world(case, lanes), Dice(1));
    let versions = Versions::read(&disturbed.saved.annotations).expect("own texts");
    let newest = versions.newest().cloned().expect("at least one");
    world.filter = disturbed.filter.clone();
    world.has_indexes = false;
    world.saved.annotations = disturbed.saved.annotations.clone();
    world.saved.annotations.retain(|name, _| name.starts_with("filter:"));
    assert!(newest.is_of(&world.filter), "the settings that were asked for last hold");
    let mut process = Process::start(&world, &mut dice);
    assert!(!process.flow.awaits_filters());
    while process.take(&mut world, &mut dice, false) {}
    process.finish(&mut world, &mut dice);
    world
}

/// Everything that was delivered or told has the number that the versions give it, and of what they say is
/// sent nothing is missing.
fn assert_same(case: (&str, Way), lanes: u32, seed: u64) {
    let mut run = Run::begin(case, lanes, seed);
    let (mut kills, mut breaks) = (0, 0);
    loop {
        for _ in 0..run.dice.below(4) {
            run.something_else();
        }
        // One at a time, as they come.
        let is_free = run.orders.iter().all(|it| !it.is_empty() || it.is_terminated());
        if is_free && run.dice.below(10) == 0 {
            run.reload();
        }
        if kills < KILLS_MAX && run.dice.below(20) == 0 {
            kills += 1;
            let other_settings = run.dice.below(2) == 0;
            run.kill(other_settings);
        }
        let is_break = breaks < 4 * KILLS_MAX && run.dice.below(12) == 0;
        breaks += u32::from(is_break);
        if !run.take(is_break) {
            break;
        }
    }
    // What was asked for and is not in force yet comes with the next start.
    run.kill(false);
    let found = run.finish();
    let expected = by_versions(case, lanes, &found);
    for (key, text) in &expected.delivered {
        let there = found.delivered.get(key);
        assert_eq!(there, Some(text), "{key:?} of {case:?}, seed {seed}");
    }
    // What was sent beyond lies where the versions only number, as it was sent before a kill.
    for (lane, number) in found.delivered.keys() {
        let key = (lane.clone(), *number);
        let is_known = expected.delivered.contains_key(&key) || expected.is_told(lane, *number);
        assert!(is_known, "{key:?} of {case:?} was sent, seed {seed}");
    }
}

#[test]
fn each_number_has_one_row_for_the_first_seeds() {
    for case in CASES {
        for seed in 0..12 {
            assert_same(*case, 1 + u32::try_from(seed % 3).expect("small"), seed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn each_number_has_one_row(
        case in prop::sample::select(CASES),
        lanes in 1_u32..4,
        seed: u64,
    ) {
        assert_same(case, lanes, seed);
    }
}

#[test]
fn filters_hold_from_the_end_of_a_transaction_on_once_that_is_saved() {
    let case = ("rows/mysql-9.7", Way::Gtid);
    let mut run = Run::begin(case, 1, 7);
    while run.process.flow.place() != run.places[9] {
        run.take(false);
    }
    let place = run.process.flow.place();
    run.reload();
    assert!(run.process.flow.reads_nothing(), "nothing is read before it is saved");
    let mut order = run.orders.pop().expect("it was asked for");
    assert!(order.try_recv().is_err());
    // A save of something else is not its save.
    run.process.flow.saved(&[(Arc::from("control:1"), Arc::from("{}"))].into()).expect("nothing");
    assert!(run.process.flow.reads_nothing());
    run.process.save(&mut run.world);
    assert!(!run.process.flow.reads_nothing());
    let version = order.try_recv().expect("it holds");
    assert_eq!((version.since, version.number, version.at_us), (place, 1, 1));
    let known = Versions::read(&run.world.saved.annotations).expect("own texts");
    assert!(known.newest().is_some_and(|it| it.is_of(&run.world.filter) && it.number == 1));
}

/// Up to where another process may have sent rows of other filters, these only number them. They are no rows
/// of a control, which does not wait for them.
#[test]
fn a_control_ends_while_filters_only_number_rows_of_other_tables() {
    let mut run = Run::begin(("rows/mysql-9.7", Way::Gtid), 1, 7);
    run.process.save(&mut run.world);
    run.world.filter = filter(&["no.table"]);
    run.world.end = run.places.last().expect("it has an end").clone();
    run.process = Process::start(&run.world, &mut run.dice);
    run.process.save(&mut run.world);
    run.process.order(Order::Hold(control(1, "no.table")));
    while run.process.flow.place() != run.places[9] {
        run.take(false);
    }
    let (reply, mut stopped) = oneshot::channel();
    run.process.order(Order::StopReading(Duration::from_secs(9), reply));
    let stopped = stopped.try_recv().expect("it stands between two transactions");
    assert!(stopped.lanes.iter().any(|lane| lane.rows() > 0), "rows are numbered");
    let (reply, mut live) = oneshot::channel();
    run.process.order(Order::GoLive(1, reply));
    assert!(live.try_recv().expect("it is answered"));
}
