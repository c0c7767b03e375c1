//! Keys of rows, apart from their rows.

use super::json;
use super::options::Format;
use super::protobuf;
use crate::change::{Cell, Table};

/// Writes the key of a row: the body of an `Image` with the key's columns only, in the key's order, or
/// a JSON object of them.
#[derive(Debug)]
pub struct KeyWriter {
    format: Format,
    columns: Vec<usize>,
    keys: json::Keys,
}

impl KeyWriter {
    /// For the columns with these ordinals of `table`.
    pub fn new(format: Format, table: &Table, columns: Vec<usize>) -> Self {
        let keys = match format {
            Format::Protobuf => json::Keys::default(),
            Format::Json => json::Keys::of(table, &columns),
        };
        Self { format, columns, keys }
    }

    /// The key's columns.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Appends the key whose cells these are.
    pub fn put<'a>(&self, out: &mut Vec<u8>, cell: impl Fn(usize) -> Cell<'a>) {
        let cells = self.columns.iter().map(|ordinal| cell(*ordinal));
        match self.format {
            Format::Protobuf => cells.for_each(|cell| protobuf::put_cell(out, cell)),
            Format::Json => json::put_object(out, &self.keys, cells),
        }
    }
}
