//! Reads one chunk of a table: a window, a view behind its beginning, and where the log ends then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::halt::Halt;
use super::{VISIBLE_WITHIN, Worker, wall_us};
use crate::change::Position;
use crate::platform;
use crate::snapshot::ask::{Ask, Chunk, ChunkPart, Opened};
use crate::snapshot::begin::{self, Refused};
use crate::snapshot::progress::{Bounds, TableProgress};
use crate::snapshot::query::Range;
use crate::snapshot::reader::Read;
use crate::snapshot::window::Target;
use crate::snapshot::{ChunkRows, Layout};
use crate::telemetry::snapshot::{ChunkDiscard as Discard, SnapshotWait};

/// A table as it is read right now.
pub(super) struct Reading {
    pub(super) number: usize,
    pub(super) layout: Arc<Layout>,
    target: Arc<Target>,
    /// Statements that had gone by when the layout was looked at.
    statements: u64,
}

impl Worker {
    /// Reads one chunk; whether it is the last, and the key of its last row.
    pub(super) async fn chunk(
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
    pub(super) async fn look_at(
        &mut self,
        table: &TableProgress,
        number: usize,
    ) -> Result<(), Halt> {
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
    ) -> Result<(ChunkRows, Position), Halt> {
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
        let rows_max = self.pace.rows(&opened.armed.position).min(self.throttle.rows_max());
        let bytes_max = self.config.chunk_bytes;
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
        Ok((rows, self.connections.log_end(&opened.armed.server).await?))
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
}
