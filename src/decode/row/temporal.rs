//! DATE, TIME, DATETIME, TIMESTAMP as stored since 5.6, to text.
//!
//! Source: `my_time.cc` of the server (`my_time_packed_from_binary` and its brothers). All
//! are big-endian numbers, shifted so that they compare as bytes, with the fraction in as many bytes
//! as its digits need.

use super::{CellError, cursor, digits};

const TIME_BASE: i64 = 0x80_0000;
const DATETIME_BASE: u64 = 0x80_0000_0000;
/// Bytes of a DATETIME without its fraction.
const DATETIME_BYTES: usize = 5;
const SECONDS_OF_DAY: u32 = 86_400;
/// TIME ends at 838:59:59.
pub(super) const HOUR_MAX: u32 = 838;
/// Bytes of `2026-11-20 20:12:00`.
const DATETIME_WHOLE_LEN: usize = 19;
/// Bytes of `-838:59:59`.
const TIME_WHOLE_LEN: usize = 10;

/// A day of the calendar, or a zero or partial one.
#[derive(Clone, Copy)]
pub(super) struct Date {
    pub(super) year: u32,
    pub(super) month: u32,
    pub(super) day: u32,
}

/// A time of day, or (hours up to 838) a span of time.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) microsecond: u32,
}

impl Date {
    pub(super) fn checked(self, what: &'static str) -> Result<Self, CellError> {
        if self.year <= 9999 && self.month <= 12 && self.day <= 31 {
            return Ok(self);
        }
        Err(CellError::OutOfRange { what, expected: "year to 9999, month to 12, day to 31" })
    }

    /// Writes `2026-11-20` to the front of `text`.
    #[inline]
    fn put<const N: usize>(self, text: &mut [u8; N]) {
        let digits = digits::pairs([self.year / 100, self.year % 100, self.month, self.day]);
        text[..4].copy_from_slice(&digits[..4]);
        text[5..7].copy_from_slice(&digits[4..6]);
        text[8..10].copy_from_slice(&digits[6..]);
    }

    /// The day so many days after 1970-01-01, by counting in years that begin in March.
    fn from_epoch_days(days: u32) -> Self {
        const DAYS_OF_400_YEARS: u32 = 146_097;
        let days = days + 719_468;
        let era = days / DAYS_OF_400_YEARS;
        let day_of_era = days % DAYS_OF_400_YEARS;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self { year: era * 400 + year_of_era + u32::from(month <= 2), month, day }
    }
}

impl Clock {
    pub(super) const MIDNIGHT: Self = Self { hour: 0, minute: 0, second: 0, microsecond: 0 };

    pub(super) fn checked(self, hour_max: u32, what: &'static str) -> Result<Self, CellError> {
        let in_range = self.hour <= hour_max && self.minute <= 59 && self.second <= 59;
        if in_range && self.microsecond <= 999_999 {
            return Ok(self);
        }
        Err(CellError::OutOfRange {
            what,
            expected: "a time of hours, minutes, seconds and fraction",
        })
    }

    /// Writes `20:12:00.123456`, of the hour two digits, at `at` of `text`.
    #[inline]
    fn put<const N: usize>(self, text: &mut [u8; N], at: usize) {
        let Self { hour, minute, second, microsecond } = self;
        let front = digits::pairs([hour % 100, minute, second, microsecond / 10_000]);
        let rest = digits::pairs([microsecond / 100 % 100, microsecond % 100, 0, 0]);
        text[at..at + 2].copy_from_slice(&front[..2]);
        text[at + 3..at + 5].copy_from_slice(&front[2..4]);
        text[at + 6..at + 8].copy_from_slice(&front[4..6]);
        text[at + 9..at + 11].copy_from_slice(&front[6..]);
        text[at + 11..at + 15].copy_from_slice(&rest[..4]);
    }

    pub(super) fn from_packed(packed: u32, microsecond: u32) -> Self {
        Self { hour: packed >> 12, minute: packed >> 6 & 63, second: packed & 63, microsecond }
    }
}

pub(super) fn read_date(
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let [a, b, c] = cursor::array(event, at, "DATE")?;
    let packed = u32::from_le_bytes([a, b, c, 0]);
    let date =
        Date { year: packed >> 9, month: packed >> 5 & 15, day: packed & 31 }.checked("DATE")?;
    write_date(date, scratch);
    Ok(())
}

#[inline]
pub(super) fn read_datetime(
    fraction_digits: u8,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let what = "DATETIME";
    // Both parts at once: together they have at most eight bytes.
    let fraction_bytes = u32::from(fraction_digits.div_ceil(2));
    let both = cursor::uint_be(event, at, DATETIME_BYTES + fraction_bytes as usize, what)?;
    let microsecond = to_microseconds(low_bytes(both, fraction_bytes), fraction_bytes);
    let stored = both >> (8 * fraction_bytes);
    let out_of_range = CellError::OutOfRange { what, expected: "a date of the years 0 to 9999" };
    let packed = stored.checked_sub(DATETIME_BASE).ok_or(out_of_range)?;
    let (date, clock) = unpack_datetime(packed, microsecond);
    write_datetime(date.checked(what)?, clock.checked(23, what)?, fraction_digits, scratch);
    Ok(())
}

/// The lowest bytes of `both`, at most three.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "masked to 24 bits at most")]
fn low_bytes(both: u64, count: u32) -> u32 {
    (both & ((1 << (8 * count.min(3))) - 1)) as u32
}

