//! One JSON document a line: what `decode` and `tail` print.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::pieces::{Drain, put_in_pieces};
use super::string::put_string;
use super::time::put_time;
use super::{Keys, put_object_by};
use crate::change::{Change, Image, Position, Table, Transaction};

/// Schemas whose column names are kept ready.
const TABLES_MAX: usize = 4096;

/// Writes changes as lines of JSON.
#[derive(Debug, Default)]
pub struct Lines {
    tables: HashMap<u64, (Arc<Table>, Keys)>,
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
        out.extend_from_slice(b"{\"kind\":\"change\",\"op\":\"");
        out.extend_from_slice(change.op.as_str().as_bytes());
        out.extend_from_slice(b"\",\"database\":");
        put_string(out, table.database.as_bytes());
        out.extend_from_slice(b",\"table\":");
        put_string(out, table.name.as_bytes());
        put_place(out, transaction, position);
        out.extend_from_slice(b",\"row\":");
        out.extend_from_slice(itoa::Buffer::new().format(change.row).as_bytes());
        put_committed_at(out, transaction);
        let keys = self.keys(table);
        out.extend_from_slice(b",\"before\":");
        put_image(out, keys, change.before, drain)?;
        out.extend_from_slice(b",\"after\":");
        put_image(out, keys, change.after, drain)?;
        out.extend_from_slice(b"}\n");
        Ok(())
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
        if self.tables.len() >= TABLES_MAX && !self.tables.contains_key(&table.fingerprint) {
            self.tables.clear();
        }
        let fresh = || (Arc::clone(table), Keys::new(table));
        let known = self.tables.entry(table.fingerprint).or_insert_with(fresh);
        if !Arc::ptr_eq(&known.0, table) && known.0 != *table {
            *known = fresh();
        }
        &known.1
    }
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
