//! Geometries as well-known text, in the form of JTS: `POINT (1 2)`.

use crate::change::Cell;
use crate::encode::json::put_cell;

/// Collections within collections that are followed.
const DEPTH_MAX: u8 = 16;

/// Appends the text of well-known binary; `None` for what is none, and then `out` is as it was.
pub(super) fn put_wkt(out: &mut Vec<u8>, wkb: &[u8]) -> Option<()> {
    let start = out.len();
    let mut rest = wkb;
    let outcome = put_shape(out, &mut rest, DEPTH_MAX, true).filter(|()| rest.is_empty());
    if outcome.is_none() {
        out.truncate(start);
    }
    outcome
}

fn put_shape(out: &mut Vec<u8>, rest: &mut &[u8], depth: u8, is_named: bool) -> Option<()> {
    let (&[order], after) = rest.split_first_chunk()?;
    let (kind, after) = after.split_first_chunk()?;
    // Numbers are little-endian wherever MySQL runs.
    if order != 1 {
        return None;
    }
    *rest = after;
    let kind = u32::from_le_bytes(*kind);
    if is_named {
        out.extend_from_slice(match kind {
            1 => b"POINT ",
            2 => b"LINESTRING ",
            3 => b"POLYGON ",
            4 => b"MULTIPOINT ",
            5 => b"MULTILINESTRING ",
            6 => b"MULTIPOLYGON ",
            7 => b"GEOMETRYCOLLECTION ",
            _ => return None,
        });
    }
    match kind {
        1 => {
            out.push(b'(');
            put_point(out, rest)?;
            out.push(b')');
            Some(())
        }
        2 => put_line(out, rest),
        3 => put_list(out, rest, put_line),
        4..=6 => {
            let depth = depth.checked_sub(1)?;
            put_list(out, rest, |out, rest| put_shape(out, rest, depth, false))
        }
        7 => {
            let depth = depth.checked_sub(1)?;
            put_list(out, rest, |out, rest| put_shape(out, rest, depth, true))
        }
        _ => None,
    }
}

fn put_line(out: &mut Vec<u8>, rest: &mut &[u8]) -> Option<()> {
    put_list(out, rest, put_point)
}

fn put_list(
    out: &mut Vec<u8>,
    rest: &mut &[u8],
    put: impl Fn(&mut Vec<u8>, &mut &[u8]) -> Option<()>,
) -> Option<()> {
    let (count, after) = rest.split_first_chunk()?;
    *rest = after;
    let count = u32::from_le_bytes(*count);
    if count == 0 {
        out.extend_from_slice(b"EMPTY");
        return Some(());
    }
    out.push(b'(');
    for number in 0..count {
        if number > 0 {
            out.extend_from_slice(b", ");
        }
        // Ends with the bytes, however large the count.
        put(out, rest)?;
    }
    out.push(b')');
    Some(())
}

fn put_point(out: &mut Vec<u8>, rest: &mut &[u8]) -> Option<()> {
    for separator in [&b" "[..], b""] {
        let (bytes, after) = rest.split_first_chunk()?;
        *rest = after;
        let value = f64::from_le_bytes(*bytes);
        if !value.is_finite() {
            return None;
        }
        put_cell(out, Cell::Double(value));
        if out.ends_with(b".0") {
            out.truncate(out.len() - 2);
        }
        out.extend_from_slice(separator);
    }
    Some(())
}
