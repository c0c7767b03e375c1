//! What is kept.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::encode::{Attribute, DataType, Kind, LaneId, Message};
use crate::sink::MessageRejected;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A message.
    Message(Record),
    /// A row event.
    Undecoded(Undecoded),
}

/// A row event that could not be decoded. Field names are the file's format. Rows of the event that
/// were read before the fault was met, and other events of the transaction, were published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undecoded {
    /// When it was put here, microseconds since 1970 UTC.
    pub quarantined_at_us: i64,
    /// What is wrong: names table, column and position.
    pub error: String,
    /// GTID of its transaction, where it has one.
    pub gtid: Option<String>,
    /// Where its transaction starts, `file:offset`.
    pub transaction: String,
    /// Where the event starts, `file:offset`.
    pub position: String,
    /// Database of its table.
    pub database: String,
    /// Its table.
    pub table: String,
    /// Commit time of its transaction, microseconds since 1970 UTC.
    pub committed_at_us: i64,
    /// The event in base64: header and body, without a checksum, not compressed. Empty for a table
    /// with columns that are dropped or hashed: it would hold their values.
    pub event: String,
}

/// A refused message as it is kept. Field names are the file's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was put here, microseconds since 1970 UTC.
    pub quarantined_at_us: i64,
    /// Why it was refused.
    pub error: String,
    /// The attribute `kind`.
    pub kind: String,
    /// Stable name of its lane.
    pub lane: String,
    /// Topic ARN.
    pub destination: String,
    /// Message group.
    pub group_id: Option<String>,
    /// Deduplication id.
    pub deduplication_id: Option<String>,
    /// Name, type and value of each attribute.
    pub attributes: Vec<(String, String, String)>,
    /// Rows inside.
    pub rows: u32,
    /// Number of its first row in its lane.
    pub sequence_first: u64,
    /// Size before compression, bytes.
    pub uncompressed_bytes: u32,
    /// Commit time of its first transaction, microseconds since 1970 UTC.
    pub committed_at_us: i64,
    /// Cells that were left out.
    pub omitted_cells: u32,
    /// The body.
    pub body: String,
}

impl Record {
    pub(super) fn new(message: &Message, refusal: &MessageRejected, at: SystemTime) -> Self {
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let attribute =
            |a: &Attribute| (a.name.to_string(), a.data_type.as_str().to_owned(), a.value.clone());
        Self {
            quarantined_at_us: i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX),
            error: refusal.to_string(),
            kind: message.kind.as_str().to_owned(),
            lane: message.lane_key.to_string(),
            destination: message.destination.to_string(),
            group_id: message.group_id.clone(),
            deduplication_id: message.deduplication_id.clone(),
            attributes: message.attributes.iter().map(attribute).collect(),
            rows: message.rows,
            sequence_first: message.sequence_first,
            uncompressed_bytes: message.uncompressed_bytes,
            committed_at_us: message.committed_at_us,
            omitted_cells: message.omitted_cells,
            body: message.body.clone(),
        }
    }

    /// The message again, in `lane` and numbered `id` for this process; `None` when it has a kind
    /// or a type of attribute that this version does not know.
    pub fn into_message(self, id: u64, lane: LaneId) -> Option<Message> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?;
        let types = [DataType::String, DataType::StringArray, DataType::Number];
        let attribute = |(name, data_type, value): (String, String, String)| {
            let data_type = types.into_iter().find(|known| known.as_str() == data_type)?;
            Some(Attribute { name: name.into(), data_type, value })
        };
        Some(Message {
            id,
            lane,
            lane_key: self.lane.into(),
            kind,
            body: self.body,
            attributes: self.attributes.into_iter().map(attribute).collect::<Option<_>>()?,
            group_id: self.group_id,
            deduplication_id: self.deduplication_id,
            destination: self.destination.into(),
            rows: self.rows,
            sequence_first: self.sequence_first,
            uncompressed_bytes: self.uncompressed_bytes,
            ack_group: 0,
            committed_at_us: self.committed_at_us,
            omitted_cells: self.omitted_cells,
        })
    }
}
