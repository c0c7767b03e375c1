//! The packer: open batches, one for each lane that has rows waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Config;
use super::choice::{Route, route};
use super::chunk::{Chunk, ChunkLane};
use super::holds::{HeldLane, HeldRange, HeldTables, Holds};
use super::limits::{Limits, RateLimit};
use super::linger::Linger;
use super::sequences::Sequences;
use crate::change::{Change, Op, Position, Table, Transaction};
use crate::encode::{Batch, EncodedBatch, Format, Lane, LaneId, RowOptions};

/// Empty batches that are kept for their table's next row; each holds its encoded schema.
const EMPTY_BATCHES_MAX: usize = 1024;
/// What attributes add to a message, about, bytes.
const ATTRIBUTES_BYTES: usize = 512;
/// Messages with less content than this say nothing of how well a table compresses, bytes.
const TELLING_BYTES_MIN: usize = 4 << 10;

/// Gathers rows into encoded batches.
#[derive(Debug)]
pub struct Packer {
    config: Config,
    sequences: Sequences,
    linger: Linger,
    /// First slot of each table's lanes, by database and table.
    tables: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
    /// The table of the last row, with its first slot: most rows come in runs.
    last_table: Option<(Arc<Table>, usize)>,
    slots: Vec<Slot>,
    /// Slot by lane, for what is told about lanes later.
    slot_of_lane: HashMap<LaneId, usize>,
    /// Slots in the order in which their batches were opened. Stale where the generation differs.
    opened: VecDeque<(usize, u64)>,
    /// Slots with a batch in memory, each once.
    held: VecDeque<usize>,
    open: usize,
    open_bytes: usize,
    last_transaction: Position,
    unordered: u64,
    holds: Holds,
    limits: Limits,
    /// Rows of some lanes are left out, or counted: for each row it is asked which.
    is_selective: bool,
}

/// A lane, and its batch when it has one.
#[derive(Debug)]
struct Slot {
    lane: Lane,
    batch: Option<Box<Batch>>,
    /// Of the batch's first row.
    sequence_first: u64,
    /// When its first row came.
    opened_at: Instant,
    /// Counts the batches that were opened.
    generation: u64,
    /// Bytes of the batch that are in the packer's sum.
    bytes: usize,
    /// Bytes of body for each byte of content, as seen.
    ratio: f64,
    /// Where its snapshot parts are numbered, if there ever was one.
    parts: Option<Parts>,
    /// Its rows are numbered and not sent.
    is_held: bool,
    /// Where the limits of its rate stand.
    limits: Vec<usize>,
    /// The only rows that are sent, first and last number; with [`Config::only`].
    only: Option<(u64, u64)>,
}

/// How a lane's snapshot parts are numbered.
#[derive(Debug, Clone, Copy)]
struct Parts {
    /// The lane of these numbers.
    lane: LaneId,
    /// Number of the first part of this process.
    first: u64,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePlace {
    /// Number of its next row.
    pub next: u64,
    /// Number of its next snapshot part; 0: it had none.
    pub part_next: u64,
    /// Attempt of the newest of its parts; 0: they are of processes before this one.
    pub part_attempt: u32,
}

/// A row, and what comes with it.
#[derive(Clone, Copy)]
struct Row<'a> {
    now: Instant,
    ack_group: u64,
    transaction: &'a Transaction,
    table: &'a Arc<Table>,
    change: &'a Change<'a>,
}

impl Parts {
    /// Number of the next part, and the attempt of the newest; 0: it is of a process before this one.
    fn next(self, sequences: &Sequences, attempt: u32) -> (u64, u32) {
        let next = sequences.next(self.lane);
        (next, if next > self.first { attempt } else { 0 })
    }
}

