//! The commands of a replica, and statements with at most one row of text as answer.

use tokio::io::{AsyncRead, AsyncWrite};

use super::bytes::{Bytes, Column, quote};
use super::channel::{Channel, ChannelError};
use super::greeting::ServerError;
use crate::source::{Error, Step};

const COM_QUERY: u8 = 0x03;
const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;

/// The GTID set counts, not the file (`BINLOG_THROUGH_GTID`).
const FLAG_THROUGH_GTID: u16 = 0x04;

/// COM_REGISTER_SLAVE: makes the server list us in SHOW REPLICAS. Texts are cut at 60 bytes, the
/// server's own limit.
pub(crate) fn register(server_id: u32, host: &str, port: u16) -> Vec<u8> {
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
pub(crate) enum Annotations {
    /// It leaves them out.
    Omit,
    /// It sends them.
    Send,
}

/// COM_BINLOG_DUMP, whose offsets have 32 bits.
pub(crate) fn dump_by_position(
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
pub(crate) fn dump_by_gtid(server_id: u32, set: &[u8]) -> Vec<u8> {
    dump_gtid(server_id, FLAG_THROUGH_GTID, "", 4, set)
}

/// COM_BINLOG_DUMP_GTID: everything from this place on that is not in `set`.
pub(crate) fn dump_by_gtid_from(server_id: u32, file: &str, offset: u64, set: &[u8]) -> Vec<u8> {
    dump_gtid(server_id, FLAG_THROUGH_GTID, file, offset, set)
}

/// COM_BINLOG_DUMP_GTID for its 64-bit offset: from there on, whatever the GTIDs. The server must
/// be in GTID mode all the same.
pub(crate) fn dump_from_wide_position(server_id: u32, file: &str, offset: u64) -> Vec<u8> {
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

/// Runs a statement; the first row of its answer, if it has rows.
pub(crate) async fn query<S: AsyncRead + AsyncWrite + Unpin>(
    channel: &mut Channel<S>,
    sql: &str,
    step: Step,
) -> Result<Option<Vec<Option<String>>>, Error> {
    let mut command = vec![COM_QUERY];
    command.extend_from_slice(sql.as_bytes());
    channel.command(&command).await.map_err(|error| error.at(step))?;

    let head = answer(channel, step).await?;
    if head.first() == Some(&0) {
        return Ok(None);
    }
    // Column definitions up to an EOF packet, then rows up to another.
    while !is_end(&answer(channel, step).await?) {}
    let mut first = None;
    loop {
        let packet = answer(channel, step).await?;
        if is_end(&packet) {
            return Ok(first);
        }
        if first.is_none() {
            let row = text_row(&packet).ok_or_else(|| Error::Protocol {
                step,
                found: quote(&packet),
                expected: "a row",
            })?;
            first = Some(row);
        }
    }
}

/// One packet that is no error.
pub(crate) async fn answer<S: AsyncRead + Unpin>(
    channel: &mut Channel<S>,
    step: Step,
) -> Result<Vec<u8>, Error> {
    let packet = channel.packet().await.map_err(|error| error.at(step))?;
    match packet.split_first() {
        Some((0xff, rest)) => Err(ServerError::parse(rest).at(step)),
        Some(_) => Ok(packet),
        None => Err(Error::Protocol { step, found: quote(&packet), expected: "an answer" }),
    }
}

fn is_end(packet: &[u8]) -> bool {
    packet.len() < 9 && packet.first() == Some(&0xfe)
}

/// The columns of a row in the text protocol.
pub(crate) fn text_row(packet: &[u8]) -> Option<Vec<Option<String>>> {
    let mut input = Bytes(packet);
    let mut columns = Vec::new();
    while !input.0.is_empty() {
        columns.push(match input.column()? {
            Column::Null => None,
            Column::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        });
    }
    Some(columns)
}

impl ChannelError {
    /// The failure in the source's words.
    pub(crate) fn at(self, step: Step) -> Error {
        match self {
            Self::Closed => Error::Closed { step },
            // A close with bytes of ours still under way comes as one of these.
            Self::Io(source)
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
                ) =>
            {
                Error::Closed { step }
            }
            Self::Io(source) => Error::Broken { step, source },
            Self::Protocol { found, expected } => Error::Protocol { step, found, expected },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Annotations, dump_by_position, dump_from_wide_position, register, text_row};

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

    #[test]
    fn a_row_has_texts_and_nulls() {
        let row = text_row(b"\x011\xfb\x00\xfc\x03\x00abc").expect("a row");
        let texts: Vec<_> = row.iter().map(Option::as_deref).collect();
        assert_eq!(texts, [Some("1"), None, Some(""), Some("abc")]);
        assert_eq!(text_row(b"\x05abc"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_rows_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _unjudged = text_row(&bytes);
        }
    }
}
