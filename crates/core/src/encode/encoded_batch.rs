//! A message that is encoded but not yet finalized: it can still be split or made smaller.

use std::sync::Arc;

use super::digest::{RowDigest, RowsDigest, row_digests};
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
    Rows { schema: Arc<Schema>, before_image: BeforeImage, rows: Rows, purpose: Purpose },
    /// A heartbeat or a statement.
    ControlMessage { control: Box<ControlMessage>, format: Format, ack_group: u64 },
}

/// What rows are published as.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Purpose {
    /// Changes. The number that the lane's next snapshot part has, and the attempt of the newest; 0:
    /// there never was one.
    Changes { snapshot_next: u64, snapshot_attempt: u32 },
    /// A canary.
    Canary(Box<Canary>),
    /// A part of a snapshot: the number of the batch is that of the part.
    Snapshot(Box<SnapshotPart>),
}

/// What makes rows a part of a snapshot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SnapshotPart {
    /// Id of the snapshot.
    pub snapshot: Arc<str>,
    /// For whom it is: the value of the attribute `replay`; `None`: for all.
    pub audience: Option<Arc<str>>,
    /// Number that the lane's next row has: the part stands before it.
    pub anchor: u64,
    /// Number of the chunk of this snapshot and table.
    pub chunk: u64,
    /// Rises with each process that publishes parts.
    pub attempt: u32,
    /// Number of the lane's first part of this attempt.
    pub attempt_part: u64,
    /// Whether it is the chunk's last part in this lane.
    pub is_last: bool,
    /// Bodies of the images of the chunk's range of keys, exclusive and inclusive; `None`: open.
    pub key_after: Option<Arc<[u8]>>,
    /// See `key_after`.
    pub key_upto: Option<Arc<[u8]>>,
    /// Bodies of the images of keys that the stream changed while the chunk was read.
    pub touched: Vec<Box<[u8]>>,
    /// Rows of the chunk in all lanes.
    pub rows_in_chunk: u64,
    /// Of these, rows that were left out for a newer state.
    pub rows_superseded: u64,
    /// What the rows of the chunk in this lane are, in short; instead of them, on its last part.
    pub digest: Option<RowsDigest>,
    /// Ordinals of the key's columns, in the key's order, where that is not the primary key.
    pub key_columns: Arc<[u32]>,
    /// How often the table was begun again.
    pub pass: u32,
    /// Instead of being a part, it takes the numbers of parts that only these subscribers get.
    pub stands_for: Option<StandsFor>,
}

/// Parts that only some subscribers get: for all others a message without rows takes their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandsFor {
    /// Those who get them.
    pub audience: Arc<str>,
    /// How many numbers they have.
    pub numbers: u64,
}

impl SnapshotPart {
    /// Numbers that a part of so many rows takes: one without rows has one too.
    pub fn numbers(rows: u32) -> u64 {
        u64::from(rows).max(1)
    }

    /// What all others than its audience get instead of parts with so many numbers; `None` of a part for all.
    #[must_use]
    pub fn for_others(&self, numbers: u64) -> Option<Self> {
        let audience = self.audience.clone()?;
        Some(Self {
            snapshot: Arc::clone(&self.snapshot),
            anchor: self.anchor,
            chunk: self.chunk,
            attempt: self.attempt,
            attempt_part: self.attempt_part,
            pass: self.pass,
            stands_for: Some(StandsFor { audience, numbers }),
            ..Self::default()
        })
    }

    /// The rest of a part that became two: it stands behind the first, and has half of the keys.
    fn split_off(&mut self) -> Self {
        let touched = self.touched.split_off(self.touched.len() / 2);
        let rest = Self { touched, ..self.clone() };
        (self.is_last, self.digest) = (false, None);
        rest
    }
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
    Heartbeat(proto::Heartbeat),
    Schema(proto::SchemaChange),
    /// A mark, and for whom the snapshot is.
    SnapshotMark(proto::SnapshotMark, Option<Arc<str>>),
    Suppressed(proto::Suppressed),
}

