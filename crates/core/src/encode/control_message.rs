//! Messages of our own: heartbeats and statements.

use std::sync::Arc;

use super::encoded_batch::{Content, ControlMessage, EncodedBatch};
use super::lane::Lane;
use super::options::Format;
use super::proto;
use crate::change::{Position, Transaction};

/// A heartbeat message. `written_at_us` is the writer's clock, microseconds since 1970 UTC.
pub fn heartbeat(
    format: Format,
    lane: Lane,
    ack_group: u64,
    number: u64,
    written_at_us: i64,
    transaction: &Transaction,
    watermark: Option<proto::Watermark>,
) -> EncodedBatch {
    let heartbeat = proto::Heartbeat {
        source: None,
        number,
        written_at_us,
        gtid: transaction.id.text().unwrap_or_default(),
        position: Some(position(&transaction.start)),
        committed_at_us: transaction.committed_at_us,
        watermark,
    };
    batch(format, lane, number, ack_group, ControlMessage::Heartbeat(heartbeat))
}

/// A message with a statement that was replicated as text. `sequence` is its number in `lane`.
pub fn schema_change(
    format: Format,
    lane: Lane,
    ack_group: u64,
    sequence: u64,
    database: &str,
    statement: &str,
    transaction: &Transaction,
) -> EncodedBatch {
    let change = proto::SchemaChange {
        source: None,
        database: database.to_owned(),
        statement: statement.to_owned(),
        gtid: transaction.id.text().unwrap_or_default(),
        position: Some(position(&transaction.start)),
        committed_at_us: transaction.committed_at_us,
        sequence,
        lane: lane.key.to_string(),
    };
    batch(format, lane, sequence, ack_group, ControlMessage::Schema(change))
}

/// A mark of a snapshot: it began, is complete, or was given up. `sequence` is its number in `lane`.
pub fn snapshot_mark(
    format: Format,
    lane: Lane,
    ack_group: u64,
    sequence: u64,
    mark: proto::SnapshotMark,
    audience: Option<Arc<str>>,
) -> EncodedBatch {
    batch(format, lane, sequence, ack_group, ControlMessage::SnapshotMark(mark, audience))
}

/// A message about rows of `lane` that are not sent. It stands in the lane, so that on a FIFO topic it
/// comes between the rows before and behind it.
pub fn suppressed(
    format: Format,
    lane: Lane,
    ack_group: u64,
    suppressed: proto::Suppressed,
) -> EncodedBatch {
    let first = suppressed.sequence_first;
    batch(format, lane, first, ack_group, ControlMessage::Suppressed(suppressed))
}

/// The contract's form of a position.
pub fn position(position: &Position) -> proto::Position {
    proto::Position { file: position.file.to_string(), offset: position.offset }
}

fn batch(
    format: Format,
    lane: Lane,
    sequence: u64,
    ack_group: u64,
    control: ControlMessage,
) -> EncodedBatch {
    EncodedBatch::new(
        lane,
        sequence,
        Content::ControlMessage { control: Box::new(control), format, ack_group },
    )
}
