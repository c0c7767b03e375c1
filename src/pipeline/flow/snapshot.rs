//! Chunks of a snapshot on their way between the changes.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot::Sender;

use super::Flow;
use crate::change::{Change, Op, Position, Table, Transaction, TransactionId};
use crate::encode::{Lane, SnapshotPart, proto};
use crate::filter::Route;
use crate::freshness::canary::path::RowOrigin;
use crate::pack;
use crate::pipeline::Error;
use crate::snapshot::{
    Armed, Ask, Chunk, ChunkPart, Opened, Order, Progress, RESTARTS_MAX, ROWS_MOVED, TableProgress,
    Taken, Target, Window, Windows,
};
use crate::telemetry::snapshot::{ChunkDiscard, SnapshotTableState};

/// Chunks that wait for their place: the reader has few under way.
const WAITING_MAX: usize = 64;

/// What a chunk is for.
#[derive(Debug, Clone, Copy)]
struct Purpose {
    /// It tells of all rows of its range.
    is_whole: bool,
    /// Digests of its rows leave, and no rows.
    verifies: bool,
}

/// Where the rows of a chunk go.
struct Out<'a> {
    rows: &'a mut pack::Chunk,
    ack_group: u64,
    read_at: &'a Transaction,
    purpose: Purpose,
}

/// A chunk, and who is told what became of it.
type Take = (Box<Chunk>, Sender<Result<Taken, ChunkDiscard>>);

/// The snapshot that goes on beside the stream.
#[derive(Debug)]
pub(super) struct Snapshots {
    windows: Windows,
    progress: Option<Progress>,
    /// The table that is read now, by its number.
    reading: Option<usize>,
    /// The table of which rows moved to other keys, and how often it was begun again for that.
    moved: (usize, u32),
    /// How the newest window's table is read.
    target: Option<Arc<Target>>,
    /// What was asked in the middle of a transaction.
    asks: VecDeque<Ask>,
    /// Chunks whose place has not come, in order.
    takes: VecDeque<Take>,
    /// Who waits until an ack group is delivered.
    settling: Vec<(u64, Sender<()>)>,
    /// Statements that went by.
    statements: u64,
    lanes: u32,
}

impl Snapshots {
    /// None goes on. Windows hold at most `keys_max` keys; each table has so many lanes.
    pub(super) fn new(keys_max: usize, lanes: u32) -> Self {
        Self {
            windows: Windows::new(keys_max),
            progress: None,
            reading: None,
            moved: (0, 0),
            target: None,
            asks: VecDeque::new(),
            takes: VecDeque::new(),
            settling: Vec::new(),
            statements: 0,
            lanes,
        }
    }

    /// Whether rows of the table are to be told. To be asked once for each event.
    #[inline]
    pub(super) fn is_open_for(&self, table: &Table) -> bool {
        self.windows.is_open_for(table) || self.begun(table).is_some()
    }

    /// A row of such a table goes by.
    #[cold]
    pub(super) fn row(&mut self, of: &Transaction, table: &Table, change: &Change<'_>) {
        self.windows.row(&of.start, table, change);
        // Also where no window is open: from a range that was not read yet to one that was.
        if let Some(number) = self.begun(table)
            && Target::moves_in_part(self.target.as_deref(), table, change)
            && !self.asks.iter().any(|ask| matches!(ask, Ask::Moved { .. }))
        {
            self.asks.push_back(Ask::Moved { table: number });
        }
    }

    /// The number of the table, if rows of it were read and others are to be.
    fn begun(&self, table: &Table) -> Option<usize> {
        let progress = self.progress.as_ref()?;
        let reading = progress.tables.get(self.reading?)?;
        let is_it = reading.table == table.name && reading.database == table.database;
        self.reading.filter(|_| is_it && reading.is_begun())
    }

    /// Rows of a table go by that can't be read.
    pub(super) fn unread(&mut self, database: &str, table: &str) {
        self.windows.unread(database, table);
    }

    /// A statement goes by, with `database` selected.
    pub(super) fn statement(&mut self, database: &str, statement: &str) {
        self.statements += 1;
        self.windows.statement(statement);
        let tables = self.progress.iter().flat_map(|progress| &progress.tables).enumerate();
        let replaced = tables.filter(|(_, table)| table.is_replaced_by(statement, database));
        // Behind the statement's transaction, and in front of chunks that wait there.
        self.asks.extend(replaced.map(|(table, _)| Ask::Restart { table }));
    }

