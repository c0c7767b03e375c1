//! DECIMAL and temporals as they stand inside JSON documents.
//!
//! Source: `Json_decimal::from_binary`, `Json_datetime::from_packed` of the server: a decimal has
//! precision and scale in front; a temporal is a little-endian number, the fraction in its lower 24 bits.

use super::temporal::{self, Clock};
use super::{CellError, decimal};

const FRACTION_BITS: u32 = 24;
const FRACTION_MASK: u64 = (1 << FRACTION_BITS) - 1;
const FRACTION_DIGITS: u8 = 6;

/// Appends a DECIMAL as text.
pub(in crate::decode) fn write_decimal(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let out_of_range = CellError::OutOfRange { what: "DECIMAL", expected: "at most 65 digits" };
    match *bytes {
        [precision @ 1..=81, scale, ..] if scale <= precision => {
            let mut at = 2;
            decimal::write(precision, scale, bytes, &mut at, out)?;
            if at == bytes.len() { Ok(()) } else { Err(out_of_range) }
        }
        _ => Err(out_of_range),
    }
}

/// Appends `2026-11-20`.
pub(in crate::decode) fn write_packed_date(
    packed: [u8; 8],
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let (date, _) = temporal::unpack_datetime(magnitude(packed) >> FRACTION_BITS, 0);
    temporal::write_date(date.checked("DATE")?, out);
    Ok(())
}

/// Appends `2026-11-20 20:12:00.123456`.
pub(in crate::decode) fn write_packed_datetime(
    packed: [u8; 8],
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let what = "DATETIME";
    let magnitude = magnitude(packed);
    let (date, clock) = temporal::unpack_datetime(magnitude >> FRACTION_BITS, fraction(magnitude));
    temporal::write_datetime(date.checked(what)?, clock.checked(23, what)?, FRACTION_DIGITS, out);
    Ok(())
}

/// Appends `-838:59:59.000000`.
pub(in crate::decode) fn write_packed_time(
    packed: [u8; 8],
    out: &mut Vec<u8>,
) -> Result<(), CellError> {
    let negative = i64::from_le_bytes(packed) < 0;
    let magnitude = magnitude(packed);
    let whole = magnitude >> FRACTION_BITS;
    let out_of_range =
        |_| CellError::OutOfRange { what: "TIME", expected: "a time up to 838:59:59" };
    let clock =
        Clock::from_packed(u32::try_from(whole).map_err(out_of_range)?, fraction(magnitude));
    temporal::write_time(
        negative,
        clock.checked(temporal::HOUR_MAX, "TIME")?,
        FRACTION_DIGITS,
        out,
    );
    Ok(())
}

fn magnitude(packed: [u8; 8]) -> u64 {
    i64::from_le_bytes(packed).unsigned_abs()
}

#[allow(clippy::cast_possible_truncation, reason = "masked to 24 bits")]
fn fraction(magnitude: u64) -> u32 {
    (magnitude & FRACTION_MASK) as u32
}
