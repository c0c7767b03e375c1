//! FORMAT_DESCRIPTION: how the events behind it are laid out.

use super::bytes::Bytes;
use super::event::{Header, kind};
use super::savepoint::Collation;
use super::{Fault, checksum};

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

/// Bytes of the fixed part: version, server version, creation time, header length.
const VERSION_LENGTH: usize = 50;
/// First MySQL release whose format description names a checksum algorithm.
const MYSQL_CHECKSUM_SINCE: (u16, u16, u16) = (5, 6, 1);
/// First MariaDB release that does.
const MARIA_CHECKSUM_SINCE: (u16, u16, u16) = (5, 3, 0);
/// First MariaDB release that compares identifiers with accents.
const MARIA_ACCENTS_SINCE: (u16, u16, u16) = (11, 5, 0);
/// More events than any release before them knows (MySQL 5.5: 27; 5.6.1: 35).
const EVENTS_WITHOUT_CHECKSUM_MAX: usize = 32;

/// Reads a whole format description event, checksum included. `verify`: whether to check that.
pub(super) fn parse(event: &[u8], verify: bool) -> Result<Format, Fault> {
    let body = event.get(Header::LENGTH..).unwrap_or_default();
    let mut bytes = Bytes::new(body);
    let version = bytes.u16("binlog version")?;
    if version != 4 {
        return Err(Fault::Unexpected {
            what: "binlog version",
            found: u64::from(version),
            expected: "4 (MySQL 5.0 and newer)",
        });
    }
    let server = bytes.take(VERSION_LENGTH, "server version")?;
    let server = server.split(|byte| *byte == 0).next().unwrap_or_default();
    bytes.u32("creation time")?;
    let header = bytes.u8("header length")?;
    if usize::from(header) != Header::LENGTH {
        return Err(Fault::Unexpected {
            what: "length of event headers",
            found: u64::from(header),
            expected: "19",
        });
    }
    let maria = contains(server, b"MariaDB");
    let since = if maria { MARIA_CHECKSUM_SINCE } else { MYSQL_CHECKSUM_SINCE };
    let mut lengths = bytes.rest();
    let mut checksum = false;
    // A damaged version must not switch the checksums off: servers without them know few events.
    if numbers(server) >= since || lengths.len() > EVENTS_WITHOUT_CHECKSUM_MAX {
        let Some((front, [algorithm, ..])) = lengths.split_last_chunk::<{ 1 + checksum::LENGTH }>()
        else {
            return Err(Fault::Short {
                what: "checksum algorithm",
                at: bytes.at(),
                needed: 1 + checksum::LENGTH,
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
                    found: u64::from(*other),
                    expected: "0 (none) or 1 (CRC32)",
                });
            }
        };
        // It carries a checksum of its own even where it says that the others have none.
        if verify && *algorithm != 255 {
            checksum::verify_format_description(event)?;
        }
    }
    let length = |code: u8| {
        let at = usize::from(code).checked_sub(1)?;
        lengths.get(at).copied().map(usize::from)
    };
    Ok(Format {
        checksum,
        maria,
        identifiers: if maria && numbers(server) >= MARIA_ACCENTS_SINCE {
            Collation::General1400AsCi
        } else {
            Collation::GeneralCi
        },
        short_table_ids: length(kind::TABLE_MAP) == Some(6),
        query_header: length(kind::QUERY).unwrap_or(13),
    })
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Major, minor and patch number; 0 for what is no number.
fn numbers(version: &[u8]) -> (u16, u16, u16) {
    let mut parts = version.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0_u16, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
        })
    });
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_whatever_follows_them() {
        assert_eq!(numbers(b"5.6.24-log"), (5, 6, 24));
        assert_eq!(numbers(b"10.11.18-MariaDB-log"), (10, 11, 18));
        assert_eq!(numbers(b""), (0, 0, 0));
        assert_eq!(numbers(b"99999999.1"), (u16::MAX, 1, 0));
    }
}
