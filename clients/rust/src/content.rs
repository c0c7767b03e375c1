//! What a message holds.

use crate::proto;

/// What a message holds.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one for each message, and moved once or twice")]
pub enum Content {
    /// Changed rows of one table and lane.
    Rows(proto::ChangeBatch),
    /// Rows of a table that a snapshot read.
    Part(proto::SnapshotPart),
    /// A snapshot of a table began, is complete, or was given up.
    Mark(proto::SnapshotMark),
    /// A canary: never a row of the business.
    Canary(proto::Canary),
    /// A heartbeat. Reserved: this version publishes none.
    Heartbeat(proto::Heartbeat),
    /// A statement, mostly DDL, for information.
    Schema(proto::SchemaChange),
    /// Numbers that were held back on purpose: no gap.
    Suppressed(proto::Suppressed),
    /// A transaction has ended.
    TransactionEnd(proto::TransactionEnd),
    /// Something of a newer binpulse: to be counted and acknowledged.
    Unknown {
        /// The kind, where the message tells it; else empty.
        kind: String,
    },
}