/// Year, month, day from the upper bits (a month counts 1, a year 13), the time from the lower 17.
#[allow(clippy::cast_possible_truncation, reason = "masked, or below 2^18 by the caller's 40 bits")]
pub(super) fn unpack_datetime(packed: u64, microsecond: u32) -> (Date, Clock) {
    let months = (packed >> 22) as u32;
    let date = Date { year: months / 13, month: months % 13, day: (packed >> 17) as u32 & 31 };
    (date, Clock::from_packed(packed as u32 & 0x1_ffff, microsecond))
}

#[inline]
pub(super) fn read_timestamp(
    fraction_digits: u8,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let what = "TIMESTAMP";
    let seconds = u32::from_be_bytes(cursor::array(event, at, what)?);
    let microsecond = read_fraction(fraction_digits, event, at, what)?;
    if microsecond > 999_999 {
        return Err(CellError::OutOfRange { what, expected: "a fraction below one second" });
    }
    write_timestamp(seconds, microsecond, fraction_digits, scratch);
    Ok(())
}

/// Appends seconds since 1970 as a date and time in UTC; second 0 stands for the zero date.
pub(super) fn write_timestamp(
    seconds: u32,
    microsecond: u32,
    fraction_digits: u8,
    scratch: &mut Vec<u8>,
) {
    if seconds == 0 {
        let zero = Date { year: 0, month: 0, day: 0 };
        return write_datetime(zero, Clock::MIDNIGHT, fraction_digits, scratch);
    }
    let second_of_day = seconds % SECONDS_OF_DAY;
    let clock = Clock {
        hour: second_of_day / 3_600,
        minute: second_of_day / 60 % 60,
        second: second_of_day % 60,
        microsecond,
    };
    write_datetime(
        Date::from_epoch_days(seconds / SECONDS_OF_DAY),
        clock,
        fraction_digits,
        scratch,
    );
}

/// TIME counts from the base both ways. A negative one is the two's complement over whole part and
/// fraction together, so a fraction borrows from the seconds.
pub(super) fn read_time(
    fraction_digits: u8,
    event: &[u8],
    at: &mut usize,
    scratch: &mut Vec<u8>,
) -> Result<(), CellError> {
    let what = "TIME";
    let fraction_bytes = u32::from(fraction_digits.div_ceil(2));
    let stored = cursor::uint_be(event, at, 3 + fraction_bytes as usize, what)?;
    let fraction_bits = 8 * fraction_bytes;
    let signed = stored.cast_signed() - (TIME_BASE << fraction_bits);
    let magnitude = signed.unsigned_abs();
    let fraction = magnitude & ((1 << fraction_bits) - 1);
    let (Ok(packed), Ok(fraction)) =
        (u32::try_from(magnitude >> fraction_bits), u32::try_from(fraction))
    else {
        return Err(CellError::OutOfRange { what, expected: "a time up to 838:59:59" });
    };
    let clock = Clock::from_packed(packed, to_microseconds(fraction, fraction_bytes));
    write_time(signed < 0, clock.checked(HOUR_MAX, what)?, fraction_digits, scratch);
    Ok(())
}

/// Fraction as stored, in units of as many digits as its bytes hold.
fn to_microseconds(fraction: u32, bytes: u32) -> u32 {
    match bytes {
        1 => fraction * 10_000,
        2 => fraction * 100,
        _ => fraction,
    }
}

#[inline]
fn read_fraction(
    fraction_digits: u8,
    event: &[u8],
    at: &mut usize,
    what: &'static str,
) -> Result<u32, CellError> {
    if fraction_digits == 0 {
        return Ok(0);
    }
    let bytes = u32::from(fraction_digits.div_ceil(2));
    let stored = cursor::uint_be(event, at, bytes as usize, what)?;
    let out_of_range = CellError::OutOfRange { what, expected: "a fraction below one second" };
    Ok(to_microseconds(u32::try_from(stored).map_err(|_| out_of_range)?, bytes))
}

/// Appends `2026-11-20`.
pub(super) fn write_date(date: Date, scratch: &mut Vec<u8>) {
    let mut text = *b"0000-00-00";
    date.put(&mut text);
    scratch.extend_from_slice(&text);
}

/// Appends `2026-11-20 20:12:00.123456`, cut to the column's digits.
#[inline]
pub(super) fn write_datetime(date: Date, clock: Clock, fraction_digits: u8, scratch: &mut Vec<u8>) {
    let mut text = *b"0000-00-00 00:00:00.000000";
    date.put(&mut text);
    clock.put(&mut text, 11);
    // All of it and then what is too much off again: a copy of a fixed size is no call.
    let end = scratch.len() + with_fraction(DATETIME_WHOLE_LEN, fraction_digits);
    scratch.extend_from_slice(&text);
    scratch.truncate(end);
}

/// Appends `-838:59:59.000000`, cut to the column's digits.
pub(super) fn write_time(negative: bool, clock: Clock, fraction_digits: u8, scratch: &mut Vec<u8>) {
    let mut text = *b"0000:00:00.000000";
    text[..2].copy_from_slice(&digits::pairs([clock.hour / 100, 0, 0, 0])[..2]);
    clock.put(&mut text, 2);
    // Two digits of hours, or as many as it needs.
    let mut start = if clock.hour > 99 { 1 } else { 2 };
    if negative {
        start -= 1;
        if let Some(sign) = text.get_mut(start) {
            *sign = b'-';
        }
    }
    let end = with_fraction(TIME_WHOLE_LEN, fraction_digits);
    scratch.extend_from_slice(text.get(start..end).unwrap_or(&text));
}

/// Length with that many digits of fraction, and their point.
#[inline]
fn with_fraction(whole: usize, digits: u8) -> usize {
    if digits == 0 { whole } else { whole + 1 + usize::from(digits) }
}
