//! Going on behind an event that can't be decoded, where the transaction around it still stands.
//!
//! Whether to is not decided here. It is possible where the fault lies in the content of an event
//! within a transaction; not where it lies in what holds events together: framing, checksums, the
//! log's own format, the beginnings and ends of transactions. Going on there would mean to guess.

use super::steps::{Emit, More, Steps};
use super::transaction::Phase;
use super::{Decoder, Error, Fault};
use crate::binlog::kind;
use crate::change::{Position, Transaction};

/// What was passed over, to be kept by somebody.
#[derive(Debug, Clone, Copy)]
pub struct SkippedEvent<'a> {
    /// The transaction that it is in.
    pub transaction: &'a Transaction,
    /// Where the event starts.
    pub position: &'a Position,
    /// Header and body; of an event in a compressed transaction that alone, or of all of them where
    /// the compression itself is at fault.
    pub event: &'a [u8],
}

impl Steps<'_, '_> {
    /// Continues behind what `error`, the last one that came from here, is of. `None` if that can't be:
    /// then the error is the end.
    ///
    /// Where a compressed transaction can't be decompressed, or not to its end, it is passed over as a
    /// whole: its end comes next, though the log's own was not reached. Steps that came out before
    /// stay.
    pub fn pass_over(&mut self, error: &Error) -> Option<SkippedEvent<'_>> {
        if !self.decoder.may_be_passed_over(&error.fault) {
            return None;
        }
        let is_whole = self.decoder.event_type == kind::TRANSACTION_PAYLOAD;
        if is_whole {
            self.more = self.decoder.end_lost();
        } else if self.decoder.event_type == kind::TABLE_MAP {
            // Rows that it is missing for must not be read by an older one of the same number.
            self.decoder.tables.end_statement();
        }
        let decoder = &*self.decoder;
        Some(SkippedEvent {
            transaction: &decoder.current.transaction,
            position: &decoder.rows_at,
            event: if is_whole || !decoder.from_inner { self.event } else { &decoder.inner },
        })
    }
}

impl Decoder {
    /// Whether the transaction stands without the event that has this fault.
    pub(super) fn may_be_passed_over(&self, fault: &Fault) -> bool {
        let is_of_content = match fault {
            Fault::Short { .. }
            | Fault::Unexpected { .. }
            | Fault::NotText { .. }
            | Fault::UnknownEvent(_)
            | Fault::StatementBased { .. }
            | Fault::LoadData
            | Fault::NotMapped { .. }
            | Fault::Width { .. }
            | Fault::Column(_)
            | Fault::Row(_)
            | Fault::Schema(_)
            | Fault::Payload(_)
            | Fault::TooLarge { .. } => true,
            Fault::Size { .. }
            | Fault::Checksum { .. }
            | Fault::Gap { .. }
            | Fault::NoFormat
            | Fault::Incident { .. }
            | Fault::Encrypted { .. }
            | Fault::Order { .. }
            | Fault::SchemaNeeded { .. }
            | Fault::Xa(_)
            | Fault::Misuse => false,
        };
        let carries_changes = match self.event_type {
            // A statement that can't be read could be a COMMIT.
            kind::QUERY | kind::QUERY_COMPRESSED => {
                matches!(fault, Fault::StatementBased { .. } | Fault::NotText { .. })
            }
            kind::UNKNOWN
            | kind::GTID
            | kind::ANONYMOUS_GTID
            | kind::GTID_TAGGED
            | kind::MARIA_GTID
            | kind::XID
            | kind::XA_PREPARE
            | kind::ROTATE
            | kind::STOP
            | kind::FORMAT_DESCRIPTION
            | kind::HEARTBEAT
            | kind::HEARTBEAT_V2
            | kind::PREVIOUS_GTIDS
            | kind::GTID_LIST => false,
            _ => true,
        };
        let stands = match self.event_type {
            kind::TRANSACTION_PAYLOAD => {
                matches!(self.current.phase, Phase::Open | Phase::Announced) || self.ends_here()
            }
            // Of an XA transaction even if that is undone later: its end is not known yet.
            _ => matches!(self.current.phase, Phase::Open | Phase::Holding),
        };
        is_of_content && carries_changes && stands
    }

    /// The transaction of a payload that is not to be had begins; whether it had not yet.
    pub(super) fn begin_lost(&mut self) -> bool {
        let is_to_begin =
            self.event_type == kind::TRANSACTION_PAYLOAD && self.current.phase == Phase::Announced;
        if is_to_begin {
            self.begin();
        }
        is_to_begin
    }

    /// The same transaction ends, if it has not.
    fn end_lost(&mut self) -> More {
        match self.current.phase {
            _ if self.replay.is_some() => More::Held,
            Phase::Open => self.end(),
            Phase::Outside | Phase::Announced | Phase::Holding => More::No,
        }
    }

    /// Its end was read and did not come out yet.
    fn ends_here(&self) -> bool {
        self.replay.is_some() || self.emits.iter().any(|emit| matches!(emit, Emit::Commit))
    }
}
