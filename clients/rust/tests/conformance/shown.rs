//! What a message holds, in the form of the suite: see `conformance/README.md`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use binpulse_client::rows::{Image, Row};
use binpulse_client::{Content, Value as Cell, proto};
use serde_json::{Map, Value, json};

/// A content, by the client's own interface.
pub(crate) fn content(content: &Content) -> Value {
    match content {
        Content::Rows(batch) => {
            let mut shown = json!({"kind": "change"});
            extend(&mut shown, self::batch(batch, false));
            shown["snapshot_next"] = number(batch.snapshot_next);
            shown["snapshot_attempt"] = number(batch.snapshot_attempt);
            shown
        }
        Content::Canary(canary) => json!({
            "kind": "canary",
            "number": number(canary.number),
            "phase": name(canary.phase().as_str_name(), "CANARY_PHASE_"),
            "written_at_us": number(canary.written_at_us),
            "path": canary.path,
            "batch": canary.batch.as_ref().map(|batch| self::batch(batch, false)),
            "watermark": canary.watermark.as_ref().map(watermark),
        }),
        Content::Part(part) => self::part(part),
        Content::Mark(mark) => json!({
            "kind": "snapshot_mark",
            "source": mark.source.as_ref().map(source),
            "snapshot": mark.snapshot,
            "database": mark.database,
            "table": mark.table,
            "phase": name(mark.phase().as_str_name(), "SNAPSHOT_PHASE_"),
            "rows": number(mark.rows),
            "chunks": number(mark.chunks),
            "lanes": mark.lanes.iter().map(lane_mark).collect::<Vec<_>>(),
            "reason": mark.reason,
        }),
        Content::Heartbeat(heartbeat) => json!({
            "kind": "heartbeat",
            "source": heartbeat.source.as_ref().map(source),
            "number": number(heartbeat.number),
            "written_at_us": number(heartbeat.written_at_us),
            "gtid": heartbeat.gtid,
            "committed_at_us": number(heartbeat.committed_at_us),
            "watermark": heartbeat.watermark.as_ref().map(watermark),
        }),
        Content::Schema(change) => json!({
            "kind": "schema",
            "source": change.source.as_ref().map(source),
            "database": change.database,
            "statement": change.statement,
            "gtid": change.gtid,
            "position": change.position.as_ref().map(position),
            "committed_at_us": number(change.committed_at_us),
            "sequence": number(change.sequence),
            "lane": change.lane,
        }),
        Content::Suppressed(held) => json!({
            "kind": "suppressed",
            "source": held.source.as_ref().map(source),
            "lane": held.lane,
            "database": held.database,
            "table": held.table,
            "sequence_first": number(held.sequence_first),
            "count": number(held.count),
            "reason": held.reason,
        }),
        Content::TransactionEnd(end) => json!({
            "kind": "transaction",
            "source": end.source.as_ref().map(source),
            "gtid": end.gtid,
            "committed_at_us": number(end.committed_at_us),
            "rows": number(end.rows),
            "lanes": end.lanes.iter().map(|lane| json!({
                "lane": lane.lane,
                "sequence_first": number(lane.sequence_first),
                "rows": number(lane.rows),
            })).collect::<Vec<_>>(),
        }),
        Content::Unknown { kind } => json!({"kind": "unknown", "of": kind}),
    }
}

