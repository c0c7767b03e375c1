//! Debezium's change events, as its JSON converter writes them.
//!
//! Compared with what Debezium's engine makes of the same log in `tests/formats`; the differences that
//! are left are in `docs/consume/formats.md`.

mod cell;
mod column;
mod decimal;
mod schema;

pub(super) use cell::put_cell;
pub(super) use column::Column;

use super::context::{Order, RowContext};
use super::options::DebeziumOptions;
use super::tables::Tables;
use super::write::{put_escaped, put_member, put_signed, put_text, put_unsigned};
use crate::change::{Cell, Image, Op, Table, TransactionId};
use crate::encode::json::put_string;
use crate::encode::rows::GtidText;

/// Writes change events.
#[derive(Debug)]
pub(super) struct Debezium {
    options: DebeziumOptions,
    /// The first part of the names of schemas in `tables`.
    prefix: String,
    tables: Tables<Known>,
    gtid: GtidText,
}

/// What is kept of a table.
#[derive(Debug)]
struct Known {
    columns: Vec<Column>,
    /// `{"schema":..,"payload":`, in two parts: the source's schema stands between them.
    schema: [Box<[u8]>; 2],
}

impl Debezium {
    pub(super) fn new(options: DebeziumOptions) -> Self {
        Self {
            options,
            prefix: String::new(),
            tables: Tables::default(),
            gtid: GtidText::default(),
        }
    }

    /// Appends a change event; returns how many cells lost something.
    pub(super) fn row(&mut self, context: &RowContext<'_>, out: &mut Vec<u8>) -> u64 {
        let known = known(&mut self.tables, &mut self.prefix, &self.options, context);
        if self.options.schemas_enable {
            let [first, second] = &known.schema;
            out.extend_from_slice(first);
            schema::put_source(out, connector(context));
            out.extend_from_slice(second);
        }
        let change = context.change;
        out.extend_from_slice(b"{\"before\":");
        let mut lossy = put_image(out, &known.columns, change.before);
        put_member(out, "after");
        lossy += put_image(out, &known.columns, change.after);
        let gtid = self.gtid.of(&context.transaction.id);
        put_source(out, context, name(&self.options, context), gtid);
        put_member(out, "transaction");
        put_transaction(out, context, gtid);
        put_member(out, "op");
        out.extend_from_slice(op(change.op));
        let at_us = context.processed_at_us.unwrap_or(context.transaction.committed_at_us);
        put_times(out, at_us);
        out.push(b'}');
        if self.options.schemas_enable {
            out.push(b'}');
        }
        lossy
    }
}

fn known<'t>(
    tables: &'t mut Tables<Known>,
    known_prefix: &mut String,
    options: &DebeziumOptions,
    context: &RowContext<'_>,
) -> &'t Known {
    let prefix = name(options, context);
    if options.schemas_enable && known_prefix != prefix {
        prefix.clone_into(known_prefix);
        *tables = Tables::default();
    }
    tables.of(context.table, |table| {
        let known = Known::new(table, options, prefix);
        let schema: usize = known.schema.iter().map(|part| part.len()).sum();
        let bytes = schema + table.columns.len() * 128;
        (known, bytes)
    })
}

impl Known {
    fn new(table: &Table, options: &DebeziumOptions, prefix: &str) -> Self {
        let columns = columns(table, options);
        let schema = if options.schemas_enable {
            schema::of(table, &columns, prefix)
        } else {
            Default::default()
        };
        Self { columns, schema }
    }
}

/// The columns of a table.
pub(super) fn columns(table: &Table, options: &DebeziumOptions) -> Vec<Column> {
    table.columns.iter().map(|column| Column::new(column, options)).collect()
}

/// `topic.prefix`.
pub(super) fn name<'a>(options: &'a DebeziumOptions, context: &RowContext<'a>) -> &'a str {
    options.topic_prefix.as_deref().unwrap_or(&context.origin.stream)
}

/// The connector that reads such a server.
pub(super) fn connector(context: &RowContext<'_>) -> &'static str {
    match context.transaction.id {
        TransactionId::Maria(_) => "mariadb",
        TransactionId::Gtid(_) | TransactionId::Anonymous => "mysql",
    }
}

pub(super) fn op(op: Op) -> &'static [u8] {
    match op {
        Op::Insert => b"\"c\"",
        Op::Update => b"\"u\"",
        Op::Delete => b"\"d\"",
        Op::Read => b"\"r\"",
    }
}

/// Appends an image as an object; returns how many cells lost something.
pub(super) fn put_image(out: &mut Vec<u8>, columns: &[Column], image: Option<Image<'_>>) -> u64 {
    match image {
        Some(image) => put_cells(out, columns.iter().zip(image.cells())),
        None => {
            out.extend_from_slice(b"null");
            0
        }
    }
}

