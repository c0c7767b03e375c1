//! Checksums of events: taken off, and checked where nobody has done so before.

use super::Fault;
use crate::binlog::{CHECKSUM_BYTES, Header, Sum, split_checksum};

/// The event without its checksum, whether or not that is right.
pub(super) fn strip(event: &[u8]) -> Result<&[u8], Fault> {
    split(event).map(|(content, _)| content)
}

/// Checks an event that ends with a checksum, and returns it without.
pub(super) fn verify(event: &[u8]) -> Result<&[u8], Fault> {
    let (content, expected) = split(event)?;
    let found = Sum::default().of(event);
    if found == expected { Ok(content) } else { Err(Fault::Checksum { found, expected }) }
}

fn split(event: &[u8]) -> Result<(&[u8], u32), Fault> {
    split_checksum(event).ok_or(Fault::Short {
        what: "checksum",
        at: 0,
        needed: CHECKSUM_BYTES,
        left: event.len().saturating_sub(Header::LENGTH),
    })
}
