//! A place in a server's binary log.

use std::fmt;
use std::sync::Arc;

/// A byte offset in a binlog file.
///
/// Offsets have 64 bits although the wire's have 32: files grow beyond 4 GiB when a transaction
/// does (`log_pos` wraps), so offsets are counted by summing event sizes.
#[derive(Debug, Clone, Eq, Hash, Default)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "the same equality, found sooner")]
pub struct Position {
    /// File name as the server prints it, `binlog.000042`.
    pub file: Arc<str>,
    /// Byte offset in that file; 4 is the first event's.
    pub offset: u64,
}

impl Position {
    /// The place `offset` bytes into `file`.
    pub fn new(file: impl Into<Arc<str>>, offset: u64) -> Self {
        Self { file: file.into(), offset }
    }

    /// Whether both are in files of the same name.
    #[inline]
    pub fn is_in_file_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) || self.file == other.file
    }

    /// Whether it is at `until`, a place in the same log, or behind it. Files are in the order of their
    /// numbers.
    pub fn has_reached(&self, until: &Self) -> bool {
        let number = |file: &str| file.rsplit_once('.').and_then(|(_, n)| n.parse::<u64>().ok());
        (number(&until.file), until.offset) <= (number(&self.file), self.offset)
    }
}

impl PartialEq for Position {
    /// Places are compared for every row, and nearly all share their file's name.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.offset == other.offset && self.is_in_file_of(other)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}
