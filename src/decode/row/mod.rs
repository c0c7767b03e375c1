//! Row images: from the bytes of a rows event to slots.
//!
//! [`plan`] turns what TABLE_MAP says of a column into a [`ColumnPlan`], once; [`walker`] reads
//! images by those plans, for every row. One file per family of types does the reading. Pure; a
//! cell costs no allocation: a value is a span of the event, or of the scratch space if it had to be
//! rewritten. Every byte is taken to be hostile.
//!
//! Knows nothing of events around the images (`decode`), nor of names of columns.

mod bitmap;
mod blob;
mod compressed;
mod cursor;
mod decimal;
mod digits;
mod enum_set;
mod error;
mod number;
mod partial;
mod plan;
mod reader;
pub(super) mod scalar;
mod temporal;
mod temporal_old;
mod text;
mod type_text;
mod walker;
pub(in crate::decode) mod wire;

#[cfg(test)]
mod tests;

pub(crate) use bitmap::Bitmap;
pub use error::{CellError, ImageError};
pub(crate) use partial::{Before, read_partial_image};
pub(crate) use plan::{ColumnPlan, WireColumn};
pub(crate) use walker::read_image;
pub(crate) use wire::{meta_len, real_type};
