//! binpulse: MySQL row changes to Amazon SNS, and a proof of life beside them.
//!
//! The parts, in the order in which a row passes through them:
//!
//! ```text
//! source -> decode -> encode -> pack -> sink -> checkpoint
//!                \                        /
//!                 +------- pulse --------+
//! ```
//!
//! Start reading at [`change`], which holds the words that the parts share.

pub mod aws;
