//! JSON columns: binary documents, and partial updates of them.

use super::log::{self, kind};
use super::rows;

/// A table with one JSON column: map and what stands in front of a row's images, with `bitmaps`
/// bitmaps of columns.
fn table() -> Vec<u8> {
    vec![1, 0, 1, b'd', 0, 1, b't', 0, 1, 245, 1, 4, 1]
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("inputs are short");
    [&length.to_le_bytes(), bytes].concat()
}

/// A binary document. What comes out is JSON.
pub fn document(input: &[u8]) -> u64 {
    let row = [&[1, 0, 2, 0, 1, 1, 0][..], &sized(input)].concat();
    rows::transaction(log::MYSQL, &table(), kind::WRITE_ROWS, &row)
}

/// A partial update, with and without its document. Bytes: the document's length (2), the document,
/// the changes.
pub fn diff(input: &[u8]) -> u64 {
    let Some((length, rest)) = input.split_first_chunk() else { return 0 };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (document, diffs) = rest.split_at(length);
    // Options: partial; one bit for the one JSON column; no NULL.
    let after = [&[1, 1, 0][..], &sized(diffs)].concat();
    let known = [&[1, 0, 2, 0, 1, 1, 1, 0][..], &sized(document), &after].concat();
    let whole = rows::transaction(log::MYSQL, &table(), kind::PARTIAL_UPDATE_ROWS, &known);
    let unknown = [&[1, 0, 2, 0, 1, 0, 1][..], &after].concat();
    whole + rows::transaction(log::MYSQL, &table(), kind::PARTIAL_UPDATE_ROWS, &unknown)
}
