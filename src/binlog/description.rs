//! FORMAT_DESCRIPTION: who wrote the events behind it, and how they are laid out.

use super::event::{CHECKSUM_BYTES, Header};
use crate::change::ServerVersion;

/// First MySQL release whose format description names a checksum algorithm.
const MYSQL_CHECKSUM_SINCE: [u16; 3] = [5, 6, 1];
/// First MariaDB release that does.
const MARIA_CHECKSUM_SINCE: [u16; 3] = [5, 3, 0];

/// Bytes of the writer's version.
const SERVER_BYTES: usize = 50;

/// What a format description event says, its own checksum included. Judges nothing.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// Version of the format.
    pub binlog_version: u16,
    /// Version of the server that wrote it, as text.
    pub server: &'a [u8],
    /// Bytes of an event's header.
    pub header_bytes: u8,
    /// For each type of event the length of its fixed part; behind them, where the writer knows
    /// checksums, the number of the algorithm and a checksum.
    behind: &'a [u8],
}

impl<'a> Description<'a> {
    /// Bytes in front of the lengths: the format's version, the server's, a time, the header's length.
    pub const FIXED_BYTES: usize = 2 + SERVER_BYTES + 4 + 1;

    /// Reads a whole event; `None` when it ends within its fixed part.
    pub fn read(event: &'a [u8]) -> Option<Self> {
        let body = event.get(Header::LENGTH..)?;
        let (binlog_version, rest) = body.split_first_chunk()?;
        let (server, rest) = rest.split_first_chunk::<SERVER_BYTES>()?;
        let (_created, rest) = rest.split_first_chunk::<4>()?;
        let (header_bytes, behind) = rest.split_first()?;
        Some(Self {
            binlog_version: u16::from_le_bytes(*binlog_version),
            server: server.split(|byte| *byte == 0).next().unwrap_or_default(),
            header_bytes: *header_bytes,
            behind,
        })
    }

    /// Family and version of the writer.
    pub fn version(&self) -> ServerVersion {
        ServerVersion::read(&String::from_utf8_lossy(self.server))
    }

    /// Whether a writer of its version names a checksum algorithm.
    pub fn is_of_a_writer_with_checksums(&self) -> bool {
        let ServerVersion { is_mariadb, numbers } = self.version();
        numbers >= if is_mariadb { MARIA_CHECKSUM_SINCE } else { MYSQL_CHECKSUM_SINCE }
    }

    /// The lengths, of a writer without checksums.
    pub fn lengths(&self) -> &'a [u8] {
        self.behind
    }

    /// The lengths and the number of the algorithm, of a writer with checksums; `None` when it ends
    /// before.
    pub fn lengths_and_algorithm(&self) -> Option<(&'a [u8], u8)> {
        let (lengths, [algorithm, ..]) =
            self.behind.split_last_chunk::<{ 1 + CHECKSUM_BYTES }>()?;
        Some((lengths, *algorithm))
    }
}
