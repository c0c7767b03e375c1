//! Documents of the `json` format: the content of a frame as one JSON object.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::string::put_string;
use super::time::put_time;
use crate::change::{LogicalType, Table};
use crate::encode::digest::RowsDigest;
use crate::encode::encoded_batch::{Canary, ControlMessage, Purpose, SnapshotPart};
use crate::encode::lane::Lane;
use crate::encode::options::BeforeImage;
use crate::encode::origin::Origin;
use crate::encode::proto;
use crate::encode::rows::{Entry, GtidText, Rows};

/// What stands before the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) table: &'a Table,
    /// The table's schema as [`put_schema`] wrote it.
    pub(crate) schema: &'a [u8],
    pub(crate) lane: &'a Lane,
    pub(crate) sequence_first: u64,
    pub(crate) before_image: BeforeImage,
    pub(crate) purpose: &'a Purpose,
}

/// Appends a document with rows.
pub(crate) fn put_rows(out: &mut Vec<u8>, header: &Header<'_>, rows: &Rows) {
    let part = match header.purpose {
        Purpose::Changes { .. } => {
            out.extend_from_slice(b"{\"kind\":\"change\"");
            None
        }
        Purpose::Canary(canary) => {
            put_canary(out, canary);
            None
        }
        Purpose::Snapshot(part) => {
            put_part(out, part, header);
            Some(part)
        }
    };
    put_member(out, "v", |out| put_number(out, proto_version()));
    put_member(out, "source", |out| {
        let source = source(header.origin);
        put_value(out, &if part.is_some() { of_tables(source) } else { source });
    });
    put_member(out, "database", |out| put_string(out, header.table.database.as_bytes()));
    put_member(out, "table", |out| put_string(out, header.table.name.as_bytes()));
    put_member(out, "lane", |out| put_string(out, header.lane.key.as_bytes()));
    put_member(out, "lane_number", |out| put_number(out, header.lane.number.into()));
    put_member(out, "lane_count", |out| put_number(out, header.lane.count.into()));
    if part.is_some() {
        put_member(out, "schema", |out| out.extend_from_slice(header.schema));
    } else {
        put_numbers_of_changes(out, header, rows);
    }
    put_member(out, "rows", |out| put_row_list(out, rows, part.is_none()));
    out.push(b'}');
}

fn put_numbers_of_changes(out: &mut Vec<u8>, header: &Header<'_>, rows: &Rows) {
    put_member(out, "sequence_first", |out| put_number(out, header.sequence_first));
    let before_image = match header.before_image {
        BeforeImage::Full => "full",
        BeforeImage::Changed => "changed",
        BeforeImage::Key => "key",
    };
    put_member(out, "before_image", |out| put_string(out, before_image.as_bytes()));
    put_member(out, "schema", |out| out.extend_from_slice(header.schema));
    if let Purpose::Changes { snapshot_next: next @ 1.., snapshot_attempt } = header.purpose {
        put_member(out, "snapshot_next", |out| put_number(out, *next));
        put_member(out, "snapshot_attempt", |out| put_number(out, (*snapshot_attempt).into()));
    }
    put_member(out, "transactions", |out| put_transactions(out, rows));
}

fn put_part(out: &mut Vec<u8>, part: &SnapshotPart, header: &Header<'_>) {
    out.extend_from_slice(b"{\"kind\":\"snapshot\"");
    put_member(out, "snapshot", |out| put_string(out, part.snapshot.as_bytes()));
    put_member(out, "part", |out| put_number(out, header.sequence_first));
    put_member(out, "anchor", |out| put_number(out, part.anchor));
    put_member(out, "chunk", |out| put_number(out, part.chunk));
    put_member(out, "attempt", |out| put_number(out, part.attempt.into()));
    put_member(out, "attempt_part", |out| put_number(out, part.attempt_part));
    put_member(out, "last_part", |out| put_value(out, &part.is_last.into()));
    if part.pass > 0 {
        put_member(out, "pass", |out| put_number(out, part.pass.into()));
    }
    if let Some(of) = &part.stands_for {
        put_member(out, "numbers_for", |out| put_string(out, of.audience.as_bytes()));
        put_member(out, "numbers", |out| put_number(out, of.numbers));
    }
    if !part.key_columns.is_empty() {
        put_member(out, "key_columns", |out| {
            put_list(out, part.key_columns.iter(), |out, column| put_number(out, (*column).into()));
        });
    }
    for (name, key) in [("key_after", &part.key_after), ("key_upto", &part.key_upto)] {
        if let Some(key) = key {
            put_member(out, name, |out| out.extend_from_slice(key));
        }
    }
    put_member(out, "touched", |out| {
        put_list(out, part.touched.iter(), |out, key| out.extend_from_slice(key));
    });
    put_member(out, "rows_in_chunk", |out| put_number(out, part.rows_in_chunk));
    put_member(out, "rows_superseded", |out| put_number(out, part.rows_superseded));
    if let Some(digest) = part.digest.map(RowsDigest::message) {
        let hex = |number: u64| format!("{number:016x}");
        let (sum, xor) = (hex(digest.sum), hex(digest.xor));
        let digest = json!({"rows": digest.rows, "sum": sum, "xor": xor});
        put_member(out, "digest", |out| put_value(out, &digest));
    }
}

