//! Why the reading of a table came to a halt, and what follows from that.

use std::time::Duration;

use super::{PAUSE, Worker};
use crate::snapshot::ask::Ask;
use crate::snapshot::reader::ReadError;
use crate::telemetry::snapshot::{ChunkDiscard as Discard, SnapshotWait};

/// Chunks that are read again for a table whose schema changes, before it is given up.
const SCHEMA_CHANGES_MAX: u32 = 10;
/// Times that a table is begun again for rows that moved to another key.
pub const RESTARTS_MAX: u32 = 3;
/// Why it is given up then.
pub const ROWS_MOVED: &str = "rows moved to other keys while it was read, and their images are not \
                              complete: set binlog_row_image = FULL";
/// Times that a server may refuse a SELECT before its table is given up.
const REFUSALS_MAX: u32 = 5;

/// Why the reading of a table came to a halt.
pub(super) enum Halt {
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

/// What went wrong, one after the other.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// Chunks for a schema that changed.
    pub(super) schema_changes: u32,
    /// Times that a table was begun again.
    pub(super) restarts: u32,
    /// Answers with an error.
    pub(super) refusals: u32,
    /// Locks that were not got.
    pub(super) locks_missed: u32,
}

impl Worker {
    /// What follows from a halt.
    pub(super) async fn halted(&mut self, number: usize, halt: Halt) -> Result<(), Halt> {
        match halt {
            Halt::Gone => return Err(Halt::Gone),
            Halt::Command => {}
            Halt::Abandon(reason) => {
                self.reading = None;
                self.ask(Ask::End { table: number, reason: Some(reason) }).await?;
            }
            Halt::Read(error) if self.is_final(&error) => {
                self.connections.forget_reader();
                self.reading = None;
                let reason = Some(error.to_string());
                self.ask(Ask::End { table: number, reason }).await?;
            }
            Halt::Read(error) => {
                self.connections.forget();
                self.reading = None;
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
                self.connections.forget();
                self.reading = None;
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
}
