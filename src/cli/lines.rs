//! Steps of the decoder as lines of JSON on standard output: what `decode` and `tail` have in
//! common.

use std::io::{self, Write};

use crate::decode::{self, Step};
use crate::encode::json::Lines;
use crate::filter::{Filter, Route, Space};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// Prints changes and statements.
pub(super) struct Printer<W> {
    output: W,
    lines: Lines,
    filter: Filter,
    space: Space,
    text: Vec<u8>,
}

/// Why printing ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The decoder's.
    #[error(transparent)]
    Decode(#[from] decode::Error),
    /// The output's.
    #[error("can't write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// Whether the reader of our output has gone away, which is its right.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl<W: Write> Printer<W> {
    pub(super) fn new(output: W, filter: Filter) -> Self {
        Self { output, lines: Lines::default(), filter, space: Space::default(), text: Vec::new() }
    }

    /// Whether any row of this table is printed.
    pub(super) fn wants(&self, database: &str, table: &str) -> bool {
        self.filter.wants(database, table)
    }

    /// Prints what a step has to say.
    pub(super) fn step(&mut self, step: Step<'_>) -> Result<(), Error> {
        match step {
            Step::Rows(rows) => self.rows(rows)?,
            Step::Schema(statement) => {
                let (database, text) = (statement.database, statement.text());
                if self.filter.wants_statement(database, &text) {
                    let (transaction, position) = (statement.transaction, statement.position);
                    self.lines.schema(database, &text, transaction, position, &mut self.text);
                }
            }
            // They carry no row and no statement: there is nothing to print.
            Step::Begin(_)
            | Step::Commit(_)
            | Step::Idle { .. }
            | Step::Rotate { .. }
            | Step::Passed { .. } => {}
        }
        if self.text.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn rows(&mut self, mut rows: decode::Rows<'_>) -> Result<(), Error> {
        let (transaction, position) = (rows.transaction(), rows.position());
        let route = self.filter.route(rows.table());
        let table = match &route {
            Route::Skip => return Ok(()),
            Route::Publish => rows.table(),
            Route::Redact(redaction) => &redaction.table,
        };
        while let Some(change) = rows.next()? {
            let seen = match &route {
                Route::Redact(redaction) => redaction.apply(&change, &mut self.space),
                Route::Publish | Route::Skip => change,
            };
            self.lines.change(table, transaction, position, &seen, &mut self.text);
            if self.text.len() >= WRITE_BYTES {
                self.output.write_all(&self.text)?;
                self.text.clear();
            }
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.output.write_all(&self.text)?;
        self.text.clear();
        self.output.flush()?;
        Ok(())
    }
}
