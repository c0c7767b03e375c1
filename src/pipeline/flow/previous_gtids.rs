//! What the front of a file tells of the transactions that lie before it.

use super::Flow;
use crate::binlog::{CHECKSUM_BYTES, Header, kind};
use crate::change::{GtidSet, MariaGtid};

impl Flow {
    /// What the first file of a stream that was begun at its front says lies before it. The lists
    /// of later files hold what has gone by itself, delivered or not.
    #[cold]
    pub(super) fn begin_of_file(&mut self, event_type: u8, event: &[u8]) {
        let body = event.get(Header::LENGTH..).unwrap_or_default();
        let bare = body.len().checked_sub(CHECKSUM_BYTES).and_then(|end| body.get(..end));
        let mut bodies = [bare, Some(body)].into_iter().flatten();
        match event_type {
            kind::PREVIOUS_GTIDS => {
                if let Some(set) = bodies.find_map(|body| GtidSet::decode(body).ok()) {
                    self.tracker.assume(&set);
                }
            }
            kind::GTID_LIST => {
                for gtid in bodies.find_map(gtid_list).into_iter().flatten() {
                    self.tracker.assume_maria(gtid);
                }
            }
            kind::GTID | kind::GTID_TAGGED | kind::ANONYMOUS_GTID | kind::MARIA_GTID => {}
            _ => return,
        }
        self.config.begins_by_position = false;
    }
}

/// The GTIDs of MariaDB's GTID_LIST event: a count in the lower 28 bits, then for each the domain,
/// the server's id (4 bytes each) and the number (8). `None` when it is not as long as it says.
fn gtid_list(body: &[u8]) -> Option<Vec<MariaGtid>> {
    const ENTRY_BYTES: usize = 16;
    let (count, list) = body.split_first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count) & 0x0fff_ffff).ok()?;
    if list.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let (domain, rest) = bytes.split_first_chunk()?;
        let (server, sequence) = rest.split_first_chunk()?;
        Some(MariaGtid {
            domain: u32::from_le_bytes(*domain),
            server: u32::from_le_bytes(*server),
            sequence: u64::from_le_bytes(*sequence.first_chunk()?),
        })
    };
    list.chunks_exact(ENTRY_BYTES).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_gtids_is_read_only_if_it_is_as_long_as_it_says() {
        let mut body = vec![2, 0, 0, 0x10];
        for (domain, server, sequence) in [(0_u32, 1_u32, 100_u64), (7, 2, 5)] {
            body.extend(domain.to_le_bytes());
            body.extend(server.to_le_bytes());
            body.extend(sequence.to_le_bytes());
        }
        let list = gtid_list(&body).expect("whole");
        let text: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["0-1-100", "7-2-5"]);
        body.push(0);
        assert!(gtid_list(&body).is_none());
        assert!((0..body.len() - 1).all(|length| gtid_list(&body[..length]).is_none()));
    }
}
