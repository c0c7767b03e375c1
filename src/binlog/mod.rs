//! How binlog events are framed: header, length, checksum, and the format description that says
//! whether events have one. Pure.
//!
//! An event is a header of 19 bytes (time, type, server id, length, next position, flags), a body,
//! and with `binlog_checksum=CRC32` four bytes of CRC32 over all that is before them. Which of the
//! two a file uses stands in its format description event (MySQL Internals Manual, "Binlog Event
//! Header", "FORMAT_DESCRIPTION_EVENT").
//!
//! `source` checks the framing of all events that it hands out, with [`Checksum`]. `decode` reads
//! headers and takes checksums off; it also checks them where its events come from elsewhere.

mod checksum;
mod description;
mod event;

pub use checksum::{Algorithm, Checksum, EventError, Sum, check_length, split_checksum};
pub use description::Description;
pub use event::{BYTES_MAX, CHECKSUM_BYTES, Header, kind};

#[cfg(test)]
pub(crate) use checksum::tests;
