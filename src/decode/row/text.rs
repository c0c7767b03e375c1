//! CHAR, VARCHAR, TEXT, and their binary brothers VARBINARY, BLOB.

use super::{CellError, cursor};
use crate::change::{Area, BytesKind, Slot};
use crate::decode::charset::{self, Charset, Decoded};

/// What to make of a string's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum TextPlan {
    /// Binary strings.
    Bytes,
    /// UTF-8, checked and borrowed.
    Utf8,
    /// Another character set.
    Charset(&'static Charset),
    /// The event does not tell the collation: text if it is UTF-8, bytes with the flag if not.
    Untold,
    /// A collation that this version does not know: bytes with the flag.
    Unknown,
}

impl TextPlan {
    pub(super) fn new(collation: u16, charset: Option<&'static Charset>) -> Self {
        match charset {
            Some(charset) if charset.is_binary() => Self::Bytes,
            Some(charset) if charset.is_utf8() => Self::Utf8,
            Some(charset) => Self::Charset(charset),
            None if collation == 0 => Self::Untold,
            None => Self::Unknown,
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "see Reader::read_to")]
pub(super) fn read(
    len_bytes: u8,
    plan: TextPlan,
    slot: &mut Slot,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let len = read_len(len_bytes, event, at, "length of a string")?;
    let bytes = cursor::slice(event, at, len, "string")?;
    let (end, start) = (*at, *at - len);
    let kind = match plan {
        TextPlan::Bytes => BytesKind::Bytes,
        TextPlan::Utf8 | TextPlan::Untold if charset::is_utf8(bytes) => BytesKind::Text,
        TextPlan::Utf8 | TextPlan::Untold | TextPlan::Unknown => BytesKind::Malformed,
        TextPlan::Charset(charset) => {
            *slot = decode(charset, bytes, start, scratch)?;
            return Ok(());
        }
    };
    cursor::put_span(slot, kind, Area::Event, start, end)
}

fn decode(
    charset: &Charset,
    bytes: &[u8],
    at: usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let start = scratch.len();
    match charset.decode(bytes, scratch) {
        Decoded::Borrowed => cursor::span(BytesKind::Text, Area::Event, at, at + bytes.len()),
        Decoded::Scratch => cursor::span(BytesKind::Text, Area::Scratch, start, scratch.len()),
        Decoded::Malformed => cursor::span(BytesKind::Malformed, Area::Event, at, at + bytes.len()),
    }
}

/// Takes a length of 1 to 4 bytes.
#[inline]
pub(super) fn read_len(
    len_bytes: u8,
    event: &[u8],
    at: &mut usize,
    what: &'static str,
) -> Result<usize, CellError> {
    let len = match len_bytes {
        1 => u64::from(u8::from_le_bytes(cursor::array(event, at, what)?)),
        2 => u64::from(u16::from_le_bytes(cursor::array(event, at, what)?)),
        other => cursor::uint_le(event, at, usize::from(other), what)?,
    };
    usize::try_from(len).map_err(|_| CellError::TooLong)
}
