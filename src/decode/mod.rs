//! From raw binlog events to rows. Pure: no async, no clock, and no I/O but the spool of XA
//! transactions that outgrow their memory.
//!
//! ```text
//! feed(event) -> header, checksum -> place -> (payload | compressed | held events) -> transaction
//!                                                              |                           |
//!                                                              +------- one by one --------+
//!                                                                                          v
//!                            Begin, Rows, Schema, Commit, Idle, Rotate, Passed  <-  Steps::next
//! ```
//!
//! Invariants:
//! - Bytes from outside cannot panic it, nor make it allocate by a length that was not checked.
//! - An event that could carry rows and is not understood is an error, never skipped.
//! - A row is read by a table map of its own statement, and by nothing else that is known of it.
//! - Rows of an XA transaction come out when it commits, or never. So do rows of a transaction that
//!   may end by ROLLBACK or have a ROLLBACK TO SAVEPOINT: all but those of which MySQL's GTID event
//!   says that they have nothing but rows.
//! - Steady state allocates nothing per event or row.
//!
//! Knows nothing of where events come from, nor where rows go.

mod bytes;
pub(crate) mod charset;
mod checksum;
mod compressed;
mod decision;
mod error;
mod event;
mod format_description;
mod gtid;
mod heartbeat;
mod inner;
pub(crate) mod json;
mod observe;
mod pass;
mod payload;
mod place;
mod query;
pub(crate) mod row;
mod rows;
mod savepoint;
mod steps;
mod table;
mod transaction;
mod xa;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

pub use error::{ColumnFault, Error, Fault, Misfit, RowFault, SchemaFault, XaFault};
pub use json::JsonError;
pub use pass::SkippedEvent;
pub use row::{CellError, ImageError};
pub use rows::Rows;
pub use steps::{Agreement, Answer, Commit, Statement, Step, Steps};
pub use table::{NotUnderstood, table_as_described};
pub use xa::{MemoryOnly, Overflow, OverflowFile, TempFolder, Unseen};

pub use crate::binlog::kind;

use crate::binlog::{BYTES_MAX as EVENT_BYTES_MAX, Header};
use crate::change::{Position, RowBuffer, Table};
use event::Event;
use format_description::Format;
use observe::From;
use place::Place;
use steps::{Emit, More};
use table::{Mapped, Tables};
use transaction::{Current, Phase};
use xa::{Held, HeldEvents, Limits, Spool};

/// How to decode.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether to check the events' CRC32 (they are stripped either way). Default: yes.
    pub verify_checksum: bool,
    /// Whether the events are those of a file, one behind the other: then an event that does not end
    /// where the count says is an error. Servers leave out what a replica has already. Default: no.
    pub contiguous: bool,
    /// Whether somebody answers [`Fault::SchemaNeeded`], which is then asked for tables whose columns
    /// the log does not name. Default: no, columns are called `@1`, `@2`, and so on.
    pub asks_for_schemas: bool,
    /// Most bytes of an event out of a compressed one. Default: the most that a server can make.
    pub expanded_bytes_max: u64,
    /// Most bytes of held rows in memory: of prepared XA transactions, and of a transaction that may
    /// yet be undone. The rest goes to files. Default: 16 MiB.
    pub xa_spool_bytes_max: u64,
    /// Folder of these files. Default: none, too many bytes are an error.
    pub xa_spool_folder: Option<PathBuf>,
    /// What to do with an XA COMMIT whose rows lie before the place where reading began.
    pub xa_unseen: Unseen,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            verify_checksum: true,
            contiguous: false,
            asks_for_schemas: false,
            expanded_bytes_max: EVENT_BYTES_MAX,
            xa_spool_bytes_max: 16 << 20,
            xa_spool_folder: None,
            xa_unseen: Unseen::Halt,
        }
    }
}

/// Size of an event out of a payload for which the space is kept.
const INNER_KEPT_BYTES_MAX: usize = 1 << 20;

