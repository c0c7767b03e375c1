//! A copy of the source's tables in MySQL, MariaDB or PostgreSQL.
//!
//! Rows and the numbers of their lanes are written in one transaction, so each row is applied once:
//! a process that dies, or a second one beside it, changes nothing of that. Each transaction reads
//! the lanes' marks first, locks them, and leaves out what they already count.
//!
//! * Rows of one key within a transaction are joined: the last one counts.
//! * An update with a whole row stands in place of what is there, so a row that is missing is made. One
//!   with a part of a row (`binlog_row_image` MINIMAL, partial JSON) changes only what it carries.
//! * Tables are made and columns added as [`SchemaPolicy`] allows. Nothing is ever dropped.
//! * Values of rows are in no message of an error.

mod ddl;
mod dialect;
mod differing;
mod json_diff;
mod keys;
mod marks;
mod part;
mod pending;
mod session;
mod tables;
mod tls;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use binpulse_client::proto;
use binpulse_core::change::RowBuffer;
use binpulse_core::encode::opened::OpenedRows;
use tokio::sync::Mutex;

use crate::lane::LaneKey;
use crate::state::LaneRecord;
pub use marks::CopyCanary;
use marks::Mark;
use pending::Pending;
use session::{Failure, Session};
use tables::Tables;
pub use verify::{Compared, Verdict};

/// Most time that connecting takes.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Most time that one transaction takes.
const APPLY_DEADLINE: Duration = Duration::from_mins(1);
/// Attempts at a transaction that the server chose to end for another.
const ATTEMPTS_MAX: u32 = 5;

/// What may be changed of the copy's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaPolicy {
    /// Missing tables are made, and missing columns added.
    #[default]
    Add,
    /// Missing tables are made.
    Create,
    /// Nothing: what is missing is an error that says the statement.
    Refuse,
}

/// Where a copy is.
#[derive(Clone)]
pub struct Config {
    /// `mysql://USER:PASSWORD@HOST/DATABASE` or `postgres://...`. The database holds the copy's own
    /// tables. In MySQL a table has the database of the source; in PostgreSQL that is a schema.
    pub url: String,
    /// What may be changed.
    pub schema: SchemaPolicy,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("url", &"***").field("schema", &self.schema).finish()
    }
}

