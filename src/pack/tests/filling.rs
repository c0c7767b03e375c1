//! When a message is full, how long it waits, and what is kept in memory.
#![allow(clippy::cast_precision_loss, reason = "the sizes are small")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::push;
use crate::change::Table;
use crate::encode::testing::{OwnedChange, absent, int, table, text, transaction};
use crate::encode::{EncodedBatch, Format, LaneId};
use crate::pack::{Config, Packer, Sequences};

const MS: Duration = Duration::from_millis(1);

/// What a message has besides its body's rows, about, bytes.
const ATTRIBUTES: f64 = 512.0;

/// Bytes that the rows of a batch have, by their number, if nothing ever leaves.
fn bytes_by_rows(config: &Config, table: &Arc<Table>, cell: &str, rows: usize) -> Vec<usize> {
    let endless = 1 << 30;
    let config = Config {
        body_bytes_target: endless,
        body_bytes_max: endless,
        content_bytes_max: endless,
        ..config.clone()
    };
    let mut packer = Packer::new(config, Sequences::default());
    let (now, mut out) = (Instant::now(), Vec::new());
    let mut bytes = vec![0];
    for _ in 0..rows {
        row(&mut packer, now, table, cell, &mut out);
        bytes.push(packer.open_bytes());
    }
    assert!(out.is_empty());
    bytes
}

fn row(
    packer: &mut Packer,
    now: Instant,
    table: &Arc<Table>,
    cell: &str,
    out: &mut Vec<EncodedBatch>,
) {
    let change = OwnedChange::insert(0, &[int(7), text(cell)]);
    packer.push(now, 1, &transaction(1), table, &change.change(), out);
}

/// Rows of the first message that leaves because it is full.
fn rows_until_full(packer: &mut Packer, table: &Arc<Table>, cell: &str) -> usize {
    let (now, mut out) = (Instant::now(), Vec::new());
    for rows in 1..100_000 {
        row(packer, now, table, cell, &mut out);
        if let Some(batch) = out.first() {
            assert_eq!(batch.rows() as usize, rows, "all that was gathered");
            return rows;
        }
    }
    panic!("it never becomes full");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A message is full when one row more, like those in it, would not fit into the body.
    #[test]
    fn a_message_is_full_when_the_next_row_like_its_others_would_not_fit(
        cell_bytes in 0_usize..300,
        target in 1_000_usize..6_000,
        max in 500_usize..12_000,
        content_max in 200_usize..9_000,
        is_json: bool,
        is_backed_up: bool,
        // What finalizing found, bytes of content and of body: hundreds each.
        finalized in prop::collection::vec((1_usize..200, 1_usize..400), 0..4),
    ) {
        let config = Config {
            format: if is_json { Format::Json } else { Format::Protobuf },
            body_bytes_target: target,
            body_bytes_max: max,
            content_bytes_max: content_max,
            ..Config::default()
        };
        let (table, cell) = (table("t", 2), "x".repeat(cell_bytes));
        let mut packer = Packer::new(config.clone(), Sequences::default());
        // The lane is known from its first row on.
        let mut out = Vec::new();
        row(&mut packer, Instant::now(), &table, &cell, &mut out);
        packer.flush_all(&mut out);
        prop_assert_eq!(out.len(), 1);
        let mut ratio = if is_json { 1.0 } else { 4.0 / 3.0 };
        for (content, body) in finalized {
            let (content, body) = (content * 100, body * 100);
            packer.observe_finalized(out[0].lane().id, content, body);
            packer.observe_finalized(LaneId(9), 1 << 20, 1);
            if content >= 4096 {
                // At once to the larger side, slowly to the smaller one.
                let seen = body as f64 / content as f64;
                ratio = if seen > ratio { seen } else { f64::midpoint(ratio, seen) };
            }
        }
        packer.observe_backlog(if is_backed_up { 51 } else { 50 }, 100);
        let limit = if is_backed_up { max.max(target) } else { target } as f64;
        let bytes = bytes_by_rows(&config, &table, &cell, 1 + 20_000 / (10 + cell_bytes).min(100));
        let is_full = |rows: usize| {
            let with_next = bytes[rows] + bytes[rows] / rows;
            with_next as f64 * ratio + ATTRIBUTES > limit || bytes[rows] >= content_max
        };
        let expected = (1..bytes.len()).find(|rows| is_full(*rows));
        prop_assume!(expected.is_some());
        prop_assert_eq!(Some(rows_until_full(&mut packer, &table, &cell)), expected);
    }
}

#[test]
fn what_sealing_found_counts_from_four_kilobytes_of_content_on() {
    let config = Config { body_bytes_target: 4_000, ..Config::default() };
    let (table, cell) = (table("t", 2), "x".repeat(20));
    let full_after = |content: usize| {
        let mut packer = Packer::new(config.clone(), Sequences::default());
        let mut out = Vec::new();
        row(&mut packer, Instant::now(), &table, &cell, &mut out);
        packer.flush_all(&mut out);
        packer.observe_finalized(out[0].lane().id, content, content * 10);
        rows_until_full(&mut packer, &table, &cell)
    };
    assert!(full_after(4095) > 3 * full_after(4096), "{} {}", full_after(4095), full_after(4096));
}