/// Turns events into steps. Feed it every event of a stream or file, in order.
#[derive(Debug)]
pub struct Decoder {
    config: Config,
    limits: Limits,
    /// `None` before the first format description.
    format: Option<Format>,
    place: Place,
    current: Current,
    tables: Tables,
    held: Held,
    /// Events of the open transaction, if it may be undone.
    buffered: Option<HeldEvents>,
    /// Space for those of the next.
    spare: HeldEvents,
    /// Events that were held back, of the transaction that is being committed.
    replay: Option<(Spool, u64)>,
    inflater: payload::Inflater,
    /// Steps that are due.
    emits: VecDeque<Emit>,
    /// An event out of a payload, a compressed event or a spool.
    inner: Vec<u8>,
    /// Whether the steps that are due point into `inner`; else into the event that was fed.
    from_inner: bool,
    /// Table map of the rows that are due.
    rows_of: Option<Arc<Mapped>>,
    /// Where the rows that are due start.
    rows_at: Position,
    rows: RowBuffer,
    /// Type of the event that is being decoded, for errors.
    event_type: u8,
    /// An event's steps are not all taken, or an error came.
    busy: bool,
}

impl Decoder {
    /// A decoder in front of a file's first event.
    pub fn new(config: Config) -> Self {
        let overflow: Box<dyn Overflow> = match config.xa_spool_folder.clone() {
            Some(folder) => Box::new(TempFolder::new(folder)),
            None => Box::new(MemoryOnly),
        };
        Self::with_overflow(config, overflow)
    }

    /// The same with files of another kind (`xa_spool_folder` means nothing then).
    pub fn with_overflow(config: Config, overflow: Box<dyn Overflow>) -> Self {
        Self {
            limits: Limits { memory_bytes_max: config.xa_spool_bytes_max, overflow },
            config,
            format: None,
            place: Place::default(),
            current: Current::default(),
            tables: Tables::default(),
            held: Held::default(),
            buffered: None,
            spare: HeldEvents::default(),
            replay: None,
            inflater: payload::Inflater::default(),
            emits: VecDeque::new(),
            inner: Vec::new(),
            from_inner: false,
            rows_of: None,
            rows_at: Position::default(),
            rows: RowBuffer::default(),
            event_type: kind::UNKNOWN,
            busy: false,
        }
    }

    /// Takes up a stream or file: what follows starts at this place, which must be a transaction's
    /// start, and brings its format description itself. Everything unfinished is forgotten, prepared
    /// XA transactions too: whoever takes up a stream starts it where they come again (see
    /// [`Commit`]).
    pub fn start_at(&mut self, position: Position) {
        self.format = None;
        self.place.set(position);
        self.current.phase = Phase::Outside;
        self.held.clear();
        self.buffered = None;
        self.replay = None;
        self.tables = Tables::default();
        self.emits.clear();
        self.busy = false;
    }

    /// Continues with the next file of the same log: only the place changes. Prepared XA transactions
    /// stay; a transaction that has not ended is an error at the file's first event.
    pub fn follow_at(&mut self, position: Position) {
        self.place.set(position);
    }

    /// Behind the last event that was fed.
    pub fn position(&self) -> &Position {
        &self.place.end
    }

    /// The place to resume from by file and offset, once everything that came out is delivered: not
    /// beyond the start of a transaction that is not complete, nor of a prepared XA transaction.
    pub fn resume(&self) -> &Position {
        match self.held.oldest() {
            Some(oldest) => oldest,
            None if self.in_transaction() => &self.current.transaction.start,
            None => &self.place.end,
        }
    }

    /// Where the oldest prepared, undecided XA transaction starts.
    pub fn open_xa(&self) -> Option<&Position> {
        self.held.oldest()
    }

    /// How many XA transactions are prepared and undecided.
    pub fn prepared_xa(&self) -> usize {
        self.held.prepared()
    }