/// What is applied as a whole, or not at all.
#[derive(Debug, Clone)]
pub enum Unit {
    /// Rows of a message whose numbers are in this range, both ends included.
    Rows {
        /// Their lane.
        lane: LaneKey,
        /// The message.
        rows: Arc<OpenedRows>,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// A part of a snapshot.
    Part {
        /// Its lane.
        lane: LaneKey,
        /// The part; its batch is not read.
        part: Arc<proto::SnapshotPart>,
        /// The rows of its batch.
        rows: Arc<OpenedRows>,
    },
    /// A canary. Older than the one that is there it changes nothing.
    Canary {
        /// Name of the stream.
        stream: String,
        /// The stream's epoch.
        epoch: u64,
        /// The canary.
        canary: Box<proto::Canary>,
    },
    /// Numbers of a lane that the source holds back, and that may still come: both ends included.
    Suppressed {
        /// The lane.
        lane: LaneKey,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// Numbers of a lane that do not come, or are kept elsewhere: both ends included.
    Passed {
        /// The lane.
        lane: LaneKey,
        /// The first number.
        first: u64,
        /// The last number.
        last: u64,
    },
    /// A part of a snapshot that is kept elsewhere: nothing of its chunk is removed.
    PassedPart {
        /// Its lane.
        lane: LaneKey,
        /// The part.
        part: Arc<proto::SnapshotPart>,
        /// Its rows.
        rows: u64,
    },
    /// Parts of snapshots that do not come: nothing is removed of the chunks that they are of.
    PassedParts {
        /// Their lane.
        lane: LaneKey,
        /// Attempt of the part that is next behind them.
        attempt: u32,
        /// Its number.
        next: u64,
    },
}

/// What a transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// How far each of the lanes is now, of which something was given.
    pub lanes: Vec<(LaneKey, LaneRecord)>,
    /// Lanes of which rows before the given ones are missing: of these nothing was applied.
    pub behind: Vec<LaneKey>,
    /// Rows that were applied.
    pub rows: u64,
    /// Rows that were applied before.
    pub skipped: u64,
    /// Updates of a part of a row that the copy does not have.
    pub missing: u64,
    /// Values that were left out of a message for their size; the copy keeps what it had.
    pub omitted: u64,
    /// Rows that a snapshot found gone.
    pub removed: u64,
    /// Chunks whose ranges the copy can't compare as the source does: of these nothing was removed.
    pub ranges_passed: u64,
    /// Digests of chunks that were compared with the copy's rows.
    pub compared: Vec<Compared>,
    /// Tables of which others are known to differ now, with what is.
    pub differing: Vec<(String, Vec<Compared>)>,
}

/// Rows were not applied; nothing of the transaction was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// Can't be reached, or is busy: tried again.
    #[error("relay.to {place}: {message}")]
    Unavailable {
        /// The copy, without secrets.
        place: String,
        /// What happened.
        message: String,
    },
    /// The copy is not fit: an operator is needed.
    #[error("relay.to {place}: found {found}, needed {needed}: {remedy}")]
    Unfit {
        /// The copy, without secrets.
        place: String,
        /// What was found.
        found: String,
        /// What is needed.
        needed: String,
        /// What to do.
        remedy: String,
    },
    /// Rows that can't be applied, ever: they are parked.
    #[error("relay.to {place}: table {table}: found {found}, needed {needed}: {remedy}")]
    Refused {
        /// Which unit it is, of those given; `None`: the server did not say. Then units are applied one
        /// by one.
        unit: Option<usize>,
        /// The copy, without secrets.
        place: String,
        /// The table.
        table: String,
        /// What was found.
        found: String,
        /// What is needed.
        needed: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// A copy, open. Transactions of one copy come one after the other.
#[derive(Debug)]
pub struct Copy {
    place: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    place: String,
    /// `None` after a failure: the next call connects again.
    session: Option<Session>,
    tables: Tables,
    /// Whether its own tables are made where they are missing.
    is_written: bool,
}

impl Copy {
    /// Connects, and makes the copy's own tables where they are missing.
    pub async fn open(config: Config) -> Result<Self, CopyError> {
        let place = session::place_of(&config.url)?;
        let tables = Tables::new(config.schema);
        let mut inner =
            Inner { config, place: place.clone(), session: None, tables, is_written: true };
        inner.open().await?;
        Ok(Self { place, inner: Mutex::new(inner) })
    }

    /// A copy that is only looked at. Connects with the first look, and makes no tables.
    pub fn to_read(config: Config) -> Result<Self, CopyError> {
        let place = session::place_of(&config.url)?;
        let tables = Tables::new(SchemaPolicy::Refuse);
        let inner =
            Inner { config, place: place.clone(), session: None, tables, is_written: false };
        Ok(Self { place, inner: Mutex::new(inner) })
    }

    /// The newest canary of each stream and path.
    pub async fn canaries(&self) -> Result<Vec<CopyCanary>, CopyError> {
        let mut inner = self.inner.lock().await;
        inner.read(async |session| marks::canaries(session).await).await
    }

    /// The copy, without secrets.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How far a lane is; the default for one that is not known.
    pub async fn lane(&self, lane: &LaneKey) -> Result<LaneRecord, CopyError> {
        let mut inner = self.inner.lock().await;
        let read = async |session: &mut Session| {
            let mut record = Mark::read(session, lane, false).await?.record();
            record.suppressed = marks::suppressed(session, lane, record.next).await?;
            Ok(record)
        };
        inner.read(read).await
    }

    /// All lanes, with the smallest number that is not applied.
    pub async fn lanes(&self) -> Result<Vec<(LaneKey, u64)>, CopyError> {
        let mut inner = self.inner.lock().await;
        inner.read(async |session| marks::lanes(session).await).await
    }

    /// What is known to differ, by table.
    pub async fn differing(&self) -> Result<Vec<(String, Vec<Compared>)>, CopyError> {
        let mut inner = self.inner.lock().await;
        inner.read(async |session| differing::all(session).await).await
    }

    /// Applies units in one transaction.
    pub async fn apply(&self, units: &[Unit]) -> Result<Applied, CopyError> {
        let mut inner = self.inner.lock().await;
        inner.apply(units).await
    }
}

impl Inner {
    async fn open(&mut self) -> Result<(), CopyError> {
        let opened = tokio::time::timeout(CONNECT_DEADLINE, Box::pin(self.connect())).await;
        self.settle(opened)
    }

    /// Makes a session be there.
    async fn connect(&mut self) -> Result<(), Failure> {
        if self.session.is_none() {
            let mut session = Session::connect(&self.config.url).await?;
            if self.is_written {
                self.tables.make_own(&mut session).await?;
            }
            self.session = Some(session);
        }
        Ok(())
    }

    /// What came of a call; behind a failure the session is closed, and with it its transaction.
    fn settle<T>(
        &mut self,
        result: Result<Result<T, Failure>, tokio::time::error::Elapsed>,
    ) -> Result<T, CopyError> {
        let failure = match result {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Away("no answer within the deadline".to_owned()),
        };
        self.session = None;
        let place = self.place.clone();
        Err(match failure {
            Failure::Conflict(message)
            | Failure::Away(message)
            | Failure::Said { code: message, .. } => {
                let message = binpulse_core::excerpt::excerpt(&message);
                CopyError::Unavailable { place, message }
            }
            // A table or column that was there is gone: looked at anew.
            Failure::Stale(message) => {
                self.tables.forget();
                CopyError::Unavailable { place, message }
            }
            Failure::Unfit { found, needed, remedy } => {
                CopyError::Unfit { place, found, needed, remedy }
            }
            Failure::Refused { unit, table, found, needed, remedy } => {
                CopyError::Refused { unit, place, table, found, needed, remedy }
            }
        })
    }

    async fn read<T>(
        &mut self,
        what: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, CopyError> {
        let work = async {
            self.connect().await?;
            let Some(session) = &mut self.session else { return Err(Failure::none()) };
            what(session).await
        };
        let done = tokio::time::timeout(APPLY_DEADLINE, Box::pin(work)).await;
        self.settle(done)
    }

    async fn apply(&mut self, units: &[Unit]) -> Result<Applied, CopyError> {
        let mut attempt = 1;
        loop {
            let done =
                tokio::time::timeout(APPLY_DEADLINE, Box::pin(self.transaction(units))).await;
            if let Ok(Err(Failure::Conflict(_))) = &done
                && attempt < ATTEMPTS_MAX
            {
                attempt += 1;
                self.session = None;
                continue;
            }
            return self.settle(done);
        }
    }

    /// One attempt.
    async fn transaction(&mut self, units: &[Unit]) -> Result<Applied, Failure> {
        self.connect().await?;
        let Some(session) = &mut self.session else { return Err(Failure::none()) };
        // Before the transaction: MySQL ends one at each statement that changes a schema.
        for (index, unit) in units.iter().enumerate() {
            let (rows, key): (_, &[u32]) = match unit {
                Unit::Rows { rows, .. } => (rows, &[]),
                Unit::Part { rows, part, .. } => (rows, &part.key_columns),
                Unit::Canary { .. }
                | Unit::Passed { .. }
                | Unit::PassedPart { .. }
                | Unit::PassedParts { .. }
                | Unit::Suppressed { .. } => continue,
            };
            let prepared = self.tables.prepare(session, rows.table(), key).await;
            prepared.map_err(|failure| failure.of_unit(index))?;
        }
        session.run(b"BEGIN").await?;
        let mut work = Work { applied: Applied::default(), marks: BTreeMap::new() };
        work.read_marks(session, units).await?;
        let mut pending = Pending::new(session.dialect);
        for (index, unit) in units.iter().enumerate() {
            let done = work.take(session, &self.tables, &mut pending, unit).await;
            done.map_err(|failure| failure.of_unit(index))?;
        }
        pending.flush(session).await?;
        for (lane, mark) in &work.marks {
            mark.write(session, lane).await?;
            work.applied.lanes.push((lane.clone(), mark.record()));
        }
        for found in &work.applied.compared {
            if let Some(ranges) = differing::note(session, found).await? {
                work.applied.differing.push((found.table.clone(), ranges));
            }
        }
        session.run(b"COMMIT").await?;
        work.applied.omitted = pending.omitted;
        work.applied.missing = pending.missing;
        Ok(work.applied)
    }
}

/// A transaction under way.
struct Work {
    applied: Applied,
    /// In the order of their names, so that two processes lock them in the same.
    marks: BTreeMap<LaneKey, Mark>,
}

impl Work {
    async fn read_marks(&mut self, session: &mut Session, units: &[Unit]) -> Result<(), Failure> {
        for unit in units {
            if let Unit::Rows { lane, .. }
            | Unit::Part { lane, .. }
            | Unit::Passed { lane, .. }
            | Unit::PassedPart { lane, .. }
            | Unit::PassedParts { lane, .. }
            | Unit::Suppressed { lane, .. } = unit
            {
                self.marks.entry(lane.clone()).or_default();
            }
        }
        for (lane, mark) in &mut self.marks {
            *mark = Mark::read(session, lane, true).await?;
        }
        Ok(())
    }

    async fn take(
        &mut self,
        session: &mut Session,
        tables: &Tables,
        pending: &mut Pending,
        unit: &Unit,
    ) -> Result<(), Failure> {
        match unit {
            Unit::Rows { lane, rows, first, last } => {
                if let Some(first) = self.first_due(lane, *first, *last) {
                    let mut buffer = RowBuffer::default();
                    for number in first..=*last {
                        let index = number.checked_sub(rows.first());
                        let index = index.and_then(|index| usize::try_from(index).ok());
                        let change = index.and_then(|index| rows.change(index, &mut buffer));
                        let Some(change) = change else {
                            return Err(Failure::refused(
                                &tables::CopyTable::shown(rows.table()),
                                format!("a message of lane {lane} without its number {number}"),
                                "the rows that the unit names",
                                "report it: this is a defect of the relay",
                            ));
                        };
                        pending.take(session, tables, rows.table(), &change).await?;
                        self.applied.rows += 1;
                    }
                }
            }
            Unit::Passed { lane, first, last } => {
                self.first_due(lane, *first, *last);
            }
            Unit::Suppressed { lane, first, last } => {
                let next = self.marks.get(lane).map_or(0, |mark| mark.next);
                marks::write_suppressed(session, lane, (*first, *last), next).await?;
            }
            Unit::Part { lane, part, rows } => {
                let Some(mark) = self.marks.get_mut(lane) else { return Ok(()) };
                match mark.take_part(part, rows.len() as u64) {
                    marks::PartPlace::Applied => {
                        self.applied.skipped += rows.len() as u64;
                    }
                    marks::PartPlace::Behind => self.note_behind(lane),
                    marks::PartPlace::Due => {
                        let unit = part::Part { lane, said: part, rows };
                        let told = unit.apply(session, tables, pending, mark).await?;
                        self.applied.rows += rows.len() as u64;
                        self.applied.removed += told.removed;
                        self.applied.ranges_passed += told.ranges_passed;
                        self.applied.compared.extend(told.compared);
                    }
                }
            }
            Unit::PassedPart { lane, part, rows } => {
                let Some(mark) = self.marks.get_mut(lane) else { return Ok(()) };
                match mark.take_part(part, *rows) {
                    marks::PartPlace::Applied => {}
                    marks::PartPlace::Behind => self.note_behind(lane),
                    marks::PartPlace::Due => part::pass(mark, part),
                }
            }
            Unit::PassedParts { lane, attempt, next } => {
                if let Some(mark) = self.marks.get_mut(lane) {
                    mark.pass_parts(*attempt, *next);
                }
            }
            Unit::Canary { stream, epoch, canary } => {
                marks::write_canary(session, stream, *epoch, canary).await?;
            }
        }
        Ok(())
    }

    /// The first number of a range that is to be applied, if any is; the mark then stands behind it.
    fn first_due(&mut self, lane: &LaneKey, first: u64, last: u64) -> Option<u64> {
        let mark = self.marks.get_mut(lane)?;
        if last < first {
            return None;
        }
        let next = if mark.next == 0 { first } else { mark.next };
        if next < first {
            self.note_behind(lane);
            return None;
        }
        self.applied.skipped += next.min(last.saturating_add(1)) - first;
        if next > last {
            return None;
        }
        mark.next = last.saturating_add(1);
        Some(next)
    }

    fn note_behind(&mut self, lane: &LaneKey) {
        if !self.applied.behind.contains(lane) {
            self.applied.behind.push(lane.clone());
        }
    }
}
