//! BINARY, and the values that are not character data: JSON, geometry, VECTOR.

use super::text::read_len;
use super::{CellError, cursor};
use crate::change::{Area, BytesKind, Slot};
use crate::decode::json;

/// Values with their length in front that are not character data.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sized {
    Json,
    Geometry,
    Vector,
}

/// BINARY(n): the binlog drops trailing zeros, they are put back.
pub(super) fn read_binary(
    len_bytes: u8,
    pad_to: u16,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let len = read_len(len_bytes, event, at, "length of a BINARY")?;
    let bytes = cursor::slice(event, at, len, "BINARY")?;
    let declared = usize::from(pad_to);
    if len >= declared {
        return cursor::span(BytesKind::Bytes, Area::Event, *at - len, *at);
    }
    let start = scratch.len();
    scratch.extend_from_slice(bytes);
    scratch.resize(start + declared, 0);
    cursor::span(BytesKind::Bytes, Area::Scratch, start, scratch.len())
}

pub(super) fn read_sized(
    kind: Sized,
    len_bytes: u8,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let bytes = read_bytes(len_bytes, event, at)?;
    let event_span = |kind| cursor::span(kind, Area::Event, *at - bytes.len(), *at);
    match kind {
        Sized::Geometry => event_span(BytesKind::Bytes),
        Sized::Vector if bytes.len() % 4 == 0 => event_span(BytesKind::Vector),
        Sized::Vector => Err(CellError::Unexpected {
            what: "length of a VECTOR",
            found: bytes.len() as u64,
            expected: "a multiple of 4",
        }),
        Sized::Json => {
            let start = scratch.len();
            json::write_text(bytes, scratch)?;
            cursor::span(BytesKind::Json, Area::Scratch, start, scratch.len())
        }
    }
}

/// The bytes of a value with its length in front.
pub(super) fn read_bytes<'e>(
    len_bytes: u8,
    event: &'e [u8],
    at: &mut usize,
) -> Result<&'e [u8], CellError> {
    let len = read_len(len_bytes, event, at, "length of a value")?;
    cursor::slice(event, at, len, "value")
}
