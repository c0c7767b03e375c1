//! The text that makes a row of an operator's table ours.

/// What the marks of one stream look like: `prefix.stream.number`, of ASCII letters, digits, dots,
/// dashes and underscores only, so that it needs no escaping in SQL.
///
/// Invariant: `prefix` has no dot, so that what stands before the first dot is the prefix of a mark,
/// of whichever stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// With the dot behind it.
    prefix: String,
    /// With the dots around it.
    own: String,
}

/// Whose a marked value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marked {
    /// Ours, with this number; 0 where what follows is none.
    Ours(u64),
    /// Another stream's.
    Foreign,
}

impl Mark {
    /// Marks of `stream`. Both are of the characters above, as the settings see to; a `prefix` holds
    /// no dot.
    pub fn new(prefix: &str, stream: &str) -> Self {
        let prefix = format!("{prefix}.");
        Self { own: format!("{prefix}{stream}."), prefix }
    }

    /// The mark with this number.
    pub fn of(&self, number: u64) -> String {
        format!("{}{number}", self.own)
    }

    /// The longest that a mark becomes, bytes: with a number that no stream reaches.
    pub fn bytes_max(&self) -> usize {
        self.own.len() + 10
    }

    /// Whose a value is; `None`: nobody's, so its row is a user's.
    #[inline]
    pub fn read(&self, value: &[u8]) -> Option<Marked> {
        if !value.starts_with(self.prefix.as_bytes()) {
            return None;
        }
        let Some(number) = value.strip_prefix(self.own.as_bytes()) else {
            return Some(Marked::Foreign);
        };
        // Another stream's name may continue where ours ends: `main` and `main.eu`.
        if number.contains(&b'.') {
            return Some(Marked::Foreign);
        }
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
        Some(Marked::Ours(number.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_names_its_stream_and_what_is_like_it_is_told_apart() {
        let mark = Mark::new("binpulse-canary", "main");
        assert_eq!(mark.of(17), "binpulse-canary.main.17");
        for (value, expected) in [
            ("binpulse-canary.main.17", Some(Marked::Ours(17))),
            ("binpulse-canary.main.", Some(Marked::Ours(0))),
            ("binpulse-canary.main.x", Some(Marked::Ours(0))),
            ("binpulse-canary.main.99999999999999999999999", Some(Marked::Ours(0))),
            ("binpulse-canary.main.eu.17", Some(Marked::Foreign)),
            ("binpulse-canary.other.17", Some(Marked::Foreign)),
            ("binpulse-canary.", Some(Marked::Foreign)),
            ("binpulse-canary", None),
            ("Binpulse-canary.main.17", None),
            (" binpulse-canary.main.17", None),
            ("", None),
        ] {
            assert_eq!(mark.read(value.as_bytes()), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_stream_knows_its_own_marks_and_those_of_all_others(
            one in "[a-z0-9._-]{1,12}",
            other in "[a-z0-9._-]{1,12}",
            number in any::<u64>(),
        ) {
            let (ours, theirs) = (Mark::new("m", &one), Mark::new("m", &other));
            prop_assert_eq!(ours.read(ours.of(number).as_bytes()), Some(Marked::Ours(number)));
            let seen = ours.read(theirs.of(number).as_bytes());
            let expected = if one == other { Marked::Ours(number) } else { Marked::Foreign };
            prop_assert_eq!(seen, Some(expected));
        }

        #[test]
        fn any_bytes_are_read(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mark = Mark::new("m", "s");
            prop_assert_eq!(mark.read(&value).is_some(), value.starts_with(b"m."));
        }
    }
}
