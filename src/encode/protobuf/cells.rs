//! The cells of an encoded image that can be left out.

use super::image::{ELEMENTS, VALUES, VECTOR};
use super::wire::{LENGTH, tag, take_bytes, take_varint};
use crate::encode::shrink::Candidate;

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
    let marker = u64::from(super::image::OMITTED);
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

fn take_field<'a>(rest: &mut &'a [u8], field: u32) -> Option<&'a [u8]> {
    let key = take_varint(rest)?;
    if key != tag(field, LENGTH) {
        return None;
    }
    let length = take_varint(rest)?;
    take_bytes(rest, length)
}