impl Slot {
    fn is_open(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| !batch.is_empty())
    }

    /// Whether its batch has rows of this very schema.
    #[inline]
    fn is_open_for(&self, table: &Arc<Table>) -> bool {
        let batch = self.batch.as_ref();
        batch.is_some_and(|batch| Arc::ptr_eq(batch.table(), table) && !batch.is_empty())
    }
}

impl Packer {
    /// A packer whose rows continue from these numbers.
    pub fn new(mut config: Config, sequences: Sequences) -> Self {
        config.lanes = config.lanes.max(1);
        Self {
            linger: Linger::new(config.linger_max),
            is_selective: !config.only.is_empty(),
            holds: Holds::default(),
            limits: Limits::default(),
            config,
            sequences,
            tables: HashMap::new(),
            last_table: None,
            slots: Vec::new(),
            slot_of_lane: HashMap::new(),
            opened: VecDeque::new(),
            held: VecDeque::new(),
            open: 0,
            open_bytes: 0,
            last_transaction: Position::default(),
            unordered: 0,
        }
    }

    /// Takes a row. `ack_group` is the ack group of its transaction. Batches that became ready are
    /// appended to `out`, those of one lane in order.
    pub fn push(
        &mut self,
        now: Instant,
        ack_group: u64,
        transaction: &Transaction,
        table: &Arc<Table>,
        change: &Change<'_>,
        out: &mut Vec<EncodedBatch>,
    ) {
        if self.last_transaction != transaction.start {
            self.last_transaction.clone_from(&transaction.start);
            self.linger.observe_transaction(now);
        }
        let first = self.first_slot(table, now);
        let row = Row { now, ack_group, transaction, table, change };
        match route(table, change, self.config.lanes) {
            Route::Lane(lane) => self.put(first + lane as usize, &row, out),
            Route::Moves { from, to } => {
                let delete = Change { op: Op::Delete, after: None, ..*change };
                let insert = Change { op: Op::Insert, before: None, ..*change };
                self.put(first + from as usize, &Row { change: &delete, ..row }, out);
                self.put(first + to as usize, &Row { change: &insert, ..row }, out);
            }
            Route::Unordered(lane) => {
                self.unordered += 1;
                self.put(first + lane as usize, &row, out);
            }
        }
        while self.open_bytes > self.config.open_bytes_max {
            let Some(oldest) = self.oldest() else { break };
            self.flush(oldest, out);
        }
    }

    /// Nothing more is at hand: what waits leaves at once, unless the load makes waiting worth it.
    pub fn flush_idle(&mut self, now: Instant, out: &mut Vec<EncodedBatch>) {
        self.linger.roll(now);
        if self.linger.current().is_zero() {
            self.flush_all(out);
        } else {
            self.flush_due(now, out);
        }
    }

    /// When [`Packer::flush_due`] must be called; `None` while nothing waits.
    pub fn due(&mut self) -> Option<Instant> {
        let oldest = self.oldest()?;
        self.slots.get(oldest).map(|slot| slot.opened_at + self.linger.current())
    }

    /// Appends the encoded batches that have waited long enough.
    pub fn flush_due(&mut self, now: Instant, out: &mut Vec<EncodedBatch>) {
        self.linger.roll(now);
        while let Some(oldest) = self.oldest() {
            let linger = self.linger.current();
            if self.slots.get(oldest).is_none_or(|slot| slot.opened_at + linger > now) {
                break;
            }
            self.flush(oldest, out);
        }
    }

    /// Appends all encoded batches, oldest first.
    pub fn flush_all(&mut self, out: &mut Vec<EncodedBatch>) {
        while let Some(oldest) = self.oldest() {
            self.flush(oldest, out);
        }
    }

