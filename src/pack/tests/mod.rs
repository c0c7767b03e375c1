mod chunks;
mod filling;
mod restarts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::change::{Op, Table, Transaction};
use crate::encode::testing::{Owned, OwnedChange, int, table, text, transaction};
use crate::encode::{
    BeforeImage, Destination, EncodedBatch, FinalizeOptions, Finalized, Finalizer, Format, Origin,
    Oversize, RowOptions, open, proto,
};
use crate::pack::{Config, Packer, Sequences};

fn origin() -> Origin {
    Origin {
        stream: "prod".into(),
        server_uuid: String::from("u"),
        server_id: 7,
        epoch: 1,
        connector_version: "0",
        snapshot: false,
        replay: None,
    }
}

fn batch_of(encoded: &EncodedBatch) -> proto::ChangeBatch {
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: usize::MAX };
    let mut finalizer =
        Finalizer::new(FinalizeOptions { zstd_level: 0 }).expect("no compressor is needed");
    match open::content(&finalizer.finalize(encoded, &origin(), &topic).body) {
        Ok(proto::frame::Content::Batch(batch)) => batch,
        other => panic!("not a batch: {other:?}"),
    }
}

fn ids(encoded: &EncodedBatch) -> Vec<i64> {
    let id = |row: &proto::Row| {
        let image = row.after.as_ref().or(row.before.as_ref()).expect("an image");
        match image.values[1].kind {
            Some(proto::value::Kind::Integer(id)) => id,
            ref other => panic!("not an id: {other:?}"),
        }
    };
    batch_of(encoded).rows.iter().map(id).collect()
}

fn push(
    packer: &mut Packer,
    now: Instant,
    table: &Arc<Table>,
    id: i64,
    out: &mut Vec<EncodedBatch>,
) {
    let change = OwnedChange::insert(0, &[int(id), int(id)]);
    packer.push(now, 1, &transaction(id as u64), table, &change.change(), out);
}

#[test]
fn a_lone_change_leaves_as_soon_as_nothing_follows() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let (table, now, mut out) = (table("t", 2), Instant::now(), Vec::new());
    push(&mut packer, now, &table, 1, &mut out);
    assert!(out.is_empty());
    packer.flush_idle(now, &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!((packer.due(), packer.open_bytes(), packer.open_batches()), (None, 0, 0));
}

#[test]
fn under_load_changes_wait_for_company_until_the_linger_ends() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let (table, mut now, mut out) = (table("t", 2), Instant::now(), Vec::new());
    for id in 0..20_000 {
        now += Duration::from_micros(100);
        push(&mut packer, now, &table, id, &mut out);
        packer.flush_idle(now, &mut out);
    }
    let alone = out.iter().filter(|encoded| encoded.rows() == 1).count();
    assert!(alone < 1_000, "{alone} of {} batches have one row", out.len());
    assert!(packer.linger() > Duration::from_millis(15), "{:?}", packer.linger());
    let due = packer.due().expect("the last rows wait");
    assert!(due <= now + packer.linger());
    out.clear();
    packer.flush_due(due, &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn a_changed_schema_begins_a_new_message_and_keeps_the_order() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let (old, now, mut out) = (table("t", 2), Instant::now(), Vec::new());
    let mut changed = Table::clone(&old);
    changed.columns[1].mysql_type = String::from("bigint");
    changed.fingerprint += 1;
    let new = Arc::new(changed);
    let same_as_old = Arc::new(Table::clone(&old));
    for (id, table) in [(1, &old), (2, &same_as_old), (3, &new), (4, &old)] {
        push(&mut packer, now, table, id, &mut out);
    }
    packer.flush_all(&mut out);
    let rows: Vec<_> = out.iter().map(ids).collect();
    assert_eq!(rows, [vec![1, 2], vec![3], vec![4]]);
    let firsts: Vec<_> = out.iter().map(EncodedBatch::sequence_first).collect();
    assert_eq!(firsts, [1, 3, 4]);
}

