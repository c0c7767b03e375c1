//! DECIMAL: packed base 10^9 to text.
//!
//! Source: `decimal2bin` in the server's `strings/decimal.cc`. Digits are grouped by nine around the
//! point, four bytes a group, most significant first; the groups at both ends take only the bytes
//! that their digits need. The very first bit is inverted; of a negative number all bits are.

use super::{CellError, cursor, digits};

const GROUP_DIGITS: u8 = 9;
/// Bytes that a group of so many digits takes.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const POWERS_OF_TEN: [u32; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// Appends the number's text, with all digits of its scale. `scale` is at most `precision`, and that 81.
pub(super) fn write(
    precision: u8,
    scale: u8,
    bytes: &[u8],
    at: &mut usize,
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let integer = precision.saturating_sub(scale);
    let mut groups = Groups::take(integer, scale, bytes, at)?;
    if groups.negative {
        out.push(b'-');
    }
    let start = out.len();
    let mut left = integer;
    while left > 0 {
        let count = (left - 1) % GROUP_DIGITS + 1;
        let group = groups.next(count)?;
        let leading = out.len() == start;
        push_group(out, group, if leading { significant(group) } else { GROUP_DIGITS });
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
        push_group(out, group, count);
        left -= count;
    }
    Ok(())
}

/// Number of digits without leading zeros; none for 0.
fn significant(group: u32) -> u8 {
    group.checked_ilog10().map_or(0, |power| u8::try_from(power).unwrap_or_default() + 1)
}

/// The digit groups of one number, in order.
struct Groups<'a> {
    rest: &'a [u8],
    negative: bool,
    /// Whether the first group, with the sign in it, was taken.
    begun: bool,
}

impl<'a> Groups<'a> {
    fn take(integer: u8, scale: u8, bytes: &'a [u8], at: &mut usize) -> Result<Self, CellError> {
        let len = bytes_of(integer) + bytes_of(scale);
        let rest = cursor::slice(bytes, at, len, "DECIMAL")?;
        let negative = rest.first().is_some_and(|first| first & 0x80 == 0);
        Ok(Self { rest, negative, begun: false })
    }

    fn next(&mut self, digits: u8) -> Result<u32, CellError> {
        let out_of_range =
            CellError::OutOfRange { what: "DECIMAL", expected: "groups of decimal digits" };
        let digits = usize::from(digits);
        let len = GROUP_BYTES.get(digits).copied().unwrap_or(4);
        let Some((group, rest)) = self.rest.split_at_checked(len) else { return Err(out_of_range) };
        self.rest = rest;
        let mut value = group.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
        let bits = 8 * len;
        if !std::mem::replace(&mut self.begun, true) {
            value ^= 1 << (bits - 1);
        }
        if self.negative {
            value ^= u32::MAX >> (32 - bits);
        }
        let limit = POWERS_OF_TEN.get(digits).copied().unwrap_or_default();
        if value < limit { Ok(value) } else { Err(out_of_range) }
    }
}

/// Bytes of that many digits on one side of the point.
fn bytes_of(digits: u8) -> usize {
    let rest = GROUP_BYTES.get(usize::from(digits % GROUP_DIGITS)).copied().unwrap_or_default();
    usize::from(digits / GROUP_DIGITS) * 4 + rest
}

/// Appends `group` as `count` digits, which hold it. Nine are written whatever the count, for nine are
/// one copy of a fixed size; those that count come first, the others are taken back.
#[inline]
fn push_group(out: &mut Vec<u8>, group: u32, count: u8) {
    let shift = usize::from(GROUP_DIGITS.saturating_sub(count));
    let scaled = group.wrapping_mul(POWERS_OF_TEN.get(shift).copied().unwrap_or(1));
    out.extend_from_slice(&digits::nine(scaled));
    out.truncate(out.len().saturating_sub(shift));
}
