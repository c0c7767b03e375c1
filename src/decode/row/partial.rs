//! After images of PARTIAL_UPDATE_ROWS: JSON columns may hold changes instead of documents.
//!
//! Source: `Rows_log_event::unpack_row` and `print_verbose_one_row` in the server's `sql/log_event.cc`.
//! In front of the image: options as a packed number, and if its lowest bit is set, one bit for each JSON
//! column of the table, be it in the image or not.

use super::blob::Sized;
use super::reader::Reader;
use super::walker::walk;
use super::{Bitmap, CellError, ColumnPlan, ImageError, blob, cursor};
use crate::change::{Area, BytesKind, Slot};
use crate::decode::json;

/// The only option there is: JSON columns may be partial.
const PARTIAL_JSON_UPDATES: u8 = 1;
/// JSON values have four length bytes, partial ones too, whatever the column's metadata says.
const DIFFS_LEN_BYTES: u8 = 4;

/// The before image of the same row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before<'a> {
    /// Columns that the before image carries.
    pub(crate) present: Bitmap<'a>,
    /// Where in the event the before image begins.
    pub(crate) start: usize,
}

/// Reads the after image of a PARTIAL_UPDATE_ROWS event at `*at`: options, bitmap of partial JSON
/// columns, null bitmap, cells. A partial update is applied to the document in `before` if that image
/// carries it ([`BytesKind::Json`]), else written as it is ([`BytesKind::JsonDiff`]).
pub(crate) fn read_partial_image(
    plans: &[ColumnPlan],
    present: Bitmap<'_>,
    before: Before<'_>,
    event: &[u8],
    at: &mut usize,
    slots: &mut Vec<Slot>,
    scratch: &mut Vec<u8>,
) -> Result<(), ImageError> {
    let partial = partial_columns(plans, event, at).map_err(ImageError::Frame)?;
    let mut json_columns = 0;
    let mut next_column = 0;
    let mut read = |column: usize, at: &mut usize| {
        let plan = plans.get(column).ok_or(CellError::TooLong)?;
        // The bitmap counts JSON columns, those that are absent or NULL included.
        let passed = plans.get(next_column..column).unwrap_or_default();
        json_columns += passed.iter().filter(|plan| is_json(plan)).count();
        next_column = column;
        if is_json(plan) && partial.is_some_and(|bits| bits.get(json_columns)) {
            let diffs = blob::read_bytes(DIFFS_LEN_BYTES, event, at)?;
            return read_diffs(diffs, document(plans, before, event, column)?, scratch);
        }
        plan.reader.read(event, at, scratch)
    };
    walk(plans.len(), present, event, at, slots, &mut read)
}

fn partial_columns<'e>(
    plans: &[ColumnPlan],
    event: &'e [u8],
    at: &mut usize,
) -> Result<Option<Bitmap<'e>>, CellError> {
    match cursor::array(event, at, "options of a partial update")? {
        [0] => Ok(None),
        [PARTIAL_JSON_UPDATES] => {
            let bits = plans.iter().filter(|plan| is_json(plan)).count();
            Bitmap::take(event, at, bits).map(Some)
        }
        [found] => Err(CellError::Unexpected {
            what: "options of a partial update",
            found: found.into(),
            expected: "0 or 1",
        }),
    }
}

fn is_json(plan: &ColumnPlan) -> bool {
    matches!(plan.reader, Reader::Sized(Sized::Json, _))
}

fn read_diffs(
    diffs: &[u8],
    document: Option<&[u8]>,
    scratch: &mut Vec<u8>,
) -> Result<Slot, CellError> {
    let start = scratch.len();
    let kind = match document {
        Some(document) => {
            json::apply(document, diffs, scratch)?;
            BytesKind::Json
        }
        None => {
            json::write_diffs(diffs, scratch)?;
            BytesKind::JsonDiff
        }
    };
    cursor::span(kind, Area::Scratch, start, scratch.len())
}

/// The binary document of a JSON column in the before image; `None` if it is absent or NULL there. Walks
/// that image again: it was decoded to text, and partial updates are rare.
fn document<'e>(
    plans: &[ColumnPlan],
    before: Before<'_>,
    event: &'e [u8],
    wanted: usize,
) -> Result<Option<&'e [u8]>, CellError> {
    let mut document = None;
    let mut scratch = Vec::new();
    let mut at = before.start;
    let mut read = |column: usize, at: &mut usize| {
        let plan = plans.get(column).ok_or(CellError::TooLong)?;
        scratch.clear();
        let Reader::Sized(_, len_bytes) = plan.reader else {
            return plan.reader.read(event, at, &mut scratch);
        };
        let bytes = blob::read_bytes(len_bytes, event, at)?;
        if column == wanted {
            document = Some(bytes);
        }
        Ok(Slot::Null)
    };
    let walked = walk(plans.len(), before.present, event, &mut at, &mut Vec::new(), &mut read);
    match walked {
        Ok(()) => Ok(document),
        Err(ImageError::Frame(error) | ImageError::Column { error, .. }) => Err(error),
    }
}