/// The source of what was read from tables.
fn of_tables(mut source: Value) -> Value {
    source["snapshot"] = true.into();
    source
}

fn put_mark(out: &mut Vec<u8>, origin: &Origin, mark: &proto::SnapshotMark) {
    out.extend_from_slice(b"{\"kind\":\"snapshot\"");
    put_member(out, "v", |out| put_number(out, proto_version()));
    put_member(out, "source", |out| put_value(out, &of_tables(source(origin))));
    put_member(out, "snapshot", |out| put_string(out, mark.snapshot.as_bytes()));
    put_member(out, "database", |out| put_string(out, mark.database.as_bytes()));
    put_member(out, "table", |out| put_string(out, mark.table.as_bytes()));
    let phase = match mark.phase() {
        proto::SnapshotPhase::Unspecified => "unspecified",
        proto::SnapshotPhase::Started => "started",
        proto::SnapshotPhase::Done => "done",
        proto::SnapshotPhase::Abandoned => "abandoned",
    };
    put_member(out, "phase", |out| put_string(out, phase.as_bytes()));
    put_member(out, "rows_published", |out| put_number(out, mark.rows));
    put_member(out, "chunks", |out| put_number(out, mark.chunks));
    let lanes = mark.lanes.iter().map(|lane| {
        let mut mark = json!({
            "lane": lane.lane, "sequence_next": lane.sequence_next, "epoch": lane.epoch,
        });
        if lane.snapshot_next > 0 {
            mark["snapshot_next"] = lane.snapshot_next.into();
            mark["snapshot_attempt"] = lane.snapshot_attempt.into();
        }
        mark
    });
    put_member(out, "lanes", |out| put_value(out, &Value::Array(lanes.collect())));
    let reason = Some(mark.reason.as_str()).filter(|reason| !reason.is_empty());
    put_member(out, "reason", |out| put_value(out, &json!(reason)));
}

fn put_suppressed(out: &mut Vec<u8>, origin: &Origin, suppressed: &proto::Suppressed) {
    out.extend_from_slice(b"{\"kind\":\"suppressed\"");
    put_member(out, "v", |out| put_number(out, proto_version()));
    put_member(out, "source", |out| put_value(out, &source(origin)));
    for (name, text) in [
        ("lane", &suppressed.lane),
        ("database", &suppressed.database),
        ("table", &suppressed.table),
        ("reason", &suppressed.reason),
        ("by", &suppressed.by),
    ] {
        put_member(out, name, |out| put_string(out, text.as_bytes()));
    }
    put_member(out, "sequence_first", |out| put_number(out, suppressed.sequence_first));
    put_member(out, "count", |out| put_number(out, suppressed.count));
    let gtid = Some(suppressed.gtid_first.as_str()).filter(|gtid| !gtid.is_empty());
    put_member(out, "gtid_first", |out| put_value(out, &json!(gtid)));
    put_member(out, "since", |out| put_time(out, suppressed.since_us));
}

