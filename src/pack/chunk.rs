//! A chunk of a snapshot on its way to messages: one part or more in each lane of its table.

use std::sync::Arc;

use super::Config;
use super::choice::{Route, route};
use super::sequences::Sequences;
use crate::change::{Change, Table, Transaction};
use crate::encode::{Batch, EncodedBatch, Lane, LaneId, RowsDigest, SnapshotPart};

/// Bytes of touched keys that one part carries, about.
const TOUCHED_BYTES_MAX: usize = 64 << 10;

/// Gathers the rows of one chunk. Made by [`Packer::begin_chunk`](super::Packer::begin_chunk).
#[derive(Debug)]
pub struct Chunk {
    lanes: Vec<Gathered>,
    count: u32,
    attempt: u32,
}

/// A lane of the chunk's table.
#[derive(Debug)]
pub(super) struct ChunkLane {
    pub(super) lane: Lane,
    /// The lane in which parts are numbered.
    pub(super) parts: LaneId,
    /// Number of the first part of this process.
    pub(super) attempt_part: u64,
    /// Number of the lane's next row.
    pub(super) anchor: u64,
    /// Content of a part, bytes.
    pub(super) content_bytes_max: usize,
}

#[derive(Debug)]
struct Gathered {
    to: ChunkLane,
    batch: Batch,
    /// Parts that are full.
    full: Vec<EncodedBatch>,
    touched: Vec<Box<[u8]>>,
    digest: Option<RowsDigest>,
}

impl Chunk {
    pub(super) fn new(config: &Config, table: &Arc<Table>, lanes: Vec<ChunkLane>) -> Self {
        let count = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        let gathered = |to| Gathered {
            to,
            batch: Batch::new(config.format, config.rows, Arc::clone(table)),
            full: Vec::new(),
            touched: Vec::new(),
            digest: None,
        };
        Self { lanes: lanes.into_iter().map(gathered).collect(), count, attempt: config.attempt }
    }

    /// Takes a row. `read_at` stands where a change has its transaction.
    pub fn push(&mut self, ack_group: u64, read_at: &Transaction, row: &Change<'_>) {
        let Some(lane) = self.lane_of(row) else { return };
        lane.batch.push(ack_group, read_at, row);
        if lane.batch.len_bytes() >= lane.to.content_bytes_max {
            lane.close_part();
        }
    }

    /// Takes a row of which only a digest leaves. `space` is used again for each.
    pub fn digest(&mut self, row: &Change<'_>, space: &mut Vec<u8>) {
        let Some(lane) = self.lane_of(row) else { return };
        if let Some(image) = &row.after {
            lane.digest.get_or_insert_default().add(image, space);
        }
    }

    /// Only digests leave, also of no rows.
    pub fn only_digests(&mut self) {
        for lane in &mut self.lanes {
            lane.digest.get_or_insert_default();
        }
    }

    fn lane_of(&mut self, row: &Change<'_>) -> Option<&mut Gathered> {
        let table = Arc::clone(self.lanes.first()?.batch.table());
        let at = match route(&table, row, self.count) {
            Route::Lane(lane) | Route::Unordered(lane) | Route::Moves { to: lane, .. } => lane,
        };
        self.lanes.get_mut(at as usize)
    }

    /// Takes a key that the stream changed, as the lanes' format has it. `lane` is the number of the
    /// lane of its rows.
    pub fn touched(&mut self, lane: u32, key: Box<[u8]>) {
        if let Some(lane) = self.lanes.get_mut(lane as usize) {
            lane.touched.push(key);
        }
    }

    /// Numbers the parts, appends them to `out`, each of them one message. `part` is what they have in
    /// common.
    pub fn finish(
        self,
        ack_group: u64,
        read_at: &Transaction,
        part: &SnapshotPart,
        sequences: &mut Sequences,
        out: &mut Vec<EncodedBatch>,
    ) {
        let part = SnapshotPart { attempt: self.attempt, ..part.clone() };
        for lane in self.lanes {
            lane.finish(ack_group, read_at, &part, sequences, out);
        }
    }
}

impl Gathered {
    fn close_part(&mut self) {
        // Its number is given when the chunk is finished.
        self.full.extend(self.batch.take(self.to.lane.clone(), 0));
    }

    fn finish(
        mut self,
        ack_group: u64,
        read_at: &Transaction,
        part: &SnapshotPart,
        sequences: &mut Sequences,
        out: &mut Vec<EncodedBatch>,
    ) {
        self.close_part();
        let (mut full, touched) = (self.full.into_iter(), in_parts(self.touched));
        // As many parts as rows or keys need, and one at least.
        let count = full.len().max(touched.len()).max(1);
        let mut touched = touched.into_iter();
        let first = sequences.next(self.to.parts);
        for index in 1..=count {
            let batch = full
                .next()
                .unwrap_or_else(|| self.batch.take_part(ack_group, read_at, self.to.lane.clone()));
            let number = sequences.numbers(self.to.parts, SnapshotPart::numbers(batch.rows()));
            out.push(batch.into_snapshot_part(
                number,
                SnapshotPart {
                    anchor: self.to.anchor,
                    attempt_part: self.to.attempt_part,
                    is_last: part.is_last && index == count,
                    digest: self.digest.filter(|_| index == count),
                    touched: touched.next().unwrap_or_default(),
                    ..part.clone()
                },
            ));
        }
        let part = SnapshotPart {
            anchor: self.to.anchor,
            attempt_part: self.to.attempt_part,
            ..part.clone()
        };
        if let Some(instead) = part.for_others(sequences.next(self.to.parts) - first) {
            let batch = self.batch.take_part(ack_group, read_at, self.to.lane);
            out.push(batch.into_snapshot_part(first, instead));
        }
    }
}

/// The keys in groups that a message has room for beside its rows.
fn in_parts(keys: Vec<Box<[u8]>>) -> Vec<Vec<Box<[u8]>>> {
    let mut groups: Vec<Vec<Box<[u8]>>> = Vec::new();
    let mut bytes = 0;
    for key in keys {
        if groups.is_empty() || bytes > TOUCHED_BYTES_MAX {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += key.len();
        if let Some(group) = groups.last_mut() {
            group.push(key);
        }
    }
    groups
}
