//! Pieces of JSON.

use crate::encode::json::{put_escaped as put_escaped_bytes, put_string};

/// Appends `,"name":`.
pub(super) fn put_member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends text for a JSON string, without quotes.
pub(super) fn put_escaped(out: &mut Vec<u8>, text: &str) {
    put_escaped_bytes(out, text.as_bytes());
}

/// Appends a text, or null.
pub(super) fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text.as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
}

pub(super) fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends text that may not be valid UTF-8 as a JSON string, with U+FFFD where it is not; returns
/// whether it was valid.
pub(super) fn put_lossy(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    out.push(b'"');
    let mut is_valid = true;
    for chunk in bytes.utf8_chunks() {
        put_escaped(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
            is_valid = false;
        }
    }
    out.push(b'"');
    is_valid
}

/// Appends bytes as a JSON string of hexadecimal digits.
pub(super) fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.reserve(bytes.len() * 2 + 1);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'"');
}

/// Calls `put` with the pieces of a JSON text that are left when spaces between its tokens are taken
/// out.
pub(super) fn compact(json: &[u8], mut put: impl FnMut(&[u8])) {
    let (mut start, mut is_in_string, mut is_escaped) = (0, false, false);
    for (at, byte) in json.iter().enumerate() {
        if is_in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_in_string = false,
                _ => {}
            }
        } else if *byte == b'"' {
            is_in_string = true;
        } else if byte.is_ascii_whitespace() {
            put(json.get(start..at).unwrap_or_default());
            start = at + 1;
        }
    }
    put(json.get(start..).unwrap_or_default());
}
