//! DECIMAL: packed base 10^9 to text.
//!
//! Source: `decimal2bin` in the server's `strings/decimal.c`. Digits are grouped by nine around the
//! point, four bytes a group, most significant first; the groups at both ends take only the bytes
//! that their digits need. The very first bit is inverted; of a negative number all bits are.

use super::{CellError, cursor, digits};
use crate::change::{Area, BytesKind, Slot};

const GROUP_DIGITS: u8 = 9;
/// Bytes that a group of so many digits takes.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const POWERS_OF_TEN: [u32; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

pub(super) fn read(
    precision: u8,
    scale: u8,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let start = scratch.len();
    write(precision, scale, event, at, scratch)?;
    cursor::span(BytesKind::Text, Area::Scratch, start, scratch.len())
}

/// Appends the number's text, with all digits of its scale.
pub(in crate::decode) fn write(
    precision: u8,
    scale: u8,
    bytes: &[u8],
    at: &mut usize,
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let first = *bytes.get(*at).ok_or(CellError::Short { what: "DECIMAL", needed: 1, left: 0 })?;
    let negative = first & 0x80 == 0;
    let mut groups = Groups { bytes, at, invert: if negative { 0xff } else { 0 }, flip: 0x80 };
    if negative {
        out.push(b'-');
    }
    let integer_digits = precision.saturating_sub(scale);
    let start = out.len();
    let mut left = integer_digits;
    while left > 0 {
        let count =
            if left.is_multiple_of(GROUP_DIGITS) { GROUP_DIGITS } else { left % GROUP_DIGITS };
        let group = groups.next(count)?;
        if out.len() == start {
            digits::push_significant(out, group);
        } else {
            digits::push_last(out, group, usize::from(GROUP_DIGITS));
        }
        left -= count;
    }
    if out.len() == start {
        out.push(b'0');
    }
    if scale > 0 {
        out.push(b'.');
    }
    let mut left = scale;
    while left > 0 {
        let count = left.min(GROUP_DIGITS);
        let group = groups.next(count)?;
        digits::push_last(out, group, usize::from(count));
        left -= count;
    }
    Ok(())
}

struct Groups<'a> {
    bytes: &'a [u8],
    at: &'a mut usize,
    invert: u8,
    /// The sign bit, in front of the first group only.
    flip: u8,
}

impl Groups<'_> {
    fn next(&mut self, digits: u8) -> Result<u32, CellError> {
        let digits = usize::from(digits);
        let len = GROUP_BYTES.get(digits).copied().unwrap_or(4);
        let mut value = 0u32;
        for byte in cursor::slice(self.bytes, self.at, len, "DECIMAL")? {
            value = value << 8 | u32::from(byte ^ self.invert ^ std::mem::take(&mut self.flip));
        }
        if value >= POWERS_OF_TEN.get(digits).copied().unwrap_or(u32::MAX) {
            return Err(CellError::OutOfRange {
                what: "DECIMAL",
                expected: "groups of decimal digits",
            });
        }
        Ok(value)
    }
}
