//! Numbers of a fixed size: integers, YEAR, FLOAT, DOUBLE, BIT.

use super::{CellError, cursor};
use crate::change::Slot;

/// Other numbers of a fixed size.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar {
    Year,
    Float,
    Double,
}

/// Years are stored as the distance to this one; 0 stands for year 0.
const YEAR_BASE: i64 = 1900;

#[inline(always)]
#[expect(clippy::inline_always, reason = "see Reader::read_to")]
pub(super) fn read_integer(
    len: u8,
    signed: bool,
    slot: &mut Slot,
    event: &[u8],
    at: &mut usize,
) -> Result<(), CellError> {
    let value = cursor::uint_le(event, at, usize::from(len), "integer")?;
    *slot = if signed {
        // Up to the highest byte, then down again with the sign.
        let unused = 64 - 8 * u32::from(len);
        Slot::Int((value << (unused % 64)).cast_signed() >> (unused % 64))
    } else {
        Slot::UInt(value)
    };
    Ok(())
}

#[inline]
pub(super) fn read_scalar(scalar: Scalar, event: &[u8], at: &mut usize) -> Result<Slot, CellError> {
    Ok(match scalar {
        Scalar::Year => {
            let [year] = cursor::array(event, at, "YEAR")?;
            Slot::Int(if year == 0 { 0 } else { YEAR_BASE + i64::from(year) })
        }
        Scalar::Float => Slot::Float(f32::from_le_bytes(cursor::array(event, at, "FLOAT")?)),
        Scalar::Double => Slot::Double(f64::from_le_bytes(cursor::array(event, at, "DOUBLE")?)),
    })
}

pub(super) fn read_bit(
    len: u8,
    first_max: u8,
    event: &[u8],
    at: &mut usize,
) -> Result<Slot, CellError> {
    if event.get(*at).is_some_and(|first| *first > first_max) {
        return Err(CellError::OutOfRange { what: "BIT", expected: "as many bits as it has" });
    }
    cursor::uint_be(event, at, usize::from(len), "BIT").map(Slot::UInt)
}
