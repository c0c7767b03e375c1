//! How rows are written, and which cells are left out.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::change::{Cell, Image, Slot};

/// How the content of messages is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// A frame of `proto/binpulse/v1`, compressed, as base64 text.
    #[default]
    Protobuf,
    /// A JSON document with the same content, as it is.
    Json,
}

/// What the before images of updates and deletes carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BeforeImage {
    /// All columns that the binlog has.
    #[default]
    Full,
    /// Of updates: the columns that differ from the after image, and the primary key. Deletes: all.
    Changed,
    /// The primary key's columns; all columns of a table without one.
    Key,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowOptions {
    /// What before images carry.
    pub before_image: BeforeImage,
    /// Cells with more bytes than this are left out at once (never those of the primary key):
    /// [`Cell::Omitted`] takes their place.
    pub cell_bytes_max: usize,
    /// Of an image whose values have more bytes than this together, the largest are left out at once
    /// until the others have not. This, not the size of rows, bounds what encoding them takes.
    pub image_bytes_max: usize,
}

impl Default for RowOptions {
    fn default() -> Self {
        Self { before_image: BeforeImage::Full, cell_bytes_max: 32 << 20, image_bytes_max: 8 << 20 }
    }
}

impl RowOptions {
    /// Largest cell that an image may keep.
    pub(super) fn cell_limit(&self, image: &Image<'_>) -> usize {
        let mut kept = span_bytes(image);
        if kept <= self.image_bytes_max {
            return self.cell_bytes_max;
        }
        let mut sizes: Vec<usize> = image.slots().iter().map(len_bytes).collect();
        sizes.sort_unstable();
        while kept > self.image_bytes_max
            && let Some(largest) = sizes.pop()
        {
            kept -= largest;
            // Others of the same size go with it: which of them stayed would be chance.
            while sizes.last() == Some(&largest) {
                sizes.pop();
                kept -= largest;
            }
        }
        sizes.last().copied().unwrap_or_default().min(self.cell_bytes_max)
    }
}

/// A cell that can be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Bytes to replace, within the images.
    pub(crate) element: Range<usize>,
    /// Bytes of the value itself: what is counted and hashed.
    pub(crate) value: Range<usize>,
}

/// Bytes of all values that have a length of their own.
pub(super) fn span_bytes(image: &Image<'_>) -> usize {
    image.slots().iter().map(len_bytes).sum()
}

fn len_bytes(slot: &Slot) -> usize {
    match slot {
        Slot::Span { start, end, .. } => end.saturating_sub(*start) as usize,
        Slot::Absent
        | Slot::Null
        | Slot::Int(_)
        | Slot::UInt(_)
        | Slot::Float(_)
        | Slot::Double(_) => 0,
    }
}

/// `cell`, or what stands for it when it has more than `limit` bytes.
pub(crate) fn limited(cell: Cell<'_>, limit: usize) -> Cell<'_> {
    match cell {
        Cell::Text(bytes)
        | Cell::Malformed(bytes)
        | Cell::Bytes(bytes)
        | Cell::Json(bytes)
        | Cell::JsonDiff(bytes)
        | Cell::Vector(bytes)
            if bytes.len() > limit =>
        {
            let sha256 = Sha256::digest(bytes).into();
            Cell::Omitted { size_bytes: bytes.len() as u64, sha256 }
        }
        Cell::Absent
        | Cell::Null
        | Cell::Int(_)
        | Cell::UInt(_)
        | Cell::Float(_)
        | Cell::Double(_)
        | Cell::Text(_)
        | Cell::Malformed(_)
        | Cell::Bytes(_)
        | Cell::Json(_)
        | Cell::JsonDiff(_)
        | Cell::Vector(_)
        | Cell::Omitted { .. } => cell,
    }
}
