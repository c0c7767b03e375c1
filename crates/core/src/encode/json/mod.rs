//! Changes as JSON: the lines of `decode` and `tail`, and the documents of the `json` format. One
//! writer of values serves both.
//!
//! | value | JSON |
//! |---|---|
//! | NULL | `null` |
//! | absent | the key is left out |
//! | integers, YEAR, BIT | number, up to 2^64 - 1: readers that hold numbers as doubles lose digits |
//! | FLOAT, DOUBLE | number, the shortest that reads back the same |
//! | DECIMAL, temporal values, ENUM, SET, character data | string |
//! | binary data, spatial values | string, base64 |
//! | JSON | nested as it is; the document `null` as `{"$json": null}`, which is not NULL |
//! | VECTOR | array of numbers |
//! | text not valid in its character set | `{"$malformed": base64 of the stored bytes}` |
//! | partial JSON update without its former value | `{"$diff": [..]}` |
//! | left out for its size | `{"$omitted": {"size_bytes": .., "sha256": hex}}` |
//!
//! A JSON column may itself hold an object whose only key is `$json`, `$diff` or `$omitted`: who stores such
//! documents should read the Protobuf format, where the two cannot be mistaken for one another.

mod cell;
mod document;
mod line;
mod pieces;
mod string;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod tests;
mod time;

pub use cell::put_cell;
pub(crate) use cell::{put_base64, put_base64_url_safe, put_omitted};
pub(crate) use document::{Header, put_notice, put_rows, put_schema};
pub use line::Lines;
pub(crate) use string::{put_document, put_escaped, put_string};
pub use time::put_time;

use std::convert::Infallible;

use crate::change::{Cell, Table};
use crate::encode::options::Candidate;

/// `"name":` of each column of a table, escaped once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys(Vec<Box<[u8]>>);

impl Keys {
    pub(crate) fn new(table: &Table) -> Self {
        Self(table.columns.iter().map(|column| escaped(&column.name)).collect())
    }

    /// Those of some columns, by their ordinals.
    pub(crate) fn of(table: &Table, columns: &[usize]) -> Self {
        let columns = columns.iter().filter_map(|ordinal| table.columns.get(*ordinal));
        Self(columns.map(|column| escaped(&column.name)).collect())
    }
}

fn escaped(name: &str) -> Box<[u8]> {
    let mut key = Vec::with_capacity(name.len() + 3);
    string::put_string(&mut key, name.as_bytes());
    key.push(b':');
    key.into_boxed_slice()
}

/// Appends a row image as an object: a member for each column that is not absent.
#[inline]
pub(crate) fn put_object<'a>(
    out: &mut Vec<u8>,
    keys: &Keys,
    cells: impl Iterator<Item = Cell<'a>>,
) {
    let put = |out: &mut Vec<u8>, cell: Cell<'_>| {
        put_cell(out, cell);
        Ok::<(), Infallible>(())
    };
    match put_object_by(out, keys, cells, put) {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// The same with another writer of cells.
#[inline]
fn put_object_by<'a, E>(
    out: &mut Vec<u8>,
    keys: &Keys,
    cells: impl Iterator<Item = Cell<'a>>,
    mut put: impl FnMut(&mut Vec<u8>, Cell<'a>) -> Result<(), E>,
) -> Result<(), E> {
    out.push(b'{');
    let mut first = true;
    for (key, cell) in keys.0.iter().zip(cells) {
        if matches!(cell, Cell::Absent) {
            continue;
        }
        if !first {
            out.push(b',');
        }
        first = false;
        out.extend_from_slice(key);
        put(out, cell)?;
    }
    out.push(b'}');
    Ok(())
}

/// Members of an object that [`put_object`] wrote, with their columns' ordinals.
pub(crate) fn cells(keys: &Keys, object: &[u8]) -> Vec<(usize, Candidate)> {
    let mut found = Vec::new();
    // Past the brace or the comma.
    let mut at = 1;
    for (ordinal, key) in keys.0.iter().enumerate() {
        let Some(rest) = object.get(at..) else {
            break;
        };
        let Some(value) = rest.strip_prefix(&**key) else {
            continue;
        };
        let start = at + key.len();
        let end = start + value_bytes(value);
        found.push((ordinal, Candidate { element: start..end, value: start..end }));
        at = end + 1;
    }
    found
}

/// Length of the JSON value at the front of `json`: up to the comma or brace that ends its member.
fn value_bytes(json: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = json.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b',' | b'}' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    json.len()
}