#[test]
fn messages_fill_to_the_step_that_is_billed_once_their_ratio_is_known() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 262_144 };
    let (table, now, mut sizes) = (table("orders", 4), Instant::now(), Vec::new());
    for id in 0..200_000_i64 {
        let customer = format!("customer {:x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64));
        let cells = [int(id), int(id), text(&customer), text("2026-11-20 20:12:00.123")];
        let mut out = Vec::new();
        let change = OwnedChange::insert(0, &cells);
        packer.push(now, 1, &transaction(id as u64 / 100), &table, &change.change(), &mut out);
        for encoded in out {
            let message = finalizer.finalize(&encoded, &origin(), &topic);
            let content = message.uncompressed_bytes as usize;
            packer.observe_finalized(message.lane, content, message.body.len());
            sizes.push(message.billed_bytes());
        }
    }
    let late = &sizes[sizes.len() / 2..];
    assert!(late.iter().all(|bytes| *bytes <= 64 << 10), "{late:?}");
    let mean = late.iter().sum::<usize>() / late.len();
    assert!(mean > 55 << 10, "on average {mean} of 65536 bytes are used");
}

#[test]
fn a_backlog_lets_messages_grow_to_the_limit_of_the_topic() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let (table, now, mut out) = (table("t", 2), Instant::now(), Vec::new());
    packer.observe_backlog(90, 100);
    let mut id = 0;
    while out.is_empty() {
        push(&mut packer, now, &table, id, &mut out);
        id += 1;
    }
    let backed_up = out[0].rows();
    packer.observe_backlog(0, 100);
    out.clear();
    while out.is_empty() {
        push(&mut packer, now, &table, id, &mut out);
        id += 1;
    }
    assert!(backed_up > 3 * out[0].rows());
}

#[test]
fn a_key_that_moves_to_another_lane_is_deleted_there_and_inserted_here() {
    let config = Config { lanes: 16, ..Config::default() };
    let mut packer = Packer::new(config, Sequences::default());
    let (table, now, mut out) = (table("t", 2), Instant::now(), Vec::new());
    let change = OwnedChange::update(5, &[int(1), int(10)], &[int(2), int(20)]);
    packer.push(now, 1, &transaction(1), &table, &change.change(), &mut out);
    packer.flush_all(&mut out);
    let [delete, insert] = out.as_slice() else { panic!("two lanes: {out:?}") };
    assert_ne!(delete.lane().key, insert.lane().key);
    assert!(delete.ops().contains(Op::Delete) && insert.ops().contains(Op::Insert));
    let rows = [&batch_of(delete).rows[0], &batch_of(insert).rows[0]].map(|row| row.row);
    assert_eq!(rows, [5, 5]);
    assert_eq!((ids(delete), ids(insert)), (vec![10], vec![20]));
}

#[test]
fn tens_of_thousands_of_idle_tables_hold_a_bounded_number_of_batches() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let (now, mut out) = (Instant::now(), Vec::new());
    for round in 0..2 {
        for number in 0..5_000 {
            push(&mut packer, now, &table(&format!("t{number}"), 2), round, &mut out);
            packer.flush_all(&mut out);
        }
    }
    assert_eq!(out.len(), 10_000);
    assert!(packer.held_batches() <= 1025, "{}", packer.held_batches());
    assert!(packer.opened_entries() < 100);
}

#[test]
fn rows_of_more_tables_than_batches_are_kept_all_leave() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    packer.observe_backlog(100, 100);
    let (now, mut out) = (Instant::now(), Vec::new());
    for round in 0..2 {
        for number in 0..3_000 {
            push(&mut packer, now, &table(&format!("t{number}"), 2), round, &mut out);
        }
    }
    assert!(out.is_empty() && packer.open_batches() == 3_000, "all of them wait");
    packer.flush_all(&mut out);
    assert_eq!(out.len(), 3_000);
    assert!(out.iter().all(|encoded| ids(encoded) == [0, 1]));
}

#[test]
fn the_linger_ends_with_the_load_also_for_rows_that_wait() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let (table, mut now, mut out) = (table("t", 2), Instant::now(), Vec::new());
    for id in 0..40_000 {
        now += Duration::from_micros(20);
        push(&mut packer, now, &table, id, &mut out);
        packer.flush_idle(now, &mut out);
    }
    // The last row came just now, and after it the load has gone.
    packer.flush_all(&mut out);
    out.clear();
    push(&mut packer, now, &table, 40_000, &mut out);
    let lingers = packer.linger();
    assert!(lingers > Duration::from_millis(90), "{lingers:?}");
    let sooner =
        (now + lingers).checked_sub(Duration::from_millis(20)).expect("it is later than that");
    packer.flush_due(sooner, &mut out);
    assert_eq!(out.len(), 1, "what waits has waited for longer than the linger of now");
    assert!(packer.linger() < lingers);
}

