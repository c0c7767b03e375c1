//! Row images: from the bytes of a rows event to slots.
//!
//! [`plan`] turns what TABLE_MAP says of a column into a [`ColumnPlan`], once; [`walker`] reads
//! images by those plans, for every row. One file per family of types does the reading. Pure; a
//! cell costs no allocation: a value is a span of the event, or of the scratch space if it had to be
//! rewritten. Every byte is taken to be hostile.
//!
//! Knows nothing of events around the images (`decode`), nor of names of columns.

mod bitmap;
mod cursor;
mod error;
mod plan;
mod walker;

pub(crate) use bitmap::Bitmap;
pub use error::{CellError, ImageError};
pub(crate) use plan::{ColumnPlan, WireColumn, meta_len, real_type};
pub(crate) use walker::{Before, read_image, read_partial_image};
