//! Messages of our own: heartbeats and statements.

use super::draft::{Content, Draft, Notice};
use super::lane::Lane;
use super::options::Format;
use super::proto;
use crate::change::{Position, Transaction};

/// A heartbeat message. `written_at_us` is the writer's clock, microseconds since 1970 UTC.
pub fn heartbeat(
    format: Format,
    lane: Lane,
    unit: u64,
    number: u64,
    written_at_us: i64,
    transaction: &Transaction,
    watermark: Option<proto::Watermark>,
) -> Draft {
    let heartbeat = proto::Heartbeat {
        source: None,
        number,
        written_at_us,
        gtid: transaction.id.text().unwrap_or_default(),
        position: Some(position(&transaction.start)),
        committed_at_us: transaction.committed_at_us,
        watermark,
    };
    draft(format, lane, number, unit, Notice::Heartbeat(heartbeat))
}

/// A message with a statement that was replicated as text. `sequence` is its number in `lane`.
pub fn schema_change(
    format: Format,
    lane: Lane,
    unit: u64,
    sequence: u64,
    database: &str,
    statement: &str,
    transaction: &Transaction,
) -> Draft {
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
    draft(format, lane, sequence, unit, Notice::Schema(change))
}

/// The contract's form of a position.
pub fn position(position: &Position) -> proto::Position {
    proto::Position { file: position.file.to_string(), offset: position.offset }
}

fn draft(format: Format, lane: Lane, sequence: u64, unit: u64, notice: Notice) -> Draft {
    Draft::new(lane, sequence, Content::Notice { notice: Box::new(notice), format, unit })
}
