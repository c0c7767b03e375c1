//! ENUM and SET: numbers to labels.

use super::{CellError, cursor};
use crate::change::{Area, BytesKind, Slot};
use crate::decode::charset::{Charset, Decoded, is_utf8};

/// Labels of an ENUM or SET column.
#[derive(Debug)]
pub(super) struct Labels {
    /// Text; Malformed if any of them is not valid in the column's character set, then all are as stored.
    kind: BytesKind,
    labels: Vec<Box<[u8]>>,
}

impl Labels {
    pub(super) fn new(stored: &[&[u8]], charset: Option<&Charset>) -> Self {
        let decoded: Option<Vec<_>> = stored.iter().map(|label| decode(label, charset)).collect();
        match decoded {
            Some(labels) => Self { kind: BytesKind::Text, labels },
            None => Self {
                kind: BytesKind::Malformed,
                labels: stored.iter().map(|label| Box::from(*label)).collect(),
            },
        }
    }

    pub(super) fn to_strings(&self) -> Vec<String> {
        self.labels.iter().map(|label| escape(label)).collect()
    }

    /// The label of number `index`, from 1.
    fn get(&self, index: u64) -> Option<&[u8]> {
        let ordinal = usize::try_from(index.checked_sub(1)?).ok()?;
        self.labels.get(ordinal).map(AsRef::as_ref)
    }

    /// Whether every bit of `mask` has a label.
    fn cover(&self, mask: u64) -> bool {
        self.labels.len() >= 64 || mask >> self.labels.len() == 0
    }
}

fn decode(label: &[u8], charset: Option<&Charset>) -> Option<Box<[u8]>> {
    let mut scratch = Vec::new();
    let Some(charset) = charset.filter(|charset| !charset.is_binary()) else {
        return is_utf8(label).then(|| label.into());
    };
    match charset.decode(label, &mut scratch) {
        Decoded::Borrowed => Some(label.into()),
        Decoded::Scratch => Some(scratch.into()),
        Decoded::Malformed => None,
    }
}

fn escape(label: &[u8]) -> String {
    label.utf8_chunks().fold(String::new(), |mut text, chunk| {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let hex = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('?');
            text.extend(['\\', 'x', hex(byte >> 4), hex(byte & 15)]);
        }
        text
    })
}

/// Number 0 is what the server stores for an invalid value: it prints as an empty string. Numbers
/// without a label stay numbers.
pub(super) fn read_enum(
    len: u8,
    labels: Option<&Labels>,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let index = cursor::uint_le(event, at, usize::from(len), "ENUM")?;
    let Some(labels) = labels else { return Ok(Slot::UInt(index)) };
    if index == 0 {
        return cursor::span(BytesKind::Text, Area::Event, 0, 0);
    }
    let Some(label) = labels.get(index) else { return Ok(Slot::UInt(index)) };
    let start = scratch.len();
    scratch.extend_from_slice(label);
    cursor::span(labels.kind, Area::Scratch, start, scratch.len())
}

/// One bit per label. Masks with bits that have no label stay numbers.
pub(super) fn read_set(
    len: u8,
    labels: Option<&Labels>,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let mask = cursor::uint_le(event, at, usize::from(len), "SET")?;
    let Some(labels) = labels.filter(|labels| labels.cover(mask)) else {
        return Ok(Slot::UInt(mask));
    };
    let start = scratch.len();
    for (ordinal, label) in labels.labels.iter().take(64).enumerate() {
        if mask >> ordinal & 1 == 1 {
            if scratch.len() > start {
                scratch.push(b',');
            }
            scratch.extend_from_slice(label);
        }
    }
    cursor::span(labels.kind, Area::Scratch, start, scratch.len())
}