    /// Begins a chunk of a snapshot: what waits of the table leaves before it, and nothing of the table
    /// may be pushed until it is finished.
    pub fn begin_chunk(
        &mut self,
        now: Instant,
        table: &Arc<Table>,
        out: &mut Vec<EncodedBatch>,
    ) -> Chunk {
        let first = self.first_slot(table, now);
        let slots = first..first + self.config.lanes as usize;
        slots.clone().for_each(|at| self.flush(at, out));
        let mut lanes = Vec::with_capacity(slots.len());
        for slot in self.slots.get_mut(slots).unwrap_or_default() {
            let parts = *slot.parts.get_or_insert_with(|| {
                let lane = self.sequences.lane(&slot.lane.snapshot_key());
                Parts { lane, first: self.sequences.next(lane) }
            });
            let bytes = to_f64(self.config.body_bytes_max.max(self.config.body_bytes_target));
            lanes.push(ChunkLane {
                lane: slot.lane.clone(),
                parts: parts.lane,
                attempt_part: parts.first,
                anchor: self.sequences.next(slot.lane.id),
                content_bytes_max: content_bytes(bytes - to_f64(ATTRIBUTES_BYTES), slot.ratio)
                    .min(self.config.content_bytes_max),
            });
        }
        Chunk::new(&self.config, table, lanes)
    }

    /// Where the lane with this key is.
    pub fn place(&mut self, lane: &str) -> LanePlace {
        let id = self.sequences.lane(lane);
        let slot = self.slot_of_lane.get(&id).and_then(|slot| self.slots.get(*slot));
        let (part_next, part_attempt) = slot
            .and_then(|slot| slot.parts)
            .map_or((0, 0), |parts| parts.next(&self.sequences, self.config.attempt));
        LanePlace { next: self.sequences.next(id), part_next, part_attempt }
    }

    /// Learns how well a lane's rows compress: a message of `content_bytes` before compression had a
    /// body of `body_bytes`.
    pub fn observe_finalized(&mut self, lane: LaneId, content_bytes: usize, body_bytes: usize) {
        let slot = self.slot_of_lane.get(&lane).and_then(|slot| self.slots.get_mut(*slot));
        if let Some(slot) = slot.filter(|_| content_bytes >= TELLING_BYTES_MIN) {
            let seen = to_f64(body_bytes) / to_f64(content_bytes);
            // At once to the larger side: a message over the step costs twice.
            slot.ratio = if seen > slot.ratio { seen } else { slot.ratio * 0.5 + seen * 0.5 };
        }
    }

    /// Learns how far publishing is behind: bytes that wait in a queue of this capacity.
    pub fn observe_backlog(&mut self, queued_bytes: usize, capacity_bytes: usize) {
        self.linger.observe_backlog(queued_bytes, capacity_bytes);
    }

    /// The numbers of rows. The pipeline takes from here what moved, and numbers its own notices.
    pub fn sequences(&mut self) -> &mut Sequences {
        &mut self.sequences
    }

    /// How long a batch that opens now may wait.
    #[cfg(feature = "testing")]
    pub fn linger(&self) -> Duration {
        self.linger.current()
    }

    /// Lanes that each table has.
    pub fn lanes_of_table(&self) -> u32 {
        self.config.lanes
    }