    /// Whether something waits for the end of a transaction or for a place.
    #[inline]
    pub(super) fn waits(&self) -> bool {
        !self.asks.is_empty() || !self.takes.is_empty()
    }
}

impl Flow {
    /// Takes a question of the snapshot's reader; answers it as soon as no transaction is under way.
    pub(in crate::pipeline) fn ask(&mut self, ask: Ask, now: Instant) -> Result<(), Error> {
        self.snapshots.asks.push_back(ask);
        self.serve_snapshot(now)
    }

    /// Answers what can be answered, and takes the chunks whose place has come.
    pub(in crate::pipeline) fn serve_snapshot(&mut self, now: Instant) -> Result<(), Error> {
        if self.passed_on.is_inside() || self.is_unkept || !self.undecoded.is_empty() {
            return Ok(());
        }
        while let Some(ask) = self.snapshots.asks.pop_front() {
            self.serve(ask)?;
        }
        while let Some((chunk, _)) = self.snapshots.takes.front() {
            let is_here = chunk.server != self.tracker.server()
                || self.tracker.committed_place().position.has_reached(&chunk.upto);
            if !is_here {
                break;
            }
            let Some((chunk, reply)) = self.snapshots.takes.pop_front() else { break };
            let taken = self.take_chunk(&chunk, now)?;
            // Who asked has ended: what was taken is on its way all the same.
            let _nobody = reply.send(taken);
        }
        Ok(())
    }

    /// Tells those who wait that what they wait for was delivered.
    pub(in crate::pipeline) fn tell_settled(&mut self) {
        if self.snapshots.settling.is_empty() {
            return;
        }
        let tracker = &self.tracker;
        let is_settled = |(ack_group, _): &mut (u64, Sender<()>)| tracker.is_settled(*ack_group);
        for (_, reply) in self.snapshots.settling.extract_if(.., is_settled) {
            let _nobody = reply.send(());
        }
    }

    fn serve(&mut self, ask: Ask) -> Result<(), Error> {
        match ask {
            Ask::Begin { progress, is_new } => self.begin_snapshot(*progress, is_new),
            Ask::Order(order) => self.order_snapshot(order)?,
            Ask::Start { table } => self.start_table(table)?,
            Ask::Open { target, reply } => {
                self.snapshots.target = Some(Arc::clone(&target));
                let window = self.snapshots.windows.open(target);
                let opened = Opened {
                    window,
                    armed: Armed {
                        gtids: self.tracker.committed_gtids(),
                        position: self.tracker.committed_place().position.clone(),
                        server: self.tracker.server().to_owned(),
                    },
                    statements: self.snapshots.statements,
                };
                if reply.send(opened).is_err() {
                    drop(self.snapshots.windows.close(window));
                }
            }
            Ask::Drop { window } => drop(self.snapshots.windows.close(window)),
            Ask::Take { chunk, reply } if self.snapshots.takes.len() < WAITING_MAX => {
                self.snapshots.takes.push_back((chunk, reply));
            }
            Ask::Take { chunk, reply } => {
                drop(self.snapshots.windows.close(chunk.window));
                let _nobody = reply.send(Err(ChunkDiscard::OutOfOrder));
            }
            Ask::Settled { ack_group, reply } => {
                self.snapshots.settling.push((ack_group, reply));
                self.tell_settled();
            }
            Ask::End { table, reason } => self.end_table(table, reason)?,
            Ask::Restart { table } => {
                self.update_table(table, TableProgress::restart);
            }
            Ask::Moved { table } => self.rows_moved(table)?,
            Ask::Look { reply } => {
                let _nobody = reply.send(self.snapshots.progress.clone().map(Box::new));
            }
        }
        Ok(())
    }

    /// A row whose old key was not read yet may have a new one that was: nobody would read it any more.
    fn rows_moved(&mut self, number: usize) -> Result<(), Error> {
        let is_begun = self.update_table(number, |table| {
            let is_begun = table.is_begun();
            if is_begun {
                table.restart();
            }
            is_begun
        });
        if is_begun != Some(true) {
            return Ok(());
        }
        let (table, times) = self.snapshots.moved;
        let times = if table == number { times + 1 } else { 1 };
        self.snapshots.moved = (number, times);
        if times > RESTARTS_MAX {
            return self.end_table(number, Some(ROWS_MOVED.to_owned()));
        }
        Ok(())
    }

