//! CloudEvents 1.0 in structured mode.

use super::context::{RowContext, put_row_id};
use super::debezium::{self, Column};
use super::options::{CloudEventsOptions, CloudEventsStyle};
use super::tables::Tables;
use super::write::{put_escaped, put_member, put_signed, put_text, put_unsigned};
use crate::change::{Cell, Image, Op, Table};
use crate::encode::json::{Keys, put_object, put_string, put_time};
use crate::encode::lane::percent_encode_but;
use crate::encode::rows::GtidText;

/// Writes events.
#[derive(Debug)]
pub(super) struct CloudEvents {
    options: CloudEventsOptions,
    tables: Tables<Known>,
    gtid: GtidText,
    /// Of a key's values.
    space: Vec<u8>,
}

/// What is kept of a table: the names of its columns, or in Debezium's style its columns.
#[derive(Debug)]
struct Known {
    keys: Keys,
    columns: Vec<Column>,
    /// `shop.orders`, escaped.
    name: Box<str>,
}

impl CloudEvents {
    pub(super) fn new(options: CloudEventsOptions) -> Self {
        Self { options, tables: Tables::default(), gtid: GtidText::default(), space: Vec::new() }
    }

    pub(super) fn splits_key_changes(&self) -> bool {
        self.options.style == CloudEventsStyle::Debezium
    }

