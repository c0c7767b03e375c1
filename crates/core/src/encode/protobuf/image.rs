//! A row image, from borrowed cells to bytes: the body of the contract's `Image`.

use super::wire::{
    FIXED32, FIXED64, LENGTH, VARINT, put_field, put_header, tag, take_bytes, take_varint, varint,
    varint_bytes, zigzag,
};
use crate::change::{BytesKind, Cell, Image, Slot};
use crate::encode::image_buffer::ImageBuffer;
use crate::encode::options::Candidate;

/// Field of `Image.values`.
pub(crate) const VALUES: u32 = 1;
/// Fields of `Value`, as in the contract.
pub(super) const NULL: u32 = 1;
pub(super) const INTEGER: u32 = 2;
pub(super) const UNSIGNED: u32 = 3;
pub(super) const FLOAT: u32 = 4;
pub(super) const DOUBLE: u32 = 5;
pub(super) const TEXT: u32 = 6;
pub(super) const BYTES: u32 = 7;
pub(super) const MALFORMED_TEXT: u32 = 8;
pub(super) const JSON: u32 = 9;
pub(super) const JSON_DIFF: u32 = 10;
pub(crate) const VECTOR: u32 = 11;
pub(crate) const OMITTED: u32 = 12;
/// Fields of `Omitted`.
pub(super) const OMITTED_SIZE: u32 = 1;
pub(super) const OMITTED_SHA256: u32 = 2;
/// Field of `Vector.elements`.
pub(crate) const ELEMENTS: u32 = 1;

/// First byte of each element of `Image.values`.
const VALUE_TAG: u8 = low_byte(tag(VALUES, LENGTH));
/// NULL as an element of `Image.values`.
const NULL_ELEMENT: [u8; 4] = [VALUE_TAG, 2, low_byte(tag(NULL, VARINT)), 1];

/// Appends all cells of an image: into the room that is there, or if that is not enough cell by cell.
#[inline]
pub(crate) fn put_image(out: &mut ImageBuffer, image: &Image<'_>) {
    match write_image(out.free(), image) {
        Some(left) => out.fill_but(left),
        None => out.grow(|bytes| image.cells().for_each(|cell| put_cell(bytes, cell))),
    }
}

/// Writes all cells of an image to the front of `out`; how much of it is left, or `None` when there is
/// not enough of it. What was written then means nothing.
///
/// A cell costs one comparison with what is left, and no length is kept on the way. Cells are written
/// straight from their slots: a [`Cell`] has room for what stands for an omitted value, and is not
/// cheap to hand around.
pub(super) fn write_image(out: &mut [u8], image: &Image<'_>) -> Option<usize> {
    let mut rest = out;
    for slot in image.slots() {
        rest = match *slot {
            Slot::Int(value) => write_integer(rest, INTEGER, zigzag(value))?,
            Slot::UInt(value) => write_integer(rest, UNSIGNED, value)?,
            Slot::Span { kind, area, start, end } => {
                let field = match kind {
                    BytesKind::Text => TEXT,
                    BytesKind::Malformed => MALFORMED_TEXT,
                    BytesKind::Bytes => BYTES,
                    BytesKind::Json => JSON,
                    BytesKind::JsonDiff => JSON_DIFF,
                    // Rare, and not one field but a list.
                    BytesKind::Vector | BytesKind::Omitted => return None,
                };
                write_span(rest, field, image.span(area, start, end))?
            }
            Slot::Null => write_front(rest, NULL_ELEMENT, 4)?,
            Slot::Absent => write_front(rest, [VALUE_TAG, 0], 2)?,
            Slot::Float(value) => {
                let rest = write_front(rest, [VALUE_TAG, 5, low_byte(tag(FLOAT, FIXED32))], 3)?;
                write_front(rest, value.to_le_bytes(), 4)?
            }
            Slot::Double(value) => {
                let rest = write_front(rest, [VALUE_TAG, 9, low_byte(tag(DOUBLE, FIXED64))], 3)?;
                write_front(rest, value.to_le_bytes(), 8)?
            }
        };
    }
    Some(rest.len())
}

/// Writes all of `bytes`, of which the first `length` count; what is left behind those.
#[inline]
fn write_front<const N: usize>(out: &mut [u8], bytes: [u8; N], length: usize) -> Option<&mut [u8]> {
    *out.first_chunk_mut()? = bytes;
    out.get_mut(length..)
}

#[inline]
fn write_integer(out: &mut [u8], field: u32, value: u64) -> Option<&mut [u8]> {
    let (bytes, length) = integer(field, value);
    write_front(out, bytes, length)
}

