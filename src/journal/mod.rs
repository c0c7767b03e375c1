//! Files that survive a crash: a log of lines, each with its checksum, that is appended to or
//! replaced as a whole. The checkpoint file and the quarantine are such logs.
//!
//! A line is the CRC-32C (Castagnoli) of its text in eight hexadecimal digits, a blank, the text and
//! a line feed: somebody with a pager can read it. What a crash leaves of a line that was being
//! written is the last one; see [`Lines`].

mod file;
mod line;
mod trial;

pub use file::{PRIVATE, append, beside, replace, sync_folder};
pub use line::{Line, Lines, check, line};
pub use trial::{Failed, write_beside};
