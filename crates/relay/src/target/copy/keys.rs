//! Keys of rows, as messages have them and as the copy's server prints them.

use binpulse_client::proto;
use binpulse_core::change::{Cell, Column, Image, RowBuffer, Table};
use binpulse_core::encode::opened::OpenedRows;

use super::dialect::{Dialect, Put};
use super::pending::key_condition;
use super::session::{Failure, Text};

/// Keys that are read of the copy at once.
pub(super) const PAGE_ROWS: usize = 10_000;
/// Between the cells of a key's printed form.
const BETWEEN: u8 = 0x1f;

/// A key: as the server prints it, as far as that is known, and as a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) printed: Vec<u8>,
    pub(super) condition: Vec<u8>,
}

pub(super) fn join<'c>(cells: impl Iterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for cell in cells {
        out.extend_from_slice(cell);
        out.push(BETWEEN);
    }
    out
}

pub(super) fn key_of<'c>(
    dialect: Dialect,
    table: &Table,
    cell: impl Fn(usize) -> Cell<'c>,
) -> Result<Key, Failure> {
    let mut printed = Vec::new();
    for ordinal in &table.primary_key {
        match cell(*ordinal) {
            Cell::Int(value) => printed.extend_from_slice(value.to_string().as_bytes()),
            Cell::UInt(value) => printed.extend_from_slice(value.to_string().as_bytes()),
            Cell::Text(bytes) | Cell::Bytes(bytes) => printed.extend_from_slice(bytes),
            // Compared by the server.
            Cell::Absent
            | Cell::Null
            | Cell::Float(_)
            | Cell::Double(_)
            | Cell::Malformed(_)
            | Cell::Json(_)
            | Cell::JsonDiff(_)
            | Cell::Vector(_)
            | Cell::Omitted { .. } => {}
        }
        printed.push(BETWEEN);
    }
    Ok(Key { printed, condition: key_condition(dialect, table, cell)? })
}

/// Columns of a key as they are read: BIT as a number in MySQL, whose text of it is bytes.
pub(super) fn printed_columns(dialect: Dialect, columns: &[&Column]) -> Vec<String> {
    let print = |column: &&Column| {
        let name = dialect.name(&column.name);
        let is_bit = column.logical_type == binpulse_core::change::LogicalType::Bit;
        if is_bit && !dialect.is_postgres() { format!("{name}+0") } else { name }
    };
    columns.iter().map(print).collect()
}

/// The range above a key, or up to it; `None` where it is open.
pub(super) fn bound(
    dialect: Dialect,
    columns: &[&Column],
    image: Option<&proto::Image>,
    above: bool,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(image) = image.filter(|image| !image.values.is_empty()) else { return Ok(None) };
    let mut buffer = RowBuffer::default();
    let image: Image<'_> = OpenedRows::image(image, &mut buffer);
    let mut literals = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let mut literal = Vec::new();
        let put = dialect.put_cell(&mut literal, column, image.cell(place));
        if put != Ok(Put::Written) {
            let found = format!("a bound of a chunk without a value of column `{}`", column.name);
            return Err(Failure::refused(
                "(a snapshot)",
                found,
                "the whole key",
                "take a new snapshot",
            ));
        }
        literals.push(literal);
    }
    Ok(Some(side_of(dialect, columns, &literals, above)))
}

/// `(a > x OR a = x AND (b > y))`: servers find ranges in this form.
pub(super) fn side_of(
    dialect: Dialect,
    columns: &[&Column],
    literals: &[Vec<u8>],
    above: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let last = columns.len().saturating_sub(1);
    for (place, (column, literal)) in columns.iter().zip(literals).enumerate() {
        let sign: &[u8] = match (above, place == last) {
            (true, _) => b">",
            (false, true) => b"<=",
            (false, false) => b"<",
        };
        out.push(b'(');
        dialect.put_name(&mut out, &column.name);
        out.extend_from_slice(sign);
        out.extend_from_slice(literal);
        if place < last {
            out.extend_from_slice(b" OR ");
            dialect.put_name(&mut out, &column.name);
            out.push(b'=');
            out.extend_from_slice(literal);
            out.extend_from_slice(b" AND ");
        }
    }
    out.extend(std::iter::repeat_n(b')', columns.len()));
    out
}

pub(super) fn literals_of_printed(
    dialect: Dialect,
    columns: &[&Column],
    row: &[Text],
) -> Vec<Vec<u8>> {
    let literals = columns.iter().zip(row).map(|(column, cell)| {
        let mut literal = Vec::new();
        dialect.put_printed(&mut literal, column, cell.as_deref().unwrap_or_default());
        literal
    });
    literals.collect()
}

pub(super) fn after_printed(dialect: Dialect, columns: &[&Column], row: &[Text]) -> Vec<u8> {
    side_of(dialect, columns, &literals_of_printed(dialect, columns, row), true)
}

/// The same form as [`key_condition`].
pub(super) fn condition_of_printed(dialect: Dialect, columns: &[&Column], row: &[Text]) -> Vec<u8> {
    let literals = literals_of_printed(dialect, columns, row);
    if let [literal] = literals.as_slice() {
        return literal.clone();
    }
    let mut out = Vec::new();
    for (index, (column, literal)) in columns.iter().zip(&literals).enumerate() {
        out.extend_from_slice(if index == 0 { b"(" } else { b" AND " });
        dialect.put_name(&mut out, &column.name);
        out.push(b'=');
        out.extend_from_slice(literal);
    }
    out.push(b')');
    out
}
