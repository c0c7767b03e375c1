//! Rows made smaller: the largest cells are replaced by their size and hash.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::encoded_batch::{Content, EncodedBatch};
use super::options::{Candidate, Format};
use super::rows::Rows;
use super::schema::Schema;
use super::{json, protobuf};

/// A marker takes less than this many bytes.
const MARKER_BYTES_MAX: usize = 128;

impl EncodedBatch {
    /// Leaves out cells, largest first and never those of the primary key, until the encoded rows
    /// have at most `images_bytes_max` bytes. The encoded batch itself, unchanged, when that is not enough.
    pub fn shrink_to(mut self, images_bytes_max: usize) -> Result<Self, Box<Self>> {
        let Content::Rows { schema, rows, .. } = self.content_mut() else {
            return Err(Box::new(self));
        };
        if rows.images.len() <= images_bytes_max {
            return Ok(self);
        }
        let mut candidates = all_candidates(schema, rows);
        let Some(count) = how_many(&candidates, rows.images.len(), images_bytes_max) else {
            return Err(Box::new(self));
        };
        candidates.truncate(count);
        candidates.sort_by_key(|candidate| candidate.element.start);
        replace(schema.format(), rows, &candidates);
        Ok(self)
    }

    /// Leaves out all cells that can be left out and take more than their marker.
    #[must_use]
    pub(super) fn shrink_fully(mut self) -> Self {
        if let Content::Rows { schema, rows, .. } = self.content_mut() {
            let mut candidates = all_candidates(schema, rows);
            candidates.sort_by_key(|candidate| candidate.element.start);
            replace(schema.format(), rows, &candidates);
        }
        self
    }
}

/// What can be left out of the rows, largest first.
fn all_candidates(schema: &Schema, rows: &Rows) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut start = 0;
    for mark in &rows.marks {
        for length in [mark.before_bytes, mark.after_bytes].into_iter().flatten() {
            let image = rows.images.get(start..start + length).unwrap_or_default();
            candidates.extend(candidates_of(schema, image).into_iter().map(|candidate| {
                Candidate {
                    element: shifted(&candidate.element, start),
                    value: shifted(&candidate.value, start),
                }
            }));
            start += length;
        }
    }
    candidates.retain(|candidate| candidate.element.len() > MARKER_BYTES_MAX);
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.element.len()));
    candidates
}

/// How many of the candidates, in their order, must go; `None` when all of them are not enough.
fn how_many(candidates: &[Candidate], bytes: usize, bytes_max: usize) -> Option<usize> {
    let mut left = bytes;
    for (index, candidate) in candidates.iter().enumerate() {
        left -= candidate.element.len() - MARKER_BYTES_MAX;
        if left <= bytes_max {
            return Some(index + 1);
        }
    }
    None
}

fn candidates_of(schema: &Schema, image: &[u8]) -> Vec<Candidate> {
    let cells = match schema.format() {
        Format::Protobuf => protobuf::cells(image),
        Format::Json => json::cells(schema.keys(), image),
    };
    cells
        .into_iter()
        .filter(|(ordinal, _)| !schema.is_key(*ordinal))
        .map(|(_, candidate)| candidate)
        .collect()
}

/// Writes the images again, with a marker in place of each candidate; these are in their order.
fn replace(format: Format, rows: &mut Rows, candidates: &[Candidate]) {
    let mut images = Vec::new();
    let mut candidates = candidates.iter().peekable();
    let mut start = 0;
    for mark in &mut rows.marks {
        for length in [&mut mark.before_bytes, &mut mark.after_bytes].into_iter().flatten() {
            let end = start + *length;
            let written = images.len();
            while let Some(candidate) = candidates.next_if(|next| next.element.start < end) {
                let kept = rows.images.get(start..candidate.element.start);
                images.extend_from_slice(kept.unwrap_or_default());
                let value = rows.images.get(candidate.value.clone()).unwrap_or_default();
                put_marker(format, &mut images, value);
                rows.omitted_cells += 1;
                start = candidate.element.end;
            }
            images.extend_from_slice(rows.images.get(start..end).unwrap_or_default());
            start = end;
            *length = images.len() - written;
        }
    }
    rows.images = images;
}

fn put_marker(format: Format, out: &mut Vec<u8>, value: &[u8]) {
    let sha256 = Sha256::digest(value).into();
    match format {
        Format::Protobuf => protobuf::put_omitted(out, value.len() as u64, &sha256),
        Format::Json => json::put_omitted(out, value.len() as u64, &sha256),
    }
}

fn shifted(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod tests;
