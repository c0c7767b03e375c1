//! Rows to messages: which lane a row goes to, how full its message becomes, how long it waits.
//!
//! A *lane* is what is published in order; on FIFO topics it is a message group. By default each
//! table is one lane; with `lanes = N` a row's primary key chooses one of N ([`choice`]).
//!
//! A lane's rows are gathered in one open batch, which becomes an encoded batch when
//! - its message is estimated to be full (64 KiB of body by default: SNS bills by that step; up to
//!   the topic's limit while publishing is backed up),
//! - it has waited for the linger, which is nothing while changes are few and publishing keeps up
//!   (`linger`),
//! - the table's schema changes, or
//! - all open batches together hold too many bytes: then the oldest goes.
//!
//! Pure: time comes in as an argument, encoded batches go out through a vector. Numbers of rows are
//! [`Sequences`]'s; what a number means for recovery is `checkpoint`'s.

mod bucket;
pub mod choice;
mod chunk;
mod config;
mod holds;
mod limits;
mod linger;
mod packer;
mod sequences;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod tests;

pub use bucket::Bucket;
pub use chunk::Chunk;
pub use config::{Config, RowRange};
pub use holds::{HeldLane, HeldRange, HeldTables};
pub use limits::RateLimit;
pub use packer::{LanePlace, Packer};
pub use sequences::Sequences;
