//! Messages of our own: canaries, heartbeats, statements.

use std::sync::Arc;

use super::batch::Format;
use super::draft::{Content, Draft};
use super::lane::Lane;
use super::message::Kind;
use super::proto;
use crate::change::{Position, Transaction};

/// What makes rows a canary.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    /// The path through an operator's table; `None`: the built-in canary.
    pub path: Option<Arc<str>>,
    /// Its number; 0 for a row that carries an operator's mark without one.
    pub number: u64,
    /// The step of its life.
    pub phase: proto::CanaryPhase,
    /// When it was written, microseconds since 1970 UTC; 0 when not known.
    pub written_at_us: i64,
    /// How far publishing has got.
    pub watermark: Option<proto::Watermark>,
    /// What an echo must carry; empty for nothing.
    pub nonce: Vec<u8>,
}

/// What a message holds that is not rows. Its `source` is set when it is sealed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Notice {
    Heartbeat(proto::Heartbeat),
    Schema(proto::SchemaChange),
}

impl Notice {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::Schema(_) => Kind::Schema,
        }
    }

    pub(crate) fn committed_at_us(&self) -> i64 {
        match self {
            Self::Heartbeat(heartbeat) => heartbeat.committed_at_us,
            Self::Schema(change) => change.committed_at_us,
        }
    }

    /// The database that it is about; empty when there is none.
    pub(crate) fn database(&self) -> &str {
        match self {
            Self::Heartbeat(_) => "",
            Self::Schema(change) => &change.database,
        }
    }
}

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
