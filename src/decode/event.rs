//! An event as the decoder has it.

use super::Fault;
use crate::binlog::Header;

/// Reads the header in front of `event`.
#[inline]
pub(super) fn header(event: &[u8]) -> Result<Header, Fault> {
    let Some(header) = Header::parse(event) else {
        let (needed, left) = (Header::LENGTH, event.len());
        return Err(Fault::Short { what: "event header", at: 0, needed, left });
    };
    Ok(header)
}

/// An event without its checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    /// Its header.
    pub(super) header: Header,
    /// Header and body.
    pub(super) bytes: &'a [u8],
}

impl<'a> Event<'a> {
    /// What follows the header.
    pub(super) fn body(&self) -> &'a [u8] {
        self.bytes.get(Header::LENGTH..).unwrap_or_default()
    }
}
