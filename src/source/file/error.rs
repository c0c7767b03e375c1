//! What is wrong with a binlog file.

use std::io;

use crate::binlog::{BYTES_MAX, EventError, Header, kind};

/// A file that is no binlog, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be opened or read.
    #[error("{file}: at offset {offset}: {source}")]
    Io {
        /// Name as given.
        file: String,
        /// Bytes read before.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// It does not start as a binlog.
    #[error("{file}: not a binlog file: found {found}, expected the bytes fe 62 69 6e")]
    NotBinlog {
        /// Name as given.
        file: String,
        /// Its first bytes.
        found: String,
    },
    /// It is encrypted.
    #[error(
        "{file}: at offset {offset}: the file is encrypted by the server; read it through the \
         server instead, or with mysqlbinlog --read-from-remote-server --raw"
    )]
    Encrypted {
        /// Name as given.
        file: String,
        /// Where encryption starts.
        offset: u64,
    },
    /// It ends in the middle of an event.
    #[error(
        "{file}: at offset {offset}: the file ends in the middle of an event: found {found} bytes, \
         expected {expected}"
    )]
    Truncated {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Bytes there.
        found: usize,
        /// Bytes that the event should have; of its header, if not even that is there.
        expected: usize,
    },
    /// An event says that it has an impossible length.
    #[error(
        "{file}: at offset {offset}: found an event of {found} bytes, expected {} to {BYTES_MAX}",
        Header::LENGTH
    )]
    Length {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Its length according to its header.
        found: u32,
    },
    /// An event is larger than its reader takes.
    #[error(
        "{file}: at offset {offset}: found an event of {found} bytes, expected at most {limit}"
    )]
    TooLarge {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Its length according to its header.
        found: u32,
        /// The most that it may have.
        limit: u64,
    },
    /// It does not start with a description of its format.
    #[error(
        "{file}: at offset {offset}: found an event of type {found}, expected a format description \
         (type {}) at the front of the file",
        kind::FORMAT_DESCRIPTION
    )]
    NoDescription {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// Its type.
        found: u8,
    },
    /// An event's bytes are not those that were written.
    #[error("{file}: at offset {offset}: {source}")]
    Damaged {
        /// Name as given.
        file: String,
        /// Start of the event.
        offset: u64,
        /// What is wrong.
        source: EventError,
    },
}
