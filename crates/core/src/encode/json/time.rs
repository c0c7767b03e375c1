//! Times as RFC 3339 text.

const US_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Appends microseconds since 1970 UTC as a JSON string, `"2026-11-20T20:12:00.123456Z"`.
pub fn put_time(out: &mut Vec<u8>, time_us: i64) {
    let seconds = time_us.div_euclid(US_PER_SECOND);
    let (year, month, day) = date(seconds.div_euclid(SECONDS_PER_DAY));
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    out.push(b'"');
    put_digits(out, year, 4);
    out.push(b'-');
    put_digits(out, month, 2);
    out.push(b'-');
    put_digits(out, day, 2);
    out.push(b'T');
    put_digits(out, second / 3600, 2);
    out.push(b':');
    put_digits(out, second / 60 % 60, 2);
    out.push(b':');
    put_digits(out, second % 60, 2);
    out.push(b'.');
    put_digits(out, time_us.rem_euclid(US_PER_SECOND), 6);
    out.extend_from_slice(b"Z\"");
}

/// Year, month and day of a day number since 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin on March 1, so that the leap day is the last of its year.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn put_digits(out: &mut Vec<u8>, value: i64, width: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value.unsigned_abs());
    if value < 0 {
        out.push(b'-');
    }
    out.resize(out.len() + width.saturating_sub(text.len()), b'0');
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_chrono() {
        let step: usize = 86_400_000_000 * 13 + 7_919_000_123;
        for time_us in (-62_135_596_800_000_000_i64..253_402_300_799_000_000).step_by(step) {
            let mut out = Vec::new();
            put_time(&mut out, time_us);
            let wanted = chrono::DateTime::from_timestamp_micros(time_us).expect("in range");
            let wanted = wanted.format("\"%Y-%m-%dT%H:%M:%S%.6fZ\"").to_string();
            assert_eq!(String::from_utf8_lossy(&out), wanted);
        }
    }

    #[test]
    fn no_time_panics() {
        for time_us in [i64::MIN, i64::MAX, 0] {
            put_time(&mut Vec::new(), time_us);
        }
    }
}
