//! Rows events: a cursor over the rows of one.

use std::sync::Arc;

use super::bytes::Bytes;
use super::event::Event;
use super::format_description::Format;
use super::row::{Before, Bitmap, ImageError, read_image, read_partial_image};
use super::table::{Mapped, Unreadable, table_id};
use super::{ColumnFault, Error, Fault, Misfit, RowFault, SchemaFault};
use crate::binlog::{Header, kind};
use crate::change::{Change, Image, Op, Position, RowBuffer, Table, Transaction};

/// Marks the last rows event of a statement.
const FLAG_STATEMENT_END: u16 = 0x1;
/// Table id of an event that only ends a statement.
const NO_TABLE: u64 = 0x00ff_ffff;

/// The front of a rows event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Front {
    pub(super) table_id: u64,
    pub(super) ends_statement: bool,
    pub(super) shape: Shape,
}

/// What a rows event holds and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) event_type: u8,
    pub(super) op: Op,
    /// The after images may hold JSON diffs.
    partial: bool,
    pub(super) width: u64,
    /// Offset of the bitmaps of columns in the event, header included.
    bitmaps_at: usize,
}

impl Front {
    /// Reads the front. Compressed types must have been expanded.
    pub(super) fn parse(event: &Event<'_>, format: &Format) -> Result<Self, Fault> {
        let event_type = event.header.event_type;
        let (op, version) = match event_type {
            kind::WRITE_ROWS => (Op::Insert, 2),
            kind::UPDATE_ROWS | kind::PARTIAL_UPDATE_ROWS => (Op::Update, 2),
            kind::DELETE_ROWS => (Op::Delete, 2),
            kind::WRITE_ROWS_V1 => (Op::Insert, 1),
            kind::UPDATE_ROWS_V1 => (Op::Update, 1),
            kind::DELETE_ROWS_V1 => (Op::Delete, 1),
            other => return Err(Fault::UnknownEvent(other)),
        };
        let mut bytes = Bytes::new(event.body());
        let table_id = table_id(&mut bytes, format.short_table_ids)?;
        let flags = bytes.u16("rows flags")?;
        if version == 2 {
            // The length counts itself; partition ids and NDB's notes follow.
            let length = bytes.u16("length of the extra data")?;
            let Some(extra) = length.checked_sub(2) else {
                return Err(Fault::Unexpected {
                    what: "length of the extra data",
                    found: u64::from(length),
                    expected: "at least 2",
                });
            };
            bytes.take(usize::from(extra), "extra data")?;
        }
        let width = bytes.length_encoded("number of columns")?;
        Ok(Self {
            table_id,
            ends_statement: flags & FLAG_STATEMENT_END != 0,
            shape: Shape {
                event_type,
                op,
                partial: event_type == kind::PARTIAL_UPDATE_ROWS,
                width,
                bitmaps_at: Header::LENGTH + bytes.at(),
            },
        })
    }

    /// Whether it only ends a statement.
    pub(super) fn is_dummy(&self) -> bool {
        self.table_id == NO_TABLE
    }
}

/// Rows of one event, read as they are asked for.
#[derive(Debug)]
pub struct Rows<'a> {
    mapped: &'a Mapped,
    transaction: &'a Transaction,
    position: &'a Position,
    shape: Shape,
    event: &'a [u8],
    at: usize,
    before: Option<Bitmap<'a>>,
    after: Option<Bitmap<'a>>,
    buffer: &'a mut RowBuffer,
    /// Rows of the transaction that were decoded.
    count: &'a mut u64,
    /// Rows of this event that were decoded.
    row: u64,
}

/// What a cursor needs besides the event.
pub(super) struct RowsContext<'a> {
    pub(super) mapped: &'a Mapped,
    pub(super) transaction: &'a Transaction,
    pub(super) position: &'a Position,
    pub(super) buffer: &'a mut RowBuffer,
    pub(super) count: &'a mut u64,
}

impl<'a> Rows<'a> {
    /// A cursor before the first row of `event` (header included, checksum not).
    pub(super) fn new(
        shape: Shape,
        event: &'a [u8],
        context: RowsContext<'a>,
    ) -> Result<Self, Error> {
        let RowsContext { mapped, transaction, position, buffer, count } = context;
        let width = mapped.table.columns.len();
        let error =
            |fault| Error { position: position.clone(), event_type: shape.event_type, fault };
        if shape.width != width as u64 {
            return Err(error(Fault::Width {
                table: label(&mapped.table),
                found: shape.width,
                expected: width,
            }));
        }
        let mut at = shape.bitmaps_at;
        let mut bitmap = |image| {
            Bitmap::take(event, &mut at, width).map_err(|cause| {
                error(Fault::Row(Box::new(RowFault {
                    table: label(&mapped.table),
                    row: 0,
                    image,
                    column: None,
                    error: ImageError::Frame(cause),
                })))
            })
        };
        let (before, after) = match shape.op {
            // No event is a read: those come from tables.
            Op::Insert | Op::Read => (None, Some(bitmap("after")?)),
            Op::Update => (Some(bitmap("before")?), Some(bitmap("after")?)),
            Op::Delete => (Some(bitmap("before")?), None),
        };
        Ok(Self {
            mapped,
            transaction,
            position,
            shape,
            event,
            at,
            before,
            after,
            buffer,
            count,
            row: 0,
        })
    }

