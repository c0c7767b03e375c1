//! The text form of GTID sets: what `@@gtid_executed` prints and what people type.
//!
//! `uuid:1-9:11:tag:1-2,uuid:...` (MySQL manual, "GTID Sets"): after a UUID come intervals, and
//! tags that hold for the intervals behind them until the next tag. White space and empty members
//! are allowed anywhere between the words.

use std::fmt;
use std::str::FromStr;

use super::{GtidError, GtidSet, SEQUENCE_END, Tag, Uuid};

impl fmt::Display for GtidSet {
    /// Canonical, as the server prints it: sorted, ranges joined, lower case. On one line;
    /// `{:#}` breaks the line after each UUID as `@@gtid_executed` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut current: Option<(Uuid, Tag)> = None;
        for (source, tag, range) in self.iter() {
            if current.is_none_or(|(before, _)| before != source) {
                if current.is_some() {
                    f.write_str(if f.alternate() { ",\n" } else { "," })?;
                }
                write!(f, "{source}")?;
                current = Some((source, Tag::default()));
            }
            if current.is_none_or(|(_, before)| before != tag) {
                write!(f, ":{}", tag.as_str())?;
                current = Some((source, tag));
            }
            match range.end - 1 {
                last if last == range.start => write!(f, ":{last}")?,
                last => write!(f, ":{}-{last}", range.start)?,
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    /// Accepts every form that MySQL accepts or prints, and the empty set.
    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut set = Self::new();
        let mut at = 0;
        for member in text.split(',') {
            if !member.trim().is_empty() {
                parse_member(&mut set, text, at, member)?;
            }
            at += member.len() + 1;
        }
        Ok(set)
    }
}

/// Reads one `uuid:...`, which starts at byte `at` of `text`.
fn parse_member(
    set: &mut GtidSet,
    text: &str,
    mut at: usize,
    member: &str,
) -> Result<(), GtidError> {
    let mut words = member.split(':');
    let first = words.next().unwrap_or_default();
    let source: Uuid =
        first.trim().parse().map_err(|error: GtidError| error_at(text, at, error.expected))?;
    at += first.len() + 1;

    let mut tag = Tag::default();
    let mut intervals = 0_usize;
    // A UUID alone is no set, nor is a tag without an interval behind it.
    let mut wants_interval = true;
    for word in words {
        let trimmed = word.trim();
        if trimmed.starts_with(|first: char| first.is_ascii_digit()) {
            let (start, last) = parse_interval(trimmed)
                .ok_or_else(|| error_at(text, at, "a number from 1 to 2^63-2, or a range"))?;
            set.insert_range(source, tag, start..last + 1);
            intervals += 1;
            wants_interval = false;
        } else if trimmed.is_empty() || wants_interval && intervals > 0 {
            return Err(error_at(text, at, "an interval"));
        } else {
            tag =
                Tag::new(trimmed.as_bytes()).map_err(|error| error_at(text, at, error.expected))?;
            // Counted so that two tags in a row are refused.
            intervals += 1;
            wants_interval = true;
        }
        at += word.len() + 1;
    }
    if wants_interval {
        return Err(error_at(text, at.saturating_sub(1), "an interval"));
    }
    Ok(())
}

/// Reads `n` or `n-m`: first and last number.
fn parse_interval(word: &str) -> Option<(u64, u64)> {
    let number = |text: &str| -> Option<u64> {
        let digits = text.trim();
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| plain)?;
        (1..SEQUENCE_END).contains(&number).then_some(number)
    };
    match word.split_once('-') {
        Some((start, last)) => {
            let (start, last) = (number(start)?, number(last)?);
            (start <= last).then_some((start, last))
        }
        None => number(word).map(|number| (number, number)),
    }
}

pub(super) fn error_at(text: &str, at: usize, expected: &'static str) -> GtidError {
    let found = text.get(at..).unwrap_or_default().chars().take(40).collect();
    GtidError { at, found, expected }
}
