//! Numbers over restarts: a row has the number that it had, whatever was saved and however the rows
//! were packed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use crate::change::{Op, Table};
use crate::encode::EncodedBatch;
use crate::encode::testing::{OwnedChange, int, table, transaction};
use crate::pack::{Config, Packer, RowRange, Sequences};

/// One change of a table: its key before and after, and whether all is flushed behind it.
#[derive(Debug, Clone)]
struct Step {
    table: usize,
    op: Op,
    keys: (i64, i64),
    is_flushed: bool,
}

fn any_step() -> impl Strategy<Value = Step> {
    let op = prop::sample::select(vec![Op::Insert, Op::Update, Op::Delete]);
    (0..3_usize, op, (0..12_i64, 0..12_i64), any::<bool>())
        .prop_map(|(table, op, keys, is_flushed)| Step { table, op, keys, is_flushed })
}

/// By lane: number of the first row, and rows, of each encoded batch; joined.
type Lanes = BTreeMap<String, Vec<(u64, Op)>>;

/// A stream from step `from` on.
struct Stream {
    packer: Packer,
    lanes: Lanes,
    saved: BTreeMap<String, u64>,
}

impl Stream {
    fn new(lanes: u32, saved: BTreeMap<String, u64>) -> Self {
        let config = Config { lanes, ..Config::default() };
        let packer = Packer::new(config, Sequences::restored(saved.clone()));
        Self { packer, lanes: Lanes::new(), saved }
    }

    fn step(&mut self, number: usize, step: &Step, tables: &[Arc<Table>], flushes: bool) {
        let cells = |key: i64| [int(key), int(i64::try_from(number).expect("few steps"))];
        let (old, new) = (cells(step.keys.0), cells(step.keys.1));
        let change = match step.op {
            Op::Insert | Op::Read => OwnedChange::insert(0, &new),
            Op::Update => OwnedChange::update(0, &old, &new),
            Op::Delete => OwnedChange::delete(0, &old),
        };
        let mut out = Vec::new();
        let transaction = transaction(number as u64);
        let table = &tables[step.table];
        self.packer.push(
            Instant::now(),
            number as u64,
            &transaction,
            table,
            &change.change(),
            &mut out,
        );
        if flushes {
            self.packer.flush_all(&mut out);
        }
        self.keep(out);
    }

    fn keep(&mut self, batches: Vec<EncodedBatch>) {
        for batch in batches {
            let lane = self.lanes.entry(batch.lane().key.to_string()).or_default();
            let ops = [Op::Insert, Op::Update, Op::Delete].into_iter().zip(batch.rows_by_op());
            let mut number = batch.sequence_first();
            for (op, rows) in ops {
                for _ in 0..rows {
                    lane.push((number, op));
                    number += 1;
                }
            }
        }
    }

    /// What a checkpoint has of the numbers.
    fn save(&mut self) {
        for (_, key, next) in self.packer.sequences().take_moved() {
            self.saved.insert(key.to_string(), next);
        }
    }

    /// Everything has left: lanes with the numbers of their rows, in the order in which these left.
    fn end(mut self) -> Lanes {
        let mut out = Vec::new();
        self.packer.flush_all(&mut out);
        self.keep(out);
        self.lanes
    }
}

fn numbers(lanes: &Lanes) -> BTreeMap<String, Vec<u64>> {
    let of = |rows: &Vec<(u64, Op)>| rows.iter().map(|(number, _)| *number).collect();
    lanes.iter().map(|(lane, rows)| (lane.clone(), of(rows))).collect()
}

/// How many rows of each kind have each number at most, by lane: packing may not change it.
fn totals(lanes: &Lanes) -> BTreeMap<(String, String), usize> {
    let mut totals = BTreeMap::new();
    for (lane, rows) in lanes {
        for (_, op) in rows {
            *totals.entry((lane.clone(), format!("{op:?}"))).or_default() += 1;
        }
    }
    totals
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Of a range of a lane's rows, these leave under their numbers, and nothing else does.
    #[test]
    fn only_the_rows_that_are_asked_for_leave_and_have_their_numbers(
        steps in prop::collection::vec(any_step(), 1..80),
        lanes in prop::sample::select(vec![1_u32, 2, 3]),
        (first, length) in (1_u64..20, 1_u64..10),
        lane in prop::sample::select(vec!["db.t0#0", "db.t1#0", "db.t2#1"]),
    ) {
        let tables: Vec<_> = (0..3).map(|number| table(&format!("t{number}"), 2)).collect();
        let key = crate::encode::Lane::key_of(&tables[0].database, "t", 0);
        let lane = lane.replace("db", key.split_once('.').map_or("", |(database, _)| database));
        let only = RowRange { lane: lane.as_str().into(), first, last: first + length - 1 };
        let mut all = Stream::new(lanes, BTreeMap::new());
        let mut some = Stream::new(lanes, BTreeMap::new());
        let config = Config { lanes, only: vec![only.clone()], ..Config::default() };
        some.packer = Packer::new(config, Sequences::default());
        for (number, step) in steps.iter().enumerate() {
            all.step(number, step, &tables, false);
            some.step(number, step, &tables, step.is_flushed);
        }
        all.save();
        some.save();
        prop_assert_eq!(&all.saved, &some.saved, "all rows are numbered");
        let mut wanted = numbers(&all.end()).remove(&lane).unwrap_or_default();
        wanted.retain(|number| (only.first..=only.last).contains(number));
        let mut found = numbers(&some.end());
        prop_assert_eq!(found.remove(&lane).unwrap_or_default(), wanted);
        prop_assert!(found.values().all(Vec::is_empty), "other lanes: {:?}", found);
    }

    #[test]
    fn after_a_restart_each_lane_goes_on_without_gap_or_repetition(
        steps in prop::collection::vec(any_step(), 1..120),
        at in 0..120_usize,
        lanes in prop::sample::select(vec![1_u32, 2, 3, 7, 16]),
    ) {
        let tables: Vec<_> = (0..3).map(|number| table(&format!("t{number}"), 2)).collect();
        let at = at.min(steps.len());
        let mut whole = Stream::new(lanes, BTreeMap::new());
        let mut first = Stream::new(lanes, BTreeMap::new());
        for (number, step) in steps.iter().enumerate() {
            whole.step(number, step, &tables, step.is_flushed);
            if number < at {
                first.step(number, step, &tables, true);
            }
        }
        first.save();
        // The second process packs everything else as one, the first packed nothing together.
        let mut second = Stream::new(lanes, first.saved.clone());
        for (number, step) in steps.iter().enumerate().skip(at) {
            second.step(number, step, &tables, false);
        }
        let (whole, second) = (whole.end(), second.end());
        let mut joined = first.end();
        for (lane, rows) in second {
            joined.entry(lane).or_default().extend(rows);
        }
        prop_assert_eq!(totals(&joined), totals(&whole));
        prop_assert_eq!(numbers(&joined), numbers(&whole));
        for (lane, numbers) in numbers(&joined) {
            prop_assert!(numbers.into_iter().eq(1..=joined[&lane].len() as u64), "{}", lane);
        }
    }
}