fn put_cells<'c>(out: &mut Vec<u8>, cells: impl Iterator<Item = (&'c Column, Cell<'c>)>) -> u64 {
    let mut lossy = 0;
    out.push(b'{');
    let start = out.len();
    for (column, cell) in cells {
        // Debezium knows no such columns: it insists on full images.
        if matches!(cell, Cell::Absent) {
            continue;
        }
        if out.len() > start {
            out.push(b',');
        }
        out.extend_from_slice(&column.key);
        lossy += u64::from(!put_cell(out, column, cell));
    }
    out.push(b'}');
    lossy
}

fn put_source(out: &mut Vec<u8>, context: &RowContext<'_>, name: &str, gtid: &str) {
    let table = context.table;
    let (position, row) = context.position();
    put_member(out, "source");
    out.extend_from_slice(b"{\"version\":");
    put_string(out, context.origin.connector_version.as_bytes());
    put_member(out, "connector");
    put_string(out, connector(context).as_bytes());
    put_member(out, "name");
    put_string(out, name.as_bytes());
    put_member(out, "ts_ms");
    let us = context.transaction.original_committed_at_us;
    put_signed(out, us.div_euclid(1000));
    put_member(out, "snapshot");
    out.extend_from_slice(snapshot(context));
    put_member(out, "db");
    put_string(out, table.database.as_bytes());
    put_member(out, "sequence");
    put_sequence(out, context);
    put_micros_and_nanos(out, us);
    put_member(out, "table");
    put_string(out, table.name.as_bytes());
    put_member(out, "server_id");
    put_unsigned(out, context.transaction.server_id.into());
    put_member(out, "gtid");
    put_text(out, Some(gtid).filter(|gtid| !gtid.is_empty()));
    put_member(out, "file");
    put_string(out, position.file.as_bytes());
    put_member(out, "pos");
    put_unsigned(out, position.offset);
    put_member(out, "row");
    put_unsigned(out, row);
    put_member(out, "thread");
    match context.thread_id {
        Some(thread) => put_unsigned(out, thread.into()),
        None => out.extend_from_slice(b"null"),
    }
    put_member(out, "query");
    put_text(out, context.query);
    out.push(b'}');
}

pub(super) fn snapshot(context: &RowContext<'_>) -> &'static [u8] {
    if context.change.op == Op::Read { b"\"incremental\"" } else { b"\"false\"" }
}

/// Free for MySQL: epoch, lane and number, by which a consumer applies each row once; and the
/// operation, as an update that changes the key is two events.
pub(super) fn put_sequence(out: &mut Vec<u8>, context: &RowContext<'_>) {
    let Some(number) = context.number else {
        out.extend_from_slice(b"null");
        return;
    };
    // A JSON array in a JSON string; nothing in a lane's name needs an escape of its own.
    out.extend_from_slice(b"\"[\\\"");
    put_unsigned(out, context.origin.epoch);
    out.extend_from_slice(b"\\\",\\\"");
    put_escaped(out, number.lane);
    out.extend_from_slice(b"\\\",\\\"");
    put_unsigned(out, number.number);
    out.extend_from_slice(b"\\\",\\\"");
    out.extend_from_slice(op(context.change.op).get(1..2).unwrap_or_default());
    out.extend_from_slice(b"\\\"]\"");
}

fn put_transaction(out: &mut Vec<u8>, context: &RowContext<'_>, gtid: &str) {
    let Some(Order { total, table, .. }) = context.order else {
        out.extend_from_slice(b"null");
        return;
    };
    out.extend_from_slice(b"{\"id\":");
    put_transaction_id(out, context, gtid);
    put_member(out, "total_order");
    put_unsigned(out, total);
    put_member(out, "data_collection_order");
    put_unsigned(out, table);
    out.push(b'}');
}

/// The GTID, or the place of the transaction.
pub(super) fn put_transaction_id(out: &mut Vec<u8>, context: &RowContext<'_>, gtid: &str) {
    if !gtid.is_empty() {
        return put_string(out, gtid.as_bytes());
    }
    let start = &context.transaction.start;
    out.extend_from_slice(b"\"file=");
    put_escaped(out, &start.file);
    out.extend_from_slice(b",pos=");
    put_unsigned(out, start.offset);
    out.push(b'"');
}

fn put_times(out: &mut Vec<u8>, us: i64) {
    put_member(out, "ts_ms");
    put_signed(out, us.div_euclid(1000));
    put_micros_and_nanos(out, us);
}

fn put_micros_and_nanos(out: &mut Vec<u8>, us: i64) {
    put_member(out, "ts_us");
    put_signed(out, us);
    put_member(out, "ts_ns");
    put_signed(out, us.saturating_mul(1000));
}
