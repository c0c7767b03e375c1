//! A row image, from borrowed cells to bytes: the body of the contract's `Image`.

use super::wire::{
    FIXED32, FIXED64, LENGTH, VARINT, put_field, put_header, tag, varint_bytes, zigzag,
};
use crate::change::{BytesKind, Cell, Image, Slot};

/// Field of `Image.values`.
pub(crate) const VALUES: u32 = 1;
/// Fields of `Value`, as in the contract.
const NULL: u32 = 1;
const INTEGER: u32 = 2;
const UNSIGNED: u32 = 3;
const FLOAT: u32 = 4;
const DOUBLE: u32 = 5;
const TEXT: u32 = 6;
const BYTES: u32 = 7;
const MALFORMED_TEXT: u32 = 8;
const JSON: u32 = 9;
const JSON_DIFF: u32 = 10;
pub(crate) const VECTOR: u32 = 11;
pub(crate) const OMITTED: u32 = 12;
/// Fields of `Omitted`.
const OMITTED_SIZE: u32 = 1;
const OMITTED_SHA256: u32 = 2;
/// Field of `Vector.elements`.
pub(crate) const ELEMENTS: u32 = 1;

/// First byte of each element of `Image.values`.
const VALUE_TAG: u8 = low_byte(tag(VALUES, LENGTH));

/// Appends all cells of an image. What most cells are is written straight from the slot: a [`Cell`]
/// has room for what stands for an omitted value, and is not cheap to hand around.
pub(crate) fn put_image(out: &mut Vec<u8>, image: &Image<'_>) {
    for slot in image.slots() {
        match *slot {
            Slot::Int(value) => put_integer(out, INTEGER, zigzag(value)),
            Slot::UInt(value) => put_integer(out, UNSIGNED, value),
            Slot::Span { kind: BytesKind::Text, area, start, end } => {
                put_span(out, TEXT, image.span(area, start, end));
            }
            slot @ (Slot::Absent
            | Slot::Null
            | Slot::Float(_)
            | Slot::Double(_)
            | Slot::Span { .. }) => put_cell(out, image.resolve(slot)),
        }
    }
}

/// Appends one cell as an element of `Image.values`.
#[inline]
pub(crate) fn put_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Absent => out.extend_from_slice(&[VALUE_TAG, 0]),
        Cell::Null => out.extend_from_slice(&[VALUE_TAG, 2, low_byte(tag(NULL, VARINT)), 1]),
        Cell::Int(value) => put_integer(out, INTEGER, zigzag(value)),
        Cell::UInt(value) => put_integer(out, UNSIGNED, value),
        Cell::Float(value) => {
            out.extend_from_slice(&[VALUE_TAG, 5, low_byte(tag(FLOAT, FIXED32))]);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Cell::Double(value) => {
            out.extend_from_slice(&[VALUE_TAG, 9, low_byte(tag(DOUBLE, FIXED64))]);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Cell::Text(bytes) => put_span(out, TEXT, bytes),
        Cell::Bytes(bytes) => put_span(out, BYTES, bytes),
        Cell::Malformed(bytes) => put_span(out, MALFORMED_TEXT, bytes),
        Cell::Json(bytes) => put_span(out, JSON, bytes),
        Cell::JsonDiff(bytes) => put_span(out, JSON_DIFF, bytes),
        Cell::Vector(bytes) => put_vector(out, bytes),
        Cell::Omitted { size_bytes, sha256 } => put_omitted(out, size_bytes, &sha256),
    }
}

#[inline]
fn put_integer(out: &mut Vec<u8>, field: u32, mut value: u64) {
    // Put together apart and appended at once: this runs for every number of every row. Field numbers
    // are below 16, so tags take one byte, and the value at most 11.
    let mut bytes = [0; 16];
    let mut length = 3;
    bytes[0] = VALUE_TAG;
    bytes[2] = low_byte(tag(field, VARINT));
    while value >= 0x80 && length < 12 {
        bytes[length] = low_byte(value) | 0x80;
        value >>= 7;
        length += 1;
    }
    bytes[length] = low_byte(value);
    length += 1;
    bytes[1] = low_byte(length as u64 - 2);
    // All sixteen, as two machine words, then what is too much off again: a copy of a length that only
    // shows at run time would be a function call.
    let end = out.len() + length;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

#[inline]
fn put_span(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    let length = bytes.len();
    out.reserve(length + 16);
    if length < 0x7e {
        let inner = low_byte(length as u64);
        out.extend_from_slice(&[VALUE_TAG, inner + 2, low_byte(tag(field, LENGTH)), inner]);
    } else {
        put_header(out, VALUES, 1 + varint_bytes(length as u64) + length);
        put_header(out, field, length);
    }
    out.extend_from_slice(bytes);
}

fn put_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.len().is_multiple_of(4) {
        // No vector has such a length. Its bytes still travel.
        return put_span(out, BYTES, bytes);
    }
    // An empty packed list is left out altogether.
    let list =
        if bytes.is_empty() { 0 } else { 1 + varint_bytes(bytes.len() as u64) + bytes.len() };
    put_header(out, VALUES, 1 + varint_bytes(list as u64) + list);
    put_header(out, VECTOR, list);
    if !bytes.is_empty() {
        put_field(out, ELEMENTS, bytes);
    }
}

pub(crate) fn put_omitted(out: &mut Vec<u8>, size_bytes: u64, sha256: &[u8; 32]) {
    let mut inner = Vec::with_capacity(48);
    super::wire::put_number(&mut inner, OMITTED_SIZE, size_bytes);
    put_field(&mut inner, OMITTED_SHA256, sha256);
    put_header(out, VALUES, 1 + varint_bytes(inner.len() as u64) + inner.len());
    put_field(out, OMITTED, &inner);
}

#[inline]
const fn low_byte(value: u64) -> u8 {
    (value & 0xff) as u8
}
