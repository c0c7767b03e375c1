//! Reads tables, chunk after chunk, and hands them to the loop.

mod chunk;
mod connections;
mod halt;
mod lock;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::chunk::Reading;
use self::connections::Connections;
use self::halt::{Halt, Tries};
use super::ask::{Ask, Chunk, ChunkPart, Order, Taken};
use super::begin::{self, Refused};
use super::config::Config;
use super::pace::Pace;
use super::progress::Progress;
use super::reader::Reader;
use super::show::Shown;
use super::throttle::Throttle;
use super::{Command, Request, SnapshotHandle};
use crate::backoff::Backoff;
use crate::platform;
use crate::source;
use crate::telemetry::Metrics;
use crate::telemetry::snapshot::{ChunkDiscard as Discard, SnapshotState, SnapshotWait};

pub use self::halt::{RESTARTS_MAX, ROWS_MOVED};

/// Chunks on their way from the reader into the loop.
const UNDER_WAY_MAX: usize = 3;
/// Chunks whose messages are not yet delivered: beyond, the sink is behind.
const UNSETTLED_MAX: usize = 8;
/// How long the reader waits for what was processed to become visible, before it says so.
const VISIBLE_WITHIN: Duration = Duration::from_secs(1);
/// Times that rows are read again without one of them being at rest.
const RESTLESS_MAX: u32 = 100;
/// Keys in one statement.
const KEYS_MAX: usize = 500;
/// Pause between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// A chunk that the loop has.
type UnderWay = oneshot::Receiver<Result<Taken, Discard>>;

/// The worker.
pub struct Worker {
    config: Arc<Config>,
    control: Arc<SnapshotHandle>,
    asks: mpsc::Sender<Ask>,
    metrics: Arc<Metrics>,
    connections: Connections,
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

impl Worker {
    /// One that reads nothing yet.
    pub fn new(
        config: Config,
        control: Arc<SnapshotHandle>,
        asks: mpsc::Sender<Ask>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, source::Error> {
        let (options, config) = (config.source.session(0)?, Arc::new(config));
        let connections = Connections::new(Arc::clone(&config));
        Ok(Self {
            pace: Pace::new(config.chunk_bytes, config.chunk_time),
            throttle: Throttle::new(config.limits.clone(), options),
            shown: Shown::new(Arc::clone(&control)),
            config,
            connections,
            control,
            asks,
            metrics,
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
        let no_stream = || Refused("no stream stands yet".to_owned());
        self.connections.reads_at().ok_or_else(no_stream)?;
        let reader = self.connections.reader().await;
        let reader = reader.map_err(|error| Refused(error.to_string()))?.ok_or_else(no_stream)?;
        let checked = begin::check(reader, &self.config, id, request, wall_us()).await;
        if checked.is_err() {
            self.connections.forget_reader();
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
        self.throttle.limit(progress.head.rows_per_second);
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
            self.connections.unlock().await?;
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
            self.throttle.read(chunk.rows.len() as u64, platform::now());
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
            let Some(host) = self.connections.reads_at() else {
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

    /// Who reads chunks.
    async fn reader(&mut self) -> Result<&mut Reader, Halt> {
        self.connections.reader().await?.ok_or(Halt::Discarded(Discard::ServerChanged))
    }
}

/// Microseconds since 1970 UTC.
fn wall_us() -> i64 {
    platform::wall_us()
}
