//! Cells and images. Bytes of strings, numbers and temporals are as MySQL 9.7 wrote them.

mod any;
mod image;
mod values;
mod written;

use super::*;
use crate::change::{Cell, Image, Slot};

/// Collation ids.
const UTF8MB4: u16 = 255;
const LATIN1: u16 = 8;
const BINARY: u16 = 63;

/// A column of `wire_type` with its metadata, signed, without collation.
fn column(wire_type: u8, meta: &[u8]) -> WireColumn<'static> {
    let mut bytes = [0; 2];
    bytes[..meta.len()].copy_from_slice(meta);
    WireColumn {
        wire_type,
        meta: bytes,
        unsigned: false,
        collation: 0,
        members: None,
        members_in_utf8: false,
    }
}

fn text_column(wire_type: u8, meta: &[u8], collation: u16) -> WireColumn<'static> {
    WireColumn { collation, ..column(wire_type, meta) }
}

/// What a test says of a cell.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Absent,
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    Text(String),
    Malformed(Vec<u8>),
    Bytes(Vec<u8>),
    Json(String),
    JsonDiff(String),
    Vector(Vec<u8>),
}

fn text(text: &str) -> Owned {
    Owned::Text(text.into())
}

fn own(cell: Cell<'_>) -> Owned {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text is UTF-8");
    match cell {
        Cell::Absent => Owned::Absent,
        Cell::Null => Owned::Null,
        Cell::Int(value) => Owned::Int(value),
        Cell::UInt(value) => Owned::UInt(value),
        Cell::Float(value) => Owned::Float(value),
        Cell::Double(value) => Owned::Double(value),
        Cell::Text(bytes) => Owned::Text(utf8(bytes)),
        Cell::Malformed(bytes) => Owned::Malformed(bytes.to_vec()),
        Cell::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
        Cell::Json(bytes) => Owned::Json(utf8(bytes)),
        Cell::JsonDiff(bytes) => Owned::JsonDiff(utf8(bytes)),
        Cell::Vector(bytes) => Owned::Vector(bytes.to_vec()),
        Cell::Omitted { .. } => panic!("the decoder omits nothing"),
    }
}

fn own_all(slots: &[Slot], event: &[u8], scratch: &[u8]) -> Vec<Owned> {
    Image::new(slots, event, scratch).cells().map(own).collect()
}

/// Reads one cell that fills all of `bytes`.
fn read(column: &WireColumn<'_>, bytes: &[u8]) -> Result<Owned, CellError> {
    let plan = ColumnPlan::new(column)?;
    let (mut at, mut scratch) = (0, b"before".to_vec());
    let slot = plan.reader.read(bytes, &mut at, &mut scratch)?;
    assert_eq!(at, bytes.len(), "the whole cell is read");
    let alone = own_all(&[slot], bytes, &scratch).remove(0);
    // What lies behind a cell, as it nearly always does, changes nothing.
    let (more, mut at) = ([bytes, &[0xa5; 16]].concat(), 0);
    let slot = plan.reader.read(&more, &mut at, &mut scratch)?;
    assert_eq!(at, bytes.len(), "no more than the cell is read");
    assert_eq!(own_all(&[slot], &more, &scratch), std::slice::from_ref(&alone));
    Ok(alone)
}
