//! Reads tables, chunk after chunk, and hands them to the loop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::ask::{Ask, Chunk, ChunkPart, Opened, Order, Taken};
use super::begin::{self, Refused};
use super::config::Config;
use super::pace::Pace;
use super::progress::{Bounds, Progress, TableProgress};
use super::query::Range;
use super::reader::{Lock, Read, ReadError, Reader};
use super::show::Shown;
use super::throttle::Throttle;
use super::window::Target;
use super::{Command, Layout, Request, SnapshotHandle};
use crate::backoff::Backoff;
use crate::change::Position;
use crate::mysql::HostPort;
use crate::platform;
use crate::source;
use crate::telemetry::Metrics;
use crate::telemetry::snapshot::{ChunkDiscard as Discard, SnapshotState, SnapshotWait};

/// Chunks on their way from the reader into the loop.
const UNDER_WAY_MAX: usize = 3;
/// Chunks whose messages are not yet delivered: beyond, the sink is behind.
const UNSETTLED_MAX: usize = 8;
/// How long the reader waits for what was processed to become visible, before it says so.
const VISIBLE_WITHIN: Duration = Duration::from_secs(1);
/// Chunks that are read again for a table whose schema changes, before it is given up.
const SCHEMA_CHANGES_MAX: u32 = 10;
/// Times that a table is begun again for rows that moved to another key.
pub const RESTARTS_MAX: u32 = 3;
/// Why it is given up then.
pub const ROWS_MOVED: &str = "rows moved to other keys while it was read, and their images are not \
                              complete: set binlog_row_image = FULL";
/// Times that a server may refuse a SELECT before its table is given up.
const REFUSALS_MAX: u32 = 5;
/// Times that rows are read again without one of them being at rest.
const RESTLESS_MAX: u32 = 100;
/// Attempts to lock a table that others write to, before it is given up.
const LOCKS_MISSED_MAX: u32 = 20;
/// Pause between two of them: writers who waited behind one go first.
const LOCK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a lock is kept for the loop to take notice of what was read under it.
const HANDED_OVER_WITHIN: Duration = Duration::from_millis(500);
/// Keys in one statement.
const KEYS_MAX: usize = 500;
/// Pause between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the reading of a table came to a halt.
enum Halt {
    /// The loop has ended.
    Gone,
    /// An operator wants something.
    Command,
    /// The server.
    Read(ReadError),
    /// The chunk was not taken.
    Discarded(Discard),
    /// The table's rows are in another order now: what was read of it can't be continued.
    BeginAgain,
    /// The table can't be read.
    Abandon(String),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        if error.is_of_lock() { Self::Discarded(Discard::TooSlow) } else { Self::Read(error) }
    }
}

/// A table as it is read right now.
struct Reading {
    number: usize,
    layout: Arc<Layout>,
    target: Arc<Target>,
    /// Statements that had gone by when the layout was looked at.
    statements: u64,
}

/// A chunk that the loop has.
type UnderWay = oneshot::Receiver<Result<Taken, Discard>>;

/// The worker.
pub struct Worker {
    config: Config,
    control: Arc<SnapshotHandle>,
    asks: mpsc::Sender<Ask>,
    metrics: Arc<Metrics>,
    reader: Option<Reader>,
    /// Tells where the source's log ends, when chunks are read elsewhere.
    source: Option<Reader>,
    /// Holds the lock on a table without a key.
    locker: Option<Reader>,
    reading: Option<Reading>,
    pace: Pace,
    throttle: Throttle,
    shown: Shown,
    backoff: Backoff,
    /// Ack groups of the newest chunks, oldest first.
    unsettled: VecDeque<u64>,
    tries: Tries,
    /// Rows that are to be read again.
    again: usize,
    /// Tables without a key are read under a lock.
    locks_keyless: bool,
}

/// What went wrong, one after the other.
#[derive(Debug, Default)]
struct Tries {
    /// Chunks for a schema that changed.
    schema_changes: u32,
    /// Times that a table was begun again.
    restarts: u32,
    /// Answers with an error.
    refusals: u32,
    /// Locks that were not got.
    locks_missed: u32,
}

