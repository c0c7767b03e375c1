//! A table's schema, encoded once for all messages that carry it.

use std::sync::Arc;

use super::options::{Format, limited};
use super::{json, protobuf};
use crate::change::{Cell, Table};

/// A table's schema in the form in which it travels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    table: Arc<Table>,
    format: Format,
    /// Body of the contract's `TableSchema`, or its JSON object.
    encoded: Vec<u8>,
    /// For JSON: `"name":` of each column.
    keys: json::Keys,
    /// Whether each column is in the primary key.
    key_columns: Vec<bool>,
}

impl Schema {
    pub(crate) fn new(format: Format, table: Arc<Table>) -> Self {
        let mut encoded = Vec::new();
        let mut keys = json::Keys::default();
        match format {
            Format::Protobuf => protobuf::put_schema(&mut encoded, &table),
            Format::Json => {
                json::put_schema(&mut encoded, &table);
                keys = json::Keys::new(&table);
            }
        }
        let mut key_columns = vec![false; table.columns.len()];
        for ordinal in &table.primary_key {
            if let Some(column) = key_columns.get_mut(*ordinal) {
                *column = true;
            }
        }
        Self { table, format, encoded, keys, key_columns }
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub(crate) fn keys(&self) -> &json::Keys {
        &self.keys
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.encoded.len()
    }

    pub(crate) fn has_key(&self) -> bool {
        !self.table.primary_key.is_empty()
    }

    /// Whether the column is in the primary key.
    #[inline]
    pub(crate) fn is_key(&self, ordinal: usize) -> bool {
        self.key_columns.get(ordinal).copied().unwrap_or(false)
    }

    /// The cell, or what stands for it when it is larger than `limit` and not in the primary key.
    #[inline]
    pub(crate) fn limited<'a>(&self, ordinal: usize, cell: Cell<'a>, limit: usize) -> Cell<'a> {
        if self.is_key(ordinal) { cell } else { limited(cell, limit) }
    }
}
