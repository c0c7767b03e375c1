//! Steps of the decoder as lines of JSON on standard output: what `decode` and `tail` have in
//! common. What the lines can't show is told on standard error, as notes.

use std::collections::HashSet;
use std::io::{self, Write};

use super::people::People;
use super::style::{self, say};
use crate::change::{Column, Table};
use crate::decode::{self, Misfit, Statement, Step};
use crate::encode::Origin;
use crate::encode::formats::{EventPlace, FormatOptions, Formatter, RowContext, key_change};
use crate::encode::json::Lines;
use crate::filter::{Filter, MaskBuffer, Route};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// Tables of which is kept that they were told of.
const NOTED_MAX: usize = 4096;

/// Prints changes and statements.
pub(super) struct Printer<W> {
    output: W,
    lines: Lines,
    /// Set where people read.
    people: Option<People>,
    /// Set where rows are printed as another program does.
    foreign: Option<Foreign>,
    filter: Filter,
    space: MaskBuffer,
    text: Vec<u8>,
    passed_statements: u64,
    newest_commit_us: i64,
    /// Schemas of which was told what the log does not tell.
    noted: HashSet<u64>,
}

/// Rows as another program prints them.
struct Foreign {
    formatter: Formatter,
    origin: Origin,
}

impl Foreign {
    fn of(options: FormatOptions, stream: &str) -> Option<Self> {
        let origin = Origin {
            stream: stream.into(),
            server_uuid: String::new(),
            server_id: 0,
            epoch: 0,
            connector_version: env!("CARGO_PKG_VERSION"),
            snapshot: false,
            replay: None,
        };
        let is_own = options == FormatOptions::Binpulse;
        (!is_own).then(|| Self { formatter: Formatter::new(options), origin })
    }
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

/// Columns of the terminal.
fn width() -> usize {
    style::size().map_or(80, |(width, _)| width)
}

/// Tells something on standard error that is no failure.
pub(super) fn note(text: &str) {
    say!("binpulse: note: {text}");
}

impl<W: Write> Printer<W> {
    /// The same for people on a terminal.
    pub(super) fn for_people(self) -> Self {
        Self { people: Some(People::default()), ..self }
    }

    /// Prints what passes the filter in this format, as rows of this stream.
    pub(super) fn new(output: W, filter: Filter, format: FormatOptions, stream: &str) -> Self {
        Self {
            output,
            lines: Lines::default(),
            people: None,
            foreign: Foreign::of(format, stream),
            filter,
            space: MaskBuffer::default(),
            text: Vec::new(),
            passed_statements: 0,
            newest_commit_us: 0,
            noted: HashSet::new(),
        }
    }

    /// Whether any row of this table is printed.
    pub(super) fn wants(&self, database: &str, table: &str) -> bool {
        self.filter.wants(database, table)
    }

    /// Whether columns of this table could be left out or hashed.
    pub(super) fn masks(&self, database: &str, table: &str) -> bool {
        self.filter.masks(database, table)
    }