fn put_canary(out: &mut Vec<u8>, canary: &Canary) {
    out.extend_from_slice(b"{\"kind\":\"canary\"");
    if let Some(path) = &canary.path {
        put_member(out, "path", |out| put_string(out, path.as_bytes()));
    }
    put_member(out, "number", |out| put_number(out, canary.number));
    let phase = match canary.phase {
        proto::CanaryPhase::Unspecified => "unspecified",
        proto::CanaryPhase::Insert => "insert",
        proto::CanaryPhase::Update => "update",
        proto::CanaryPhase::Delete => "delete",
    };
    put_member(out, "phase", |out| put_string(out, phase.as_bytes()));
    put_member(out, "written_at", |out| put_time(out, canary.written_at_us));
    put_member(out, "watermark", |out| put_value(out, &watermark(canary.watermark.as_ref())));
    if !canary.nonce.is_empty() {
        put_member(out, "nonce", |out| put_value(out, &STANDARD.encode(&canary.nonce).into()));
    }
}

fn put_transactions(out: &mut Vec<u8>, rows: &Rows) {
    let mut gtid = GtidText::default();
    put_list(
        out,
        rows.transactions.iter().zip(rows.rows_of_transactions()),
        |out, (entry, count)| {
            put_transaction(out, entry, gtid.of(&entry.id), count);
        },
    );
}

fn put_transaction(out: &mut Vec<u8>, entry: &Entry, gtid: &str, rows: u32) {
    out.extend_from_slice(b"{\"gtid\":");
    if gtid.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        put_string(out, gtid.as_bytes());
    }
    put_member(out, "committed_at", |out| put_time(out, entry.committed_at_us));
    if entry.original_committed_at_us != entry.committed_at_us {
        put_member(out, "original_committed_at", |out| {
            put_time(out, entry.original_committed_at_us);
        });
    }
    out.extend_from_slice(b",\"position\":{\"file\":");
    put_string(out, entry.start.file.as_bytes());
    put_member(out, "offset", |out| put_number(out, entry.start.offset));
    out.push(b'}');
    put_member(out, "server_id", |out| put_number(out, entry.server_id.into()));
    put_member(out, "rows", |out| put_number(out, rows.into()));
    out.push(b'}');
}

fn put_row_list(out: &mut Vec<u8>, rows: &Rows, has_transactions: bool) {
    put_list(out, rows.iter(), |out, (mark, before, after)| {
        out.extend_from_slice(b"{\"op\":");
        put_string(out, mark.op.as_str().as_bytes());
        if has_transactions {
            put_member(out, "transaction", |out| put_number(out, mark.transaction.into()));
            put_member(out, "row", |out| put_number(out, mark.row));
        }
        put_member(out, "before", |out| out.extend_from_slice(before.unwrap_or(b"null")));
        put_member(out, "after", |out| out.extend_from_slice(after.unwrap_or(b"null")));
        out.push(b'}');
    });
}

/// Appends a document with a heartbeat or a statement.
pub(crate) fn put_notice(out: &mut Vec<u8>, origin: &Origin, control: &ControlMessage) {
    match control {
        ControlMessage::Heartbeat(heartbeat) => {
            out.extend_from_slice(b"{\"kind\":\"heartbeat\"");
            put_place(out, origin, &heartbeat.gtid, heartbeat.position.as_ref());
            put_member(out, "committed_at", |out| put_time(out, heartbeat.committed_at_us));
            put_member(out, "number", |out| put_number(out, heartbeat.number));
            put_member(out, "written_at", |out| put_time(out, heartbeat.written_at_us));
            let watermark = watermark(heartbeat.watermark.as_ref());
            put_member(out, "watermark", |out| put_value(out, &watermark));
        }
        ControlMessage::Schema(change) => {
            out.extend_from_slice(b"{\"kind\":\"schema\"");
            put_place(out, origin, &change.gtid, change.position.as_ref());
            put_member(out, "committed_at", |out| put_time(out, change.committed_at_us));
            let database = Some(change.database.as_str()).filter(|name| !name.is_empty());
            put_member(out, "database", |out| put_value(out, &json!(database)));
            put_member(out, "lane", |out| put_string(out, change.lane.as_bytes()));
            put_member(out, "sequence", |out| put_number(out, change.sequence));
            put_member(out, "statement", |out| put_string(out, change.statement.as_bytes()));
        }
        ControlMessage::SnapshotMark(mark, _) => put_mark(out, origin, mark),
        ControlMessage::Suppressed(suppressed) => put_suppressed(out, origin, suppressed),
    }
    out.push(b'}');
}