    /// The table that the rows are of.
    pub fn table(&self) -> &'a Arc<Table> {
        &self.mapped.table
    }

    /// The transaction that they are in.
    pub fn transaction(&self) -> &'a Transaction {
        self.transaction
    }

    /// What happened to them.
    #[cfg(feature = "testing")]
    pub fn op(&self) -> Op {
        self.shape.op
    }

    /// Where the event starts. Rows of a compressed transaction are where its payload event starts;
    /// rows of an XA transaction are where they were prepared.
    pub fn position(&self) -> &'a Position {
        self.position
    }

    /// The event itself, header included, checksum not; expanded where the log has it compressed.
    pub fn event(&self) -> &'a [u8] {
        self.event
    }

    /// The next row; `None` behind the last. Not calling it skips the rows at no cost, and leaves them
    /// out of [`Change::row`]'s count.
    ///
    /// An error is of this event's rows alone: the decoder can continue with the next step.
    #[allow(clippy::should_implement_trait, reason = "lends its items, and can fail")]
    pub fn next(&mut self) -> Result<Option<Change<'_>>, Error> {
        // A row of which the log carries no column has no bytes: with row image MINIMAL, an INSERT of
        // nothing but defaults. Replicas take an event without any byte of rows as one such row.
        let is_bare = self.row == 0 && self.after.is_some_and(|bits| bits.count() == 0);
        if self.at >= self.event.len() && !is_bare {
            self.buffer.release();
            return Ok(None);
        }
        if let Some(reason) = &self.mapped.unreadable {
            return Err(self.unreadable(reason));
        }
        let start = self.at;
        self.buffer.clear();
        if let Some(present) = self.before {
            read_image(
                &self.mapped.plans,
                present,
                self.event,
                &mut self.at,
                &mut self.buffer.before,
                &mut self.buffer.scratch,
            )
            .map_err(|error| self.fault("before", error))?;
        }
        if let Some(present) = self.after {
            let (slots, scratch) = (&mut self.buffer.after, &mut self.buffer.scratch);
            let (plans, event, at) = (&self.mapped.plans, self.event, &mut self.at);
            let read = match self.before.filter(|_| self.shape.partial) {
                Some(before) => {
                    let before = Before { present: before, start };
                    read_partial_image(plans, present, before, event, at, slots, scratch)
                }
                None => read_image(plans, present, event, at, slots, scratch),
            };
            read.map_err(|error| self.fault("after", error))?;
        }
        if self.at == start && self.at < self.event.len() {
            return Err(self.error(Fault::Order {
                found: "rows without any column, and bytes after them",
                expected: "the end of the event",
            }));
        }
        self.row += 1;
        let row = *self.count;
        *self.count += 1;
        let buffer = &*self.buffer;
        let (event, scratch) = (self.event, buffer.scratch.as_slice());
        Ok(Some(Change {
            op: self.shape.op,
            row,
            before: self.before.map(|_| Image::new(&buffer.before, event, scratch)),
            after: self.after.map(|_| Image::new(&buffer.after, event, scratch)),
        }))
    }

    /// The error that its rows can't be used for this reason.
    #[cold]
    pub fn misfit(&self, misfit: Misfit) -> Error {
        self.unreadable(&Unreadable::Schema(misfit))
    }

    #[cold]
    fn fault(&self, image: &'static str, error: ImageError) -> Error {
        let column = match &error {
            ImageError::Frame(_) => None,
            ImageError::Column { column, .. } => self.mapped.table.columns.get(*column),
        };
        self.error(Fault::Row(Box::new(RowFault {
            table: label(&self.mapped.table),
            row: self.row,
            image,
            column: column.map(|column| column.name.clone()),
            error,
        })))
    }

    #[cold]
    fn unreadable(&self, reason: &Unreadable) -> Error {
        let table = label(&self.mapped.table);
        self.error(match reason.clone() {
            Unreadable::Schema(misfit) => Fault::Schema(Box::new(SchemaFault { table, misfit })),
            Unreadable::Column(column, error) => {
                let name = self.mapped.table.columns.get(column);
                let name = name.map_or_else(String::new, |column| column.name.clone());
                Fault::Column(Box::new(ColumnFault { table, column, name, error }))
            }
        })
    }

    #[cold]
    fn error(&self, fault: Fault) -> Error {
        Error { position: self.position.clone(), event_type: self.shape.event_type, fault }
    }
}

fn label(table: &Table) -> String {
    format!("{}.{}", table.database, table.name)
}
