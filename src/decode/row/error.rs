//! Why a row image could not be read.

use crate::decode::json::JsonError;

/// Why a cell could not be read. Says what was found and what was expected, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// The event ends inside a value.
    #[error("{what} needs {needed} bytes, the event has {left} left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Bytes that it needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A number of the format (length, type, count) that cannot be.
    #[error("{what} is {found}, expected {expected}")]
    Unexpected {
        /// What the number stands for.
        what: &'static str,
        /// What the event says.
        found: u64,
        /// What would be valid.
        expected: &'static str,
    },
    /// Bytes that are no value of the column's type.
    #[error("{what} is out of range, expected {expected}")]
    OutOfRange {
        /// What was being read.
        what: &'static str,
        /// What would be valid.
        expected: &'static str,
    },
    /// A column type that this version does not know.
    #[error("column type {0} is not known")]
    UnknownType(u8),
    /// Values of one row do not fit in 4 GiB once decoded.
    #[error("the row's decoded values exceed 4 GiB")]
    TooLong,
    /// A JSON document is damaged.
    #[error("JSON: {0}")]
    Json(#[from] JsonError),
}

/// Why a row image could not be read, and at which column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The bitmaps in front of the cells.
    #[error("row image: {0}")]
    Frame(#[source] CellError),
    /// A cell.
    #[error("column {}: {error}", column + 1)]
    Column {
        /// Ordinal of the column, from 0.
        column: usize,
        /// What is wrong with it.
        #[source]
        error: CellError,
    },
}
