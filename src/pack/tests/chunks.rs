//! Chunks of snapshots: their parts, and how changes tell of them.

use super::*;
use crate::change::Cell;
use crate::encode::{KeyWriter, Lane, RowsDigest, SnapshotPart};

fn config(lanes: u32, content_bytes_max: usize) -> Config {
    Config { lanes, content_bytes_max, attempt: 7, ..Config::default() }
}

fn opened(encoded: &EncodedBatch) -> proto::frame::Content {
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: usize::MAX };
    let mut finalizer = Finalizer::new(FinalizeOptions { zstd_level: 0 }).expect("a finalizer");
    open::content(&finalizer.finalize(encoded, &origin(), &topic).body).expect("a frame")
}

fn part_of(encoded: &EncodedBatch) -> proto::SnapshotPart {
    match opened(encoded) {
        proto::frame::Content::SnapshotPart(part) => part,
        other => panic!("not a part: {other:?}"),
    }
}

fn read(key: i64) -> OwnedChange {
    OwnedChange { op: Op::Read, ..OwnedChange::insert(0, &[int(key), int(key)]) }
}

/// Has a chunk of these keys packed, with touched keys of a lane.
fn chunk(
    packer: &mut Packer,
    table: &Arc<Table>,
    keys: &[i64],
    touched: &[(u32, Vec<u8>)],
    part: &SnapshotPart,
) -> Vec<EncodedBatch> {
    let (mut before, mut parts) = (Vec::new(), Vec::new());
    let mut rows = packer.begin_chunk(Instant::now(), table, &mut before);
    assert!(before.is_empty(), "nothing of the table waits");
    for key in keys {
        rows.push(3, &transaction(0), &read(*key).change());
    }
    for (lane, key) in touched {
        rows.touched(*lane, key.clone().into_boxed_slice());
    }
    rows.finish(3, &transaction(0), part, packer.sequences(), &mut parts);
    parts
}

fn whole() -> SnapshotPart {
    SnapshotPart { snapshot: "01J".into(), is_last: true, chunk: 4, ..SnapshotPart::default() }
}

/// A key that is long: a few of them are too many for one part.
fn long_key(table: &Arc<Table>, number: usize) -> Vec<u8> {
    let text = "k".repeat(30_000 + number);
    let mut key = Vec::new();
    KeyWriter::new(Format::Protobuf, table, vec![0]).put(&mut key, |_| Cell::Text(text.as_bytes()));
    key
}

/// What a batch of changes tells of parts.
fn told(encoded: &EncodedBatch) -> (u64, u32) {
    let batch = batch_of(encoded);
    (batch.snapshot_next, batch.snapshot_attempt)
}

fn keys_in(part: &proto::SnapshotPart) -> Vec<i64> {
    let rows = part.batch.as_ref().map(|batch| batch.rows.clone()).unwrap_or_default();
    let key = |row: proto::Row| {
        assert_eq!((row.op(), row.before), (proto::Op::Read, None));
        match row.after.expect("a row").values[0].kind {
            Some(proto::value::Kind::Integer(key)) => key,
            ref other => panic!("not a key: {other:?}"),
        }
    };
    rows.into_iter().map(key).collect()
}

#[test]
fn a_part_stands_behind_what_waited_and_changes_behind_it_say_so() {
    let mut packer = Packer::new(config(1, 1 << 20), Sequences::default());
    let (table, now) = (table("t", 2), Instant::now());
    let mut out = Vec::new();
    push(&mut packer, now, &table, 1, &mut out);
    push(&mut packer, now, &table, 2, &mut out);
    // What waits of the table leaves before the chunk.
    let mut rows = packer.begin_chunk(now, &table, &mut out);
    assert_eq!((out.len(), packer.open_batches()), (1, 0));
    rows.push(3, &transaction(0), &read(9).change());
    rows.finish(3, &transaction(0), &whole(), packer.sequences(), &mut out);
    push(&mut packer, now, &table, 3, &mut out);
    packer.flush_all(&mut out);
    let [first, part, behind] = &out[..] else { panic!("{} messages", out.len()) };
    assert_eq!((told(first), told(behind)), ((0, 0), (2, 7)));
    let message = part_of(part);
    let anchor = message.anchor.clone().expect("a place");
    assert_eq!((anchor.lane.as_str(), anchor.sequence_next), ("shop.t#0", 3));
    assert_eq!((message.part, message.attempt, message.attempt_part), (1, 7, 1));
    assert_eq!((message.snapshot.as_str(), message.chunk, message.last_part), ("01J", 4, true));
    let batch = message.batch.clone().expect("rows");
    assert!(batch.source.expect("a source").snapshot && batch.transactions.is_empty());
    assert_eq!((batch.sequence_first, keys_in(&message)), (0, vec![9]));
    assert_eq!((part.ack_group(), part.kind().as_str()), (3, "snapshot"));

    // A process that continues knows the numbers, and has published none of its own yet.
    let numbers: Vec<_> = packer.sequences().take_moved();
    let again = numbers.into_iter().map(|(_, key, next)| (key, next));
    let mut packer =
        Packer::new(Config { attempt: 8, ..config(1, 1 << 20) }, Sequences::restored(again));
    let mut out = Vec::new();
    push(&mut packer, now, &table, 4, &mut out);
    packer.flush_all(&mut out);
    assert_eq!(told(&out[0]), (2, 0));
    let parts = chunk(&mut packer, &table, &[], &[], &whole());
    let [part] = &parts[..] else { panic!("{} parts", parts.len()) };
    let message = part_of(part);
    assert_eq!((message.part, message.attempt, message.attempt_part), (2, 8, 2));
    assert_eq!((part.rows(), part.ack_group()), (0, 3), "a part without rows has an ack group");
    push(&mut packer, now, &table, 5, &mut out);
    packer.flush_all(&mut out);
    assert_eq!(told(&out[1]), (3, 8), "a part without rows takes a number too");
}

