//! The contract's bytes, written by hand where there are many of them: rows and batches. They equal
//! what prost writes for the same message, byte for byte.

mod batch;
mod image;
mod part;
mod read;
mod schema;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod tests;
pub(crate) mod wire;

pub(crate) use batch::{Around, Header, put_rows_frame};
pub(crate) use image::{cells, put_cell, put_image, put_omitted};
pub(crate) use part::put_images;
pub(crate) use read::read_image;
pub(crate) use schema::put_schema;
