//! One lane of a route for a receiver: from messages to requests, and back to messages that are done with.

use std::sync::Arc;
use std::time::Duration;

use binpulse_client::ledger::Gap;
use binpulse_client::proto;
use binpulse_core::change::{Cell, Change, Image, Op, RowBuffer, Table};
use binpulse_core::encode::opened::OpenedRows;

use super::config::Config;
use super::documents::Blocks;
use super::gaps::{GapState, PartsGap};
use crate::body::{Bodies, Read, RowRef};
use crate::lane::LaneKey;
use crate::lanes::Order;
use crate::lanes::order::{Entry, LaneOrder, Rows};
use crate::lanes::parts::Part;
use crate::lanes::requests::{Limits, Place, Requests, Row, Run};
use crate::state::LaneRecord;

/// A message in its lane.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) message: u64,
    pub(super) rows: Arc<OpenedRows>,
    pub(super) read: Option<Arc<Read>>,
    /// Number of the first row: of a part, among the rows of parts.
    pub(super) first: u64,
}

impl Content {
    pub(super) fn of_part(
        message: u64,
        part: &proto::SnapshotPart,
        rows: Arc<OpenedRows>,
        sent_at_us: i64,
    ) -> Self {
        let read = Some(Arc::new(Read::new(part, rows.source().server_id, sent_at_us)));
        Self { message, rows, read, first: part.part }
    }

    fn last(&self) -> u64 {
        self.first.saturating_add(self.rows.len().max(1) as u64 - 1)
    }
}

/// A lane that this process holds.
#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) fence: u64,
    pub(super) order: LaneOrder<Content>,
    pub(super) requests: Requests<RowRef>,
    pub(super) gap: GapState,
    pub(super) parts_gap: PartsGap,
    /// When the last row that was released was committed; `None`: not known.
    committed_us: Option<i64>,
    /// Messages whose rows are released, and not all dealt with.
    messages: Vec<Content>,
    /// Second messages of rows that are dealt with, wait, or are under way for another message.
    again: Vec<Content>,
    /// What was made of its rows, where only a share of them is delivered.
    pub(super) blocks: Blocks,
    /// Rows that are not delivered, since they were last told.
    left_out: LeftOut,
    /// Messages that told of rows that are held back, and late parts: done with when the lane is saved.
    told: Vec<u64>,
}

/// Rows that are not delivered.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// By the filter.
    pub(super) filtered: u64,
    /// Because they are in another relay's share.
    pub(super) shadow: u64,
}

impl LaneState {
    pub(super) fn new(fence: u64, record: &LaneRecord, config: &Config, now: Duration) -> Self {
        let part_due = (record.part_next > 0).then_some((record.part_attempt, record.part_next));
        let (next, waits) = (record.next, config.waits);
        let mut order = LaneOrder::new(next, part_due, config.has_snapshots, waits, now);
        // Messages of rows that were dealt with out of order are gone: nobody waits for them.
        for (first, last) in &record.done {
            order.absent(Gap { first: *first, last: *last, is_proven: true }, now);
        }
        for (first, last) in &record.suppressed {
            order.suppressed(*first, *last, now);
        }
        let limits = Limits {
            order: config.order,
            rows_max: config.rows_max,
            bytes_max: config.request_bytes_max,
        };
        Self {
            fence,
            order,
            requests: Requests::new(record, limits),
            gap: GapState::None,
            parts_gap: PartsGap::default(),
            committed_us: None,
            messages: Vec::new(),
            again: Vec::new(),
            blocks: Blocks::default(),
            left_out: LeftOut::default(),
            told: Vec::new(),
        }
    }

    /// Rows have arrived.
    pub(super) fn offer(&mut self, content: Content, now: Duration) {
        let rows = &content.rows;
        let (first, count, snapshot) = (rows.first(), rows.len() as u64, rows.snapshot());
        self.order.offer(Rows { first, count, snapshot, content }, now);
    }

    /// A part of a snapshot has arrived.
    pub(super) fn offer_part(
        &mut self,
        part: &proto::SnapshotPart,
        content: Content,
        now: Duration,
    ) {
        let rows = Arc::clone(&content.rows);
        self.order.offer_part(Part::of(part, &rows, content), now);
    }

    /// A message says that the source holds these rows back.
    pub(super) fn suppressed(&mut self, first: u64, last: u64, message: u64, now: Duration) {
        self.order.suppressed(first, last, now);
        self.requests.suppressed(self.order.suppressed_rows());
        self.told.push(message);
    }

    /// Goes on without rows that are held back, where it is time; whether it does.
    pub(super) fn pass_over(&mut self, now: Duration) -> bool {
        let mut is_passed = false;
        while let Some(gap) = self.order.pass_over(now) {
            self.requests.absent(gap.first, gap.last);
            self.requests.suppressed(self.order.suppressed_rows());
            is_passed = true;
        }
        is_passed
    }

