//! FORMAT_DESCRIPTION: how the events behind it are laid out.

use super::savepoint::Collation;
use super::{Fault, checksum};
use crate::binlog::{CHECKSUM_BYTES, Description, Header, kind};
use crate::change::ServerVersion;

/// What a format description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    /// Whether the events behind it end with a CRC32.
    pub(super) checksum: bool,
    /// Whether the server is MariaDB.
    pub(super) maria: bool,
    /// How the server compares the names of savepoints.
    pub(super) identifiers: Collation,
    /// Table ids have 4 bytes instead of 6 (5.1's first releases).
    pub(super) short_table_ids: bool,
    /// Bytes in front of a query's variable part.
    pub(super) query_header: usize,
}

/// First MariaDB release that compares identifiers with accents.
const MARIA_ACCENTS_SINCE: [u16; 3] = [11, 5, 0];
/// More events than any release before them knows (MySQL 5.5: 27; 5.6.1: 35).
const EVENTS_WITHOUT_CHECKSUM_MAX: usize = 32;

/// Reads a whole format description event, checksum included. `verify`: whether to check that.
pub(super) fn parse(event: &[u8], verify: bool) -> Result<Format, Fault> {
    let Some(description) = Description::read(event) else {
        return Err(Fault::Short {
            what: "format description",
            at: 0,
            needed: Description::FIXED_BYTES,
            left: event.len().saturating_sub(Header::LENGTH),
        });
    };
    if description.binlog_version != 4 {
        return Err(Fault::Unexpected {
            what: "binlog version",
            found: u64::from(description.binlog_version),
            expected: "4 (MySQL 5.0 and newer)",
        });
    }
    if usize::from(description.header_bytes) != Header::LENGTH {
        return Err(Fault::Unexpected {
            what: "length of event headers",
            found: u64::from(description.header_bytes),
            expected: "19",
        });
    }
    let ServerVersion { is_mariadb: maria, numbers } = description.version();
    let mut lengths = description.lengths();
    let mut checksum = false;
    // A damaged version must not switch the checksums off: servers without them know few events.
    if description.is_of_a_writer_with_checksums() || lengths.len() > EVENTS_WITHOUT_CHECKSUM_MAX {
        let Some((front, algorithm)) = description.lengths_and_algorithm() else {
            return Err(Fault::Short {
                what: "checksum algorithm",
                at: Description::FIXED_BYTES,
                needed: 1 + CHECKSUM_BYTES,
                left: lengths.len(),
            });
        };
        lengths = front;
        checksum = match algorithm {
            // 255: written by a server that knows of no checksums, relayed by one that does.
            0 | 255 => false,
            1 => true,
            other => {
                return Err(Fault::Unexpected {
                    what: "checksum algorithm",
                    found: u64::from(other),
                    expected: "0 (none) or 1 (CRC32)",
                });
            }
        };
        // It carries a checksum of its own even where it says that the others have none.
        if verify && algorithm != 255 {
            checksum::verify(event)?;
        }
    }
    let length = |code: u8| {
        let at = usize::from(code).checked_sub(1)?;
        lengths.get(at).copied().map(usize::from)
    };
    Ok(Format {
        checksum,
        maria,
        identifiers: if maria && numbers >= MARIA_ACCENTS_SINCE {
            Collation::General1400AsCi
        } else {
            Collation::GeneralCi
        },
        short_table_ids: length(kind::TABLE_MAP) == Some(6),
        query_header: length(kind::QUERY).unwrap_or(13),
    })
}
