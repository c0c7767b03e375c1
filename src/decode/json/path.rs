//! Paths of partial updates: `$.a."b c"[3]`.
//!
//! Only what the server writes there: members and cells counted from the start, no wildcards, no ranges.

use std::borrow::Cow;

use super::{DEPTH_MAX, JsonError};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leg<'a> {
    /// `.name`, unquoted.
    Member(Cow<'a, [u8]>),
    /// `[3]`.
    Cell(usize),
}

/// Reads a path.
pub(super) fn parse(path: &[u8]) -> Result<Vec<Leg<'_>>, JsonError> {
    let mut rest = path.strip_prefix(b"$").ok_or(JsonError::Path)?;
    let mut legs = Vec::new();
    while let Some((start, after)) = rest.split_first() {
        let leg = match start {
            b'.' => take_member(after),
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
    let digits = rest.get(..end)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let index = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((Leg::Cell(index), rest.get(end + 1..)?))
}

fn take_member(rest: &[u8]) -> Option<(Leg<'_>, &[u8])> {
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quoted_len(quoted)?;
        let name = unquote(quoted.get(..end)?)?;
        return Some((Leg::Member(name), quoted.get(end + 1..)?));
    }
    let end = rest.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(rest.len());
    let name = rest.get(..end).filter(|name| !name.is_empty())?;
    Some((Leg::Member(Cow::Borrowed(name)), rest.get(end..)?))
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

/// The name behind JSON's escapes.
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