    /// Appends an event; returns how many cells lost something.
    pub(super) fn row(&mut self, context: &RowContext<'_>, out: &mut Vec<u8>) -> u64 {
        let Self { options, tables, gtid, space } = self;
        let known = tables.of(context.table, |table| Known::new(table, options));
        let gtid = gtid.of(&context.transaction.id);
        out.extend_from_slice(b"{\"id\":\"");
        put_row_id(context, out);
        if options.style == CloudEventsStyle::Debezium {
            // One row may be two events.
            out.push(b'/');
            out.extend_from_slice(context.change.op.as_str().as_bytes());
        }
        out.push(b'"');
        put_member(out, "source");
        put_source(out, options, context);
        out.extend_from_slice(b",\"specversion\":\"1.0\"");
        put_member(out, "type");
        put_type(out, options.style, context);
        put_member(out, "time");
        put_time(out, context.transaction.committed_at_us);
        out.extend_from_slice(b",\"datacontenttype\":\"application/json\"");
        match options.style {
            CloudEventsStyle::Binpulse => {
                put_member(out, "subject");
                put_subject(out, known, context, space);
                put_extensions(out, context, gtid);
            }
            CloudEventsStyle::Debezium => put_debezium_extensions(out, options, context, gtid),
        }
        if let Some(traceparent) = context.traceparent {
            put_member(out, "traceparent");
            put_string(out, traceparent.as_bytes());
        }
        put_member(out, "data");
        let change = context.change;
        let mut lossy = 0;
        for (name, image) in [("{\"before\":", change.before), (",\"after\":", change.after)] {
            out.extend_from_slice(name.as_bytes());
            match (options.style, image) {
                (CloudEventsStyle::Debezium, image) => {
                    lossy += debezium::put_image(out, &known.columns, image);
                }
                (CloudEventsStyle::Binpulse, Some(image)) => {
                    put_object(out, &known.keys, image.cells());
                }
                (CloudEventsStyle::Binpulse, None) => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b"}}");
        lossy
    }
}

impl Known {
    fn new(table: &Table, options: &CloudEventsOptions) -> (Self, usize) {
        let mut name = String::new();
        percent_encode_but(&table.database, b"_-$", &mut name);
        name.push('.');
        percent_encode_but(&table.name, b"_-$", &mut name);
        let is_debezium = options.style == CloudEventsStyle::Debezium;
        let known = Self {
            keys: if is_debezium { Keys::default() } else { Keys::new(table) },
            columns: if is_debezium {
                debezium::columns(table, &options.debezium)
            } else {
                Vec::new()
            },
            name: name.into(),
        };
        (known, table.columns.len() * 128)
    }
}

/// The stream, and not its server: after a failover the same rows have the same ids.
fn put_source(out: &mut Vec<u8>, options: &CloudEventsOptions, context: &RowContext<'_>) {
    let name = match options.style {
        CloudEventsStyle::Binpulse => {
            out.extend_from_slice(b"\"/binpulse/");
            &*context.origin.stream
        }
        CloudEventsStyle::Debezium => {
            out.extend_from_slice(b"\"/debezium/");
            out.extend_from_slice(debezium::connector(context).as_bytes());
            out.push(b'/');
            debezium::name(&options.debezium, context)
        }
    };
    put_escaped(out, name);
    out.push(b'"');
}

fn put_type(out: &mut Vec<u8>, style: CloudEventsStyle, context: &RowContext<'_>) {
    match style {
        CloudEventsStyle::Binpulse if context.change.op == Op::Read => {
            out.extend_from_slice(b"\"binpulse.read.v1\"");
        }
        CloudEventsStyle::Binpulse => out.extend_from_slice(b"\"binpulse.change.v1\""),
        CloudEventsStyle::Debezium => {
            out.extend_from_slice(b"\"io.debezium.connector.");
            out.extend_from_slice(debezium::connector(context).as_bytes());
            out.extend_from_slice(b".DataChangeEvent\"");
        }
    }
}

/// `shop.orders/1004`: the table, and the values of the primary key with commas between them.
fn put_subject(out: &mut Vec<u8>, known: &Known, context: &RowContext<'_>, space: &mut Vec<u8>) {
    out.push(b'"');
    put_escaped(out, &known.name);
    let image = context.change.after.or(context.change.before);
    for (number, ordinal) in context.table.primary_key.iter().enumerate() {
        out.push(if number == 0 { b'/' } else { b',' });
        put_key(out, image, *ordinal, space);
    }
    out.push(b'"');
}

fn put_key(out: &mut Vec<u8>, image: Option<Image<'_>>, ordinal: usize, space: &mut Vec<u8>) {
    let cell = image.map_or(Cell::Absent, |image| image.cell(ordinal));
    if let Cell::Text(text) = cell {
        for chunk in text.utf8_chunks() {
            put_escaped(out, chunk.valid());
        }
        return;
    }
    space.clear();
    crate::encode::json::put_cell(space, cell);
    let plain = space.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    put_escaped(out, std::str::from_utf8(plain.unwrap_or(space)).unwrap_or_default());
}

fn put_extensions(out: &mut Vec<u8>, context: &RowContext<'_>, gtid: &str) {
    let mut text = |name: &str, value: &str| {
        put_member(out, name);
        put_string(out, value.as_bytes());
    };
    text("binpulseop", context.change.op.as_str());
    text("binpulsedatabase", &context.table.database);
    text("binpulsetable", &context.table.name);
    if !gtid.is_empty() {
        text("binpulsegtid", gtid);
    }
    if let Some(number) = context.number {
        // Order holds within a lane.
        text("partitionkey", number.lane);
        put_member(out, "sequence");
        put_padded(out, number.number);
        put_member(out, "binpulseepoch");
        put_quoted(out, context.origin.epoch);
    }
}

/// Extensions of Debezium's converter, in its order: nearly all of them texts.
fn put_debezium_extensions(
    out: &mut Vec<u8>,
    options: &CloudEventsOptions,
    context: &RowContext<'_>,
    gtid: &str,
) {
    let (position, row) = context.position();
    let us = context.transaction.original_committed_at_us;
    put_member(out, "iodebeziumop");
    out.extend_from_slice(debezium::op(context.change.op));
    put_extension(out, "version", Some(context.origin.connector_version));
    put_extension(out, "connector", Some(debezium::connector(context)));
    put_extension(out, "name", Some(debezium::name(&options.debezium, context)));
    put_signed_extension(out, "tsms", us.div_euclid(1000));
    put_member(out, "iodebeziumsnapshot");
    out.extend_from_slice(debezium::snapshot(context));
    put_extension(out, "db", Some(&context.table.database));
    put_member(out, "iodebeziumsequence");
    debezium::put_sequence(out, context);
    put_signed_extension(out, "tsus", us);
    put_signed_extension(out, "tsns", us.saturating_mul(1000));
    put_extension(out, "table", Some(&context.table.name));
    put_number_extension(out, "serverid", Some(context.transaction.server_id.into()));
    put_extension(out, "gtid", Some(gtid).filter(|gtid| !gtid.is_empty()));
    put_extension(out, "file", Some(&position.file));
    put_number_extension(out, "pos", Some(position.offset));
    put_member(out, "iodebeziumrow");
    put_unsigned(out, row);
    put_number_extension(out, "thread", context.thread_id.map(u64::from));
    put_extension(out, "query", context.query);
    put_member(out, "iodebeziumtxid");
    match context.order {
        Some(_) => debezium::put_transaction_id(out, context, gtid),
        None => out.extend_from_slice(b"null"),
    }
    put_number_extension(out, "txtotalorder", context.order.map(|order| order.total));
    put_number_extension(out, "txdatacollectionorder", context.order.map(|order| order.table));
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"iodebezium");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn put_extension(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    put_name(out, name);
    put_text(out, value);
}

fn put_signed_extension(out: &mut Vec<u8>, name: &str, value: i64) {
    put_name(out, name);
    out.push(b'"');
    put_signed(out, value);
    out.push(b'"');
}

fn put_number_extension(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    put_name(out, name);
    match value {
        Some(value) => put_quoted(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn put_quoted(out: &mut Vec<u8>, value: u64) {
    out.push(b'"');
    put_unsigned(out, value);
    out.push(b'"');
}

/// With zeros in front, so that numbers are in order as texts.
fn put_padded(out: &mut Vec<u8>, value: u64) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value);
    out.push(b'"');
    out.resize(out.len() + 20_usize.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits.as_bytes());
    out.push(b'"');
}