    /// Whether a transaction has begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.current.phase != Phase::Outside
    }

    /// To be asked at the end of a file: whether that is the end of a transaction too.
    pub fn finish(&self) -> Result<(), Error> {
        if self.busy {
            return Err(self.error(Fault::Misuse));
        }
        if self.in_transaction() {
            return Err(self.error(Fault::Order {
                found: "the end of the log inside a transaction",
                expected: "the transaction's end",
            }));
        }
        Ok(())
    }

    /// Takes one raw event: header, body, and checksum where the format description says so. Pull the
    /// steps out of the returned cursor until `None`, before feeding the next event.
    ///
    /// After an error, from here or from the cursor, nothing can be fed before
    /// [`start_at`](Self::start_at); but for [`Fault::SchemaNeeded`], after which the cursor continues,
    /// and for what [`Steps::pass_over`] takes.
    pub fn feed<'d, 'e>(&'d mut self, event: &'e [u8]) -> Result<Steps<'d, 'e>, Error> {
        if self.busy {
            return Err(self.error(Fault::Misuse));
        }
        self.busy = true;
        self.event_type = kind::UNKNOWN;
        self.from_inner = false;
        if self.inner.capacity() > INNER_KEPT_BYTES_MAX {
            self.inner = Vec::new();
        }
        match self.take(event) {
            Ok((content, more)) => Ok(Steps::new(self, content, more)),
            Err(fault) if self.may_be_passed_over(&fault) => {
                let has_checksum = self.format.as_ref().is_some_and(|format| format.checksum);
                let bare = if has_checksum { checksum::strip(event) } else { Ok(event) };
                Ok(Steps::failed(self, bare.unwrap_or(event), fault))
            }
            Err(fault) => Err(self.error(fault)),
        }
    }

    fn take<'e>(&mut self, event: &'e [u8]) -> Result<(&'e [u8], More), Fault> {
        let header = event::header(event)?;
        if header.length as usize != event.len() {
            return Err(Fault::Size { header: header.length, found: event.len() });
        }
        self.event_type = header.event_type;
        let contiguous = self.config.contiguous;
        if header.event_type == kind::FORMAT_DESCRIPTION {
            let format = format_description::parse(event, self.config.verify_checksum)?;
            self.place.advance_over_format(&header, contiguous)?;
            self.outside()?;
            self.format = Some(format);
            self.tables.end_statement();
            if self.config.asks_for_schemas {
                // The server may have been restarted: table ids begin again.
                self.tables.forget();
            }
            self.emits.push_back(Emit::Passed(header.event_type));
            return Ok((event, More::No));
        }
        let content = self.content(event, &header)?;
        let fed = Event { header, bytes: content };
        match header.event_type {
            kind::ROTATE => self.rotate(&fed)?,
            kind::HEARTBEAT | kind::HEARTBEAT_V2 => self.heartbeat(&fed)?,
            other => {
                self.place.advance(&header, contiguous)?;
                if !self.rows_at.is_in_file_of(&self.place.start) {
                    self.rows_at.file = Arc::clone(&self.place.start.file);
                }
                self.rows_at.offset = self.place.start.offset;
                if compressed::is_compressed(other) {
                    let format = self.format.as_ref().ok_or(Fault::NoFormat)?;
                    let mut inner = std::mem::take(&mut self.inner);
                    let expanded = compressed::expand(
                        &fed,
                        format,
                        self.config.expanded_bytes_max,
                        &mut inner,
                    );
                    self.from_inner = expanded.is_ok();
                    let more = expanded.and_then(|header| {
                        self.observe(&Event { header, bytes: &inner }, From::Fed)
                    });
                    self.inner = inner;
                    return Ok((content, more?));
                }
                return Ok((content, self.observe(&fed, From::Fed)?));
            }
        }
        Ok((content, More::No))
    }

    /// The event without its checksum, which is checked.
    fn content<'e>(&self, event: &'e [u8], header: &Header) -> Result<&'e [u8], Fault> {
        match &self.format {
            Some(format) if format.checksum && self.config.verify_checksum => {
                checksum::verify(event)
            }
            Some(format) if format.checksum => checksum::strip(event),
            // What a dump thread makes up before a format description has a checksum or not, by
            // release and by the file before: the right one is there by no accident.
            _ if matches!(
                header.event_type,
                kind::ROTATE | kind::HEARTBEAT | kind::HEARTBEAT_V2
            ) =>
            {
                Ok(checksum::verify(event).unwrap_or(event))
            }
            Some(_) => Ok(event),
            None => Err(Fault::NoFormat),
        }
    }

    /// The table of the rows that are due, if it is to be asked for.
    fn unnamed(&self) -> Option<&Arc<Table>> {
        let mapped = self.rows_of.as_ref().filter(|_| self.config.asks_for_schemas)?;
        mapped.is_nameless().then_some(&mapped.table)
    }

    #[cold]
    fn error(&self, fault: Fault) -> Error {
        Error { position: self.place.start.clone(), event_type: self.event_type, fault }
    }
}

#[cfg(test)]
mod tests;
