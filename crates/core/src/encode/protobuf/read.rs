//! An image's body back to slots: of what was written here, without a copy.

use super::image::{
    BYTES, DOUBLE, ELEMENTS, FLOAT, INTEGER, JSON, JSON_DIFF, MALFORMED_TEXT, NULL, OMITTED,
    OMITTED_SHA256, OMITTED_SIZE, TEXT, UNSIGNED, VALUES, VECTOR, take_field,
};
use super::wire::{FIXED32, FIXED64, LENGTH, VARINT, tag, take_bytes, take_varint, unzigzag};
use crate::change::{Area, BytesKind, Slot};

/// Appends a slot for each value of an image's body. Spans point into `image`, but for the markers of
/// omitted values, which go to `scratch`. Of what was not written here, what is understood.
pub(crate) fn read_image(image: &[u8], slots: &mut Vec<Slot>, scratch: &mut Vec<u8>) {
    let mut rest = image;
    while let Some(value) = take_field(&mut rest, VALUES) {
        let end = image.len() - rest.len();
        slots.push(read_value(value, end, scratch).unwrap_or(Slot::Absent));
    }
}

/// The slot of a value that ends at `end` of the image; `None` for one without a member.
fn read_value(mut value: &[u8], end: usize, scratch: &mut Vec<u8>) -> Option<Slot> {
    const fn key(field: u32, wire_type: u32) -> u64 {
        tag(field, wire_type)
    }
    let found = take_varint(&mut value)?;
    if found == key(INTEGER, VARINT) {
        return Some(Slot::Int(unzigzag(take_varint(&mut value)?)));
    }
    if found == key(UNSIGNED, VARINT) {
        return Some(Slot::UInt(take_varint(&mut value)?));
    }
    if found == key(NULL, VARINT) {
        return Some(Slot::Null);
    }
    if found == key(FLOAT, FIXED32) {
        return value.first_chunk().map(|bytes| Slot::Float(f32::from_le_bytes(*bytes)));
    }
    if found == key(DOUBLE, FIXED64) {
        return value.first_chunk().map(|bytes| Slot::Double(f64::from_le_bytes(*bytes)));
    }
    if found == key(OMITTED, LENGTH) {
        return omitted(&mut value, scratch);
    }
    let kind = BYTES_KINDS.iter().find(|(field, _)| key(*field, LENGTH) == found)?.1;
    let length = take_varint(&mut value)?;
    let mut bytes = take_bytes(&mut value, length)?;
    if kind == BytesKind::Vector {
        bytes = take_field(&mut bytes, ELEMENTS).unwrap_or_default();
    }
    span(kind, Area::Event, end.checked_sub(bytes.len())?, end)
}

const BYTES_KINDS: [(u32, BytesKind); 6] = [
    (TEXT, BytesKind::Text),
    (BYTES, BytesKind::Bytes),
    (MALFORMED_TEXT, BytesKind::Malformed),
    (JSON, BytesKind::Json),
    (JSON_DIFF, BytesKind::JsonDiff),
    (VECTOR, BytesKind::Vector),
];

fn omitted(value: &mut &[u8], scratch: &mut Vec<u8>) -> Option<Slot> {
    let length = take_varint(value)?;
    let mut inner = take_bytes(value, length)?;
    // Proto3 leaves out a zero.
    let mut size = 0;
    if inner.first().copied().map(u64::from) == Some(tag(OMITTED_SIZE, VARINT)) {
        take_varint(&mut inner)?;
        size = take_varint(&mut inner)?;
    }
    let sha256 = take_field(&mut inner, OMITTED_SHA256)?;
    let start = scratch.len();
    scratch.extend_from_slice(&size.to_le_bytes());
    scratch.extend_from_slice(sha256);
    span(BytesKind::Omitted, Area::Scratch, start, scratch.len())
}

fn span(kind: BytesKind, area: Area, start: usize, end: usize) -> Option<Slot> {
    let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
    Some(Slot::Span { kind, area, start, end })
}