fn part(part: &proto::SnapshotPart) -> Value {
    let table = part.batch.as_ref().and_then(|batch| batch.table.as_ref());
    let table = table.expect("a part has its table");
    let ordinals = if part.key_columns.is_empty() { &table.primary_key } else { &part.key_columns };
    let key = |image: &proto::Image| {
        let columns = ordinals.iter().map(|at| table.columns[*at as usize].clone());
        let of_key = proto::TableSchema { columns: columns.collect(), ..table.clone() };
        let row = proto::Row { after: Some(image.clone()), ..proto::Row::default() };
        let batch =
            proto::ChangeBatch { table: Some(of_key), rows: vec![row], ..Default::default() };
        batch.rows().next().and_then(|row| row.after()).map(self::image)
    };
    json!({
        "kind": "snapshot_part",
        "snapshot": part.snapshot,
        "part": number(part.part),
        "anchor": part.anchor.as_ref().map(lane_mark),
        "chunk": number(part.chunk),
        "attempt": number(part.attempt),
        "attempt_part": number(part.attempt_part),
        "last_part": part.last_part,
        "key": ordinals.iter().map(|at| &table.columns[*at as usize].name).collect::<Vec<_>>(),
        "key_after": part.key_after.as_ref().map(key),
        "key_upto": part.key_upto.as_ref().map(key),
        "touched": part.touched.iter().map(key).collect::<Vec<_>>(),
        "rows_in_chunk": number(part.rows_in_chunk),
        "rows_superseded": number(part.rows_superseded),
        "digest": part.digest.as_ref().map(|digest| json!({
            "rows": number(digest.rows),
            "sum": format!("{:016x}", digest.sum),
            "xor": format!("{:016x}", digest.xor),
        })),
        "batch": part.batch.as_ref().map(|batch| self::batch(batch, true)),
    })
}

fn batch(batch: &proto::ChangeBatch, of_snapshot: bool) -> Value {
    let table = batch.table.as_ref().expect("a table");
    let columns = table.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": name(column.logical_type().as_str_name(), "LOGICAL_TYPE_"),
            "mysql_type": column.mysql_type,
            "nullable": column.nullable,
            "unsigned": column.unsigned,
            "members": column.members,
        })
    });
    let mut shown = json!({
        "source": batch.source.as_ref().map(source),
        "database": table.database,
        "table": table.table,
        "columns": columns.collect::<Vec<_>>(),
        "primary_key": table.primary_key.iter().map(|at| &table.columns[*at as usize].name)
            .collect::<Vec<_>>(),
        "fingerprint": format!("{:016x}", table.fingerprint),
        "lane": batch.lane,
        "lane_number": number(batch.lane_number),
        "lane_count": number(batch.lane_count),
        "rows": batch.rows().map(|row| self::row(batch, &row)).collect::<Vec<_>>(),
    });
    if !of_snapshot {
        shown["before_image"] = name(batch.before_image().as_str_name(), "BEFORE_IMAGE_");
    }
    shown
}

fn row(batch: &proto::ChangeBatch, row: &Row<'_>) -> Value {
    let mut shown = json!({
        "op": name(row.op().as_str_name(), "OP_"),
        "before": row.before().map(image),
        "after": row.after().map(image),
    });
    if let Some(transaction) = row.transaction() {
        let committed_at_us = row.committed_at_us().expect("it has a transaction");
        let original_us = committed_at_us.wrapping_add(transaction.original_committed_at_delta_us);
        extend(
            &mut shown,
            json!({
                "number": number(row.number()),
                "gtid": transaction.gtid,
                "number_in_transaction": number(row.number_in_transaction()),
                "committed_at_us": number(committed_at_us),
                "original_committed_at_us": number(original_us),
                "position": {
                    "file": batch.files[transaction.file as usize],
                    "offset": number(transaction.offset),
                },
                "server_id": number(transaction.server_id),
            }),
        );
    }
    shown
}

fn image(image: Image<'_>) -> Value {
    Value::Object(
        image.iter().map(|(column, cell)| (column.name.clone(), self::cell(&cell))).collect(),
    )
}

