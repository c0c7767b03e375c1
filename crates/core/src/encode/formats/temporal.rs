//! Dates and times as numbers, from the text that MySQL prints.

/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;

/// Days since 1970-01-01 of `2026-11-20`; `None` for zero and partial dates, and for what is no date.
pub(super) fn days(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    rest.is_empty().then(|| date_days(date)).flatten()
}

/// Microseconds since 1970 of `2026-11-20 20:12:00.123456`, with any number of digits up to six, as if
/// it were UTC.
pub(super) fn datetime_us(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(b" ")?;
    Some(date_days(date)? * DAY_US + clock_us(time)?)
}

/// Microseconds of `-838:59:59.000000`.
pub(super) fn time_us(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(text) => clock_us(text).map(|us| -us),
        None => clock_us(text),
    }
}

fn date_days(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.first_chunk::<10>()? else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    (year > 0 && (1..=days).contains(&day)).then(|| civil_days(year, month, day))
}

/// Counted in years that begin on March 1, so that the leap day is the last of its year.
fn civil_days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `20:12:00.123456`; hours of up to three digits.
fn clock_us(text: &[u8]) -> Option<i64> {
    let (clock, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, &[][..]),
    };
    let mut parts = clock.split(|byte| *byte == b':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || hours.len() > 3 || minutes.len() != 2 || seconds.len() != 2 {
        return None;
    }
    let seconds = (number(hours)? * 60 + number(minutes)?) * 60 + number(seconds)?;
    let mut us = 0;
    if !fraction.is_empty() {
        us = number(fraction)?;
        for _ in fraction.len()..6 {
            us *= 10;
        }
    }
    (fraction.len() <= 6).then_some(seconds * 1_000_000 + us)
}

/// Up to six digits.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_chrono() {
        let epoch = chrono::NaiveDate::default();
        for day in (-719_162..2_932_897).step_by(97).chain([-719_162, 0, 19_782, 2_932_896]) {
            let date = epoch + chrono::Duration::days(day);
            assert_eq!(days(date.to_string().as_bytes()), Some(day), "{date}");
        }
    }

    #[test]
    fn what_is_no_moment_has_no_number() {
        for text in [
            "0000-00-00",
            "2026-00-00",
            "2026-11-00",
            "2023-02-29",
            "2023-02-31",
            "2026-13-01",
            "",
            "2026-11-2",
            "2026-11-200",
            "2026/11/20",
            "+026-11-20",
        ] {
            assert_eq!(days(text.as_bytes()), None, "{text}");
            assert_eq!(datetime_us(format!("{text} 00:00:00").as_bytes()), None, "{text}");
        }
        for text in
            ["", "-", "1:2:3", "0838:59:59", "12:34", "12:34:56.1234567", "12:34:56.", "12:34:5x"]
        {
            let wanted = (text == "12:34:56.").then_some(45_296_000_000);
            assert_eq!(time_us(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn moments_are_counted_in_microseconds() {
        for (text, us) in [
            ("1970-01-01 00:00:00", 0),
            ("2024-02-29 01:02:03.04", 1_709_168_523_040_000),
            ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999),
            ("1000-01-01 00:00:00.000001", -30_610_223_999_999_999),
        ] {
            assert_eq!(datetime_us(text.as_bytes()), Some(us), "{text}");
        }
        for (text, us) in [
            ("00:00:00", 0),
            ("-00:00:00.01", -10_000),
            ("-838:59:58.999999", -3_020_398_999_999),
            ("838:59:59", 3_020_399_000_000),
        ] {
            assert_eq!(time_us(text.as_bytes()), Some(us), "{text}");
        }
    }
}