/// What the pipeline may do next.
#[derive(Debug, Clone)]
enum Step {
    Row { table: usize, key: i64, bytes: usize, op: Op },
    Wait(u64),
    Idle,
    Backlog(usize),
    Finalized,
}

fn any_step() -> impl Strategy<Value = Step> {
    let op = prop::sample::select(vec![Op::Insert, Op::Update, Op::Delete]);
    let bytes = prop_oneof![10 => 0..60_usize, 2 => 500..3_000_usize, 1 => 30_000..50_000_usize];
    prop_oneof![
        20 => (0..4_usize, 0..9_i64, bytes, op)
            .prop_map(|(table, key, bytes, op)| Step::Row { table, key, bytes, op }),
        3 => (0..50_000_u64).prop_map(Step::Wait),
        2 => Just(Step::Idle),
        1 => (0..120_usize).prop_map(Step::Backlog),
        1 => Just(Step::Finalized),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_row_leaves_once_in_its_lanes_order_in_time_and_within_the_limits(
        steps in prop::collection::vec(any_step(), 1..400),
        lanes in prop::sample::select(vec![1_u32, 3]),
    ) {
        let config = Config {
            lanes,
            format: Format::Protobuf,
            rows: RowOptions { before_image: BeforeImage::Full, ..RowOptions::default() },
            body_bytes_target: 8_000,
            body_bytes_max: 30_000,
            content_bytes_max: 40_000,
            linger_max: Duration::from_millis(20),
            open_bytes_max: 60_000,
            attempt: 1,
            only: Vec::new(),
        };
        let tables: Vec<_> = (0..4).map(|number| table(&format!("t{number}"), 3)).collect();
        let mut packer = Packer::new(config.clone(), Sequences::default());
        let mut now = Instant::now();
        // By lane: id and time of each row pushed; the encoded batches that came out.
        let mut wanted: HashMap<u32, Vec<i64>> = HashMap::new();
        let mut pushed_at: HashMap<i64, Instant> = HashMap::new();
        let mut found: HashMap<(Arc<str>, Arc<str>), Vec<i64>> = HashMap::new();
        let mut next: HashMap<Arc<str>, u64> = HashMap::new();
        let mut number = 0_i64;
        let mut last_sealed = None;
        let mut finish = steps.clone();
        finish.push(Step::Wait(1_000_000));
        for step in finish {
            let mut out: Vec<EncodedBatch> = Vec::new();
            match step {
                Step::Row { table, key, bytes, op } => {
                    number += 1;
                    let cells = [int(key), int(number), text(&"x".repeat(bytes))];
                    let change = match op {
                        Op::Insert | Op::Read => OwnedChange::insert(0, &cells),
                        Op::Update => OwnedChange::update(0, &cells, &cells),
                        Op::Delete => OwnedChange::delete(0, &cells),
                    };
                    let transaction: Transaction = transaction(number as u64 / 3);
                    wanted.entry(table as u32).or_default().push(number);
                    pushed_at.insert(number, now);
                    let ack_group = number as u64 / 3;
                    packer.push(now, ack_group, &transaction, &tables[table], &change.change(), &mut out);
                    prop_assert!(packer.open_bytes() <= config.open_bytes_max);
                }
                Step::Wait(us) => {
                    let until = now + Duration::from_micros(us);
                    // The pipeline sleeps until what is due.
                    while let Some(due) = packer.due().filter(|due| *due <= until) {
                        now = now.max(due);
                        let before = out.len();
                        packer.flush_due(now, &mut out);
                        prop_assert!(out.len() > before || packer.due() > Some(now));
                        for encoded in &out[before..] {
                            for id in ids(encoded) {
                                prop_assert!(now <= pushed_at[&id] + config.linger_max);
                            }
                        }
                    }
                    now = until;
                }
                Step::Idle => packer.flush_idle(now, &mut out),
                Step::Backlog(queued) => packer.observe_backlog(queued, 100),
                Step::Finalized => if let Some((lane, bytes)) = last_sealed {
                    packer.observe_finalized(lane, bytes, bytes / 2);
                }
            }
            for encoded in out {
                let batch = batch_of(&encoded);
                let next = next.entry(Arc::clone(&encoded.lane().key)).or_insert(1);
                prop_assert_eq!(encoded.sequence_first(), *next, "of {}", encoded.lane().key);
                *next += u64::from(encoded.rows());
                let rows = ids(&encoded);
                prop_assert!(encoded.rows() == 1 || encoded.len_bytes() <= 40_000 + 2 * 50_100);
                prop_assert_eq!(encoded.ack_group(), rows[0] as u64 / 3);
                let schema = batch.table.expect("always inline");
                let key = (Arc::clone(&encoded.lane().key), Arc::from(schema.table.as_str()));
                found.entry(key).or_default().extend(rows);
                last_sealed = Some((encoded.lane().id, encoded.len_bytes()));
            }
        }
        prop_assert_eq!((packer.open_batches(), packer.open_bytes()), (0, 0));
        for (number, wanted) in wanted {
            let name: Arc<str> = format!("t{number}").into();
            let lanes: Vec<_> = found.iter().filter(|((_, table), _)| *table == name).collect();
            let mut all: Vec<i64> = Vec::new();
            for (_, rows) in lanes {
                prop_assert!(rows.is_sorted(), "a lane keeps its order: {:?}", rows);
                all.extend(rows);
            }
            all.sort_unstable();
            prop_assert_eq!(all, wanted, "every row once");
        }
    }
}

#[test]
fn a_restart_numbers_the_same_rows_the_same_however_they_are_packed() {
    let (table, now) = (table("t", 2), Instant::now());
    let number = |from: i64, sequences: Sequences, every: i64| {
        let mut packer = Packer::new(Config::default(), sequences);
        let mut numbered = Vec::new();
        let mut moved = Vec::new();
        for id in from..40 {
            let mut out = Vec::new();
            push(&mut packer, now, &table, id, &mut out);
            if id == 16 {
                moved = packer.sequences().take_moved();
            }
            if id % every == 0 || id == 39 {
                packer.flush_all(&mut out);
            }
            for encoded in out {
                let rows = ids(&encoded).into_iter().zip(encoded.sequence_first()..);
                numbered.extend(rows);
            }
        }
        (numbered, moved)
    };
    let (whole, checkpoint) = number(0, Sequences::default(), 7);
    let (again, _) = number(
        17,
        Sequences::restored(checkpoint.into_iter().map(|(_, key, next)| (key, next))),
        3,
    );
    assert_eq!(again, whole[17..]);
}

#[test]
fn batches_of_a_full_lane_still_fit_their_topic_after_sealing() {
    let mut packer = Packer::new(Config::default(), Sequences::default());
    let topic = Destination { arn: "arn".into(), fifo: true, message_bytes_max: 262_144 };
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    let (table, now, mut messages) = (table("t", 3), Instant::now(), Vec::new());
    packer.observe_backlog(100, 100);
    let mut rows = 0;
    for id in 0..3_000_i64 {
        // From text that compresses well to text that does not.
        let bytes = if id < 1_500 { "x".repeat(700) } else { noise(id as u64) };
        let mut out = Vec::new();
        let cells: [Owned; 3] = [int(id), int(id), text(&bytes)];
        let change = OwnedChange::insert(0, &cells);
        packer.push(now, 1, &transaction(id as u64), &table, &change.change(), &mut out);
        if id == 2_999 {
            packer.flush_all(&mut out);
        }
        for encoded in out {
            let start = messages.len();
            finalizer.finalize_within(encoded, &origin(), &topic, Oversize::Omit, &mut messages);
            for finalized in &messages[start..] {
                let Finalized::Message(message) = finalized else { panic!("rows are small") };
                assert!(message.billed_bytes() <= 262_144);
                assert_eq!(message.omitted_cells, 0);
                assert_eq!(message.sequence_first, rows + 1);
                rows += u64::from(message.rows);
                let content = message.uncompressed_bytes as usize;
                packer.observe_finalized(message.lane, content, message.body.len());
            }
        }
    }
    assert_eq!(rows, 3_000);
}

fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..700)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'A' + (state % 58) as u8)
        })
        .collect()
}
