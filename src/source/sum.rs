//! The CRC32 of an event.

use std::fmt;

use super::checksum::{CHECKSUM_BYTES, FORMAT_DESCRIPTION, HEADER_BYTES};

/// `LOG_EVENT_BINLOG_IN_USE_F`: set in the format description of a file that is being written, and
/// left out of its CRC32.
const FLAG_IN_USE: u8 = 1;

/// Sums up events. Holds the sum of nothing, which knows what the processor can do: to ask that for
/// each event costs one of a single-row transaction a seventh of its sum.
#[derive(Clone, Default)]
pub(super) struct Sum(crc32fast::Hasher);

impl Sum {
    /// The CRC32 of all but the event's last four bytes.
    pub(super) fn of(&self, event: &[u8]) -> u32 {
        let bare = event.len().saturating_sub(CHECKSUM_BYTES);
        let covered = event.get(..bare).unwrap_or_default();
        let in_use = covered.get(17).is_some_and(|flags| flags & FLAG_IN_USE != 0);
        let mut sum = self.0.clone();
        match (covered.first_chunk::<HEADER_BYTES>(), covered.get(HEADER_BYTES..)) {
            (Some(header), Some(body)) if in_use && header[4] == FORMAT_DESCRIPTION => {
                let mut header = *header;
                header[17] &= !FLAG_IN_USE;
                sum.update(&header);
                sum.update(body);
            }
            _ => sum.update(covered),
        }
        sum.finalize()
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum")
    }
}