fn cell(cell: &Cell<'_>) -> Value {
    let floats = |elements: &[f32]| elements.iter().map(float).collect::<Vec<_>>();
    match *cell {
        Cell::Absent => json!({"absent": true}),
        Cell::Null => json!({"null": true}),
        Cell::Integer(value) => json!({"integer": number(value)}),
        Cell::Unsigned(value) => json!({"unsigned": number(value)}),
        Cell::Float(value) => json!({"float": float(&value)}),
        Cell::Double(value) => json!({"double": float(&value)}),
        Cell::Decimal(value) => json!({"decimal": value.as_str()}),
        Cell::Bit(value) => json!({"bit": number(value)}),
        Cell::Year(value) => json!({"year": number(value)}),
        Cell::Date(value) => json!({"date": value.as_str()}),
        Cell::Time(value) => json!({"time": value.as_str()}),
        Cell::Datetime(value) => json!({"datetime": value.as_str()}),
        Cell::Timestamp(value) => json!({"timestamp": value.as_str()}),
        Cell::Text(value) => json!({"text": value}),
        Cell::MalformedText(bytes) => json!({"malformed_text": STANDARD.encode(bytes)}),
        Cell::Bytes(bytes) => json!({"bytes": STANDARD.encode(bytes)}),
        Cell::Enum(value) => json!({"enum": value}),
        Cell::EnumIndex(value) => json!({"enum_index": number(value)}),
        Cell::Set(value) => json!({"set": value}),
        Cell::SetMask(value) => json!({"set_mask": number(value)}),
        Cell::Json(value) => json!({"json": value}),
        Cell::JsonDiff(value) => json!({"json_diff": value}),
        Cell::Geometry(bytes) => json!({"geometry": STANDARD.encode(bytes)}),
        Cell::Vector(elements) => json!({"vector": floats(elements)}),
        Cell::Omitted { size_bytes, sha256 } => {
            json!({"omitted": {"size_bytes": number(size_bytes), "sha256": hex(sha256)}})
        }
        _ => panic!("a value that the suite does not know"),
    }
}

pub(crate) fn watermark(mark: &proto::Watermark) -> Value {
    json!({
        "verdict": mark.verdict,
        "gtid_set": mark.gtid_set,
        "position": mark.position.as_ref().map(position),
        "lanes": mark.lanes.iter().map(lane_mark).collect::<Vec<_>>(),
        "lanes_truncated": mark.lanes_truncated,
        "certificate": mark.certificate.as_ref().map(|proof| json!({
            "heartbeat_first": number(proof.heartbeat_first),
            "heartbeat_last": number(proof.heartbeat_last),
            "user_transactions": number(proof.user_transactions),
            "proven_at_us": number(proof.proven_at_us),
        })),
        "taken_at_us": number(mark.taken_at_us),
    })
}

pub(crate) fn source(source: &proto::Source) -> Value {
    json!({
        "stream": source.stream,
        "server_uuid": source.server_uuid,
        "server_id": number(source.server_id),
        "epoch": number(source.epoch),
        "snapshot": source.snapshot,
    })
}

fn lane_mark(mark: &proto::LaneMark) -> Value {
    json!({
        "lane": mark.lane,
        "sequence_next": number(mark.sequence_next),
        "epoch": number(mark.epoch),
    })
}

fn position(place: &proto::Position) -> Value {
    json!({"file": place.file, "offset": number(place.offset)})
}

/// Integers are texts: readers that hold numbers as doubles would lose digits.
pub(crate) fn number(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

/// The shortest text that reads back the same.
pub(crate) fn float<F: Copy + Into<f64> + std::fmt::Debug>(value: &F) -> Value {
    let wide: f64 = (*value).into();
    Value::String(match () {
        () if wide.is_nan() => "NaN".to_owned(),
        () if wide.is_infinite() && wide > 0.0 => "Infinity".to_owned(),
        () if wide.is_infinite() => "-Infinity".to_owned(),
        () => format!("{value:?}"),
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(name: &str, prefix: &str) -> Value {
    Value::String(name.trim_start_matches(prefix).to_ascii_lowercase())
}

/// Adds the members of `more`.
pub(crate) fn extend(object: &mut Value, more: Value) {
    let (Value::Object(object), Value::Object(more)) = (object, more) else { panic!("objects") };
    let more: Map<String, Value> = more;
    object.extend(more);
}