    fn begin_snapshot(&mut self, progress: Progress, is_new: bool) {
        // Chunks of a snapshot before: a table's number means another table now.
        while let Some((chunk, reply)) = self.snapshots.takes.pop_front() {
            drop(self.snapshots.windows.close(chunk.window));
            let _nobody = reply.send(Err(ChunkDiscard::OutOfOrder));
        }
        let before = self.snapshots.progress.take();
        let entries =
            if is_new { progress.entries(before.as_ref()) } else { vec![progress.head_entry()] };
        self.snapshots.reading = progress.next();
        self.snapshots.moved = (0, 0);
        self.snapshots.progress = Some(progress);
        self.save_entries(entries);
    }

    fn save_entries(&mut self, entries: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) {
        for (name, text) in entries {
            self.tracker.annotate_when_delivered(name, text);
        }
        self.close_ack_group();
    }

    fn order_snapshot(&mut self, order: Order) -> Result<(), Error> {
        let Some(progress) = &mut self.snapshots.progress else {
            if order == Order::Stop {
                self.save_entries([Progress::not_owed_entry()]);
            }
            return Ok(());
        };
        match order {
            Order::Pause => progress.head.is_paused = true,
            Order::Resume => progress.head.is_paused = false,
            Order::Stop => progress.head.is_stopped = true,
        }
        let head = progress.head_entry();
        self.save_entries([head]);
        if order == Order::Stop {
            while let Some(table) = self.snapshots.progress.as_ref().and_then(Progress::next) {
                self.end_table(table, Some("an operator stopped the snapshot".to_owned()))?;
            }
        }
        Ok(())
    }

    fn update_table<T>(
        &mut self,
        number: usize,
        update: impl FnOnce(&mut TableProgress) -> T,
    ) -> Option<T> {
        let progress = self.snapshots.progress.as_mut()?;
        let updated = update(progress.tables.get_mut(number)?);
        self.snapshots.reading = progress.next();
        let entry = progress.table_entry(number);
        self.save_entries(entry);
        Some(updated)
    }

    fn start_table(&mut self, number: usize) -> Result<(), Error> {
        let started = self.update_table(number, |table| {
            let is_new = table.state == SnapshotTableState::Waiting;
            table.state = SnapshotTableState::Reading;
            is_new
        });
        if started == Some(true) {
            self.mark(number, proto::SnapshotPhase::Started)?;
        }
        Ok(())
    }

    fn end_table(&mut self, number: usize, reason: Option<String>) -> Result<(), Error> {
        let is_done = reason.is_none();
        let was_over = self.update_table(number, |table| {
            let over = [SnapshotTableState::Done, SnapshotTableState::Abandoned];
            // Done in the middle: it was begun again since it was read to its end.
            let is_begun_again = is_done && !(table.is_read && table.again.is_empty());
            if over.contains(&table.state) || is_begun_again {
                return true;
            }
            let [done, abandoned] = over;
            table.state = if is_done { done } else { abandoned };
            table.reason = reason;
            false
        });
        if was_over != Some(false) {
            return Ok(());
        }
        let phase =
            if is_done { proto::SnapshotPhase::Done } else { proto::SnapshotPhase::Abandoned };
        self.mark(number, phase)
    }

    /// Publishes a mark about a table, behind all rows of it so far.
    fn mark(&mut self, number: usize, phase: proto::SnapshotPhase) -> Result<(), Error> {
        let Some(progress) = &self.snapshots.progress else { return Ok(()) };
        let Some(table) = progress.tables.get(number) else { return Ok(()) };
        // Marks are about rows. Digests say by their ranges where they begin and end.
        if progress.head.is_verify {
            return Ok(());
        }
        self.packer.flush_all(&mut self.batches);
        let ack_group = self.tracker.ack_group();
        let lanes = (0..self.snapshots.lanes)
            .map(|number| Lane::key_of(&table.database, &table.table, number));
        let places = lanes.map(|lane| (self.packer.place(&lane), lane)).collect();
        let batch = self.control_messages.snapshot_mark(
            progress,
            table,
            phase,
            ack_group,
            places,
            self.packer.sequences(),
        );
        self.batches.push(batch);
        self.tracker.opened(ack_group)?;
        self.close_ack_group();
        Ok(())
    }

