//! Digests of the rows of each lane, to prove that two processes of one stream make the same of it.
//!
//! A row's number depends on the source's log alone, so two versions, or two settings, can be compared
//! row for row: [`LaneDigests`] keeps the newest rows' digests one by one, and further back those of
//! 64 and of 4,096 rows; [`compare`] finds the first range in which two documents differ. Pure.

mod compare;
mod digests;

pub use compare::{Comparison, LaneResult, Outcome, compare};
pub use digests::{LaneDigests, LaneDocument, PATH, ShadowDocument};
