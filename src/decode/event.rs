//! Event headers and type codes.

use super::Fault;
use super::bytes::Bytes;

/// Type codes, MySQL 5.0 to 9.7 and MariaDB, by their names in the servers' sources (`Log_event_type`
/// in `libs/mysql/binlog/event/binlog_event.h`; MariaDB's `sql/log_event.h`).
pub mod kind {
    macro_rules! kinds {
        ($($name:ident = $code:literal,)*) => {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: u8 = $code;
            )*

            /// A type's name; `unknown` for codes that this version does not know.
            pub fn name(code: u8) -> &'static str {
                match code {
                    $($code => stringify!($name),)*
                    _ => "unknown",
                }
            }
        };
    }

    kinds! {
        UNKNOWN = 0,
        START_V3 = 1,
        QUERY = 2,
        STOP = 3,
        ROTATE = 4,
        INTVAR = 5,
        LOAD = 6,
        SLAVE = 7,
        CREATE_FILE = 8,
        APPEND_BLOCK = 9,
        EXEC_LOAD = 10,
        DELETE_FILE = 11,
        NEW_LOAD = 12,
        RAND = 13,
        USER_VAR = 14,
        FORMAT_DESCRIPTION = 15,
        XID = 16,
        BEGIN_LOAD_QUERY = 17,
        EXECUTE_LOAD_QUERY = 18,
        TABLE_MAP = 19,
        WRITE_ROWS_V0 = 20,
        UPDATE_ROWS_V0 = 21,
        DELETE_ROWS_V0 = 22,
        WRITE_ROWS_V1 = 23,
        UPDATE_ROWS_V1 = 24,
        DELETE_ROWS_V1 = 25,
        INCIDENT = 26,
        HEARTBEAT = 27,
        IGNORABLE = 28,
        ROWS_QUERY = 29,
        WRITE_ROWS = 30,
        UPDATE_ROWS = 31,
        DELETE_ROWS = 32,
        GTID = 33,
        ANONYMOUS_GTID = 34,
        PREVIOUS_GTIDS = 35,
        TRANSACTION_CONTEXT = 36,
        VIEW_CHANGE = 37,
        XA_PREPARE = 38,
        PARTIAL_UPDATE_ROWS = 39,
        TRANSACTION_PAYLOAD = 40,
        HEARTBEAT_V2 = 41,
        GTID_TAGGED = 42,
        ANNOTATE_ROWS = 160,
        BINLOG_CHECKPOINT = 161,
        MARIA_GTID = 162,
        GTID_LIST = 163,
        START_ENCRYPTION = 164,
        QUERY_COMPRESSED = 165,
        WRITE_ROWS_COMPRESSED_V1 = 166,
        UPDATE_ROWS_COMPRESSED_V1 = 167,
        DELETE_ROWS_COMPRESSED_V1 = 168,
        WRITE_ROWS_COMPRESSED = 169,
        UPDATE_ROWS_COMPRESSED = 170,
        DELETE_ROWS_COMPRESSED = 171,
    }
}

/// The file is in use; set after the format description's checksum was written.
pub(super) const FLAG_IN_USE: u16 = 0x1;
/// Made by the dump thread, not in the file: it moves no position.
const FLAG_ARTIFICIAL: u16 = 0x20;
/// May be skipped by a reader who does not know its type.
const FLAG_IGNORABLE: u16 = 0x80;

/// Bytes of the largest event: 1 GiB, which is the most that `max_allowed_packet` can be, and headers.
pub const BYTES_MAX: u64 = (1 << 30) + (1 << 20);

/// The header that starts every event (version 4, MySQL 5.0 and newer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// When the statement began, seconds since 1970.
    pub(super) timestamp: u32,
    /// One of [`kind`].
    pub(super) event_type: u8,
    /// `server_id` of the server that first executed it.
    pub(super) server_id: u32,
    /// Length of the whole event, header and checksum included.
    pub(super) length: u32,
    /// Where the event ends in its file, modulo 2^32. 0 for artificial events, and for those that
    /// MariaDB 11.4 and newer put into a transaction before they know where it will stand.
    pub(super) end: u32,
    /// Bits `LOG_EVENT_*_F`.
    pub(super) flags: u16,
}

impl Header {
    /// Bytes of a header.
    pub(super) const LENGTH: usize = 19;

    /// Reads the header in front of `event`.
    pub(super) fn parse(event: &[u8]) -> Result<Self, Fault> {
        let mut bytes = Bytes::new(event);
        Ok(Self {
            timestamp: bytes.u32("event header")?,
            event_type: bytes.u8("event header")?,
            server_id: bytes.u32("event header")?,
            length: bytes.u32("event header")?,
            end: bytes.u32("event header")?,
            flags: bytes.u16("event header")?,
        })
    }

    /// Whether the dump thread made it up.
    pub(super) fn is_artificial(&self) -> bool {
        let may_be_made_up = matches!(
            self.event_type,
            kind::ROTATE
                | kind::FORMAT_DESCRIPTION
                | kind::HEARTBEAT
                | kind::HEARTBEAT_V2
                | kind::START_ENCRYPTION
        );
        self.flags & FLAG_ARTIFICIAL != 0 || (self.end == 0 && may_be_made_up)
    }

    /// Whether one may skip it without knowing its type.
    pub(super) fn is_ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }
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