    /// When the rows on both sides of a gap were committed, as far as that is known; microseconds since
    /// 1970 UTC.
    pub(super) fn committed_around(&self) -> (Option<i64>, Option<i64>) {
        let behind = self.order.first_held().and_then(|content| content.rows.transaction(0));
        (self.committed_us, behind.map(|transaction| transaction.committed_at_us))
    }

    /// A lane that was not known may have begun, with the smallest number that has come.
    pub(super) fn begins(&mut self, key: &LaneKey) {
        if let Some(first) = self.order.next().filter(|first| *first > 1) {
            tracing::info!(lane = %key, first, "the lane begins with this row: earlier ones have not come");
            self.requests.begins(first);
        }
    }

    /// Requests of the rows that stand before the lane's beginning: of one row each.
    pub(super) fn late(&self, config: &Config, content: &Content) -> Vec<Run<RowRef>> {
        let rows = &content.rows;
        let table = rows.table();
        let (mut late, mut buffer) = (Vec::new(), RowBuffer::default());
        if !(config.filter.table)(&table.database, &table.name) {
            return late;
        }
        let numbers = content.first..self.requests.began();
        for (index, number) in (0..rows.len()).zip(numbers) {
            let Some(change) = rows.change(index, &mut buffer) else { break };
            let keys = keys_in_order(config, table, &change);
            let is_ours = config.share.is_all() || Self::is_ours(config, rows, &change);
            if !is_ours || !config.filter.wants(rows, &change) {
                continue;
            }
            let row = RowRef { rows: Arc::clone(rows), index, number, read: None };
            let of_rows = if config.order == Order::Key { keys.to_vec() } else { Vec::new() };
            late.push(Run {
                number,
                first: Place::Change(number),
                last: number,
                rows: vec![row],
                key: keys[1],
                keys: of_rows,
                attempts: 0,
                is_behind: false,
            });
        }
        late
    }

    /// Moves what is in order to where requests are made of it.
    pub(super) fn release(&mut self, config: &Config, bodies: &Bodies, now: Duration) -> LeftOut {
        if matches!(self.gap, GapState::Halted { .. }) && !self.order.has_come() {
            return LeftOut::default();
        }
        while let Some(entry) = self.order.take(now) {
            match entry {
                Entry::Rows { rows, skip } => self.release_rows(config, bodies, rows.content, skip),
                Entry::Part(part) if part.content.rows.is_empty() => {
                    self.requests.part_absent(part.attempt, part.number, part.next() - 1);
                    self.messages.push(part.content);
                }
                Entry::Part(part) => self.release_rows(config, bodies, part.content, 0),
                Entry::Nothing(content) => self.again.push(content),
                Entry::Late(content) => self.told.push(content.message),
            }
        }
        std::mem::take(&mut self.left_out)
    }

    fn release_rows(&mut self, config: &Config, bodies: &Bodies, content: Content, skip: u64) {
        let rows = &content.rows;
        let table = rows.table();
        let is_wanted = (config.filter.table)(&table.database, &table.name);
        let bytes = rows.memory_bytes() / rows.len().max(1);
        let mut buffer = RowBuffer::default();
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        for index in skip..rows.len() {
            let number = content.first.saturating_add(index as u64);
            let Some(change) = rows.change(index, &mut buffer) else { break };
            let place = match &content.read {
                None => Place::Change(number),
                Some(read) => Place::Read(read.attempt, number),
            };
            let is_wanted = is_wanted && config.filter.wants(rows, &change);
            self.left_out.filtered += u64::from(!is_wanted);
            let row =
                || RowRef { rows: Arc::clone(rows), index, number, read: content.read.clone() };
            let keys = keys_in_order(config, table, &change);
            let mut content = is_wanted.then(row);
            if !config.share.is_all() {
                content = self.shared(config, bodies, &change, number, content);
            }
            self.requests.release(Row { place, keys, bytes, content });
        }
        if let Some(last) = rows.len().checked_sub(1).and_then(|last| rows.transaction(last)) {
            self.committed_us = Some(last.committed_at_us);
        }
        self.messages.push(content);
    }

    /// Each row is written, and told in short; those of another relay's share go no further.
    fn shared(
        &mut self,
        config: &Config,
        bodies: &Bodies,
        change: &Change<'_>,
        number: u64,
        row: Option<RowRef>,
    ) -> Option<RowRef> {
        let document = row.as_ref().map(|row| bodies.document(row));
        if row.as_ref().is_none_or(|row| row.read.is_none()) {
            self.blocks.row(number, document.as_deref());
        }
        let row = row?;
        let is_ours = Self::is_ours(config, &row.rows, change);
        self.left_out.shadow += u64::from(!is_ours);
        is_ours.then_some(row)
    }

    /// Whether the row is of this relay's share.
    fn is_ours(config: &Config, rows: &OpenedRows, change: &Change<'_>) -> bool {
        let by_key = config.order != Order::Lane && !rows.table().primary_key.is_empty();
        config.share.has(if by_key {
            keys(rows.table(), change)[0]
        } else {
            let mut hash = Fnv::default();
            hash.bytes(rows.lane().as_bytes());
            hash.0
        })
    }

