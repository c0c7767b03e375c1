//! TIME, DATETIME, TIMESTAMP as stored before 5.6: tables that were never rebuilt still hold them.
//!
//! Decimal numbers whose digits are the value, `20261120201200`; no fraction.

use super::temporal::{self, Clock, Date};
use super::{CellError, cursor};

pub(super) fn read_timestamp(
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let seconds = u32::from_le_bytes(cursor::array(event, at, "TIMESTAMP")?);
    temporal::write_timestamp(seconds, 0, 0, scratch);
    Ok(())
}

pub(super) fn read_datetime(
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let what = "DATETIME";
    let stored = u64::from_le_bytes(cursor::array(event, at, what)?);
    let out_of_range = |_| CellError::OutOfRange { what, expected: "fourteen digits" };
    let day = u32::try_from(stored / 1_000_000).map_err(out_of_range)?;
    let time = u32::try_from(stored % 1_000_000).map_err(out_of_range)?;
    let date = Date { year: day / 10_000, month: day / 100 % 100, day: day % 100 };
    temporal::write_datetime(date.checked(what)?, clock(time).checked(23, what)?, 0, scratch);
    Ok(())
}

pub(super) fn read_time(
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let what = "TIME";
    let [a, b, c] = cursor::array(event, at, what)?;
    let stored = i32::from_le_bytes([0, a, b, c]) >> 8;
    let clock = clock(stored.unsigned_abs()).checked(838, what)?;
    temporal::write_time(stored < 0, clock, 0, scratch);
    Ok(())
}

fn clock(digits: u32) -> Clock {
    Clock {
        hour: digits / 10_000,
        minute: digits / 100 % 100,
        second: digits % 100,
        microsecond: 0,
    }
}
