//! One row's change, as decoded: images over a buffer that is used again for each row.

use super::{Area, BytesKind, Cell, Slot};

/// What a change did to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// A new row: only an after image.
    Insert,
    /// A changed row: both images.
    Update,
    /// A removed row: only a before image.
    Delete,
    /// A row as it stood in its table, read by a snapshot: only an after image.
    Read,
}

impl Op {
    /// Lower-case name, as in JSON and message attributes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
        }
    }
}

/// One row's change, valid until the decoder is asked for the next.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happened.
    pub op: Op,
    /// Number of this row within its transaction, from 0, counting the rows that were decoded.
    pub row: u64,
    /// The row before; present for updates and deletes.
    pub before: Option<Image<'a>>,
    /// The row after; present for inserts, updates and reads.
    pub after: Option<Image<'a>>,
}

/// One row image: a slot for each column of the table, in the table's order.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    slots: &'a [Slot],
    event: &'a [u8],
    scratch: &'a [u8],
}

impl<'a> Image<'a> {
    /// An image whose spans point into `event` and `scratch`.
    pub fn new(slots: &'a [Slot], event: &'a [u8], scratch: &'a [u8]) -> Self {
        Self { slots, event, scratch }
    }

    /// The slots as decoded.
    pub fn slots(&self) -> &'a [Slot] {
        self.slots
    }

    /// Its spans have no more bytes than this together: they lie side by side in the event or in the
    /// scratch space.
    #[inline]
    pub fn spans_bytes_max(&self) -> usize {
        self.event.len().saturating_add(self.scratch.len())
    }

    /// Cell of column `ordinal` (from 0); [`Cell::Absent`] beyond the last.
    #[inline]
    pub fn cell(&self, ordinal: usize) -> Cell<'a> {
        self.slots.get(ordinal).map_or(Cell::Absent, |slot| self.resolve(*slot))
    }

    /// All cells in the table's order.
    #[inline]
    pub fn cells(&self) -> impl ExactSizeIterator<Item = Cell<'a>> + use<'a> {
        let image = *self;
        self.slots.iter().map(move |slot| image.resolve(*slot))
    }

    /// The bytes that a span stands for.
    #[inline]
    pub fn span(&self, area: Area, start: u32, end: u32) -> &'a [u8] {
        let bytes = match area {
            Area::Event => self.event,
            Area::Scratch => self.scratch,
        };
        bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The cell that a slot of this image stands for.
    #[inline]
    pub fn resolve(&self, slot: Slot) -> Cell<'a> {
        match slot {
            Slot::Absent => Cell::Absent,
            Slot::Null => Cell::Null,
            Slot::Int(value) => Cell::Int(value),
            Slot::UInt(value) => Cell::UInt(value),
            Slot::Float(value) => Cell::Float(value),
            Slot::Double(value) => Cell::Double(value),
            Slot::Span { kind, area, start, end } => {
                let bytes = self.span(area, start, end);
                match kind {
                    BytesKind::Text => Cell::Text(bytes),
                    BytesKind::Malformed => Cell::Malformed(bytes),
                    BytesKind::Bytes => Cell::Bytes(bytes),
                    BytesKind::Json => Cell::Json(bytes),
                    BytesKind::JsonDiff => Cell::JsonDiff(bytes),
                    BytesKind::Vector => Cell::Vector(bytes),
                    BytesKind::Omitted => omitted(bytes),
                }
            }
        }
    }
}

/// A marker of a value that was left out. Bytes of another length stand for nothing.
#[cold]
fn omitted(bytes: &[u8]) -> Cell<'_> {
    let Some((size, sha256)) = bytes.split_first_chunk() else { return Cell::Absent };
    let Ok(sha256) = sha256.try_into() else { return Cell::Absent };
    Cell::Omitted { size_bytes: u64::from_le_bytes(*size), sha256 }
}

/// Space for the images of one row, used again for each.
#[derive(Debug, Default)]
pub struct RowBuffer {
    /// Slots of the before image.
    pub before: Vec<Slot>,
    /// Slots of the after image.
    pub after: Vec<Slot>,
    /// Bytes that had to be transcoded, of both images.
    pub scratch: Vec<u8>,
}

impl RowBuffer {
    /// Forgets the row, keeps the space.
    pub fn clear(&mut self) {
        self.before.clear();
        self.after.clear();
        self.scratch.clear();
    }

    /// The same behind an event's last row: a space that grew large is given back.
    pub fn release(&mut self) {
        self.clear();
        if self.scratch.capacity() > SCRATCH_KEPT_BYTES_MAX {
            self.scratch = Vec::new();
        }
    }
}

/// Transcoded bytes for which the space is kept from event to event.
const SCRATCH_KEPT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }
}
