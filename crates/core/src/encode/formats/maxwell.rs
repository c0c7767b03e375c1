//! Maxwell's documents.

use super::context::{Order, RowContext};
use super::geometry::put_wkt;
use super::options::MaxwellOptions;
use super::tables::Tables;
use super::write::{put_escaped, put_lossy, put_member, put_signed, put_text, put_unsigned};
use crate::change::{Cell, Change, Image, LogicalType, Op, Table};
use crate::encode::json::{put_base64, put_cell as put_plain, put_document, put_string};
use crate::encode::rows::GtidText;

/// Writes documents.
#[derive(Debug)]
pub(super) struct Maxwell {
    options: MaxwellOptions,
    tables: Tables<Vec<Column>>,
    gtid: GtidText,
}

#[derive(Debug)]
struct Column {
    /// `"name":`.
    key: Box<[u8]>,
    logical_type: LogicalType,
}

impl Maxwell {
    pub(super) fn new(options: MaxwellOptions) -> Self {
        Self { options, tables: Tables::default(), gtid: GtidText::default() }
    }

    /// Appends a document; returns how many cells lost something.
    pub(super) fn row(&mut self, context: &RowContext<'_>, out: &mut Vec<u8>) -> u64 {
        let (table, change) = (context.table, context.change);
        out.extend_from_slice(b"{\"database\":");
        put_string(out, table.database.as_bytes());
        put_member(out, "table");
        put_string(out, table.name.as_bytes());
        if self.options.output_row_query && context.query.is_some() {
            put_member(out, "query");
            put_text(out, context.query);
        }
        put_member(out, "type");
        put_string(out, kind(change.op).as_bytes());
        put_member(out, "ts");
        put_signed(out, context.transaction.committed_at_us.div_euclid(1_000_000));
        self.put_circumstances(context, out);
        let columns = columns(&mut self.tables, context);
        if self.options.output_primary_keys {
            put_member(out, "primary_key");
            put_key_values(out, table, columns, change);
        }
        if self.options.output_primary_key_columns {
            put_member(out, "primary_key_columns");
            put_key_names(out, table, columns);
        }
        put_member(out, "data");
        let with_nulls = self.options.output_nulls;
        let current = change.after.or(change.before);
        let null_zerodates = self.options.output_null_zerodates;
        let mut lossy = put_object(out, columns, current, null_zerodates, |_, cell| {
            !matches!(cell, Cell::Absent) && (with_nulls || !matches!(cell, Cell::Null))
        });
        if let (Op::Update, Some(before), Some(after)) = (change.op, change.before, change.after) {
            let start = out.len();
            put_member(out, "old");
            lossy += put_object(out, columns, Some(before), null_zerodates, |ordinal, cell| {
                !matches!(cell, Cell::Absent) && cell != after.cell(ordinal)
            });
            if out.ends_with(b":{}") {
                out.truncate(start);
            }
        }
        out.push(b'}');
        lossy
    }

    /// What stands between the time and the keys.
    fn put_circumstances(&mut self, context: &RowContext<'_>, out: &mut Vec<u8>) {
        let options = &self.options;
        let is_last = context.order.and_then(|order| order.is_last);
        if options.output_commit_info {
            if let Some(xid) = context.xid {
                put_member(out, "xid");
                put_unsigned(out, xid);
            }
            if is_last == Some(true) {
                out.extend_from_slice(b",\"commit\":true");
            } else if let (true, Some(Order { total, .. })) =
                (options.output_xoffset, context.order)
            {
                put_member(out, "xoffset");
                put_unsigned(out, total.saturating_sub(1));
            }
        }
        if options.output_binlog_position {
            let (position, _) = context.position();
            put_member(out, "position");
            out.push(b'"');
            put_escaped(out, &position.file);
            out.push(b':');
            put_unsigned(out, position.offset);
            out.push(b'"');
        }
        if options.output_gtid_position {
            put_member(out, "gtid");
            let gtid = self.gtid.of(&context.transaction.id);
            put_text(out, Some(gtid).filter(|gtid| !gtid.is_empty()));
        }
        if options.output_server_id {
            put_member(out, "server_id");
            put_unsigned(out, context.transaction.server_id.into());
        }
        if let (true, Some(thread)) = (options.output_thread_id, context.thread_id) {
            put_member(out, "thread_id");
            put_unsigned(out, thread.into());
        }
    }
}

