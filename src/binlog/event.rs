//! Event headers and type codes.

/// Type codes, MySQL 5.0 to 9.7 and MariaDB, by their names in the servers' sources (`Log_event_type`
/// in `libs/mysql/binlog/event/binlog_event.h`; MariaDB's `sql/log_event.h`).
pub mod kind {
    macro_rules! kinds {
        ($($name:ident = $code:literal,)*) => {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                #[allow(dead_code, reason = "some are only named in messages")]
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

/// Length of the CRC32 behind an event, where there is one.
pub const CHECKSUM_BYTES: usize = 4;

/// Bytes of the largest event: 1 GiB, which is the most that `max_allowed_packet` can be, and headers.
pub const BYTES_MAX: u64 = (1 << 30) + (1 << 20);

/// The header that starts every event (version 4, MySQL 5.0 and newer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// When the statement began, seconds since 1970.
    pub timestamp: u32,
    /// One of [`kind`].
    pub event_type: u8,
    /// `server_id` of the server that first executed it.
    pub server_id: u32,
    /// Length of the whole event, header and checksum included.
    pub length: u32,
    /// Where the event ends in its file, modulo 2^32. 0 for artificial events, and for those that
    /// MariaDB 11.4 and newer put into a transaction before they know where it will stand.
    pub end: u32,
    /// Bits `LOG_EVENT_*_F`.
    pub flags: u16,
}

impl Header {
    /// Bytes of a header.
    pub const LENGTH: usize = 19;

    /// Reads the header in front of `event`; `None` when that is shorter.
    #[inline]
    pub fn parse(event: &[u8]) -> Option<Self> {
        let &[t0, t1, t2, t3, event_type, s0, s1, s2, s3, l0, l1, l2, l3, e0, e1, e2, e3, f0, f1] =
            event.first_chunk::<{ Self::LENGTH }>()?;
        Some(Self {
            timestamp: u32::from_le_bytes([t0, t1, t2, t3]),
            event_type,
            server_id: u32::from_le_bytes([s0, s1, s2, s3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            end: u32::from_le_bytes([e0, e1, e2, e3]),
            flags: u16::from_le_bytes([f0, f1]),
        })
    }

    /// Whether the dump thread made it up for this stream, and it is in no file: rotates at the front
    /// of a file, descriptions when the stream does not start at one, heartbeats. Events of
    /// transactions without an end are not: see [`Header::end`].
    pub fn is_artificial(&self) -> bool {
        let is_heartbeat = matches!(self.event_type, kind::HEARTBEAT | kind::HEARTBEAT_V2);
        let may_be_made_up = matches!(
            self.event_type,
            kind::ROTATE | kind::FORMAT_DESCRIPTION | kind::START_ENCRYPTION
        );
        self.flags & FLAG_ARTIFICIAL != 0 || is_heartbeat || (self.end == 0 && may_be_made_up)
    }

    /// Whether one may skip it without knowing its type.
    pub fn is_ignorable(&self) -> bool {
        self.flags & FLAG_IGNORABLE != 0
    }
}