    /// Publishes the rows of a chunk that the stream has not overtaken.
    fn take_chunk(
        &mut self,
        chunk: &Chunk,
        now: Instant,
    ) -> Result<Result<Taken, ChunkDiscard>, Error> {
        let window = match self.snapshots.windows.close(chunk.window) {
            Ok(window) => window,
            Err(why) => return Ok(Err(why)),
        };
        if chunk.server != self.tracker.server() {
            return Ok(Err(ChunkDiscard::ServerChanged));
        }
        // The loop was told too late: a row that the chunk does not have has gone by.
        if window.is_behind(&chunk.upto) {
            return Ok(Err(ChunkDiscard::OutOfOrder));
        }
        let Some(progress) = &self.snapshots.progress else {
            return Ok(Err(ChunkDiscard::OutOfOrder));
        };
        let Some(table) = progress.tables.get(chunk.table) else {
            return Ok(Err(ChunkDiscard::OutOfOrder));
        };
        let continues = match &chunk.part {
            ChunkPart::After(key) => *key == table.cursor && !table.is_read,
            ChunkPart::Again(_) => true,
            ChunkPart::Locked => !table.is_read,
        };
        if table.state != SnapshotTableState::Reading || !continues {
            return Ok(Err(ChunkDiscard::OutOfOrder));
        }
        if table.order.as_ref().is_some_and(|order| *order != chunk.order) {
            return Ok(Err(ChunkDiscard::SchemaChanged));
        }
        // Who deletes what is missing, or compares, may do so only where nothing was left out. And of
        // keys that fall, or some columns of which do, a range by comparison is another one.
        let is_range = matches!(chunk.part, ChunkPart::After(_) | ChunkPart::Locked);
        let is_whole = is_range && table.is_whole() && chunk.is_ascending;
        let upto = last_key(chunk);
        let end = || if chunk.rows.is_end() { table.upto_image() } else { upto.clone() };
        let part = SnapshotPart {
            snapshot: Arc::clone(&progress.head.id),
            audience: progress.head.audience.clone(),
            chunk: table.chunks + 1,
            is_last: is_whole && !progress.head.is_verify,
            key_after: if is_whole { table.cursor_image() } else { None },
            key_upto: if is_whole { end() } else { None },
            pass: table.bounds.passes,
            ..SnapshotPart::default()
        };
        let purpose = Purpose { is_whole, verifies: progress.head.is_verify };
        self.publish_chunk(chunk, window, part, purpose, now)
    }

    fn publish_chunk(
        &mut self,
        chunk: &Chunk,
        window: Window,
        mut part: SnapshotPart,
        purpose: Purpose,
        now: Instant,
    ) -> Result<Result<Taken, ChunkDiscard>, Error> {
        let table = &chunk.target.table;
        let route = self.filter.route(table);
        let published = match &route {
            Route::Skip | Route::Unnamed | Route::Outbox(_) | Route::NoOutbox(_) => {
                return Ok(Err(ChunkDiscard::SchemaChanged));
            }
            Route::Publish => Arc::clone(table),
            Route::Mask(mask) => Arc::clone(&mask.table),
        };
        if self.packer.holds(&table.database, &table.name) {
            return Ok(Err(ChunkDiscard::Suppressed));
        }
        part.key_columns = key_columns(&chunk.target, &published);
        let ack_group = self.tracker.ack_group();
        let read_at = read_at(chunk.read_at_us);
        let before = self.packer.open_batches() + self.batches.len();
        let mut rows = self.packer.begin_chunk(now, &published, &mut self.batches);
        debug_assert_eq!(before, self.packer.open_batches() + self.batches.len());
        if purpose.verifies {
            rows.only_digests();
        }
        let out = Out { rows: &mut rows, ack_group, read_at: &read_at, purpose };
        let taken = self.push_rows(chunk, &window, &route, out);
        part.rows_in_chunk = chunk.rows.len() as u64;
        part.rows_superseded = taken.superseded;
        let has_keys = !chunk.target.is_keyless();
        if purpose.is_whole && has_keys {
            for (key, touched) in window.into_keys() {
                rows.touched(touched.lane, key);
            }
        }
        let messages = self.batches.len();
        rows.finish(ack_group, &read_at, &part, self.packer.sequences(), &mut self.batches);
        for _ in messages..self.batches.len() {
            self.tracker.opened(ack_group)?;
        }
        self.note_taken(chunk, &taken);
        Ok(Ok(taken))
    }

