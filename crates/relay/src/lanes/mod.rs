//! Which rows of a lane come next, which came already, and which are under way. Pure: time comes in.
//!
//! [`order`] puts what arrives in the order of its numbers, for every target. [`requests`] makes requests
//! of it for receivers, and keeps what must not be forgotten of them; a copy has its numbers in its own
//! database.

#[cfg(test)]
mod histories;
pub(crate) mod order;
pub(crate) mod parts;
pub(crate) mod ranges;
#[allow(clippy::cast_possible_truncation, reason = "numbers in tests are small")]
pub(crate) mod requests;
mod share;

pub use requests::Order;
pub use share::Share;
