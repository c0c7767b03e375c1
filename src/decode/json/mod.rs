//! JSON documents: MySQL's binary form to the text that MySQL prints, and partial updates of it.
//!
//! [`view`] reads values out of the binary form without copying; [`text`] writes them as
//! `CAST(j AS CHAR)` of MySQL 8 and later does (5.7 prints whole doubles without `.0`, and puts raw
//! line ends into the base64 of binary values, which is no valid JSON: here both come out as in 8.0).
//! [`diff`] reads partial updates, [`tree`] applies them.
//!
//! Documents come from outside: every offset is checked, nesting ends at [`DEPTH_MAX`], and a
//! [`Budget`] ends documents whose parts overlap, which could otherwise grow without bound.

mod budget;
mod diff;
mod error;
mod number;
mod opaque;
mod path;
mod text;
mod tree;
mod view;

#[cfg(test)]
mod tests;

use budget::Budget;
use diff::Diffs;
pub use error::JsonError;
use view::Value;

/// Longest text, which no server prints: it would be beyond `max_allowed_packet`.
const TEXT_BYTES_MAX: usize = 1 << 30;
/// Deepest nesting that MySQL stores (`JSON_DOCUMENT_MAX_DEPTH`).
const DEPTH_MAX: usize = 100;

/// Appends the text of the document `binary` to `out`. On error, what was appended is of no use.
pub(crate) fn write_text(binary: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    text::write(&Value::parse(binary)?, &mut Budget::new(binary.len()), 0, out)
}

/// Appends the text of the document `before` as changed by the partial update `diffs`.
pub(crate) fn apply(before: &[u8], diffs: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut budget = Budget::new(before.len().saturating_add(diffs.len()));
    let mut root = tree::Node::View(Value::parse(before)?);
    for diff in Diffs::new(diffs) {
        root.apply(&diff?, &mut budget)?;
    }
    root.write(&mut Budget::new(before.len().saturating_add(diffs.len())), 0, out)
}

/// Appends the partial update `diffs` as a JSON array of
/// `{"op": "replace|insert|remove", "path": "$.a", "value": ...}`; a removal has no value.
pub(crate) fn write_diffs(diffs: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut budget = Budget::new(diffs.len());
    out.push(b'[');
    for (index, diff) in Diffs::new(diffs).enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        diff?.write(&mut budget, out)?;
    }
    out.push(b']');
    Ok(())
}
