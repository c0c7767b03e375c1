//! Histories of one lane's rows and snapshot parts, made by the encoder, with what is to be done at each
//! step: `conformance/parts.json`. Who changes them reads the difference: `BINPULSE_TEST_REGENERATE=1`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::ledger::Waits;
use binpulse_client::{Content, Message as Decoded, proto};
use binpulse_core::change::{Change, Op, Table};
use binpulse_core::encode::opened::OpenedRows;
use binpulse_core::encode::testing::{OwnedChange, OwnedImage, int, table, text, transaction};
use binpulse_core::encode::{
    Batch, Destination, EncodedBatch, FinalizeOptions, Finalizer, Format, KeyWriter, Lane, LaneId,
    Origin, RowOptions, SnapshotPart, StandsFor, control_message,
};
use serde_json::{Value, json};

use super::order::{Entry, LaneOrder, Rows};
use super::parts::Part;

/// Who reads: it gets what is for all, and what is for it.
const READER: &str = "partners";

fn lane() -> Lane {
    Lane { id: LaneId(0), key: "shop.orders#0".into(), number: 0, count: 1 }
}

fn orders() -> Arc<Table> {
    let mut orders = (*table("orders", 2)).clone();
    orders.primary_key = vec![0];
    if let Some(column) = orders.columns.first_mut() {
        column.logical_type = binpulse_core::change::LogicalType::Integer;
    }
    Arc::new(orders)
}

