//! Checksums of events: CRC32 (IEEE) over header and body, in the last four bytes.

use super::Fault;
use super::event::{FLAG_IN_USE, Header};

/// Length of a checksum, bytes.
pub(super) const LENGTH: usize = 4;

/// Offset of the flags in a header.
const FLAGS_AT: usize = 17;

/// The event without its checksum, whether or not that is right.
pub(super) fn strip(event: &[u8]) -> Result<&[u8], Fault> {
    split(event).map(|(content, _)| content)
}

/// Checks an event that ends with a checksum, and returns it without.
pub fn verify(event: &[u8]) -> Result<&[u8], Fault> {
    let (content, expected) = split(event)?;
    let found = crc32fast::hash(content);
    if found == expected { Ok(content) } else { Err(Fault::Checksum { found, expected }) }
}

/// As [`verify`], for a format description: the server marks the file as in use after it wrote the
/// checksum, which knows nothing of the mark.
pub(super) fn verify_format_description(event: &[u8]) -> Result<&[u8], Fault> {
    let (content, expected) = split(event)?;
    let flags = content.get(FLAGS_AT..).and_then(<[u8]>::first_chunk::<2>);
    let flags = flags.map_or(0, |flags| u16::from_le_bytes(*flags)) & !FLAG_IN_USE;
    let mut hash = crc32fast::Hasher::new();
    hash.update(content.get(..FLAGS_AT).unwrap_or_default());
    hash.update(&flags.to_le_bytes());
    hash.update(content.get(FLAGS_AT + 2..).unwrap_or_default());
    let found = hash.finalize();
    if found == expected { Ok(content) } else { Err(Fault::Checksum { found, expected }) }
}

fn split(event: &[u8]) -> Result<(&[u8], u32), Fault> {
    match event.split_last_chunk::<LENGTH>() {
        Some((content, sum)) if content.len() >= Header::LENGTH => {
            Ok((content, u32::from_le_bytes(*sum)))
        }
        _ => Err(Fault::Short {
            what: "checksum",
            at: 0,
            needed: LENGTH,
            left: event.len().saturating_sub(Header::LENGTH),
        }),
    }
}
