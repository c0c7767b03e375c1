//! The contract's bytes, written by hand where there are many of them: rows and batches. They equal
//! what prost writes for the same message, byte for byte.

mod batch;
mod cells;
mod image;
mod schema;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(crate) use batch::{Header, put_rows_frame};
pub(crate) use cells::cells;
pub(crate) use image::{put_cell, put_omitted};
pub(crate) use schema::put_schema;