    /// Prints what a step has to say.
    pub(super) fn step(&mut self, step: Step<'_>) -> Result<(), Error> {
        match step {
            Step::Rows(rows) => self.rows(rows)?,
            // The other formats tell of statements in their own ways, for which one must understand them.
            Step::Schema(_) if self.foreign.is_some() => {}
            Step::Schema(statement) => {
                let (database, text) = (statement.database, statement.text());
                if self.filter.wants_statement(database, &text) {
                    let (transaction, position) = (statement.transaction, statement.position);
                    let out = &mut self.text;
                    match &mut self.people {
                        Some(people) => people.schema(database, &text, transaction, out, width()),
                        None => self.lines.schema(database, &text, transaction, position, out),
                    }
                }
            }
            Step::Changed(statement) => self.changed(&statement)?,
            // They carry no row and no statement: there is nothing to print.
            Step::Commit(commit) => {
                if let Some(xid) = commit.unseen_xa {
                    note(&format!(
                        "{}: XA COMMIT {xid}: its rows are missing: they were prepared before the \
                         position where reading began",
                        commit.transaction.start
                    ));
                }
            }
            Step::Begin(transaction) => self.newest_commit_us = transaction.committed_at_us,
            Step::Idle { .. } | Step::Rotate { .. } | Step::Passed { .. } => {}
        }
        if self.text.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Rows were changed by a statement: an error unless none of them would have been printed.
    fn changed(&mut self, statement: &Statement<'_>) -> Result<(), Error> {
        let written = statement.written();
        let about = match &written {
            Err(unread) => format!("whose tables are not known: {unread}"),
            Ok(written) => {
                let (selected, changed) = (statement.database, statement.changed_databases());
                match self.filter.misses(selected, written, changed, |_| false) {
                    Ok(()) => {
                        self.passed_statements += 1;
                        return Ok(());
                    }
                    Err(missed) => missed.to_string(),
                }
            }
        };
        Err(statement.refused(about).into())
    }

    /// Commit time of the newest transaction, microseconds since 1970 UTC; 0: there was none.
    pub(super) fn newest_commit_us(&self) -> i64 {
        self.newest_commit_us
    }

    /// Statement-based changes of tables that are not printed.
    pub(super) fn passed_statements(&self) -> u64 {
        self.passed_statements
    }

    fn rows(&mut self, mut rows: decode::Rows<'_>) -> Result<(), Error> {
        let (transaction, position) = (rows.transaction(), rows.position());
        let route = self.filter.route(rows.table());
        let table = match &route {
            Route::Skip => return Ok(()),
            Route::Unnamed => return Err(rows.misfit(Misfit::Unnamed).into()),
            // Shown as rows: their messages are the streamer's.
            Route::Publish | Route::Outbox(_) | Route::NoOutbox(_) => rows.table(),
            Route::Mask(mask) => &mask.table,
        };
        if !table.named {
            self.note_untold(table);
        }
        let output = &mut self.output;
        let mut drain = |text: &mut Vec<u8>| {
            output.write_all(text)?;
            text.clear();
            Ok(())
        };
        let mut row = 0;
        while let Some(change) = rows.next()? {
            let seen = match &route {
                Route::Mask(mask) => mask.apply(&change, &mut self.space),
                Route::Publish
                | Route::Skip
                | Route::Unnamed
                | Route::Outbox(_)
                | Route::NoOutbox(_) => change,
            };
            let text = &mut self.text;
            if let Some(Foreign { formatter, origin }) = &mut self.foreign {
                let splits = formatter.splits_key_changes();
                let parts = if splits { key_change(table, &seen) } else { None };
                for part in parts.as_ref().map_or(std::slice::from_ref(&seen), |parts| parts) {
                    let mut context = RowContext::new(origin, table, transaction, part);
                    context.event = Some(EventPlace { position, row });
                    formatter.row(&context, text);
                    text.push(b'\n');
                }
            } else if let Some(people) = &mut self.people {
                people.change(table, transaction, &seen, text, width());
            } else {
                self.lines.change(table, transaction, position, &seen, text, &mut drain)?;
            }
            row += 1;
            if text.len() >= WRITE_BYTES {
                drain(text)?;
            }
        }
        Ok(())
    }

    /// Tells once what the log does not tell of a table, so that its values may be read wrong.
    fn note_untold(&mut self, table: &Table) {
        if self.noted.len() >= NOTED_MAX {
            self.noted.clear();
        }
        if !self.noted.insert(table.fingerprint) {
            return;
        }
        let names = |is_untold: fn(&Column) -> bool| {
            let columns = table.columns.iter().filter(|column| is_untold(column));
            columns.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let name = format!("{}.{}", table.database, table.name);
        let integers = names(Column::has_untold_sign);
        if !integers.is_empty() {
            note(&format!(
                "{name}: the binary log does not say whether {integers} are unsigned: printed as \
                 signed; name the unsigned ones with `decode --unsigned`"
            ));
        }
        let texts = names(Column::has_untold_charset);
        if !texts.is_empty() {
            note(&format!(
                "{name}: the binary log does not name the character sets of {texts}, nor which of \
                 them are binary: what is valid UTF-8 is printed as text"
            ));
        }
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.output.write_all(&self.text)?;
        self.text.clear();
        self.output.flush()?;
        Ok(())
    }
}