impl ControlMessage {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::Schema(_) => Kind::Schema,
            Self::SnapshotMark(..) => Kind::Snapshot,
            Self::Suppressed(_) => Kind::Suppressed,
        }
    }

    pub(crate) fn committed_at_us(&self) -> i64 {
        match self {
            Self::Heartbeat(heartbeat) => heartbeat.committed_at_us,
            Self::Schema(change) => change.committed_at_us,
            Self::SnapshotMark(..) | Self::Suppressed(_) => 0,
        }
    }

    /// The database that it is about; empty when there is none.
    pub(crate) fn database(&self) -> &str {
        match self {
            Self::Heartbeat(_) => "",
            Self::Schema(change) => &change.database,
            Self::SnapshotMark(mark, _) => &mark.database,
            Self::Suppressed(suppressed) => &suppressed.database,
        }
    }

    /// The table that it is about; empty when there is none.
    pub(crate) fn table(&self) -> &str {
        match self {
            Self::Heartbeat(_) | Self::Schema(_) => "",
            Self::SnapshotMark(mark, _) => &mark.table,
            Self::Suppressed(suppressed) => &suppressed.table,
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

impl Purpose {
    /// That of the rows behind a split.
    fn split_off(&mut self) -> Self {
        match self {
            Self::Changes { .. } | Self::Canary(_) => self.clone(),
            Self::Snapshot(part) => Self::Snapshot(Box::new(part.split_off())),
        }
    }
}

impl EncodedBatch {
    /// A digest of each row that has a number in the lane: of changes and canaries.
    pub fn row_digests(&self) -> impl Iterator<Item = RowDigest> {
        let numbered = match self.content() {
            Content::Rows { schema, rows, purpose, .. } => match purpose {
                Purpose::Changes { .. } | Purpose::Canary(_) => Some((schema.table(), rows)),
                // Numbered apart, and read at other places by another process.
                Purpose::Snapshot(_) => None,
            },
            Content::ControlMessage { .. } => None,
        };
        let first = self.sequence_first();
        numbered.into_iter().flat_map(move |(table, rows)| row_digests(table, rows, first))
    }

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
            Content::Rows { schema, purpose: Purpose::Changes { .. }, .. } => {
                if schema.table().outbox.is_some() { Kind::Outbox } else { Kind::Change }
            }
            Content::Rows { purpose: Purpose::Canary(_), .. } => Kind::Canary,
            Content::Rows { purpose: Purpose::Snapshot(_), .. } => Kind::Snapshot,
            Content::ControlMessage { control, .. } => control.kind(),
        }
    }

    /// Number of the first row; the others follow without a gap. Of a control message: its own number.
    pub fn sequence_first(&self) -> u64 {
        self.sequence_first
    }

    /// Whether it is a canary through an operator's table: it goes where that table's rows go.
    pub fn is_of_path(&self) -> bool {
        matches!(
            &self.content,
            Content::Rows { purpose: Purpose::Canary(canary), .. } if canary.path.is_some()
        )
    }

    /// The audience of a snapshot's part or mark, if it has one.
    pub(crate) fn audience(&self) -> Option<&Arc<str>> {
        match &self.content {
            Content::Rows { purpose: Purpose::Snapshot(part), .. } => part.audience.as_ref(),
            Content::ControlMessage { control, .. } => match &**control {
                ControlMessage::SnapshotMark(_, audience) => audience.as_ref(),
                ControlMessage::Heartbeat(_)
                | ControlMessage::Schema(_)
                | ControlMessage::Suppressed(_) => None,
            },
            Content::Rows { .. } => None,
        }
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
                // No change: a snapshot counts its rows itself.
                Op::Read => continue,
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

    /// Database and table that it is about; empty where there is none.
    pub fn subject(&self) -> (&str, &str) {
        match &self.content {
            Content::Rows { schema, .. } => (&schema.table().database, &schema.table().name),
            Content::ControlMessage { control, .. } => (control.database(), control.table()),
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
        if let Content::Rows { purpose, .. } = &mut self.content {
            *purpose = Purpose::Canary(Box::new(note));
        }
        self
    }

    /// Makes the rows the part of a snapshot with this number.
    #[must_use]
    pub fn into_snapshot_part(mut self, number: u64, part: SnapshotPart) -> Self {
        self.sequence_first = number;
        if let Content::Rows { purpose, .. } = &mut self.content {
            *purpose = Purpose::Snapshot(Box::new(part));
        }
        self
    }

    /// Tells the number that the lane's next snapshot part has, and the attempt of the newest.
    #[must_use]
    pub fn before_snapshot_part(mut self, number: u64, attempt: u32) -> Self {
        if let Content::Rows { purpose: purpose @ Purpose::Changes { .. }, .. } = &mut self.content
        {
            *purpose = Purpose::Changes { snapshot_next: number, snapshot_attempt: attempt };
        }
        self
    }

    /// Two encoded batches of about half the bytes each, in order; the encoded batch itself when it cannot be split:
    /// a single row or a control message.
    pub fn split(mut self) -> Result<(Self, Self), Box<Self>> {
        let Content::Rows { rows, schema, before_image, purpose } = &mut self.content else {
            return Err(Box::new(self));
        };
        let Some(at) = rows.middle() else {
            return Err(Box::new(self));
        };
        let content = Content::Rows {
            schema: Arc::clone(schema),
            before_image: *before_image,
            rows: rows.split_off(at),
            purpose: purpose.split_off(),
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