    fn push_rows(&mut self, chunk: &Chunk, window: &Window, route: &Route, out: Out<'_>) -> Taken {
        let Out { rows, ack_group, read_at, purpose } = out;
        let mut taken = Taken { ack_group, rows: 0, superseded: 0, again: Vec::new() };
        let table = &chunk.target.table;
        let marked = self.recogniser.marked(table).cloned();
        let has_keys = !chunk.target.is_keyless();
        let mut space = std::mem::take(&mut self.space);
        let (mut key, mut body) = (Vec::new(), Vec::new());
        let mut put = |row: &Change<'_>| {
            if purpose.verifies {
                rows.digest(row, &mut body);
            } else {
                rows.push(ack_group, read_at, row);
            }
        };
        for number in 0..chunk.rows.len() {
            let image = chunk.rows.image(number);
            let row = Change { op: Op::Read, row: number as u64, before: None, after: Some(image) };
            if let Some(marked) = &marked
                && marked.origin_of(&row) != RowOrigin::User
            {
                continue;
            }
            key.clear();
            chunk.target.put_key(&mut key, &image);
            if let Some(touched) = window.touched(&key).filter(|_| has_keys) {
                taken.superseded += 1;
                if touched.is_partial && !purpose.verifies {
                    taken.again.push(chunk.rows.key_literals(number));
                }
                continue;
            }
            taken.rows += 1;
            match route {
                Route::Mask(mask) => put(&mask.apply(&row, &mut space)),
                Route::Publish
                | Route::Skip
                | Route::Unnamed
                | Route::Outbox(_)
                | Route::NoOutbox(_) => put(&row),
            }
        }
        space.release();
        self.space = space;
        taken
    }

    /// The chunk is on its way: from where its messages are delivered, the table is read so far.
    fn note_taken(&mut self, chunk: &Chunk, taken: &Taken) {
        let upto = last_key(chunk);
        self.update_table(chunk.table, |table| {
            table.chunks += 1;
            table.rows += taken.rows;
            table.superseded += taken.superseded;
            match &chunk.part {
                ChunkPart::After(_) => {
                    table.is_read = chunk.rows.is_end();
                    if let Some(cursor) = chunk.rows.last_key() {
                        table.reached(cursor, upto.as_deref());
                    }
                }
                ChunkPart::Locked => table.is_read = true,
                ChunkPart::Again(keys) => {
                    // Large rows end a chunk early: then only those that it has were read.
                    let rows = 0..chunk.rows.len();
                    let came: HashSet<_> = if chunk.rows.is_end() {
                        keys.iter().cloned().collect()
                    } else {
                        rows.map(|row| chunk.rows.key_literals(row)).collect()
                    };
                    table.again.retain(|key| !came.contains(key));
                }
            }
            table.order = Some(Arc::clone(&chunk.order));
            table.again.extend(taken.again.iter().cloned());
        });
    }
}

/// The key of the last row, as consumers see it.
fn last_key(chunk: &Chunk) -> Option<Arc<[u8]>> {
    let last = chunk.rows.len().checked_sub(1)?;
    let mut key = Vec::new();
    chunk.target.put_key(&mut key, &chunk.rows.image(last));
    Some(key.into())
}

/// Where the key's columns are in the table as consumers see it; empty for its primary key.
fn key_columns(target: &Target, published: &Table) -> Arc<[u32]> {
    let names = target.key_columns().filter_map(|at| target.table.columns.get(at));
    let place = |name: &String| published.columns.iter().position(|column| column.name == *name);
    let places: Vec<_> = names.filter_map(|column| place(&column.name)).collect();
    if places == published.primary_key {
        return Arc::default();
    }
    places.into_iter().filter_map(|place| u32::try_from(place).ok()).collect()
}

/// Stands where changes have their transaction: rows of a table have none that is known.
fn read_at(read_at_us: i64) -> Transaction {
    Transaction {
        id: TransactionId::Anonymous,
        start: Position::default(),
        committed_at_us: read_at_us,
        original_committed_at_us: read_at_us,
        server_id: 0,
        length_bytes: None,
    }
}
