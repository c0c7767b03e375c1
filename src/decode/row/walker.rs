//! Walks one row image.

use super::{Bitmap, CellError, ColumnPlan, ImageError};
use crate::change::Slot;

/// Reads one row image at `*at`: null bitmap, then the cells of the columns in `present`. Appends one
/// slot per plan to `slots`, and moves `*at` behind the image. Spans point into `event` and `scratch`.
#[inline]
pub(crate) fn read_image(
    plans: &[ColumnPlan],
    present: Bitmap<'_>,
    event: &[u8],
    at: &mut usize,
    slots: &mut Vec<Slot>,
    scratch: &mut Vec<u8>,
) -> Result<(), ImageError> {
    if present.is_full(plans.len()) {
        return read_full_image(plans, event, at, slots, scratch);
    }
    let mut read = |column: usize, at: &mut usize| {
        let plan = plans.get(column).ok_or(CellError::TooLong)?;
        plan.reader.read(event, at, scratch)
    };
    walk(plans.len(), present, event, at, slots, &mut read)
}

/// An image with all columns, as nearly all are: bits are looked at eight at a time, and nothing is
/// counted.
#[inline]
fn read_full_image(
    plans: &[ColumnPlan],
    event: &[u8],
    at: &mut usize,
    slots: &mut Vec<Slot>,
    scratch: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let nulls = Bitmap::take(event, at, plans.len()).map_err(ImageError::Frame)?;
    // Written over in place: to push each would look for room each time.
    let first = slots.len();
    slots.resize(first + plans.len(), Slot::Null);
    let slots = slots.get_mut(first..).unwrap_or_default();
    let mut here = *at;
    let mut column = 0;
    for ((plans, slots), nulls) in plans.chunks(8).zip(slots.chunks_mut(8)).zip(nulls.bytes()) {
        let mut nulls = *nulls;
        for (plan, slot) in plans.iter().zip(slots) {
            if nulls & 1 == 0
                && let Err(error) = plan.reader.read_to(slot, event, &mut here, scratch)
            {
                return Err(ImageError::Column { column, error });
            }
            nulls >>= 1;
            column += 1;
        }
    }
    *at = here;
    Ok(())
}

/// Walks an image, and has `read` read the cells.
#[inline]
pub(super) fn walk(
    columns: usize,
    present: Bitmap<'_>,
    event: &[u8],
    at: &mut usize,
    slots: &mut Vec<Slot>,
    read: &mut impl FnMut(usize, &mut usize) -> Result<Slot, CellError>,
) -> Result<(), ImageError> {
    if present.len() != columns {
        return Err(ImageError::Frame(CellError::Unexpected {
            what: "number of columns of the image",
            found: present.len() as u64,
            expected: "that of the table map",
        }));
    }
    let cells = present.count();
    let nulls = Bitmap::take(event, at, cells).map_err(ImageError::Frame)?;
    slots.reserve(columns);
    let all = cells == columns;
    let mut cell = 0;
    for column in 0..columns {
        let slot = if !all && !present.get(column) {
            Slot::Absent
        } else if nulls.get(cell) {
            cell += 1;
            Slot::Null
        } else {
            cell += 1;
            read(column, at).map_err(|error| ImageError::Column { column, error })?
        };
        slots.push(slot);
    }
    Ok(())
}
