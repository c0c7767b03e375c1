//! The commands of a replica. Pure.

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;

/// The GTID set counts, not the file (`BINLOG_THROUGH_GTID`).
const FLAG_THROUGH_GTID: u16 = 0x04;

/// COM_REGISTER_SLAVE: makes the server list us in SHOW REPLICAS. Texts are cut at 60 bytes, the
/// server's own limit.
pub(super) fn register(server_id: u32, host: &str, port: u16) -> Vec<u8> {
    const TEXT_BYTES_MAX: usize = 60;
    let host = host.as_bytes();
    let host = host.get(..TEXT_BYTES_MAX).unwrap_or(host);
    let mut payload = vec![COM_REGISTER_SLAVE];
    payload.extend_from_slice(&server_id.to_le_bytes());
    payload.push(u8::try_from(host.len()).unwrap_or_default());
    payload.extend_from_slice(host);
    // User and password for others to log in with at our side: none.
    payload.extend_from_slice(&[0, 0]);
    payload.extend_from_slice(&port.to_le_bytes());
    // Rank (unused) and the source's id (filled in by the server).
    payload.extend_from_slice(&[0; 8]);
    payload
}

/// Whether a MariaDB server sends the events that hold the text of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Annotations {
    /// It leaves them out.
    Omit,
    /// It sends them.
    Send,
}

/// COM_BINLOG_DUMP, whose offsets have 32 bits.
pub(super) fn dump_by_position(
    server_id: u32,
    file: &str,
    offset: u32,
    annotations: Annotations,
) -> Vec<u8> {
    const SEND_ANNOTATE_ROWS: u16 = 2;
    let flags = match annotations {
        Annotations::Omit => 0,
        Annotations::Send => SEND_ANNOTATE_ROWS,
    };
    let mut payload = vec![COM_BINLOG_DUMP];
    payload.extend_from_slice(&offset.to_le_bytes());
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.extend_from_slice(&server_id.to_le_bytes());
    payload.extend_from_slice(file.as_bytes());
    payload
}

/// COM_BINLOG_DUMP_GTID: everything that is not in `set`, which is in its binary form.
pub(super) fn dump_by_gtid(server_id: u32, set: &[u8]) -> Vec<u8> {
    dump_gtid(server_id, FLAG_THROUGH_GTID, "", 4, set)
}

/// COM_BINLOG_DUMP_GTID: everything from this place on that is not in `set`.
pub(super) fn dump_by_gtid_from(server_id: u32, file: &str, offset: u64, set: &[u8]) -> Vec<u8> {
    dump_gtid(server_id, FLAG_THROUGH_GTID, file, offset, set)
}

/// COM_BINLOG_DUMP_GTID for its 64-bit offset: from there on, whatever the GTIDs. The server must
/// be in GTID mode all the same.
pub(super) fn dump_from_wide_position(server_id: u32, file: &str, offset: u64) -> Vec<u8> {
    const NO_GTIDS: [u8; 8] = [0; 8];
    dump_gtid(server_id, 0, file, offset, &NO_GTIDS)
}

fn dump_gtid(server_id: u32, flags: u16, file: &str, offset: u64, set: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut payload = vec![COM_BINLOG_DUMP_GTID];
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.extend_from_slice(&server_id.to_le_bytes());
    payload.extend_from_slice(&length(file.len()));
    payload.extend_from_slice(file.as_bytes());
    payload.extend_from_slice(&offset.to_le_bytes());
    payload.extend_from_slice(&length(set.len()));
    payload.extend_from_slice(set);
    payload
}

#[cfg(test)]
mod tests {
    use super::{Annotations, dump_by_position, dump_from_wide_position, register};

    #[test]
    fn a_registration_names_host_and_port() {
        let payload = register(7, "binpulse-orders", 9187);
        let expected = [&b"\x15\x07\0\0\0\x0fbinpulse-orders\0\0"[..], &[0xe3, 0x23], &[0; 8]];
        assert_eq!(payload, expected.concat());
        assert_eq!(register(7, &"x".repeat(300), 1).len(), 5 + 61 + 12);
    }

    #[test]
    fn offsets_beyond_four_gibibytes_are_sent_whole() {
        let payload = dump_from_wide_position(7, "b.000001", 5 << 32);
        assert_eq!(payload[11..19], *b"b.000001");
        assert_eq!(payload[19..27], (5_u64 << 32).to_le_bytes());
        let narrow = dump_by_position(7, "b.000001", 4, Annotations::Omit);
        assert_eq!(narrow[..7], [0x12, 4, 0, 0, 0, 0, 0]);
    }
}
