//! pulse

pub mod verdict;
