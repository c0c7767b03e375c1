//! Rows decoded in a second by one core, beside a plain JSON parse of the same rows in Debezium's format:
//! `cargo bench -p binpulse-client --bench decode`. With `BINPULSE_BENCH_MESSAGES=FILE` it writes the messages
//! to a file, for the other languages: see `clients/bench.py`.

#![allow(clippy::cast_precision_loss, reason = "rates")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use binpulse_client::{Content, decode};
use binpulse_core::change::{LogicalType, RowBuffer, Table};
use binpulse_core::encode::formats::{DebeziumOptions, FormatOptions, Formatter, RowContext};
use binpulse_core::encode::opened::OpenedRows;
use binpulse_core::encode::testing::{OwnedChange, column, int, text, transaction};
use binpulse_core::encode::{Batch, Format, RowOptions};
use support::{finalized, lane, origin};

const ROWS: i64 = 500;

fn table() -> Arc<Table> {
    let columns = [
        ("id", LogicalType::Integer),
        ("customer", LogicalType::Text),
        ("total", LogicalType::Decimal),
        ("state", LogicalType::Enum),
        ("meta", LogicalType::Text),
        ("created", LogicalType::Datetime),
        ("updated", LogicalType::Timestamp),
    ];
    Arc::new(Table {
        database: "shop".into(),
        name: "orders".into(),
        columns: columns.map(|(name, of)| column(name, of)).to_vec(),
        primary_key: vec![0],
        named: true,
        outbox: None,
        fingerprint: 1,
    })
}

fn body(format: Format, zstd_level: i32) -> String {
    let mut batch = Batch::new(format, RowOptions::default(), table());
    for number in 0..ROWS {
        let row = |state: &str| {
            [
                int(1_000_000 + number),
                text(&format!("customer {}", number * 7_919 % 1_000)),
                text(&format!("{}.{:02}", number * 31 % 500, number % 100)),
                text(state),
                text("a short note of some words"),
                text("2026-11-20 20:12:00.123"),
                text(&format!("2026-11-20 20:{:02}:{:02}", number / 60 % 60, number % 60)),
            ]
        };
        let change = OwnedChange::update(0, &row("new"), &row("paid"));
        batch.push(1, &transaction(number.unsigned_abs()), &change.change());
    }
    finalized(&batch.take(lane(), 41).expect("rows"), zstd_level, None).body
}

/// The rows of a message as Debezium writes them, a document each.
fn debezium(body: &str) -> Vec<Vec<u8>> {
    let Ok(Content::Rows(batch)) = decode(body) else { panic!("rows") };
    let rows = OpenedRows::new(batch, |_| None).expect("they fit");
    let mut formatter = Formatter::new(FormatOptions::Debezium(DebeziumOptions::default()));
    let (origin, mut buffer) = (origin(None), RowBuffer::default());
    let documents = (0..rows.len()).map(|index| {
        let change = rows.change(index, &mut buffer).expect("a row");
        let transaction = rows.transaction(index).expect("its transaction");
        let context = RowContext::new(&origin, rows.table(), transaction, &change);
        let mut document = Vec::new();
        formatter.row(&context, &mut document);
        document
    });
    documents.collect()
}

/// Prints how many rows a second `work` takes, whose each call takes all of them.
fn measure(name: &str, bytes: usize, mut work: impl FnMut() -> usize) {
    let started = Instant::now();
    let mut rows = 0;
    while started.elapsed() < Duration::from_secs(2) {
        rows += work();
    }
    let rate = rows as f64 / started.elapsed().as_secs_f64();
    println!("{name:<44} {rate:>10.0} rows/s, {:>5.0} B a row", bytes as f64 / ROWS as f64);
}

fn cells(body: &str) -> usize {
    let Ok(Content::Rows(batch)) = decode(body) else { panic!("rows") };
    let mut rows = 0;
    for row in batch.rows() {
        let images = row.before().into_iter().chain(row.after());
        let present =
            images.flat_map(|image| image.iter()).filter(|(_, cell)| cell.as_str().is_some());
        assert!(present.count() > 0);
        rows += 1;
    }
    rows
}

/// The messages, for the benchmarks of other languages.
fn write(path: &std::ffi::OsStr) {
    let frame = body(Format::Protobuf, 0);
    let documents: Vec<_> = debezium(&frame)
        .into_iter()
        .map(|document| String::from_utf8(document).expect("JSON is text"))
        .collect();
    let all = serde_json::json!({
        "frame": frame,
        "zstd": body(Format::Protobuf, 1),
        "json": body(Format::Json, 0),
        "debezium": documents,
    });
    std::fs::write(path, all.to_string()).expect("a writable folder");
}

fn main() {
    if let Some(path) = std::env::var_os("BINPULSE_BENCH_MESSAGES") {
        write(&path);
    }
    let forms = [
        ("frame, decode and look at each value", Format::Protobuf, 0),
        ("frame with zstd, the same", Format::Protobuf, 1),
        ("JSON, the same", Format::Json, 0),
    ];
    for (name, format, level) in forms {
        let body = body(format, level);
        measure(name, body.len(), || cells(&body));
    }
    let documents = debezium(&body(Format::Protobuf, 0));
    let bytes = documents.iter().map(Vec::len).sum();
    measure("Debezium's JSON, parsed by serde_json alone", bytes, || {
        let parsed = documents
            .iter()
            .map(|document| serde_json::from_slice::<serde_json::Value>(document).expect("JSON"));
        parsed.filter(serde_json::Value::is_object).count()
    });
}
