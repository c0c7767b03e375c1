//! A message that is encoded but not yet finalized: it can still be split or made smaller.

use std::sync::Arc;

use super::lane::Lane;
use super::message::Kind;
use super::options::{BeforeImage, Format};
use super::proto;
use super::rows::{OpSet, Rows};
use super::schema::Schema;
use crate::change::{Op, Table};

/// What a encoded batch holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// Rows of a table.
    Rows {
        schema: Arc<Schema>,
        before_image: BeforeImage,
        rows: Rows,
        /// Present when the rows are a canary.
        canary: Option<Box<Canary>>,
    },
    /// A heartbeat or a statement.
    ControlMessage { control: Box<ControlMessage>, format: Format, ack_group: u64 },
}

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

/// What a message holds that is not rows. Its `source` is set when it is finalized.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ControlMessage {
    Schema(proto::SchemaChange),
}

impl ControlMessage {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Schema(_) => Kind::Schema,
        }
    }

    pub(crate) fn committed_at_us(&self) -> i64 {
        match self {
            Self::Schema(change) => change.committed_at_us,
        }
    }

    /// The database that it is about; empty when there is none.
    pub(crate) fn database(&self) -> &str {
        match self {
            Self::Schema(change) => &change.database,
        }
    }
}

/// An encoded but uncompressed message. Cheap to make; [`Finalizer`](super::Finalizer) does the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedBatch {
    lane: Lane,
    sequence_first: u64,
    content: Content,
}

impl EncodedBatch {
    pub(crate) fn new(lane: Lane, sequence_first: u64, content: Content) -> Self {
        Self { lane, sequence_first, content }
    }

    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    pub(crate) fn content_mut(&mut self) -> &mut Content {
        &mut self.content
    }

    /// Lane it goes to.
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// What it is about.
    pub fn kind(&self) -> Kind {
        match &self.content {
            Content::Rows { canary: None, .. } => Kind::Change,
            Content::Rows { canary: Some(_), .. } => Kind::Canary,
            Content::ControlMessage { control, .. } => control.kind(),
        }
    }

    /// Number of the first row; the others follow without a gap. Of a control message: its own number.
    pub fn sequence_first(&self) -> u64 {
        self.sequence_first
    }

    /// Whether it is a canary through an operator's table: it goes where that table's rows go.
    pub fn is_of_path(&self) -> bool {
        matches!(&self.content, Content::Rows { canary: Some(canary), .. } if canary.path.is_some())
    }

    /// Rows inside.
    pub fn rows(&self) -> u32 {
        self.gathered().map_or(0, |rows| u32::try_from(rows.marks.len()).unwrap_or(u32::MAX))
    }

    /// Rows inside by operation: inserts, updates, deletes.
    pub fn rows_by_op(&self) -> [u32; 3] {
        let mut counts = [0; 3];
        for mark in self.gathered().into_iter().flat_map(|rows| &rows.marks) {
            counts[match mark.op {
                Op::Insert => 0,
                Op::Update => 1,
                Op::Delete => 2,
            }] += 1;
        }
        counts
    }

    /// Operations inside.
    pub fn ops(&self) -> OpSet {
        self.gathered().map_or(OpSet::default(), |rows| rows.ops)
    }

    /// The rows' table.
    pub fn table(&self) -> Option<&Arc<Table>> {
        match &self.content {
            Content::Rows { schema, .. } => Some(schema.table()),
            Content::ControlMessage { .. } => None,
        }
    }

    /// Unit of delivery of its first row.
    pub fn ack_group(&self) -> u64 {
        match &self.content {
            Content::Rows { rows, .. } => {
                rows.transactions.first().map_or(0, |first| first.ack_group)
            }
            Content::ControlMessage { ack_group, .. } => *ack_group,
        }
    }

    /// Commit time of its first transaction, microseconds since 1970 UTC.
    pub fn committed_at_us(&self) -> i64 {
        match &self.content {
            Content::Rows { rows, .. } => {
                rows.transactions.first().map_or(0, |first| first.committed_at_us)
            }
            Content::ControlMessage { control, .. } => control.committed_at_us(),
        }
    }

    /// Bytes of the encoded rows.
    pub fn len_bytes(&self) -> usize {
        self.gathered().map_or(0, |rows| rows.images.len())
    }

    /// Cells that were left out for their size.
    pub fn omitted_cells(&self) -> u32 {
        self.gathered().map_or(0, |rows| rows.omitted_cells)
    }

    /// Makes the rows a canary: they are published as kind `canary`, never as changes.
    #[must_use]
    pub fn into_canary(mut self, note: Canary) -> Self {
        if let Content::Rows { canary, .. } = &mut self.content {
            *canary = Some(Box::new(note));
        }
        self
    }

    /// Two encoded batches of about half the bytes each, in order; the encoded batch itself when it cannot be split:
    /// a single row or a control message.
    pub fn split(mut self) -> Result<(Self, Self), Box<Self>> {
        let Content::Rows { rows, schema, before_image, canary } = &mut self.content else {
            return Err(Box::new(self));
        };
        let Some(at) = rows.middle() else {
            return Err(Box::new(self));
        };
        let content = Content::Rows {
            schema: Arc::clone(schema),
            before_image: *before_image,
            rows: rows.split_off(at),
            canary: canary.clone(),
        };
        let second = Self::new(self.lane.clone(), self.sequence_first + at as u64, content);
        Ok((self, second))
    }

    fn gathered(&self) -> Option<&Rows> {
        match &self.content {
            Content::Rows { rows, .. } => Some(rows),
            Content::ControlMessage { .. } => None,
        }
    }
}
