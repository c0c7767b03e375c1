//! Texts of times to microseconds, as the documents and the values have them.

const US_PER_SECOND: i128 = 1_000_000;
const US_PER_DAY: i128 = 86_400 * US_PER_SECOND;

/// `2026-11-20T20:12:00.123456Z` in microseconds since 1970 UTC. Years may have a sign and more than
/// four digits. `None`: the text is no such time, or one that 64 bits do not hold.
pub(crate) fn microseconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let micros = micros_of_day(time).filter(|micros| *micros < US_PER_DAY)?;
    (micros_of_days(date)? + micros).try_into().ok()
}

/// An unsigned number of at most 9 digits.
pub(crate) fn digits(text: &str) -> Option<i128> {
    let is_number = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// `20:12:00.123456`; the hours may be any number.
pub(crate) fn micros_of_day(text: &str) -> Option<i128> {
    let (hour, rest) = text.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let (minute, second) = (digits(minute)?, digits(second)?);
    if minute > 59 || second > 59 || fraction.len() > 6 {
        return None;
    }
    let seconds = digits(hour)? * 3600 + minute * 60 + second;
    Some(seconds * US_PER_SECOND + digits(&format!("{fraction:0<6}"))?)
}

/// `2026-11-20`, in microseconds since 1970-01-01, in the Gregorian calendar.
pub(crate) fn micros_of_days(text: &str) -> Option<i128> {
    let (text, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1),
        None => (text, 1),
    };
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Some(days(sign * digits(year)?, digits(month)?, digits(day)?)? * US_PER_DAY)
}

/// Day number since 1970-01-01. Counted in years that begin on March 1, so that the leap day is the
/// last of its year.
fn days(year: i128, month: i128, day: i128) -> Option<i128> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i128::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=days).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_they_are_written() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00.000000Z", Some(0)),
            ("2026-11-18T11:06:40.005000Z", Some(1_795_000_000_005_000)),
            ("2024-02-29T23:59:59.999999Z", Some(1_709_251_199_999_999)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("-290308-12-21T19:59:05.224192Z", Some(i64::MIN)),
            ("294247-01-10T04:00:54.775807Z", Some(i64::MAX)),
            ("294247-01-10T04:00:54.775808Z", None),
            ("2026-11-18T11:06:40Z", Some(1_795_000_000_000_000)),
            ("2026-11-18T11:06:40.5Z", Some(1_795_000_000_500_000)),
            ("2026-11-18 11:06:40Z", None),
            ("2026-11-18T24:06:40Z", None),
            ("2026-13-18T11:06:40Z", None),
            ("2026-02-29T11:06:40Z", None),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000_000)),
            ("2026-11-31T11:06:40Z", None),
            ("2026-11-18T11:06:40.0000000Z", None),
            ("2026-11-18T11:06:+4Z", None),
            ("", None),
            ("Z", None),
        ] {
            assert_eq!(microseconds(text), wanted, "{text}");
        }
    }
}
