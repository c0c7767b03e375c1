//! A message, ready to be published.

use std::borrow::Cow;
use std::sync::Arc;

use super::LaneId;

/// What a message is about: the attribute `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Rows of a table of the users'.
    Change,
    /// A canary row.
    Canary,
    /// A heartbeat row.
    Heartbeat,
    /// A statement that was replicated as text.
    Schema,
    /// Rows that a snapshot read from a table, or a mark of it.
    Snapshot,
    /// A message that an application wrote into an outbox table: the body is the application's.
    Outbox,
    /// Numbers of rows that an operator held back.
    Suppressed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Change,
        Self::Canary,
        Self::Heartbeat,
        Self::Schema,
        Self::Snapshot,
        Self::Outbox,
        Self::Suppressed,
    ];

    /// The attribute's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Canary => "canary",
            Self::Heartbeat => "heartbeat",
            Self::Schema => "schema",
            Self::Snapshot => "snapshot",
            Self::Outbox => "outbox",
            Self::Suppressed => "suppressed",
        }
    }
}

/// Data type of an attribute, as SNS knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// Text.
    String,
    /// JSON array of texts; a filter policy matches any of them.
    StringArray,
    /// Decimal number.
    Number,
}

impl DataType {
    /// SNS's name for it. A subscription sees `String.Array` as it is.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringArray => "String.Array",
            Self::Number => "Number",
        }
    }
}

/// An attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Name.
    pub name: Cow<'static, str>,
    /// Type of the value.
    pub data_type: DataType,
    /// Value as text; never empty.
    pub value: String,
}

impl Attribute {
    /// What SNS counts of it towards a message's size, bytes.
    pub fn billed_bytes(&self) -> usize {
        self.name.len() + self.data_type.as_str().len() + self.value.len()
    }
}

/// A message, ready to be published. It is never changed once finalized: a retry sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The pipeline's number for it, unique within the process; 0 until the pipeline sets it.
    pub id: u64,
    /// Lane it is published in.
    pub lane: LaneId,
    /// The lane's stable name, for logs and the quarantine.
    pub lane_key: Arc<str>,
    /// What it is about.
    pub kind: Kind,
    /// Body: base64 text of a frame, or a JSON document. Characters of XML 1.0 only, never empty.
    pub body: String,
    /// Attributes, at most 8.
    pub attributes: Vec<Attribute>,
    /// Message group, when the topic is FIFO or wants fair queues.
    pub group_id: Option<String>,
    /// Deduplication id, when the topic is FIFO: a function of the content's identity and bytes.
    pub deduplication_id: Option<String>,
    /// ARN of the topic.
    pub destination: Arc<str>,
    /// Rows inside; 0 for heartbeats and statements.
    pub rows: u32,
    /// Number of the first row in its lane; the control message's own number where there are no rows.
    pub sequence_first: u64,
    /// Size of the content before compression and base64, bytes.
    pub uncompressed_bytes: u32,
    /// Unit of delivery that its first row belongs to; see the checkpoint's tracker.
    pub ack_group: u64,
    /// Commit time of its first transaction, microseconds since 1970 UTC: its oldest change.
    pub committed_at_us: i64,
    /// Cells that the oversize ladder left out.
    pub omitted_cells: u32,
}

impl Message {
    /// What SNS counts as its size: body and the name, type and value of each attribute, bytes.
    pub fn billed_bytes(&self) -> usize {
        self.body.len() + self.attributes.iter().map(Attribute::billed_bytes).sum::<usize>()
    }
}