#[test]
fn together_batches_hold_what_they_may_and_then_the_oldest_leaves() {
    let now = Instant::now();
    let tables: Vec<_> = (0..4).map(|number| table(&format!("t{number}"), 2)).collect();
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let mut out = Vec::new();
    push(&mut packer, now, &tables[0], 1, &mut out);
    let one = packer.open_bytes();
    assert!(one > 0);

    let config = Config { open_bytes_max: 3 * one, ..Config::default() };
    let mut packer = Packer::new(config, Sequences::default());
    for number in [0, 1, 2] {
        push(&mut packer, now, &tables[number], 1, &mut out);
    }
    assert_eq!((out.len(), packer.open_batches(), packer.open_bytes()), (0, 3, 3 * one));
    push(&mut packer, now, &tables[3], 1, &mut out);
    let left: Vec<_> = out.iter().map(|batch| batch.lane().key.to_string()).collect();
    assert_eq!(left, ["shop.t0#0"]);
    assert_eq!((packer.open_batches(), packer.open_bytes(), packer.lanes()), (3, 3 * one, 4));
    // One row that is more than all may hold takes everything along.
    row(&mut packer, now, &tables[0], &"x".repeat(4 * one), &mut out);
    assert_eq!((out.len(), packer.open_batches(), packer.open_bytes()), (5, 0, 0));
}

#[test]
fn each_batch_waits_from_its_own_first_row_on() {
    let start = Instant::now();
    let (one, two) = (table("t1", 2), table("t2", 2));
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let mut out = Vec::new();
    packer.observe_backlog(100, 100);
    assert_eq!(packer.linger(), 200 * MS);
    push(&mut packer, start, &one, 1, &mut out);
    push(&mut packer, start + 100 * MS, &two, 1, &mut out);
    push(&mut packer, start + 150 * MS, &one, 2, &mut out);
    assert_eq!(packer.due(), Some(start + 200 * MS));
    // Nothing is at hand: what has not waited long enough stays.
    packer.flush_idle(start + 199 * MS, &mut out);
    assert!(out.is_empty());
    packer.flush_due(start + 200 * MS, &mut out);
    assert_eq!((out.len(), out[0].rows()), (1, 2));
    assert_eq!(packer.due(), Some(start + 300 * MS));
    push(&mut packer, start + 250 * MS, &one, 3, &mut out);
    packer.flush_idle(start + 300 * MS, &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!(packer.due(), Some(start + 450 * MS));
    packer.observe_backlog(0, 100);
    packer.flush_idle(start + 301 * MS, &mut out);
    assert_eq!((out.len(), packer.due()), (3, None));
}

#[test]
fn a_batch_that_stays_open_does_not_keep_the_record_of_all_others() {
    let config = Config { body_bytes_target: 4_000, ..Config::default() };
    let now = Instant::now();
    let (quiet, busy) = (table("quiet", 2), table("busy", 2));
    let mut packer = Packer::new(config, Sequences::default());
    let mut out = Vec::new();
    push(&mut packer, now, &quiet, 1, &mut out);
    for number in 0..2_000 {
        // Each of these is a message by itself.
        row(&mut packer, now, &busy, &"x".repeat(3_000), &mut out);
        assert_eq!((out.len(), packer.open_batches()), (number + 1, 1));
        assert!(packer.opened_entries() <= 70, "{} at {number}", packer.opened_entries());
    }
    packer.flush_all(&mut out);
    assert_eq!((out.len(), packer.open_batches()), (2_001, 0));
}

#[test]
fn updates_that_change_lanes_without_whole_images_are_counted() {
    let table = table("t", 2);
    let mut packer = Packer::new(Config { lanes: 16, ..Config::default() }, Sequences::default());
    let (now, mut out) = (Instant::now(), Vec::new());
    let mut moved = 0;
    for key in 0..64 {
        let whole = OwnedChange::update(0, &[int(key), int(1)], &[int(key + 1), int(1)]);
        packer.push(now, 1, &transaction(1), &table, &whole.change(), &mut out);
        assert_eq!(packer.unordered(), moved);
        let partial = OwnedChange::update(0, &[int(key), absent()], &[int(key + 1), int(1)]);
        let before = packer.open_bytes();
        packer.push(now, 1, &transaction(1), &table, &partial.change(), &mut out);
        assert!(packer.open_bytes() > before);
        moved = packer.unordered();
    }
    assert!((50..64).contains(&moved), "{moved} of 64");
    assert_eq!(packer.lanes(), 16);
    packer.flush_all(&mut out);
    let rows: u32 = out.iter().map(EncodedBatch::rows).sum();
    let lanes_of_one = out.iter().filter(|batch| batch.lane().number >= 16);
    assert_eq!(lanes_of_one.count(), 0);
    // Whole ones that moved are two rows each, all others one.
    assert_eq!(u64::from(rows), 64 + moved + 64);
}

#[test]
fn no_lanes_are_one_lane() {
    let mut packer = Packer::new(Config { lanes: 0, ..Config::default() }, Sequences::default());
    let mut out = Vec::new();
    push(&mut packer, Instant::now(), &table("t", 2), 1, &mut out);
    packer.flush_all(&mut out);
    assert_eq!((out.len(), packer.lanes()), (1, 1));
    assert_eq!((out[0].lane().number, out[0].lane().count), (0, 1));
}