    /// Messages of which every row is dealt with, as was saved.
    pub(super) fn finished(&mut self) -> Vec<u64> {
        let requests = &self.requests;
        let is_done = |content: &mut Content| match &content.read {
            None => requests.is_done(content.first, content.last()),
            Some(read) => requests.is_read(read.attempt, content.first, content.last()),
        };
        let told = std::mem::take(&mut self.told);
        let messages = self.messages.extract_if(.., is_done);
        let done = messages.chain(self.again.extract_if(.., is_done));
        told.into_iter().chain(done.map(|content| content.message)).collect()
    }

    /// Gives up a message of which nothing is released: a second one, or the one that is furthest behind.
    pub(super) fn drop_one(&mut self) -> Option<u64> {
        let content = self.again.pop().or_else(|| self.order.drop_one());
        content.map(|content| content.message)
    }

    /// The messages that it holds, in whichever place.
    pub(super) fn into_messages(mut self) -> Vec<u64> {
        let mut all: Vec<_> = std::iter::from_fn(|| self.drop_one()).collect();
        all.extend(self.messages.into_iter().map(|content| content.message));
        all.extend(self.told);
        all
    }
}

/// Hashes of a row's key where order is kept by key.
fn keys_in_order(config: &Config, table: &Table, change: &Change<'_>) -> [u64; 2] {
    match config.order {
        Order::Key => keys(table, change),
        Order::Lane | Order::None => [0, 0],
    }
}

/// Hashes of a row's key before and after. A table without a key keeps the order of its lane.
fn keys(table: &Table, change: &Change<'_>) -> [u64; 2] {
    let hash = |image: &Image<'_>| {
        let mut hash = Fnv::default();
        for ordinal in &table.primary_key {
            hash.cell(image.cell(*ordinal));
        }
        hash.0
    };
    let after = change.after.as_ref().map(hash);
    // A before image that lacks columns of the key is of a row whose key did not change.
    let has_key = |image: &&Image<'_>| {
        table.primary_key.iter().all(|ordinal| image.cell(*ordinal) != Cell::Absent)
    };
    let before = change.before.as_ref().filter(has_key).map(hash);
    match (before, after, change.op) {
        _ if table.primary_key.is_empty() => [0, 0],
        (Some(before), Some(after), Op::Update) => [before, after],
        (before, after, _) => {
            let key = after.or(before).unwrap_or_default();
            [key, key]
        }
    }
}

/// FNV-1a: the same in each process, because keys of parked rows are saved by it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn cell(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Absent | Cell::Null => self.bytes(&[0]),
            Cell::Int(value) => self.bytes(&value.to_le_bytes()),
            Cell::UInt(value) => self.bytes(&value.to_le_bytes()),
            Cell::Float(value) => self.bytes(&value.to_bits().to_le_bytes()),
            Cell::Double(value) => self.bytes(&value.to_bits().to_le_bytes()),
            Cell::Text(bytes)
            | Cell::Malformed(bytes)
            | Cell::Bytes(bytes)
            | Cell::Json(bytes)
            | Cell::JsonDiff(bytes)
            | Cell::Vector(bytes) => {
                self.bytes(bytes);
                self.bytes(&bytes.len().to_le_bytes());
            }
            Cell::Omitted { sha256, .. } => self.bytes(&sha256),
        }
    }
}

/// The key of the lane that rows are in.
pub(super) fn lane_of(rows: &OpenedRows) -> LaneKey {
    LaneKey {
        stream: rows.source().stream.as_str().into(),
        epoch: rows.source().epoch,
        lane: Arc::clone(rows.lane()),
    }
}

/// The stream and epoch of a canary.
pub(super) fn stream_of(canary: &proto::Canary) -> (&str, u64) {
    let source = canary.batch.as_ref().and_then(|batch| batch.source.as_ref());
    source.map_or(("", 0), |source| (source.stream.as_str(), source.epoch))
}

/// The lanes that a canary's watermark names: all below the number was accepted by the topic.
pub(super) fn watermarks(canary: &proto::Canary) -> impl Iterator<Item = (LaneKey, u64)> {
    let (stream, _) = stream_of(canary);
    let marks = canary.watermark.iter().flat_map(|watermark| &watermark.lanes);
    marks.map(move |mark| {
        let lane = mark.lane.as_str().into();
        let key = LaneKey { stream: stream.into(), epoch: mark.epoch, lane };
        (key, mark.sequence_next)
    })
}

/// The lane, first and last number of rows that are held back; `None` when the message names no stream.
pub(super) fn suppressed_rows(suppressed: &proto::Suppressed) -> Option<(LaneKey, u64, u64)> {
    let source = suppressed.source.as_ref()?;
    let (stream, lane) = (source.stream.as_str().into(), suppressed.lane.as_str().into());
    let first = suppressed.sequence_first;
    let last = first.saturating_add(suppressed.count).saturating_sub(1);
    Some((LaneKey { stream, epoch: source.epoch, lane }, first, last))
}
