//! Bounds-checked steps through an event.

use super::CellError;
use crate::change::{Area, BytesKind, Slot};

#[cold]
fn short(event: &[u8], at: usize, needed: usize, what: &'static str) -> CellError {
    CellError::Short { what, needed, left: event.len().saturating_sub(at) }
}

/// Takes `len` bytes.
#[inline]
pub(super) fn slice<'a>(
    event: &'a [u8],
    at: &mut usize,
    len: usize,
    what: &'static str,
) -> Result<&'a [u8], CellError> {
    let end = at.checked_add(len).ok_or(CellError::TooLong)?;
    let bytes = event.get(*at..end).ok_or_else(|| short(event, *at, len, what))?;
    *at = end;
    Ok(bytes)
}

/// Takes `N` bytes.
#[inline]
pub(super) fn array<const N: usize>(
    event: &[u8],
    at: &mut usize,
    what: &'static str,
) -> Result<[u8; N], CellError> {
    let bytes = event.get(*at..).and_then(|rest| rest.first_chunk::<N>());
    let bytes = *bytes.ok_or_else(|| short(event, *at, N, what))?;
    *at += N;
    Ok(bytes)
}

/// Takes a little-endian number of `len` bytes, at most 8.
#[inline]
pub(super) fn uint_le(
    event: &[u8],
    at: &mut usize,
    len: usize,
    what: &'static str,
) -> Result<u64, CellError> {
    if let Some((wide, unused)) = wide(event, *at, len) {
        *at += len;
        return Ok(u64::from_le_bytes(wide) << unused >> unused);
    }
    let bytes = slice(event, at, len, what)?;
    Ok(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Takes a big-endian number of `len` bytes, at most 8.
#[inline]
pub(super) fn uint_be(
    event: &[u8],
    at: &mut usize,
    len: usize,
    what: &'static str,
) -> Result<u64, CellError> {
    if let Some((wide, unused)) = wide(event, *at, len) {
        *at += len;
        return Ok(u64::from_be_bytes(wide) >> unused);
    }
    let bytes = slice(event, at, len, what)?;
    Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Eight bytes at `at` for a number of `len`, read at once instead of one by one, and how many of their
/// bits are not the number's. `None` near the event's end, and for lengths that no number has.
#[inline]
fn wide(event: &[u8], at: usize, len: usize) -> Option<([u8; 8], usize)> {
    let bytes = event.get(at..)?.first_chunk()?;
    (1..=8).contains(&len).then(|| (*bytes, 64 - 8 * len))
}

/// A span of the event or of the scratch space.
#[inline]
pub(super) fn span(
    kind: BytesKind,
    area: Area,
    start: usize,
    end: usize,
) -> Result<Slot, CellError> {
    let mut slot = Slot::Null;
    put_span(&mut slot, kind, area, start, end)?;
    Ok(slot)
}

/// The same, written where it stays.
#[inline]
pub(super) fn put_span(
    slot: &mut Slot,
    kind: BytesKind,
    area: Area,
    start: usize,
    end: usize,
) -> Result<(), CellError> {
    let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) else {
        return Err(CellError::TooLong);
    };
    *slot = Slot::Span { kind, area, start, end };
    Ok(())
}
