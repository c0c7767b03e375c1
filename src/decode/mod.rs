//! decode

pub(crate) mod charset;
pub(crate) mod json;
pub(crate) mod row;

pub use json::JsonError;
pub use row::{CellError, ImageError};
