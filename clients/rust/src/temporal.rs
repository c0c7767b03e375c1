//! Values that travel as text so that nothing of them is lost, and what they are as numbers.

use std::fmt;

use crate::time::{digits, micros_of_day, micros_of_days};

macro_rules! text_value {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            pub(crate) fn new(text: &'a str) -> Self {
                Self(text)
            }

            /// The text, as MySQL prints the value.
            pub fn as_str(&self) -> &'a str {
                self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
    };
}

text_value! {
    /// A DECIMAL with all digits of its scale: `-12.500`.
    Decimal
}
text_value! {
    /// A DATE. MySQL allows `0000-00-00` and `2026-11-00` too.
    Date
}
text_value! {
    /// A TIME, `-838:59:59.000000` to `838:59:59.000000`, with the column's fraction digits.
    Time
}
text_value! {
    /// A DATETIME or TIMESTAMP, `2026-11-20 20:12:00.123`, with the column's fraction digits.
    DateTime
}

impl Decimal<'_> {
    /// The digits as an integer, and how many of them stand behind the point: `-12.500` is
    /// (-12500, 3). `None`: it has more than 128 bits hold.
    pub fn scaled(&self) -> Option<(i128, u32)> {
        let (whole, fraction) = self.0.split_once('.').unwrap_or((self.0, ""));
        let is_fraction = fraction.bytes().all(|byte| byte.is_ascii_digit());
        let scale = u32::try_from(fraction.len()).ok().filter(|_| is_fraction)?;
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some((digits, scale))
    }
}

impl Date<'_> {
    /// Year, month, day; month and day may be 0. `None`: the text has another form.
    pub fn parts(&self) -> Option<(u16, u8, u8)> {
        let (year, rest) = self.0.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        let part = |text| digits(text)?.try_into().ok();
        Some((digits(year)?.try_into().ok()?, part(month)?, part(day)?))
    }

    /// Days since 1970-01-01. `None`: it is no day, as `0000-00-00` is none.
    pub fn days(&self) -> Option<i64> {
        let micros = micros_of_days(self.0)?;
        (micros / 86_400_000_000).try_into().ok()
    }
}

impl Time<'_> {
    /// Microseconds, negative before 00:00:00. `None`: the text has another form.
    pub fn micros(&self) -> Option<i64> {
        let (text, sign) = match self.0.strip_prefix('-') {
            Some(rest) => (rest, -1),
            None => (self.0, 1),
        };
        Some(sign * i64::try_from(micros_of_day(text)?).ok()?)
    }
}

impl DateTime<'_> {
    /// The day.
    pub fn date(&self) -> Date<'_> {
        Date(self.0.split_once(' ').map_or(self.0, |(date, _)| date))
    }

    /// Microseconds since 1970-01-01 00:00:00: of a TIMESTAMP in UTC, of a DATETIME in whichever
    /// time zone it is meant. `None`: its day is none, as `0000-00-00` is none.
    pub fn micros(&self) -> Option<i64> {
        let (date, time) = self.0.split_once(' ')?;
        (micros_of_days(date)? + micros_of_day(time)?).try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        for (text, wanted) in [
            ("-12.500", Some((-12_500, 3))),
            ("0", Some((0, 0))),
            ("-0.01", Some((-1, 2))),
            ("99999999999999999999999999999999999.99", Some((i128::pow(10, 37) - 1, 2))),
            (&"9".repeat(65), None),
            ("1.-5", None),
            ("", None),
        ] {
            assert_eq!(Decimal(text).scaled(), wanted, "{text}");
        }
    }

    #[test]
    fn temporal_values_are_numbers_where_they_are_times() {
        assert_eq!(Date("2026-11-20").parts(), Some((2026, 11, 20)));
        assert_eq!(Date("0000-00-00").parts(), Some((0, 0, 0)));
        assert_eq!(Date("2026-11-20").days(), Some(20_777));
        assert_eq!(Date("1969-12-31").days(), Some(-1));
        assert_eq!(Date("1000-01-01").days(), Some(-354_285));
        for none in ["0000-00-00", "2026-11-00", "2026-00-01", "", "2026-11"] {
            assert_eq!(Date(none).days(), None, "{none}");
        }
        assert_eq!(Time("-838:59:59.000001").micros(), Some(-3_020_399_000_001));
        assert_eq!(Time("00:00:00").micros(), Some(0));
        assert_eq!(Time("-00:00:00.5").micros(), Some(-500_000));
        assert_eq!(Time("12:60:00").micros(), None);
        assert_eq!(DateTime("1970-01-02 00:00:00.123").micros(), Some(86_400_123_000));
        assert_eq!(DateTime("1969-12-31 23:59:59.999999").micros(), Some(-1));
        assert_eq!(DateTime("9999-12-31 23:59:59.999999").micros(), Some(253_402_300_799_999_999));
        assert_eq!(DateTime("0000-00-00 00:00:00").micros(), None);
        assert_eq!(DateTime("2026-11-20 20:12:00").date().as_str(), "2026-11-20");
    }
}
