//! Numbers of a fixed size: integers, YEAR, FLOAT, DOUBLE, BIT.

use super::reader::{Integer, Scalar};
use super::{CellError, cursor};
use crate::change::Slot;

/// Years are stored as the distance to this one; 0 stands for year 0.
const YEAR_BASE: i64 = 1900;

#[inline(always)]
#[expect(clippy::inline_always, reason = "see Reader::read")]
pub(super) fn read_integer(
    width: Integer,
    event: &[u8],
    at: &mut usize,
) -> Result<Slot, CellError> {
    let what = "integer";
    Ok(match width {
        Integer::Int8 => Slot::Int(i8::from_le_bytes(cursor::array(event, at, what)?).into()),
        Integer::UInt8 => Slot::UInt(u8::from_le_bytes(cursor::array(event, at, what)?).into()),
        Integer::Int16 => Slot::Int(i16::from_le_bytes(cursor::array(event, at, what)?).into()),
        Integer::UInt16 => Slot::UInt(u16::from_le_bytes(cursor::array(event, at, what)?).into()),
        Integer::Int24 => {
            let [a, b, c] = cursor::array(event, at, what)?;
            // Into the upper three bytes, then down again with the sign.
            Slot::Int((i32::from_le_bytes([0, a, b, c]) >> 8).into())
        }
        Integer::UInt24 => {
            let [a, b, c] = cursor::array(event, at, what)?;
            Slot::UInt(u32::from_le_bytes([a, b, c, 0]).into())
        }
        Integer::Int32 => Slot::Int(i32::from_le_bytes(cursor::array(event, at, what)?).into()),
        Integer::UInt32 => Slot::UInt(u32::from_le_bytes(cursor::array(event, at, what)?).into()),
        Integer::Int64 => Slot::Int(i64::from_le_bytes(cursor::array(event, at, what)?)),
        Integer::UInt64 => Slot::UInt(u64::from_le_bytes(cursor::array(event, at, what)?)),
    })
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
