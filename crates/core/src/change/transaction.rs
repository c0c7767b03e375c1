//! A transaction's identity and circumstances.

use super::{Gtid, MariaGtid, Position};

/// How the source names a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionId {
    /// MySQL's GTID, maybe tagged.
    Gtid(Gtid),
    /// MariaDB's GTID.
    Maria(MariaGtid),
    /// None: `gtid_mode` OFF, or MySQL 5.6 and older. Only the position names it.
    Anonymous,
}

impl TransactionId {
    /// Text of the GTID; `None` for an anonymous transaction.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Gtid(gtid) => Some(gtid.to_string()),
            Self::Maria(gtid) => Some(gtid.to_string()),
            Self::Anonymous => None,
        }
    }
}

/// The transaction that a change belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its identity.
    pub id: TransactionId,
    /// Where its first event (the GTID event, where there is one) starts: file and offset.
    pub start: Position,
    /// When it committed on the server whose binlog this is, microseconds since 1970 UTC: from the
    /// GTID event (MySQL 8.0 and newer), else the event header's whole seconds.
    pub committed_at_us: i64,
    /// When it committed on the server where it was first executed; equals `committed_at_us` unless
    /// it was replicated there.
    pub original_committed_at_us: i64,
    /// `server_id` of the server that first executed it.
    pub server_id: u32,
    /// Length of the whole transaction in the binlog, bytes; MySQL 8.0.2 and newer.
    pub length_bytes: Option<u64>,
}
