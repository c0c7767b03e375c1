//! One JSON document a line: what `decode` and `tail` print.

use std::io;
use std::sync::Arc;

use super::pieces::{Drain, put_in_pieces};
use super::string::put_string;
use super::time::put_time;
use super::{Keys, put_object, put_object_by};
use crate::change::{Change, Image, Position, Table, Transaction};
use crate::encode::formats::{RowContext, Tables, put_row_id};

/// Writes changes as lines of JSON.
#[derive(Debug, Default)]
pub struct Lines {
    tables: Tables<Keys>,
}

impl Lines {
    /// Appends a change as one line, its newline included. `position` is its event's. Within a long
    /// value, `drain` takes away what was gathered.
    pub fn change(
        &mut self,
        table: &Arc<Table>,
        transaction: &Transaction,
        position: &Position,
        change: &Change<'_>,
        out: &mut Vec<u8>,
        drain: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        put_front(out, table, change);
        put_place(out, transaction, position);
        put_row(out, transaction, change);
        let keys = self.keys(table);
        out.extend_from_slice(b",\"before\":");
        put_image(out, keys, change.before, drain)?;
        out.extend_from_slice(b",\"after\":");
        put_image(out, keys, change.after, drain)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    /// Appends a change as one document, without a newline, and with its number where it has one.
    pub(crate) fn row(&mut self, context: &RowContext<'_>, out: &mut Vec<u8>) {
        let RowContext { table, transaction, change, origin, .. } = context;
        put_front(out, table, change);
        if let Some(number) = context.number {
            out.extend_from_slice(b",\"id\":\"");
            put_row_id(context, out);
            out.extend_from_slice(b"\",\"stream\":");
            put_string(out, origin.stream.as_bytes());
            out.extend_from_slice(b",\"epoch\":");
            out.extend_from_slice(itoa::Buffer::new().format(origin.epoch).as_bytes());
            out.extend_from_slice(b",\"lane\":");
            put_string(out, number.lane.as_bytes());
            out.extend_from_slice(b",\"number\":");
            out.extend_from_slice(itoa::Buffer::new().format(number.number).as_bytes());
        }
        let position = context.event.map_or(&transaction.start, |event| event.position);
        put_place(out, transaction, position);
        put_row(out, transaction, change);
        let keys = self.keys(table);
        for (name, image) in [(",\"before\":", change.before), (",\"after\":", change.after)] {
            out.extend_from_slice(name.as_bytes());
            match image {
                Some(image) => put_object(out, keys, image.cells()),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.push(b'}');
    }

    /// Appends a statement as one line, its newline included. `database` is its default database;
    /// empty for none.
    pub fn schema(
        &mut self,
        database: &str,
        statement: &str,
        transaction: &Transaction,
        position: &Position,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"{\"kind\":\"schema\",\"database\":");
        if database.is_empty() {
            out.extend_from_slice(b"null");
        } else {
            put_string(out, database.as_bytes());
        }
        put_place(out, transaction, position);
        put_committed_at(out, transaction);
        out.extend_from_slice(b",\"statement\":");
        put_string(out, statement.as_bytes());
        out.extend_from_slice(b"}\n");
    }

    fn keys(&mut self, table: &Arc<Table>) -> &Keys {
        self.tables.of(table, |table| (Keys::new(table), table.columns.len() * 64))
    }
}

fn put_front(out: &mut Vec<u8>, table: &Table, change: &Change<'_>) {
    out.extend_from_slice(b"{\"kind\":\"change\",\"op\":\"");
    out.extend_from_slice(change.op.as_str().as_bytes());
    out.extend_from_slice(b"\",\"database\":");
    put_string(out, table.database.as_bytes());
    out.extend_from_slice(b",\"table\":");
    put_string(out, table.name.as_bytes());
}

fn put_row(out: &mut Vec<u8>, transaction: &Transaction, change: &Change<'_>) {
    out.extend_from_slice(b",\"row\":");
    out.extend_from_slice(itoa::Buffer::new().format(change.row).as_bytes());
    put_committed_at(out, transaction);
}

fn put_image(
    out: &mut Vec<u8>,
    keys: &Keys,
    image: Option<Image<'_>>,
    drain: &mut Drain<'_>,
) -> io::Result<()> {
    match image {
        Some(image) => {
            put_object_by(out, keys, image.cells(), |out, cell| put_in_pieces(out, cell, drain))
        }
        None => {
            out.extend_from_slice(b"null");
            Ok(())
        }
    }
}

fn put_place(out: &mut Vec<u8>, transaction: &Transaction, position: &Position) {
    out.extend_from_slice(b",\"gtid\":");
    match transaction.id.text() {
        Some(gtid) => put_string(out, gtid.as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"position\":{\"file\":");
    put_string(out, position.file.as_bytes());
    out.extend_from_slice(b",\"offset\":");
    out.extend_from_slice(itoa::Buffer::new().format(position.offset).as_bytes());
    out.push(b'}');
}

fn put_committed_at(out: &mut Vec<u8>, transaction: &Transaction) {
    out.extend_from_slice(b",\"committed_at\":");
    put_time(out, transaction.committed_at_us);
}
