//! Rows one by one, as other programs write them: Debezium, Maxwell, CloudEvents; and as binpulse's
//! own lines of JSON.
//!
//! [`Formatter::row`] appends one document for one row. It is pure: the same row in the same
//! [`RowContext`] gives the same bytes, wherever it is called: in the streamer, the relay, `tail` or
//! `decode`. What only some of them know (the event, the row's number) is optional.
//!
//! A cell costs no allocation. What a table needs (escaped names, Debezium's schema) is made once and
//! kept, within a bound.

mod cloudevents;
mod context;
mod debezium;
mod geometry;
mod maxwell;
mod options;
mod tables;
mod temporal;
#[cfg(test)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "numbers in tests are small, and what a test does not expect is one case"
)]
mod tests;
mod write;

pub use context::{EventPlace, Order, RowContext, RowNumber, put_row_id};
pub use options::{
    BigintUnsignedHandling, BinaryHandling, CloudEventsOptions, CloudEventsStyle, DebeziumOptions,
    DecimalHandling, FormatOptions, MaxwellOptions, TimePrecision,
};

pub(crate) use tables::Tables;

use cloudevents::CloudEvents;
use debezium::Debezium;
use maxwell::Maxwell;

use super::json::Lines;
use crate::change::{Cell, Change, Op, Table};

/// Writes rows in one format. It keeps what it knows of tables: one for each thread.
#[derive(Debug)]
pub struct Formatter {
    writer: Writer,
    content_type: &'static str,
    lossy_cells: u64,
}

#[derive(Debug)]
enum Writer {
    Binpulse(Lines),
    Debezium(Box<Debezium>),
    Maxwell(Box<Maxwell>),
    CloudEvents(Box<CloudEvents>),
}

impl Formatter {
    /// A writer of documents as `options` has them.
    pub fn new(options: FormatOptions) -> Self {
        let content_type = options.content_type();
        let writer = match options {
            FormatOptions::Binpulse => Writer::Binpulse(Lines::default()),
            FormatOptions::Debezium(options) => Writer::Debezium(Box::new(Debezium::new(options))),
            FormatOptions::Maxwell(options) => Writer::Maxwell(Box::new(Maxwell::new(options))),
            FormatOptions::CloudEvents(options) => {
                Writer::CloudEvents(Box::new(CloudEvents::new(options)))
            }
        };
        Self { writer, content_type, lossy_cells: 0 }
    }

    /// Appends the document of one row, without a newline: JSON of one line, valid UTF-8, of
    /// characters that SNS accepts.
    pub fn row(&mut self, context: &RowContext<'_>, out: &mut Vec<u8>) {
        match &mut self.writer {
            Writer::Binpulse(lines) => lines.row(context, out),
            Writer::Debezium(debezium) => self.lossy_cells += debezium.row(context, out),
            Writer::Maxwell(maxwell) => self.lossy_cells += maxwell.row(context, out),
            Writer::CloudEvents(events) => self.lossy_cells += events.row(context, out),
        }
    }

    /// Whether an update that changes the primary key is written as a delete of the old key and an
    /// insert of the new one, see [`key_change`].
    pub fn splits_key_changes(&self) -> bool {
        match &self.writer {
            Writer::Binpulse(_) | Writer::Maxwell(_) => false,
            Writer::Debezium(_) => true,
            Writer::CloudEvents(events) => events.splits_key_changes(),
        }
    }

    /// Media type of a document.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Cells so far that the format could not hold as they are: values that were left out for their
    /// size, bytes that are not valid in their character set, dates that the format has no number for,
    /// unsigned numbers beyond its signed ones.
    pub fn lossy_cells(&self) -> u64 {
        self.lossy_cells
    }
}

/// An update that changes the primary key, as a delete of the old key and an insert of the new one;
/// `None` for other changes, and where the images do not tell.
pub fn key_change<'a>(table: &Table, change: &Change<'a>) -> Option<[Change<'a>; 2]> {
    let (Op::Update, Some(before), Some(after)) = (change.op, change.before, change.after) else {
        return None;
    };
    let differs = |ordinal: &usize| {
        let (before, after) = (before.cell(*ordinal), after.cell(*ordinal));
        before != after && before != Cell::Absent && after != Cell::Absent
    };
    table.primary_key.iter().any(differs).then_some([
        Change { op: Op::Delete, after: None, ..*change },
        Change { op: Op::Insert, before: None, ..*change },
    ])
}