#[test]
fn touched_keys_take_no_more_parts_than_they_need() {
    let table = table("t", 2);
    for count in 0..10 {
        let mut packer = Packer::new(config(2, 1 << 20), Sequences::default());
        let touched: Vec<_> = (0..count).map(|key| (0, long_key(&table, key))).collect();
        let parts = chunk(&mut packer, &table, &[], &touched, &whole());
        // Three of them are more than 64 KiB; the other lane has one part without any.
        assert_eq!(parts.len(), count.div_ceil(3).max(1) + 1, "{count} keys");
    }
}

#[test]
fn who_publishes_no_parts_tells_nothing_of_them() {
    let key = Lane::notice_key_of("snapshot-shop.t#0");
    let silent = Config { attempt: 0, ..Config::default() };
    let mut packer = Packer::new(silent, Sequences::restored([(key, 5)]));
    let (table, mut out) = (table("t", 2), Vec::new());
    push(&mut packer, Instant::now(), &table, 1, &mut out);
    packer.flush_all(&mut out);
    assert_eq!(batch_of(&out[0]).snapshot_next, 0);
}

#[test]
fn digests_leave_instead_of_rows_one_for_each_lane() {
    let mut packer = Packer::new(config(3, 1 << 20), Sequences::default());
    let (table, mut parts) = (table("t", 2), Vec::new());
    let mut rows = packer.begin_chunk(Instant::now(), &table, &mut parts);
    rows.only_digests();
    let (mut space, mut all) = (Vec::new(), 0);
    for key in 0..20 {
        rows.digest(&read(key).change(), &mut space);
    }
    let part = SnapshotPart { is_last: false, ..whole() };
    rows.finish(3, &transaction(0), &part, packer.sequences(), &mut parts);
    assert_eq!(parts.len(), 3);
    for part in &parts {
        let message = part_of(part);
        assert_eq!((keys_in(&message), message.last_part), (Vec::new(), false));
        all += message.digest.expect("a digest").rows;
    }
    assert_eq!(all, 20);
    let mut one = RowsDigest::default();
    one.add(&read(5).change().after.expect("a row"), &mut space);
    assert_eq!(one.rows, 1);
}

proptest! {
    #[test]
    fn each_row_leaves_once_in_its_lane_and_numbers_have_no_gaps(
        chunks in prop::collection::vec(
            (prop::collection::vec(0..500_i64, 0..60), 0..5_usize, any::<bool>()), 1..5,
        ),
        lanes in 1..4_u32,
        content_bytes_max in 200..2_000_usize,
        splits in any::<bool>(),
    ) {
        let mut packer = Packer::new(config(lanes, content_bytes_max), Sequences::default());
        let table = table("t", 2);
        let mut next = HashMap::new();
        for (keys, touched, is_whole) in chunks {
            let touched: Vec<_> = (0..touched).map(|key| (0, long_key(&table, key))).collect();
            let part = SnapshotPart { is_last: is_whole, ..whole() };
            let mut parts = chunk(&mut packer, &table, &keys, &touched, &part);
            if splits {
                // As a topic with a small limit has it: the halves are numbered as one part was.
                parts = parts.into_iter().flat_map(|part| match part.split() {
                    Ok((first, second)) => vec![first, second],
                    Err(whole) => vec![*whole],
                }).collect();
            }
            let (mut seen, mut last, mut told) = (Vec::new(), HashMap::new(), 0);
            for part in &parts {
                let (message, lane) = (part_of(part), part.lane().key.to_string());
                let number = next.entry(lane.clone()).or_insert(1_u64);
                prop_assert_eq!(message.part, *number);
                *number += SnapshotPart::numbers(part.rows());
                prop_assert!(!last.get(&lane).copied().unwrap_or(false), "behind the last part");
                last.insert(lane, message.last_part);
                told += message.touched.len();
                // Whichever is the last of a part's rows, or keys, may be too much.
                let rows = message.batch.as_ref().map(|batch| &batch.rows[..]).unwrap_or_default();
                let bytes = |all: &[usize]| all.iter().rev().skip(1).sum::<usize>();
                let rows: Vec<_> = rows.iter().map(prost::Message::encoded_len).collect();
                let keys: Vec<_> = message.touched.iter().map(prost::Message::encoded_len).collect();
                prop_assert!(bytes(&rows) < content_bytes_max, "{rows:?}");
                prop_assert!(bytes(&keys) <= 64 << 10, "{keys:?}");
                seen.extend(keys_in(&message));
            }
            prop_assert_eq!(last.len(), lanes as usize, "each lane has a part");
            prop_assert!(last.values().all(|last| *last == is_whole));
            prop_assert_eq!(told, touched.len());
            let mut wanted = keys.clone();
            wanted.sort_unstable();
            seen.sort_unstable();
            prop_assert_eq!(seen, wanted);
        }
    }
}