fn put_place(out: &mut Vec<u8>, origin: &Origin, gtid: &str, place: Option<&proto::Position>) {
    put_member(out, "v", |out| put_number(out, proto_version()));
    put_member(out, "source", |out| put_value(out, &source(origin)));
    let gtid = Some(gtid).filter(|gtid| !gtid.is_empty());
    put_member(out, "gtid", |out| put_value(out, &json!(gtid)));
    put_member(out, "position", |out| put_value(out, &position(place)));
}

/// Appends a table's schema as an object.
pub(crate) fn put_schema(out: &mut Vec<u8>, table: &Table) {
    let columns: Vec<Value> = table.columns.iter().map(column).collect();
    let key: Vec<&str> = table
        .primary_key
        .iter()
        .filter_map(|ordinal| table.columns.get(*ordinal))
        .map(|column| column.name.as_str())
        .collect();
    let fingerprint = format!("{:016x}", table.fingerprint);
    let schema = json!({
        "columns": columns, "primary_key": key, "fingerprint": fingerprint,
        "columns_named": table.named,
    });
    put_value(out, &schema);
}

fn column(column: &crate::change::Column) -> Value {
    json!({
        "name": column.name, "type": type_name(column.logical_type),
        "mysql_type": column.mysql_type, "nullable": column.nullable, "unsigned": column.unsigned,
        "charset": column.charset, "collation": column.collation, "members": column.members,
        "invisible": !column.visible,
    })
}

fn type_name(logical_type: LogicalType) -> &'static str {
    match logical_type {
        LogicalType::Integer => "integer",
        LogicalType::Float => "float",
        LogicalType::Double => "double",
        LogicalType::Decimal => "decimal",
        LogicalType::Bit => "bit",
        LogicalType::Year => "year",
        LogicalType::Date => "date",
        LogicalType::Time => "time",
        LogicalType::Datetime => "datetime",
        LogicalType::Timestamp => "timestamp",
        LogicalType::Text => "text",
        LogicalType::Binary => "binary",
        LogicalType::Enum => "enum",
        LogicalType::Set => "set",
        LogicalType::Json => "json",
        LogicalType::Geometry => "geometry",
        LogicalType::Vector => "vector",
    }
}

fn source(origin: &Origin) -> Value {
    json!({
        "stream": &*origin.stream, "server_uuid": origin.server_uuid, "server_id": origin.server_id,
        "epoch": origin.epoch, "connector_version": origin.connector_version,
        "snapshot": origin.snapshot,
    })
}

fn position(position: Option<&proto::Position>) -> Value {
    position.map_or(Value::Null, |place| json!({"file": place.file, "offset": place.offset}))
}

fn watermark(watermark: Option<&proto::Watermark>) -> Value {
    let Some(watermark) = watermark else {
        return Value::Null;
    };
    let lanes: Vec<Value> = watermark
        .lanes
        .iter()
        .map(|mark| {
            json!({"lane": mark.lane, "sequence_next": mark.sequence_next, "epoch": mark.epoch})
        })
        .collect();
    let certificate = watermark.certificate.as_ref().map(|proof| {
        json!({
            "heartbeat_first": proof.heartbeat_first, "heartbeat_last": proof.heartbeat_last,
            "gtid_set_first": proof.gtid_set_first, "gtid_set_last": proof.gtid_set_last,
            "user_transactions": proof.user_transactions,
            "filtered_transactions": proof.filtered_transactions,
            "heartbeat_transactions": proof.heartbeat_transactions,
            "canary_transactions": proof.canary_transactions,
            "proven_at_us": proof.proven_at_us,
        })
    });
    json!({
        "verdict": watermark.verdict, "server_uuid": watermark.server_uuid,
        "gtid_set": watermark.gtid_set, "position": position(watermark.position.as_ref()),
        "lanes": lanes, "lanes_truncated": watermark.lanes_truncated, "certificate": certificate,
        "taken_at_us": watermark.taken_at_us,
    })
}

fn proto_version() -> u64 {
    crate::encode::open::FORMAT_VERSION.into()
}

fn put_list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

fn put_member(out: &mut Vec<u8>, name: &str, put: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    put(out);
}

fn put_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a small value of our own making.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    super::string::put_document(out, value.to_string().as_bytes());
}
