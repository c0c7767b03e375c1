//! Paths of partial updates: `$.a."b c"[3].d[last-1]`.
//!
//! Source: `parse_path` in the server's `sql-common/json_path.cc`. Of its grammar, everything that names
//! one value: members, cells counted from the start or from the end. Wildcards and ranges (`.*`, `[*]`,
//! `**`, `[1 to 3]`) name several, and no change is made by them.

use std::borrow::Cow;

use super::{DEPTH_MAX, JsonError};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leg<'a> {
    /// `.name`, unquoted.
    Member(Cow<'a, [u8]>),
    /// `[3]`.
    Cell(usize),
    /// `[last]` and `[last-3]`: cells behind it.
    CellFromEnd(usize),
}

/// Where a leg leads in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Ordinal of the cell; of what is inserted there, if it is beyond either end.
    pub(super) cell: usize,
    /// Whether there is such a cell.
    pub(super) exists: bool,
}

impl Leg<'_> {
    /// The place in an array of `length` cells. `None` for a member.
    pub(super) fn place(&self, length: usize) -> Option<Place> {
        match self {
            Self::Member(_) => None,
            Self::Cell(index) => {
                Some(Place { cell: (*index).min(length), exists: *index < length })
            }
            Self::CellFromEnd(behind) => Some(Place {
                cell: length.saturating_sub(behind.saturating_add(1)),
                exists: *behind < length,
            }),
        }
    }
}

/// Reads a path.
pub(super) fn parse(path: &[u8]) -> Result<Vec<Leg<'_>>, JsonError> {
    let mut rest = path.trim_ascii_start().strip_prefix(b"$").ok_or(JsonError::Path)?;
    let mut legs = Vec::new();
    while let Some((start, after)) = rest.trim_ascii_start().split_first() {
        let leg = match start {
            b'.' => take_member(after.trim_ascii_start()),
            b'[' => take_cell(after),
            _ => None,
        };
        let (leg, after) = leg.ok_or(JsonError::Path)?;
        if legs.len() > DEPTH_MAX {
            return Err(JsonError::TooDeep);
        }
        legs.push(leg);
        rest = after;
    }
    Ok(legs)
}

fn take_cell(rest: &[u8]) -> Option<(Leg<'_>, &[u8])> {
    let end = rest.iter().position(|byte| *byte == b']')?;
    let inside = rest.get(..end)?.trim_ascii();
    let leg = match inside.strip_prefix(b"last") {
        None => Leg::Cell(number(inside)?),
        Some(behind) => match behind.trim_ascii_start() {
            [] => Leg::CellFromEnd(0),
            [b'-', digits @ ..] => Leg::CellFromEnd(number(digits.trim_ascii_start())?),
            _ => return None,
        },
    };
    Some((leg, rest.get(end + 1..)?))
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn take_member(rest: &[u8]) -> Option<(Leg<'_>, &[u8])> {
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quoted_len(quoted)?;
        let name = unquote(quoted.get(..end)?)?;
        return Some((Leg::Member(name), quoted.get(end + 1..)?));
    }
    let ends = |byte: &u8| matches!(byte, b'.' | b'[' | b'*') || byte.is_ascii_whitespace();
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    let name = rest.get(..end).filter(|name| !name.is_empty())?;
    Some((Leg::Member(unquote(name)?), rest.get(end..)?))
}

/// Bytes in front of the quote that ends a name.
fn quoted_len(quoted: &[u8]) -> Option<usize> {
    let mut escaped = false;
    quoted.iter().position(|byte| {
        let ends = !escaped && *byte == b'"';
        escaped = !escaped && *byte == b'\\';
        ends
    })
}

/// The name behind JSON's escapes, which may stand in names without quotes too.
fn unquote(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !name.contains(&b'\\') {
        return Some(Cow::Borrowed(name));
    }
    let mut quoted = Vec::with_capacity(name.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(name);
    quoted.push(b'"');
    let text: String = serde_json::from_slice(&quoted).ok()?;
    Some(Cow::Owned(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(path: &str) -> Option<Vec<Leg<'_>>> {
        parse(path.as_bytes()).ok()
    }

    fn member(name: &str) -> Leg<'_> {
        Leg::Member(Cow::Borrowed(name.as_bytes()))
    }

    #[test]
    fn every_leg_that_names_one_value_is_read() {
        for (path, legs) in [
            ("$", vec![]),
            (" $ ", vec![]),
            ("$.a[0]", vec![member("a"), Leg::Cell(0)]),
            ("$[last]", vec![Leg::CellFromEnd(0)]),
            ("$[last-0]", vec![Leg::CellFromEnd(0)]),
            ("$ . a\n[ last - 12 ] [ 3 ]", vec![member("a"), Leg::CellFromEnd(12), Leg::Cell(3)]),
            (r#"$."a.b[last]"."""#, vec![member("a.b[last]"), member("")]),
            (r#"$."q\"u\\o\u00e9\n""#, vec![member("q\"u\\oé\n")]),
            (r"$.\u0061b", vec![member("ab")]),
            ("$.last.é.$x", vec![member("last"), member("é"), member("$x")]),
        ] {
            assert_eq!(of(path), Some(legs), "{path}");
        }
    }

    #[test]
    fn what_names_several_values_or_none_is_refused() {
        for path in [
            "",
            "a",
            "$.",
            "$.*",
            "$**.a",
            "$.a**[0]",
            "$[*]",
            "$[1 to 3]",
            "$[last to 3]",
            "$[]",
            "$[-1]",
            "$[+1]",
            "$[last-+1]",
            "$[last-]",
            "$[last+1]",
            "$[last 1]",
            "$[LAST]",
            "$[lastly]",
            "$[1",
            "$.\"a",
            "$x",
            r#"$."\q""#,
            "$[99999999999999999999]",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_name_in_quotes_is_read(name in any::<String>(), cell in any::<u32>()) {
            let path = format!("$.{}[last-{cell}]", serde_json::to_string(&name).expect("text"));
            let legs = vec![member(&name), Leg::CellFromEnd(cell as usize)];
            prop_assert_eq!(parse(path.as_bytes()), Ok(legs));
        }

        #[test]
        fn no_path_panics(path in "\\$?([.\\[\\]\"*\\\\ -]|last|to|[a-c0-9])*") {
            let _: Option<Vec<Leg<'_>>> = of(&path);
        }

        #[test]
        fn places_are_in_the_array_and_mirror_each_other(index in 0_usize..9, length in 0_usize..9) {
            let place = Leg::Cell(index).place(length).expect("a cell");
            prop_assert_eq!(place.exists, index < length);
            prop_assert!(place.cell <= length);
            let mirrored = Leg::CellFromEnd(index).place(length).expect("a cell");
            prop_assert_eq!(mirrored.exists, place.exists);
            let cell = if place.exists { length - 1 - place.cell } else { 0 };
            prop_assert_eq!(mirrored.cell, cell);
        }
    }
}
