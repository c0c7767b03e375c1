//! One cell as a JSON value.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};

use super::string::{put_document, put_string};
use crate::change::Cell;
use crate::encode::lane::hex;

/// Appends a cell as JSON. [`Cell::Absent`] has no JSON: callers leave the key out; here it is null.
#[inline]
pub fn put_cell(out: &mut Vec<u8>, cell: Cell<'_>) {
    match cell {
        Cell::Absent | Cell::Null => out.extend_from_slice(b"null"),
        Cell::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Cell::UInt(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Cell::Float(value) if value.is_finite() => put_float(out, value),
        Cell::Float(value) => put_not_finite(out, value.into()),
        Cell::Double(value) if value.is_finite() => put_float(out, value),
        Cell::Double(value) => put_not_finite(out, value),
        Cell::Text(bytes) if is_utf8(bytes) => put_string(out, bytes),
        Cell::Json(b"null") => out.extend_from_slice(b"{\"$json\":null}"),
        Cell::Json(bytes) if is_utf8(bytes) => put_document(out, bytes),
        Cell::JsonDiff(bytes) if is_utf8(bytes) => {
            out.extend_from_slice(b"{\"$diff\":");
            put_document(out, bytes);
            out.push(b'}');
        }
        Cell::Text(bytes) | Cell::Json(bytes) | Cell::JsonDiff(bytes) | Cell::Malformed(bytes) => {
            out.extend_from_slice(b"{\"$malformed\":");
            put_base64(out, bytes);
            out.push(b'}');
        }
        Cell::Bytes(bytes) => put_base64(out, bytes),
        Cell::Vector(bytes) => put_vector(out, bytes),
        Cell::Omitted { size_bytes, sha256 } => put_omitted(out, size_bytes, &sha256),
    }
}

/// Appends the marker of a value that was left out.
pub(crate) fn put_omitted(out: &mut Vec<u8>, size_bytes: u64, sha256: &[u8; 32]) {
    let hash = hex(sha256);
    write!(out, "{{\"$omitted\":{{\"size_bytes\":{size_bytes},\"sha256\":\"{hash}\"}}}}")
        .expect("writing to a Vec cannot fail");
}

fn put_float(out: &mut Vec<u8>, value: impl ryu::Float) {
    out.extend_from_slice(ryu::Buffer::new().format(value).as_bytes());
}

/// MySQL stores no such number in a FLOAT or DOUBLE, and JSON has none; a VECTOR may hold one.
fn put_not_finite(out: &mut Vec<u8>, value: f64) {
    let text: &[u8] = if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    };
    out.extend_from_slice(text);
}

/// Appends bytes as a JSON string of base64.
pub(crate) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    put_base64_digits(out, bytes);
    out.push(b'"');
}

/// The same in the alphabet for URLs.
pub(crate) fn put_base64_url_safe(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    put_digits_of(out, bytes, &URL_SAFE);
    out.push(b'"');
}

/// Appends base64 without quotes.
pub(super) fn put_base64_digits(out: &mut Vec<u8>, bytes: &[u8]) {
    put_digits_of(out, bytes, &STANDARD);
}

fn put_digits_of(out: &mut Vec<u8>, bytes: &[u8], alphabet: &GeneralPurpose) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    alphabet.encode_slice(bytes, room).expect("the room is base64's length");
}

fn put_vector(out: &mut Vec<u8>, bytes: &[u8]) {
    let (elements, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return put_base64(out, bytes);
    }
    out.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_cell(out, Cell::Float(f32::from_le_bytes(*element)));
    }
    out.push(b']');
}

#[inline]
pub(super) fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}