fn columns<'t>(tables: &'t mut Tables<Vec<Column>>, context: &RowContext<'_>) -> &'t [Column] {
    tables.of(context.table, |table| {
        let columns = table.columns.iter().map(|column| {
            let mut key = Vec::with_capacity(column.name.len() + 3);
            put_string(&mut key, column.name.as_bytes());
            key.push(b':');
            Column { key: key.into(), logical_type: column.logical_type }
        });
        (columns.collect(), table.columns.len() * 64)
    })
}

fn kind(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Read => "bootstrap-insert",
    }
}

fn key_columns<'c>(
    table: &'c Table,
    columns: &'c [Column],
) -> impl Iterator<Item = (usize, &'c Column)> {
    table.primary_key.iter().filter_map(|ordinal| Some((*ordinal, columns.get(*ordinal)?)))
}

fn put_key_values(out: &mut Vec<u8>, table: &Table, columns: &[Column], change: &Change<'_>) {
    out.push(b'[');
    let image = change.after.or(change.before);
    for (number, (ordinal, column)) in key_columns(table, columns).enumerate() {
        if number > 0 {
            out.push(b',');
        }
        let cell = image.map_or(Cell::Absent, |image| image.cell(ordinal));
        put_cell(out, column.logical_type, cell);
    }
    out.push(b']');
}

fn put_key_names(out: &mut Vec<u8>, table: &Table, columns: &[Column]) {
    out.push(b'[');
    for (number, (_, column)) in key_columns(table, columns).enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(column.key.strip_suffix(b":").unwrap_or_default());
    }
    out.push(b']');
}

fn put_object(
    out: &mut Vec<u8>,
    columns: &[Column],
    image: Option<Image<'_>>,
    null_zerodates: bool,
    is_wanted: impl Fn(usize, Cell<'_>) -> bool,
) -> u64 {
    let mut lossy = 0;
    out.push(b'{');
    let start = out.len();
    let cells = image.iter().flat_map(Image::cells).enumerate();
    for ((ordinal, cell), column) in cells.zip(columns) {
        if !is_wanted(ordinal, cell) {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(&column.key);
        let is_null = null_zerodates && is_zero_date(column.logical_type, cell);
        let cell = if is_null { Cell::Null } else { cell };
        lossy += u64::from(!put_cell(out, column.logical_type, cell));
    }
    out.push(b'}');
    lossy
}

/// Appends a cell; returns whether it is written without a loss.
fn put_cell(out: &mut Vec<u8>, logical_type: LogicalType, cell: Cell<'_>) -> bool {
    match (logical_type, cell) {
        (_, Cell::Omitted { .. } | Cell::JsonDiff(_)) => {
            out.extend_from_slice(b"null");
            return false;
        }
        (_, Cell::Malformed(bytes)) => return put_lossy(out, bytes),
        (LogicalType::Decimal, Cell::Text(text)) if is_number(text) => out.extend_from_slice(text),
        (LogicalType::Set, Cell::Text(text)) => put_labels(out, text),
        (LogicalType::Json, Cell::Json(json)) => {
            put_document(out, json);
            // Which is not NULL.
            return json != b"null";
        }
        (LogicalType::Geometry, Cell::Bytes(bytes)) => return put_geometry(out, bytes),
        (_, cell) => put_plain(out, cell),
    }
    true
}

fn is_zero_date(logical_type: LogicalType, cell: Cell<'_>) -> bool {
    let is_date =
        matches!(logical_type, LogicalType::Date | LogicalType::Datetime | LogicalType::Timestamp);
    is_date && matches!(cell, Cell::Text(text) if text.starts_with(b"0000-00-00"))
}

/// Whether this is a number of JSON as it stands: digits, a sign before them, a point within.
fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let is_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let whole = parts.next().unwrap_or_default();
    is_digits(whole)
        && (whole == b"0" || !whole.starts_with(b"0"))
        && parts.next().is_none_or(is_digits)
}

/// A SET as an array of its labels.
fn put_labels(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'[');
    if !text.is_empty() {
        for (number, label) in text.split(|byte| *byte == b',').enumerate() {
            if number > 0 {
                out.push(b',');
            }
            put_lossy(out, label);
        }
    }
    out.push(b']');
}

/// MySQL's 4 bytes of SRID, which are lost, and WKB.
fn put_geometry(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let start = out.len();
    out.push(b'"');
    let (srid, wkb) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    if put_wkt(out, wkb).is_none() {
        out.truncate(start);
        put_base64(out, bytes);
        return false;
    }
    out.push(b'"');
    *srid == [0; 4]
}