impl Worker {
    /// One that reads nothing yet.
    pub fn new(
        config: Config,
        control: Arc<SnapshotHandle>,
        asks: mpsc::Sender<Ask>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, source::Error> {
        let options = config.source.session(0)?;
        Ok(Self {
            pace: Pace::new(config.chunk_bytes, config.chunk_time),
            throttle: Throttle::new(config.limits.clone(), options),
            shown: Shown::new(Arc::clone(&control)),
            config,
            control,
            asks,
            metrics,
            reader: None,
            source: None,
            locker: None,
            reading: None,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(15)),
            unsettled: VecDeque::new(),
            tries: Tries::default(),
            again: 0,
            locks_keyless: false,
        })
    }

    /// Continues a `saved` snapshot, or begins the one that is to be made `on_start`; then does what
    /// operators ask for, until told to stop.
    pub async fn run(
        mut self,
        saved: Option<Progress>,
        on_start: Option<Request>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _gone = self.work(saved, on_start) => {}
        }
    }

    async fn work(
        &mut self,
        saved: Option<Progress>,
        on_start: Option<Request>,
    ) -> Result<(), Halt> {
        if let Some(progress) = saved {
            self.ask(Ask::Begin { progress: Box::new(progress), is_new: false }).await?;
        } else if let Some(request) = on_start {
            self.control.owes(true);
            let begun = self.start_for_sure(&request).await;
            self.control.owes(false);
            begun?;
        }
        loop {
            self.obey().await?;
            let progress = self.look().await?;
            self.shown.progress(progress.as_ref());
            let Some(progress) = progress.filter(|it| it.state() == SnapshotState::Running) else {
                self.reading = None;
                self.control.arrived().await;
                continue;
            };
            let Some(number) = progress.next() else { continue };
            let halted = self.read_table(number, &progress).await;
            if let Err(halt) = halted {
                self.halted(number, halt).await?;
            } else {
                self.tries = Tries { refusals: self.tries.refusals, ..Tries::default() };
            }
        }
    }

    /// What follows from a halt.
    async fn halted(&mut self, number: usize, halt: Halt) -> Result<(), Halt> {
        match halt {
            Halt::Gone => return Err(Halt::Gone),
            Halt::Command => {}
            Halt::Abandon(reason) => {
                self.reading = None;
                self.ask(Ask::End { table: number, reason: Some(reason) }).await?;
            }
            Halt::Read(error) if self.is_final(&error) => {
                (self.reader, self.reading) = (None, None);
                let reason = Some(error.to_string());
                self.ask(Ask::End { table: number, reason }).await?;
            }
            Halt::Read(error) => {
                (self.reader, self.source, self.reading) = (None, None, None);
                let pause = self.backoff.pause((self.config.random)());
                tracing::warn!(
                    %error, pause_seconds = pause.as_secs_f64(), "a snapshot can't read; trying again"
                );
                self.shown.waits(SnapshotWait::Source, Some(error.to_string()));
                self.rest(pause).await;
            }
            Halt::Discarded(why) => self.discarded(number, why).await?,
            Halt::BeginAgain => self.ask(Ask::Restart { table: number }).await?,
        }
        Ok(())
    }

    /// Whether trying again does not help.
    fn is_final(&mut self, error: &ReadError) -> bool {
        match error {
            ReadError::Value { .. } | ReadError::Key { .. } | ReadError::OtherServer { .. } => true,
            ReadError::NoPlace | ReadError::Select { .. } => {
                self.tries.refusals += 1;
                self.tries.refusals > REFUSALS_MAX
            }
            ReadError::Source(_) | ReadError::Statement(_) => false,
        }
    }

    async fn discarded(&mut self, number: usize, why: Discard) -> Result<(), Halt> {
        self.metrics.snapshot.discarded_chunks_total.of(why.as_str()).inc();
        tracing::debug!(reason = why.as_str(), "a chunk of a snapshot is read again");
        match why {
            Discard::SchemaChanged => {
                (self.reading, self.tries.schema_changes) = (None, self.tries.schema_changes + 1);
                self.shown.waits(SnapshotWait::Schema, None);
                if self.tries.schema_changes > SCHEMA_CHANGES_MAX {
                    let reason =
                        "schema_unsettled: its schema changed again and again while it was \
                                  read; begin it again when it is at rest"
                            .to_owned();
                    return self.ask(Ask::End { table: number, reason: Some(reason) }).await;
                }
                self.rest(Duration::from_millis(200)).await;
            }
            Discard::ServerChanged => {
                (self.reader, self.source, self.reading) = (None, None, None);
                self.rest(PAUSE).await;
            }
            Discard::TooManyKeys => self.pace.halve(),
            Discard::TooSlow => {
                self.pace.halve();
                let why = "a lock on the table, or a SELECT that takes longer than a chunk may";
                self.shown.waits(SnapshotWait::Source, Some(why.to_owned()));
            }
            Discard::KeyMoved => {
                self.tries.restarts += 1;
                if self.tries.restarts > RESTARTS_MAX {
                    let reason = Some(ROWS_MOVED.to_owned());
                    return self.ask(Ask::End { table: number, reason }).await;
                }
                self.ask(Ask::Restart { table: number }).await?;
            }
            Discard::Suppressed => {
                self.shown.waits(SnapshotWait::Suppressed, None);
                self.rest(PAUSE).await;
            }
            Discard::UnknownKeys | Discard::OutOfOrder | Discard::NotVisible => {
                self.rest(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Does what operators ask for.
    async fn obey(&mut self) -> Result<(), Halt> {
        while let Some(command) = self.control.take() {
            match command {
                Command::Start(request) => self.start(&request).await?,
                Command::Pause {} => self.ask(Ask::Order(Order::Pause)).await?,
                Command::Resume {} => self.ask(Ask::Order(Order::Resume)).await?,
                Command::Stop {} => self.ask(Ask::Order(Order::Stop)).await?,
            }
        }
        Ok(())
    }

    /// Begins a snapshot, or says why not.
    async fn start(&mut self, request: &Request) -> Result<(), Halt> {
        let id = begin::ulid(wall_us(), self.config.random);
        self.shown.checking(&id, request, wall_us());
        match self.checked(&id, request).await {
            Ok(progress) => self.begin(progress).await,
            Err(Refused(reason)) => {
                tracing::warn!(reason, "a snapshot was refused");
                self.shown.refused(reason);
                Ok(())
            }
        }
    }

    /// Begins the snapshot of a new stream, as soon as its source can be read.
    async fn start_for_sure(&mut self, request: &Request) -> Result<(), Halt> {
        loop {
            let id = begin::ulid(wall_us(), self.config.random);
            self.shown.checking(&id, request, wall_us());
            match self.checked(&id, request).await {
                Ok(progress) => return self.begin(progress).await,
                Err(Refused(reason)) => {
                    let pause = self.backoff.pause((self.config.random)());
                    tracing::error!(
                        reason,
                        pause_seconds = pause.as_secs_f64(),
                        "the first snapshot can't begin; trying again"
                    );
                    self.shown.refused(reason);
                    self.rest(pause).await;
                    match self.control.take() {
                        Some(Command::Stop {}) => {
                            self.shown.given_up();
                            return self.ask(Ask::Order(Order::Stop)).await;
                        }
                        Some(Command::Start(other)) => {
                            self.start(&other).await?;
                            if self.look().await?.is_some() {
                                return Ok(());
                            }
                        }
                        Some(Command::Pause {} | Command::Resume {}) | None => {}
                    }
                }
            }
        }
    }

    async fn checked(&mut self, id: &str, request: &Request) -> Result<Progress, Refused> {
        let host = self.reads_at().ok_or_else(|| Refused("no stream stands yet".to_owned()))?;
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.connect(&host).await.map_err(|error| Refused(error.to_string()))?,
        };
        let reader = self.reader.insert(reader);
        let checked = begin::check(reader, &self.config, id, request, wall_us()).await;
        if checked.is_err() {
            self.reader = None;
        }
        checked
    }

    async fn begin(&mut self, mut progress: Progress) -> Result<(), Halt> {
        self.backoff.succeeded(Duration::MAX);
        progress.continued(self.config.attempt, self.config.format);
        tracing::info!(
            snapshot = %progress.head.id, tables = progress.tables.len(), "a snapshot begins"
        );
        self.ask(Ask::Begin { progress: Box::new(progress), is_new: true }).await
    }

    /// Reads a table from where it stands to its end, or to whatever comes between.
    async fn read_table(&mut self, number: usize, progress: &Progress) -> Result<(), Halt> {
        let table = progress.tables.get(number).ok_or(Halt::Gone)?;
        let rate = progress.head.rows_per_second;
        self.ask(Ask::Start { table: number }).await?;
        self.locks_keyless = progress.head.locks_keyless;
        self.look_at(table, number).await?;
        let is_ascending = |reading: &Reading| reading.layout.is_ascending();
        if progress.head.is_verify && !self.reading.as_ref().is_some_and(is_ascending) {
            let why = "its key has a descending column, so that a range of it can't be told by comparison";
            return Err(Halt::Abandon(why.to_owned()));
        }
        let mut under_way = VecDeque::new();
        let mut cursor = table.cursor.clone();
        let mut is_read = table.is_read;
        self.again = table.again.len();
        if !is_read && self.reading.as_ref().is_some_and(|reading| reading.layout.is_keyless()) {
            self.may_read(&mut under_way).await?;
            let chunk = self.locked_chunk(table, number).await;
            // Dropped, its session ends, and with it the lock.
            if let Some(mut locker) = self.locker.take() {
                locker.unlock().await?;
            }
            under_way.push_back(chunk?);
            is_read = true;
        }
        while !is_read {
            self.may_read(&mut under_way).await?;
            if self.again >= KEYS_MAX {
                // They are kept, and saved with each chunk: not too many of them.
                self.read_again(number).await?;
            }
            let part = ChunkPart::After(cursor.clone());
            let (chunk, is_end, last) = self.chunk(table, number, part).await?;
            self.throttle.read(chunk.rows.len() as u64, rate, platform::now());
            under_way.push_back(self.hand_over(chunk).await?);
            (is_read, cursor) = (is_end, last.or(cursor));
        }
        while let Some(chunk) = under_way.pop_front() {
            self.taken(chunk).await?;
        }
        self.read_again(number).await?;
        if let Some(newest) = self.unsettled.back().copied() {
            self.settled(newest).await?;
            self.unsettled.clear();
        }
        self.reading = None;
        if progress.head.is_verify {
            self.metrics.snapshot.verified_tables_total.inc();
        }
        self.ask(Ask::End { table: number, reason: None }).await
    }

    /// All rows of a table without a key. The lock is kept until the loop has them, so that no row can
    /// go by that they do not have; should that take long, the loop notices and discards them.
    async fn locked_chunk(
        &mut self,
        table: &TableProgress,
        number: usize,
    ) -> Result<UnderWay, Halt> {
        let (chunk, is_end, _) = self.chunk(table, number, ChunkPart::Locked).await?;
        if !is_end {
            self.ask(Ask::Drop { window: chunk.window }).await?;
            let found = format!("more than {} rows or so", chunk.rows.len());
            return Err(Halt::Abandon(begin::too_large(&found, self.config.keyless_rows)));
        }
        let chunk = self.hand_over(chunk).await?;
        if let Ok(looked) = tokio::time::timeout(HANDED_OVER_WITHIN, self.look()).await {
            looked?;
        }
        Ok(chunk)
    }

    /// Lets nobody write to the table.
    async fn lock(&mut self, layout: &Layout) -> Result<(), Halt> {
        let host = self.reads_at().ok_or(Halt::Discarded(Discard::ServerChanged))?;
        let mut locker = self.connect(&host).await?;
        let lock = locker.lock(layout).await?;
        if locker.server() != self.reader().await?.server() {
            return Err(Halt::Discarded(Discard::ServerChanged));
        }
        self.locker = Some(locker);
        match lock {
            Lock::Held => Ok(()),
            Lock::Busy => {
                self.tries.locks_missed += 1;
                if self.tries.locks_missed > LOCKS_MISSED_MAX {
                    let why = "it has no key, and others write to it for so long that it can't be \
                               locked: begin it again when it is at rest";
                    return Err(Halt::Abandon(why.to_owned()));
                }
                self.rest(LOCK_AGAIN_AFTER).await;
                Err(Halt::Discarded(Discard::TooSlow))
            }
            Lock::SchemaChanged => Err(Halt::Discarded(Discard::SchemaChanged)),
            Lock::Refused(why) => Err(Halt::Abandon(why)),
        }
    }

    /// Rows of which the stream told only a part are read until it has told nothing more of them.
    async fn read_again(&mut self, number: usize) -> Result<(), Halt> {
        let mut restless = 0;
        loop {
            let progress = self.look().await?.ok_or(Halt::Gone)?;
            let table = progress.tables.get(number).ok_or(Halt::Gone)?;
            restless = if table.again.len() < self.again { 0 } else { restless + 1 };
            self.again = table.again.len();
            let keys: Vec<_> = table.again.iter().take(KEYS_MAX).cloned().collect();
            if keys.is_empty() {
                return Ok(());
            }
            if restless > RESTLESS_MAX {
                let reason = "rows change all the time, and their images are not complete: set \
                              binlog_row_image = FULL";
                return Err(Halt::Abandon(reason.to_owned()));
            }
            self.may_read(&mut VecDeque::new()).await?;
            let (chunk, ..) = self.chunk(table, number, ChunkPart::Again(keys)).await?;
            let chunk = self.hand_over(chunk).await?;
            self.taken(chunk).await?;
        }
    }

    /// Waits until a chunk may be read.
    async fn may_read(&mut self, under_way: &mut VecDeque<UnderWay>) -> Result<(), Halt> {
        while under_way.len() >= UNDER_WAY_MAX {
            let Some(oldest) = under_way.pop_front() else { break };
            self.taken(oldest).await?;
        }
        while self.unsettled.len() >= UNSETTLED_MAX {
            let Some(oldest) = self.unsettled.pop_front() else { break };
            self.settled(oldest).await?;
        }
        loop {
            if self.control.has_commands() {
                return Err(Halt::Command);
            }
            let Some(host) = self.reads_at() else {
                self.shown.waits(SnapshotWait::Stream, None);
                self.rest(PAUSE).await;
                continue;
            };
            match self.throttle.waits_for(&host).await {
                None => return Ok(()),
                Some(wait) => self.shown.waits(wait, None),
            }
            self.rest(PAUSE).await;
        }
    }

    /// Reads one chunk; whether it is the last, and the key of its last row.
    async fn chunk(
        &mut self,
        table: &TableProgress,
        number: usize,
        part: ChunkPart,
    ) -> Result<(Chunk, bool, Option<String>), Halt> {
        self.look_at(table, number).await?;
        let (reading, opened) = self.open(table, number).await?;
        let layout = self.reading.as_ref().map(|reading| Arc::clone(&reading.layout));
        let read = self.read(table, &reading, &opened, &part).await;
        let (rows, upto) = match read {
            Ok(read) => read,
            Err(halt) => {
                self.ask(Ask::Drop { window: opened.window }).await?;
                return Err(halt);
            }
        };
        let (is_end, last) = (rows.is_end(), rows.last_key());
        let chunk = Chunk {
            table: number,
            window: opened.window,
            target: reading,
            rows,
            part,
            order: layout.as_ref().map_or_else(|| "".into(), |layout| Arc::clone(&layout.order)),
            is_ascending: layout.is_some_and(|layout| layout.is_ascending()),
            server: opened.armed.server,
            upto,
            read_at_us: wall_us(),
        };
        Ok((chunk, is_end, last))
    }

    /// Opens a window over the table as it is now.
    async fn open(
        &mut self,
        table: &TableProgress,
        number: usize,
    ) -> Result<(Arc<Target>, Opened), Halt> {
        loop {
            let Some(reading) = &self.reading else {
                self.look_at(table, number).await?;
                continue;
            };
            let target = Arc::clone(&reading.target);
            let (reply, opened) = oneshot::channel();
            let statements = reading.statements;
            self.ask(Ask::Open { target: Arc::clone(&target), reply }).await?;
            // Waited for whatever operators want: a window that nobody knows of would stay open.
            let opened = opened.await.map_err(|_| Halt::Gone)?;
            if opened.statements == statements {
                return Ok((target, opened));
            }
            // Tables may have been altered since: what was looked at may be old. The window is that of
            // the old columns.
            self.ask(Ask::Drop { window: opened.window }).await?;
            self.reading = None;
            self.look_at(table, number).await?;
            if let Some(reading) = &mut self.reading {
                reading.statements = opened.statements;
            }
        }
    }

    /// Knows how the table is read.
    async fn look_at(&mut self, table: &TableProgress, number: usize) -> Result<(), Halt> {
        if self.reading.as_ref().is_some_and(|reading| reading.number == number) {
            return Ok(());
        }
        let locks_keyless = self.locks_keyless;
        let reader = self.reader().await?;
        reader.locks_keyless(locks_keyless);
        let layout = reader.layout(&table.database, &table.table).await?;
        let layout = layout.map_err(|unreadable| Halt::Abandon(unreadable.to_string()))?;
        begin::key_is_seen(&self.config, &layout).map_err(|Refused(why)| Halt::Abandon(why))?;
        let (format, lanes) = (self.config.format, self.config.lanes);
        let columns = layout.key.clone();
        let target = Target::new(Arc::clone(&layout.table), columns, format, lanes);
        self.reading = Some(Reading {
            number,
            layout: Arc::new(layout),
            target: Arc::new(target),
            statements: self.reading.as_ref().map_or(0, |reading| reading.statements),
        });
        Ok(())
    }

    /// The rows of a chunk, and where the source's log ended after its view was opened.
    async fn read(
        &mut self,
        table: &TableProgress,
        target: &Arc<Target>,
        opened: &Opened,
        part: &ChunkPart,
    ) -> Result<(super::ChunkRows, Position), Halt> {
        let layout = self.reading.as_ref().map(|reading| Arc::clone(&reading.layout));
        let layout = layout.filter(|layout| Arc::ptr_eq(&layout.table, &target.table));
        let layout = layout.ok_or(Halt::Discarded(Discard::SchemaChanged))?;
        if table.order.as_ref().is_some_and(|order| *order != layout.order) {
            return Err(if table.bounds == Bounds::default() {
                Halt::BeginAgain
            } else {
                let why =
                    "its key changed, and the range that was asked for is one of the key before";
                Halt::Abandon(why.to_owned())
            });
        }
        let (rows_max, bytes_max) = (self.pace.rows(), self.config.chunk_bytes);
        let condition = table.condition.as_deref();
        let range = match part {
            ChunkPart::After(key) => {
                let (after, keys) = (key.as_deref(), table.keys.as_slice());
                let upto = table.bounds.upto.as_ref().map(|bound| bound.key.as_str());
                Range { after, upto, condition, keys, rows_max, bytes_max }
            }
            ChunkPart::Again(keys) => {
                let rows_max = keys.len() as u64 + 1;
                Range { after: None, upto: None, condition, keys, rows_max, bytes_max }
            }
            ChunkPart::Locked => {
                let rows_max = self.config.keyless_rows + 1;
                Range { rows_max, bytes_max, ..Range::default() }
            }
        };
        self.follow(opened).await?;
        self.wait_until_visible(opened).await?;
        if *part == ChunkPart::Locked {
            self.lock(&layout).await?;
        }
        let began = platform::now();
        let reader = self.reader().await?;
        let rows = match reader.read(&layout, &range, &opened.armed).await? {
            Read::Rows(rows) => rows,
            Read::NotVisible => {
                self.shown.waits(SnapshotWait::Visibility, None);
                return Err(Halt::Discarded(Discard::NotVisible));
            }
            Read::SchemaChanged => return Err(Halt::Discarded(Discard::SchemaChanged)),
            Read::TooSlow if *part == ChunkPart::Locked => {
                let found = "takes longer to read than a lock may last";
                return Err(Halt::Abandon(begin::too_large(found, self.config.keyless_rows)));
            }
            Read::TooSlow => {
                return Err(Halt::Discarded(Discard::TooSlow));
            }
        };
        self.tries.refusals = 0;
        let took = platform::since(began);
        self.metrics.snapshot.chunk_seconds.observe(took.as_secs_f64());
        self.pace.read(rows.len() as u64, rows.bytes(), took);
        self.backoff.succeeded(Duration::MAX);
        Ok((rows, self.log_end(opened).await?))
    }

    /// Reads where the stream comes from, unless it is told to read elsewhere: a server that the stream
    /// has left may never show what was processed since.
    async fn follow(&mut self, opened: &Opened) -> Result<(), Halt> {
        if self.config.read_from.is_none() && self.reader().await?.server() != opened.armed.server {
            return Err(Halt::Discarded(Discard::ServerChanged));
        }
        Ok(())
    }

    async fn wait_until_visible(&mut self, opened: &Opened) -> Result<(), Halt> {
        let began = platform::now();
        loop {
            let reader = self.reader().await?;
            if reader.wait_until_visible(&opened.armed, VISIBLE_WITHIN).await? {
                let took = platform::since(began).as_secs_f64();
                self.metrics.snapshot.barrier_wait_seconds.observe(took);
                return Ok(());
            }
            self.shown.waits(SnapshotWait::Visibility, None);
            if self.control.has_commands() {
                return Err(Halt::Command);
            }
        }
    }

    /// Where the log of the stream's source ends, if that is still the one that the window is of.
    async fn log_end(&mut self, opened: &Opened) -> Result<Position, Halt> {
        if self.config.read_from.is_some() && self.source.is_none() {
            let host = (self.config.stream_at)();
            let host = host.ok_or(Halt::Discarded(Discard::ServerChanged))?;
            self.source = Some(self.connect(&host).await?);
        }
        let source = self.source.as_mut().or(self.reader.as_mut());
        let source = source.ok_or(Halt::Discarded(Discard::ServerChanged))?;
        if source.server() != opened.armed.server {
            return Err(Halt::Discarded(Discard::ServerChanged));
        }
        Ok(source.log_end().await?)
    }

    async fn hand_over(&mut self, chunk: Chunk) -> Result<UnderWay, Halt> {
        let (reply, outcome) = oneshot::channel();
        self.ask(Ask::Take { chunk: Box::new(chunk), reply }).await?;
        Ok(outcome)
    }

    /// Waits until the loop has come to the place of a chunk.
    async fn taken(&mut self, chunk: UnderWay) -> Result<(), Halt> {
        let taken = self.answer(chunk).await?.map_err(Halt::Discarded)?;
        let metrics = &self.metrics.snapshot;
        metrics.rows_total.inc_by(taken.rows);
        metrics.superseded_rows_total.inc_by(taken.superseded);
        metrics.chunks_total.inc();
        self.unsettled.push_back(taken.ack_group);
        self.again += taken.again.len();
        self.shown.taken(&taken, wall_us());
        let progress = self.look().await?;
        self.shown.progress(progress.as_ref());
        Ok(())
    }

    /// Waits until everything up to the ack group was delivered.
    async fn settled(&mut self, ack_group: u64) -> Result<(), Halt> {
        let (reply, settled) = oneshot::channel();
        self.ask(Ask::Settled { ack_group, reply }).await?;
        self.answer(settled).await
    }

    async fn look(&mut self) -> Result<Option<Progress>, Halt> {
        let (reply, found) = oneshot::channel();
        self.ask(Ask::Look { reply }).await?;
        // Answered whatever operators want.
        Ok(found.await.map_err(|_| Halt::Gone)?.map(|progress| *progress))
    }

    async fn ask(&self, ask: Ask) -> Result<(), Halt> {
        self.asks.send(ask).await.map_err(|_| Halt::Gone)
    }

    /// An answer of the loop. An operator's command does not wait for it: what was asked for may then
    /// still happen.
    async fn answer<T>(&mut self, mut answer: oneshot::Receiver<T>) -> Result<T, Halt> {
        let (control, shown) = (Arc::clone(&self.control), &mut self.shown);
        let late = tokio::time::sleep(VISIBLE_WITHIN);
        tokio::pin!(late);
        let mut is_late = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|_| Halt::Discarded(Discard::OutOfOrder)),
                () = control.arrived() => return Err(Halt::Command),
                () = &mut late, if !is_late => {
                    is_late = true;
                    shown.waits(SnapshotWait::Stream, None);
                }
            }
        }
    }

    /// Rests, but not longer than until a command.
    async fn rest(&self, pause: Duration) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = self.control.arrived() => {}
        }
    }

    fn reads_at(&self) -> Option<HostPort> {
        self.config.read_from.clone().or_else(|| (self.config.stream_at)())
    }

    async fn reader(&mut self) -> Result<&mut Reader, Halt> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => {
                let host = self.reads_at().ok_or(Halt::Discarded(Discard::ServerChanged))?;
                self.connect(&host).await?
            }
        };
        Ok(self.reader.insert(reader))
    }

    async fn connect(&self, host: &HostPort) -> Result<Reader, ReadError> {
        let mut config = self.config.source.clone();
        config.hosts = vec![host.clone()];
        Reader::connect(&config, 0).await
    }
}

/// Microseconds since 1970 UTC.
fn wall_us() -> i64 {
    platform::wall_us()
}