    /// Lanes that have carried a row.
    pub fn lanes(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that open batches hold.
    #[cfg(feature = "testing")]
    pub fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Batches that are open: each will become one encoded batch.
    pub fn open_batches(&self) -> usize {
        self.open
    }

    /// Updates that changed their key without complete images; see [`Route::Unordered`].
    pub fn unordered(&self) -> u64 {
        self.unordered
    }

    #[cfg(test)]
    pub(crate) fn held_batches(&self) -> usize {
        self.slots.iter().filter(|slot| slot.batch.is_some()).count()
    }

    #[cfg(test)]
    pub(crate) fn opened_entries(&self) -> usize {
        self.opened.len()
    }

    fn put(&mut self, at: usize, row: &Row<'_>, out: &mut Vec<EncodedBatch>) {
        if self.is_selective && self.leaves_out(at, row) {
            return;
        }
        // As for all rows of a batch but the first.
        if !self.slots.get(at).is_some_and(|slot| slot.is_open_for(row.table)) {
            self.hold_batch(at, row.table, out);
            self.note_opening(at, row.now);
        }
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(batch) = slot.batch.as_mut() else { return };
        let number = self.sequences.number(slot.lane.id);
        if batch.is_empty() {
            slot.sequence_first = number;
        }
        batch.push(row.ack_group, row.transaction, row.change);
        let bytes = batch.len_bytes();
        self.open_bytes += bytes - slot.bytes;
        slot.bytes = bytes;
        // As long as the next row is like the others, it still fits.
        let next = bytes / (batch.rows().max(1) as usize);
        let body_bytes = to_f64(bytes + next) * slot.ratio + to_f64(ATTRIBUTES_BYTES);
        let limit = if self.linger.is_backed_up() {
            self.config.body_bytes_max.max(self.config.body_bytes_target)
        } else {
            self.config.body_bytes_target
        };
        if body_bytes > to_f64(limit) || bytes >= self.config.content_bytes_max {
            self.flush(at, out);
        }
    }

    /// Numbers the slot's next row, if it is held back, or not one of those that are asked for. One that is
    /// sent counts for the limits of its table.
    #[cold]
    fn leaves_out(&mut self, at: usize, row: &Row<'_>) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        let next = self.sequences.next(slot.lane.id);
        let has = |(first, last): (u64, u64)| (first..=last).contains(&next);
        let is_asked_for = self.config.only.is_empty() || slot.only.is_some_and(has);
        let is_sent = is_asked_for && !slot.is_held;
        if is_sent {
            self.limits.row(&slot.limits, row.now);
        } else {
            self.sequences.number(slot.lane.id);
        }
        if slot.is_held {
            let names = (&row.table.database, &row.table.name);
            self.holds.row(&slot.lane, names, next, row.transaction);
        }
        !is_sent
    }

    /// From here on rows of these tables are numbered and not sent; what waits of them leaves now. The
    /// ranges of lanes that were held back and are not any more.
    pub fn hold(&mut self, tables: HeldTables, out: &mut Vec<EncodedBatch>) -> Vec<HeldLane> {
        let known = self.tables.iter().flat_map(|(database, slots)| {
            slots.iter().map(|(table, first)| (*first, tables.has(database, table)))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        for (first, is_held) in known {
            for at in first..first + self.config.lanes as usize {
                if is_held {
                    self.flush(at, out);
                }
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.is_held = is_held;
                }
            }
        }
        let released = self.holds.hold(tables);
        self.select();
        released.into_iter().map(|(key, range)| self.held_lane(key, range)).collect()
    }

    /// From here on the rates of these tables are limited: [`Packer::take_exceeded`] tells of which more
    /// rows came.
    pub fn limit(&mut self, rates: Vec<RateLimit>) {
        self.limits.set(rates);
        for (database, slots) in &self.tables {
            for (table, first) in slots {
                let limits = self.limits.of(database, table);
                for at in *first..*first + self.config.lanes as usize {
                    if let Some(slot) = self.slots.get_mut(at) {
                        slot.limits.clone_from(&limits);
                    }
                }
            }
        }
        self.select();
    }

    fn select(&mut self) {
        self.is_selective =
            !self.config.only.is_empty() || !self.holds.tables.is_none() || !self.limits.is_empty();
    }

    /// Whether more rows came than a limit allows, since [`Packer::take_exceeded`].
    #[inline]
    pub fn has_exceeded(&self) -> bool {
        self.limits.has_exceeded()
    }

    /// The limits of which more rows came since the last call.
    pub fn take_exceeded(&mut self) -> Vec<i64> {
        self.limits.take_exceeded()
    }

    /// Rows that were sent since the last call, while some were left out.
    pub fn take_sent_rows(&mut self) -> u64 {
        self.limits.take_sent_rows()
    }

    /// Ranges that were held back before this process began, by the keys of their lanes.
    pub fn restore_holds(&mut self, ranges: BTreeMap<Arc<str>, HeldRange>) {
        self.holds.ranges = ranges;
    }

    /// Rows of the lane up to this number were sent after all; those behind it committed at this time or
    /// later, microseconds since 1970 UTC.
    pub fn sent(&mut self, lane: &str, last: u64, since_us: i64) {
        let range = self.holds.ranges.get_mut(lane);
        if let Some(range) = range.filter(|range| range.first <= last) {
            range.first = last.saturating_add(1);
            range.since_us = range.since_us.max(since_us);
            range.gtid = String::new();
        }
    }

    /// Whether rows of the table are held back.
    pub fn holds(&self, database: &str, table: &str) -> bool {
        self.is_selective && self.holds.tables.has(database, table)
    }

    /// Whether a range of rows that are held back has begun since [`Packer::take_begun`].
    #[inline]
    pub fn has_begun(&self) -> bool {
        !self.holds.begun.is_empty()
    }

    /// The lanes of which rows began to be held back since the last call.
    pub fn take_begun(&mut self) -> Vec<HeldLane> {
        let begun = std::mem::take(&mut self.holds.begun);
        let range = |key: Arc<str>| Some((self.holds.ranges.get(&key)?.clone(), key));
        let begun: Vec<_> = begun.into_iter().filter_map(range).collect();
        begun.into_iter().map(|(range, key)| self.held_lane(key, range)).collect()
    }

    /// Rows that were held back since the last call.
    pub fn take_held_rows(&mut self) -> u64 {
        std::mem::take(&mut self.holds.rows)
    }

    /// All lanes of which rows are held back.
    pub fn held(&mut self) -> Vec<HeldLane> {
        let ranges = self.holds.ranges.clone();
        ranges.into_iter().map(|(key, range)| self.held_lane(key, range)).collect()
    }

    fn held_lane(&mut self, key: Arc<str>, range: HeldRange) -> HeldLane {
        let id = self.sequences.lane(&key);
        let next = self.sequences.next(id);
        let lane = Lane { id, key, number: range.number, count: self.config.lanes };
        HeldLane { lane, range, next }
    }

    /// Counts a batch that is about to get its first row.
    fn note_opening(&mut self, at: usize, now: Instant) {
        if self.opened.len() > 64 + 2 * self.open {
            let slots = &self.slots;
            self.opened.retain(|(at, generation)| is_current(slots, *at, *generation));
        }
        if let Some(slot) = self.slots.get_mut(at).filter(|slot| !slot.is_open()) {
            slot.opened_at = now;
            slot.generation += 1;
            self.opened.push_back((at, slot.generation));
            self.open += 1;
        }
    }

    /// Sees to it that the slot has a batch for this schema.
    fn hold_batch(&mut self, at: usize, table: &Arc<Table>, out: &mut Vec<EncodedBatch>) {
        let Some(slot) = self.slots.get(at) else { return };
        if let Some(batch) = &slot.batch {
            if Arc::ptr_eq(batch.table(), table) || batch.table() == table {
                return;
            }
            self.flush(at, out);
        } else {
            self.held.push_back(at);
            self.drop_an_empty_batch();
        }
        let batch = if table.outbox.is_some() {
            // Rows are read back whole: messages are made of their cells.
            let rows = RowOptions {
                cell_bytes_max: usize::MAX,
                image_bytes_max: usize::MAX,
                ..self.config.rows
            };
            Batch::new(Format::Protobuf, rows, Arc::clone(table))
        } else {
            Batch::new(self.config.format, self.config.rows, Arc::clone(table))
        };
        if let Some(slot) = self.slots.get_mut(at) {
            slot.batch = Some(Box::new(batch));
        }
    }

    /// Keeps the number of empty batches bounded: the one held longest goes, open ones stay.
    fn drop_an_empty_batch(&mut self) {
        for _ in 0..2 {
            if self.held.len() <= EMPTY_BATCHES_MAX {
                return;
            }
            let Some(at) = self.held.pop_front() else { return };
            match self.slots.get_mut(at) {
                Some(slot) if slot.is_open() || slot.batch.is_none() => self.held.push_back(at),
                Some(slot) => slot.batch = None,
                None => {}
            }
        }
    }

    fn flush(&mut self, at: usize, out: &mut Vec<EncodedBatch>) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(batch) = slot.batch.as_mut() else { return };
        if let Some(mut encoded) = batch.take(slot.lane.clone(), slot.sequence_first) {
            if let Some(parts) = slot.parts.filter(|_| self.config.attempt > 0) {
                let (next, attempt) = parts.next(&self.sequences, self.config.attempt);
                encoded = encoded.before_snapshot_part(next, attempt);
            }
            out.push(encoded);
            self.open -= 1;
            self.open_bytes -= slot.bytes;
            slot.bytes = 0;
            slot.generation += 1;
        }
    }

    /// The slot whose open batch waits longest.
    fn oldest(&mut self) -> Option<usize> {
        while let Some((at, generation)) = self.opened.front().copied() {
            if is_current(&self.slots, at, generation) {
                return Some(at);
            }
            self.opened.pop_front();
        }
        None
    }

    /// The first of the table's slots; lane `n` is `n` further.
    fn first_slot(&mut self, table: &Arc<Table>, now: Instant) -> usize {
        if let Some((last, first)) = &self.last_table
            && Arc::ptr_eq(last, table)
        {
            return *first;
        }
        let known = self.tables.get(&table.database).and_then(|tables| tables.get(&table.name));
        let first = match known {
            Some(first) => *first,
            None => self.make_slots(table, now),
        };
        self.last_table = Some((Arc::clone(table), first));
        first
    }

    fn make_slots(&mut self, table: &Arc<Table>, now: Instant) -> usize {
        let first = self.slots.len();
        let is_held = self.holds.tables.has(&table.database, &table.name);
        let limits = self.limits.of(&table.database, &table.name);
        // Base64 alone makes 4 of 3 bytes.
        let ratio = match self.config.format {
            Format::Protobuf => 4.0 / 3.0,
            Format::Json => 1.0,
        };
        for number in 0..self.config.lanes {
            let mut key = Lane::key_of(&table.database, &table.name, number);
            if table.outbox.is_some() {
                key = Lane::outbox_key_of(&key);
            }
            let id = self.sequences.lane(&key);
            let key = self.sequences.key(id).map_or_else(|| key.into(), Arc::clone);
            let lane = Lane { id, key, number, count: self.config.lanes };
            let only = self.config.only.iter().find(|only| only.lane == lane.key);
            let only = only.map(|only| (only.first, only.last));
            let parts = self.sequences.find(&lane.snapshot_key());
            let parts = parts.map(|lane| Parts { lane, first: self.sequences.next(lane) });
            self.slot_of_lane.insert(id, self.slots.len());
            self.slots.push(Slot {
                lane,
                batch: None,
                sequence_first: 0,
                opened_at: now,
                generation: 0,
                bytes: 0,
                ratio,
                parts,
                is_held,
                limits: limits.clone(),
                only,
            });
        }
        let database = self.tables.entry(Arc::clone(&table.database)).or_default();
        database.insert(Arc::clone(&table.name), first);
        first
    }
}

fn is_current(slots: &[Slot], at: usize, generation: u64) -> bool {
    slots.get(at).is_some_and(|slot| slot.generation == generation)
}

/// Bytes of content whose body has about so many.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes the nearest usize"
)]
fn content_bytes(body_bytes: f64, ratio: f64) -> usize {
    (body_bytes / ratio.max(f64::MIN_POSITIVE)) as usize
}

#[allow(clippy::cast_precision_loss, reason = "sizes in memory stay below 2^53")]
fn to_f64(value: usize) -> f64 {
    value as f64
}