fn body(batch: &EncodedBatch) -> String {
    let origin = Origin {
        stream: "prod".into(),
        server_uuid: String::from("u-u"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.1.0",
        snapshot: false,
        replay: None,
    };
    let topic = Destination { arn: "arn".into(), fifo: false, message_bytes_max: 1 << 20 };
    let mut finalizer = Finalizer::new(FinalizeOptions::default()).expect("zstd starts");
    finalizer.finalize(batch, &origin, &topic).body
}

fn batch(keys: impl Iterator<Item = u64>, op: Op) -> Batch {
    let mut batch = Batch::new(Format::Json, RowOptions::default(), orders());
    for key in keys {
        let cells = [int(key.cast_signed()), text("v")];
        let change = OwnedChange::insert(key, &cells);
        batch.push(1, &transaction(1), &Change { op, ..change.change() });
    }
    batch
}

/// Rows `first` and `count - 1` more, behind the parts below `snapshot.0` of the attempt `snapshot.1`.
fn rows(first: u64, count: u64, snapshot: (u64, u32)) -> String {
    let batch = batch(first..first + count, Op::Insert).take(lane(), first).expect("rows");
    body(&batch.before_snapshot_part(snapshot.0, snapshot.1))
}

/// A part with two rows of the chunk with these keys.
fn part(number: u64, (attempt, attempt_part): (u32, u64), anchor: u64, chunk: u64) -> String {
    of_part(number, chunk * 10 - 9..chunk * 10 - 7, &told(attempt, attempt_part, anchor, chunk))
}

fn told(attempt: u32, attempt_part: u64, anchor: u64, chunk: u64) -> SnapshotPart {
    let key = |key: u64| {
        let cells = OwnedImage::new(&[int(key.cast_signed())]);
        let mut out = Vec::new();
        let writer = KeyWriter::new(Format::Json, &orders(), vec![0]);
        writer.put(&mut out, |ordinal| cells.image().cell(ordinal));
        Arc::<[u8]>::from(out)
    };
    SnapshotPart {
        snapshot: "01JD1QW3G7ZZZZZZZZZZZZZZZZ".into(),
        anchor,
        chunk,
        attempt,
        attempt_part,
        is_last: true,
        key_after: (chunk > 1).then(|| key((chunk - 1) * 10)),
        key_upto: Some(key(chunk * 10)),
        rows_in_chunk: 2,
        ..SnapshotPart::default()
    }
}

fn of_part(number: u64, keys: std::ops::Range<u64>, part: &SnapshotPart) -> String {
    let batch = batch(keys, Op::Read).take_part(1, &transaction(1), lane());
    body(&batch.into_snapshot_part(number, part.clone()))
}

/// What others than `audience` get instead of its parts.
fn instead(number: u64, numbers: u64, audience: &str) -> String {
    let stands_for = Some(StandsFor { audience: audience.into(), numbers });
    let part = told(1, 1, 1, 1);
    let part = SnapshotPart { stands_for, is_last: false, key_upto: None, ..part };
    of_part(number, 0..0, &part)
}

fn mark(phase: proto::SnapshotPhase, next: u64, part: (u64, u32)) -> String {
    let mark = proto::SnapshotMark {
        snapshot: "01JD1QW3G7ZZZZZZZZZZZZZZZZ".into(),
        database: "shop".into(),
        table: "orders".into(),
        phase: phase.into(),
        lanes: vec![proto::LaneMark {
            lane: "shop.orders#0".into(),
            sequence_next: next,
            epoch: 3,
            snapshot_next: part.0,
            snapshot_attempt: part.1,
        }],
        ..proto::SnapshotMark::default()
    };
    let own =
        Lane { id: LaneId(1), key: Lane::notice_key_of("snapshot").into(), number: 0, count: 1 };
    body(&control_message::snapshot_mark(Format::Json, own, 1, 1, mark, None))
}

/// A name, the numbers that the reader's store has (0: none), and what comes when, seconds.
type History = (&'static str, (u64, Option<(u32, u64)>), Vec<(u64, Option<String>)>);

fn histories() -> Vec<History> {
    let one = (1, 1);
    let new = (0, None);
    let known = (1, Some((1, 1)));
    let done = proto::SnapshotPhase::Done;
    let come = |bodies: Vec<String>| {
        bodies.into_iter().enumerate().map(|(at, body)| (at as u64, Some(body))).collect::<Vec<_>>()
    };
    let then = |mut steps: Vec<(u64, Option<String>)>, at: &[u64]| {
        steps.extend(at.iter().map(|at| (*at, None)));
        steps
    };
    vec![
        (
            "in-order",
            new,
            come(vec![
                part(1, one, 1, 1),
                part(3, one, 1, 2),
                rows(1, 2, (5, 1)),
                part(5, one, 3, 3),
            ]),
        ),
        ("a-part-waits-for-rows", known, come(vec![part(1, one, 3, 1), rows(1, 2, (1, 0))])),
        ("rows-wait-for-a-part", known, come(vec![rows(1, 2, (3, 1)), part(1, one, 1, 1)])),
        (
            "duplicates",
            known,
            come(vec![
                part(1, one, 1, 1),
                part(1, one, 1, 1),
                part(3, one, 1, 2),
                part(1, one, 1, 1),
            ]),
        ),
        (
            "read-again-after-a-restart",
            known,
            come(vec![
                part(1, one, 1, 1),
                part(5, one, 1, 3),
                part(3, (2, 3), 1, 2),
                part(5, (2, 3), 1, 3),
                part(3, one, 1, 2),
            ]),
        ),
        (
            "a-lost-part",
            known,
            then(come(vec![part(1, one, 1, 1), part(5, one, 1, 3)]), &[300, 301]),
        ),
        ("a-lost-part-in-front-of-rows", known, then(come(vec![rows(1, 2, (3, 1))]), &[299, 300])),
        (
            "the-last-part-is-lost",
            known,
            then(come(vec![part(1, one, 1, 1), mark(done, 1, (5, 1))]), &[300, 301]),
        ),
        (
            "parts-of-others",
            known,
            come(vec![rows(1, 1, (7, 1)), instead(1, 6, "billing"), part(7, one, 2, 1)]),
        ),
        (
            "ones-own-parts",
            known,
            come(vec![instead(1, 2, READER), part(1, one, 1, 1), rows(1, 1, (3, 1))]),
        ),
        (
            "joined-later",
            new,
            then(come(vec![part(13, one, 40, 2), part(11, one, 40, 1)]), &[59, 60]),
        ),
    ]
}

/// What the ledger does with a body, or as time passes.
fn step(order: &mut LaneOrder<String>, body: Option<&str>, now: Duration) -> Value {
    let content = body.map(|body| {
        let message = Decoded::new(body, std::collections::BTreeMap::default()).expect("a message");
        message.decode().expect("a content")
    });
    let opened = |batch| OpenedRows::new(batch, |_| None).expect("consistent");
    match content {
        Some(Content::Rows(batch)) => {
            let rows = opened(batch);
            let (first, count) = (rows.first(), rows.len() as u64);
            let content = format!("rows {first} to {}", first + count - 1);
            order.offer(Rows { first, count, snapshot: rows.snapshot(), content }, now);
        }
        Some(Content::Part(mut part)) if part.numbers_for != READER => {
            let rows = opened(part.batch.take().expect("a batch"));
            let content = format!("part {} of attempt {}", part.part, part.attempt);
            order.offer_part(Part::of(&part, &rows, content), now);
        }
        Some(Content::Mark(mark)) => {
            let place = mark.lanes.first().expect("a lane");
            let is_start = mark.phase() == proto::SnapshotPhase::Started;
            let part = (place.snapshot_next, place.snapshot_attempt);
            order.mark(is_start, place.sequence_next, part, now);
        }
        Some(Content::Part(_)) | None => {}
        Some(other) => panic!("no history has {other:?}"),
    }
    assert_eq!(order.missing(now), None, "no row is lost in these histories");
    let mut missing = order.missing_parts(now);
    if let Some(gap) = missing.filter(|gap| gap.is_beginning) {
        order.pass_parts(gap);
        missing = None;
    }
    let (mut apply, mut skip) = (Vec::new(), Vec::new());
    while let Some(entry) = order.take(now) {
        match entry {
            Entry::Rows { rows, skip: 0 } => apply.push(rows.content),
            Entry::Rows { rows, .. } => panic!("no history cuts {}", rows.content),
            Entry::Part(part) => apply.push(part.content),
            Entry::Nothing(content) | Entry::Late(content) => skip.push(content),
        }
    }
    let (next, due) = order.begun();
    let missing = missing.map(|gap| {
        let (after, upto) = order.range(gap);
        json!({"first": gap.first.to_string(), "last": gap.last().to_string(), "after": after, "upto": upto})
    });
    json!({
        "at": now.as_secs(), "body": body, "apply": apply, "skip": skip, "missing": missing,
        "next": next.map(|next| next.to_string()),
        "part": due.map(|(attempt, part)| json!({"attempt": attempt, "part": part.to_string()})),
    })
}

#[test]
fn the_histories_of_parts_are_what_the_encoder_and_the_ledger_make() {
    let mut lines = Vec::new();
    for (name, (next, due), steps) in histories() {
        let mut order = LaneOrder::new(next, due, true, Waits::default(), Duration::ZERO);
        let mut step = |(at, body): (u64, Option<String>)| {
            step(&mut order, body.as_deref(), Duration::from_secs(at))
        };
        let steps: Vec<_> = steps.into_iter().map(&mut step).collect();
        let part = due.map(|(attempt, part)| json!({"attempt": attempt, "part": part.to_string()}));
        let next = (next > 0).then(|| next.to_string());
        let case =
            json!({"name": name, "reader": READER, "next": next, "part": part, "steps": steps});
        lines.push(case.to_string());
    }
    let made = format!("[\n{}\n]\n", lines.join(",\n"));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../conformance/parts.json");
    if std::env::var("BINPULSE_TEST_REGENERATE").is_ok() {
        std::fs::write(&path, &made).expect("a writable folder");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
    let case = differs.map(|(_, made)| made.chars().take(200).collect::<String>());
    assert!(kept == made, "parts differs: {case:?}; set BINPULSE_TEST_REGENERATE=1 if it may");
}