#[inline]
fn write_span<'o>(out: &'o mut [u8], field: u32, bytes: &[u8]) -> Option<&'o mut [u8]> {
    let length = bytes.len();
    let rest = if length < 0x7e {
        let inner = low_byte(length as u64);
        write_front(out, [VALUE_TAG, inner + 2, low_byte(tag(field, LENGTH)), inner], 4)?
    } else if (0x80..0x4000 - 3).contains(&length) {
        // Two bytes for each of the lengths.
        let ([a, b], [c, d]) = (two_byte_varint(length + 3), two_byte_varint(length));
        write_front(out, [VALUE_TAG, a, b, low_byte(tag(field, LENGTH)), c, d], 6)?
    } else {
        let mut front = Vec::with_capacity(16);
        put_span_header(&mut front, field, length);
        let (place, rest) = out.split_at_mut_checked(front.len())?;
        place.copy_from_slice(&front);
        rest
    };
    let (place, rest) = rest.split_at_mut_checked(length)?;
    copy(place, bytes);
    Some(rest)
}

/// Copies as many bytes as both have. Most texts are short, and for those a call costs more than the
/// copying: up to 32 bytes go as two halves that may overlap.
#[inline]
fn copy(to: &mut [u8], from: &[u8]) {
    match from.len() {
        16..=32 => copy_halves::<16>(to, from),
        8..=15 => copy_halves::<8>(to, from),
        _ => to.copy_from_slice(from),
    }
}

#[inline]
fn copy_halves<const N: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(place), Some(half)) = (to.first_chunk_mut::<N>(), from.first_chunk::<N>()) {
        *place = *half;
    }
    if let (Some(place), Some(half)) = (to.last_chunk_mut::<N>(), from.last_chunk::<N>()) {
        *place = *half;
    }
}

/// The varint of a number of 8 to 14 bits, of two bytes.
#[inline]
const fn two_byte_varint(value: usize) -> [u8; 2] {
    [low_byte(value as u64) | 0x80, low_byte(value as u64 >> 7)]
}

/// Appends one cell as an element of `Image.values`.
#[inline]
pub(crate) fn put_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Absent => out.extend_from_slice(&[VALUE_TAG, 0]),
        Cell::Null => out.extend_from_slice(&NULL_ELEMENT),
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

fn put_integer(out: &mut Vec<u8>, field: u32, value: u64) {
    let (bytes, length) = integer(field, value);
    out.extend_from_slice(bytes.get(..length).unwrap_or_default());
}

/// An integer as an element of `Image.values`: sixteen bytes, and how many of them count. This runs for
/// every number of every row: sixteen bytes are two stores, and a copy of a length that only shows at
/// run time would be a function call.
#[inline]
fn integer(field: u32, value: u64) -> ([u8; 16], usize) {
    // Field numbers are below 16, so tags take one byte.
    let tag = low_byte(tag(field, VARINT));
    if value < 0x80 {
        let front = [VALUE_TAG, 2, tag, low_byte(value), 0, 0, 0, 0];
        return (u128::from(u64::from_le_bytes(front)).to_le_bytes(), 4);
    }
    let (varint, length) = varint(value);
    let front = u32::from_le_bytes([VALUE_TAG, low_byte(length as u64) + 1, tag, 0]);
    ((u128::from(front) | varint << 24).to_le_bytes(), 3 + length)
}

fn put_span(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    out.reserve(bytes.len() + 16);
    put_span_header(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// All of a span but its bytes, which are so many.
fn put_span_header(out: &mut Vec<u8>, field: u32, length: usize) {
    put_header(out, VALUES, 1 + varint_bytes(length as u64) + length);
    put_header(out, field, length);
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

/// Cells with bytes of an image's body, with their ordinals. Only images that were written here are
/// read; of anything else, what is understood.
pub(crate) fn cells(image: &[u8]) -> Vec<(usize, Candidate)> {
    let mut found = Vec::new();
    let mut rest = image;
    let mut ordinal = 0;
    while !rest.is_empty() {
        let start = image.len() - rest.len();
        let Some(value) = take_field(&mut rest, VALUES) else {
            break;
        };
        let end = image.len() - rest.len();
        if let Some(length) = payload_bytes(value) {
            let candidate = Candidate { element: start..end, value: end - length..end };
            found.push((ordinal, candidate));
        }
        ordinal += 1;
    }
    found
}

/// Length of the bytes that a value ends with; `None` when it carries no bytes or is a marker.
fn payload_bytes(mut value: &[u8]) -> Option<usize> {
    let key = take_varint(&mut value)?;
    let (field, wire_type) = (key >> 3, key & 7);
    let marker = u64::from(OMITTED);
    if wire_type != u64::from(LENGTH) || field == marker {
        return None;
    }
    let length = take_varint(&mut value)?;
    let mut bytes = take_bytes(&mut value, length)?;
    if field == u64::from(VECTOR) {
        bytes = take_field(&mut bytes, ELEMENTS)?;
    }
    Some(bytes.len())
}

pub(super) fn take_field<'a>(rest: &mut &'a [u8], field: u32) -> Option<&'a [u8]> {
    let key = take_varint(rest)?;
    if key != tag(field, LENGTH) {
        return None;
    }
    let length = take_varint(rest)?;
    take_bytes(rest, length)
}
