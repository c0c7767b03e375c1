//! Why events could not be decoded. Names places and numbers, never values of rows.

use std::sync::Arc;

use super::row::{CellError, ImageError};
use crate::binlog::kind;
use crate::change::Position;

/// Why decoding stopped, and at which event.
///
/// Every one of these but [`Fault::SchemaNeeded`] is definite: feeding the same bytes again ends the same. (Bytes that a broken
/// connection mangled differ the next time; hence [`Error::is_damage`].)
#[derive(Debug, thiserror::Error)]
#[error("{position}: {} event: {fault}", kind::name(*event_type))]
pub struct Error {
    /// Where the event starts, by the decoder's count.
    pub position: Position,
    /// Its type code; 0 when not even the header was whole.
    pub event_type: u8,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Error {
    /// The table that the event is of, as `database.table`, where one is.
    pub fn table(&self) -> Option<&str> {
        if let Fault::Row(row) = &self.fault {
            return Some(&row.table);
        }
        if let Fault::Schema(schema) = &self.fault {
            return Some(&schema.table);
        }
        if let Fault::Width { table, .. } = &self.fault {
            return Some(table);
        }
        if let Fault::Column(column) = &self.fault { Some(&column.table) } else { None }
    }
}

/// What is wrong with an event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The event ends inside a field.
    #[error("{what} needs {needed} bytes at byte {at} of the body, {left} are left")]
    Short {
        /// The field.
        what: &'static str,
        /// Offset in the event's body.
        at: usize,
        /// Bytes that the field has.
        needed: usize,
        /// Bytes that the event has left.
        left: usize,
    },
    /// A number of the format that cannot be.
    #[error("{what} is {found}, expected {expected}")]
    Unexpected {
        /// What the number stands for.
        what: &'static str,
        /// What the event says.
        found: u64,
        /// What would be valid.
        expected: &'static str,
    },
    /// An identifier that is not UTF-8.
    #[error("{what} at byte {at} of the body is not UTF-8, expected an identifier")]
    NotText {
        /// What it names.
        what: &'static str,
        /// Offset in the event's body.
        at: usize,
    },
    /// The header's length is not the number of bytes at hand.
    #[error("the header says {header} bytes, found {found}")]
    Size {
        /// Length by the header.
        header: u32,
        /// Bytes at hand.
        found: usize,
    },
    /// The event's bytes are not those that were written.
    #[error("CRC32 checksum is {found:08x}, expected {expected:08x}: the event is damaged")]
    Checksum {
        /// Checksum of the bytes at hand.
        found: u32,
        /// Checksum that the event carries.
        expected: u32,
    },
    /// The event's end is not where the previous one's end and its length say.
    #[error("the header says that the event ends at {header}, expected {expected} (modulo 2^32)")]
    Gap {
        /// End by the header, 32 bits.
        header: u32,
        /// End by the count.
        expected: u64,
    },
    /// An event type that this version does not know, not marked as ignorable: it could carry rows.
    #[error("event type {0} is not known and not marked as ignorable, so it could carry rows")]
    UnknownEvent(u8),
    /// An event that needs a format description, before one.
    #[error("found before any format description event, expected one first")]
    NoFormat,
    /// The log says that it has a gap.
    #[error("the server marks an incident ({code}): changes may be missing from the log")]
    Incident {
        /// 1: LOST_EVENTS.
        code: u16,
    },
    /// A change that was logged as a statement, not as rows.
    #[error(
        "statement-based change in the log: {statement} {about} (database {database:?} was selected), \
         expected row events (binlog_format=ROW)"
    )]
    StatementBased {
        /// First words of the statement.
        statement: &'static str,
        /// Database that was selected.
        database: String,
        /// Of which table, or why that is not known.
        about: String,
    },
    /// LOAD DATA logged as a statement, by a server before 5.0.
    #[error("LOAD DATA in the log as a statement, expected row events (binlog_format=ROW)")]
    LoadData,
    /// The log is encrypted from here on.
    #[error("the log is encrypted (scheme {scheme}); read it through a server, which decrypts it")]
    Encrypted {
        /// Encryption scheme's number.
        scheme: u8,
    },
    /// A transaction continues where something else should be, or the reverse.
    #[error("found {found}, expected {expected}")]
    Order {
        /// State in which the event came.
        found: &'static str,
        /// What would have been in order.
        expected: &'static str,
    },
    /// Rows of a table id that no table map of the statement has.
    #[error("rows of table id {table_id}, expected a table map with this id before them")]
    NotMapped {
        /// The id.
        table_id: u64,
    },
    /// Rows whose number of columns is not their table map's.
    #[error("rows of {found} columns of table {table}, expected {expected}")]
    Width {
        /// The table, `database.table`.
        table: String,
        /// Columns by the rows event.
        found: u64,
        /// Columns by the table map.
        expected: usize,
    },
    /// A column that can't be read.
    #[error(transparent)]
    Column(Box<ColumnFault>),
    /// A row that can't be read.
    #[error(transparent)]
    Row(Box<RowFault>),
    /// Not yet an error: rows of a table whose columns the log does not name, while
    /// [`Config::asks_for_schemas`](super::Config::asks_for_schemas) is set. No row of the event came
    /// out; [`Steps::describe`](super::Steps::describe) is to be called, then the steps continue.
    #[error("the log does not name the columns of table {database}.{table}")]
    SchemaNeeded {
        /// Its database.
        database: Arc<str>,
        /// Its name.
        table: Arc<str>,
    },
    /// Rows of a table whose description is not to be had, or not that of the rows.
    #[error(transparent)]
    Schema(Box<SchemaFault>),
    /// A compressed transaction or event that does not decompress to what it says.
    #[error("compressed payload: {0}")]
    Payload(String),
    /// An event out of a compressed one that is larger than allowed, or than a server could have made.
    #[error(
        "an event of {bytes} bytes inside a compressed one, expected at most {limit} \
         (decode.expanded_event_max, `decode --event-max`; no server makes more than 1 GiB)"
    )]
    TooLarge {
        /// Bytes that it says it has.
        bytes: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// Anything about XA transactions.
    #[error(transparent)]
    Xa(#[from] XaFault),
    /// Not an event's fault: steps were left, or an error went before.
    #[error("fed before the last event's steps were taken, or after an error")]
    Misuse,
}

/// A column that a table map describes in a way that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("table {table}, column {} ({name}): {error}", column + 1)]
pub struct ColumnFault {
    /// The table, `database.table`.
    pub table: String,
    /// Ordinal of the column, from 0.
    pub column: usize,
    /// Its name, `@1` when the log carries none.
    pub name: String,
    /// What is wrong.
    pub error: CellError,
}

/// A table that the log does not name the columns of, and nobody else can.
#[derive(Debug, thiserror::Error)]
#[error("table {table}: {misfit}")]
pub struct SchemaFault {
    /// The table, `database.table`.
    pub table: String,
    /// What is wrong.
    pub misfit: Misfit,
}

/// Why a description of a table was not taken for the one that its rows were written by.
///
/// Each ends in what to do. `FULL` metadata helps from then on only: rows that are in the log already
/// stay without names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// There is none.
    #[error(
        "the binlog does not name its columns, and information_schema does not show it: it was \
         dropped or renamed since, or the account lacks SELECT on it; grant that, exclude the \
         table, or start after these rows"
    )]
    Missing,
    /// Another number of columns.
    #[error(
        "found {log} columns in the binlog, {dictionary} in information_schema: it was altered \
         since these rows were written, or the account lacks SELECT on some columns; grant that, \
         exclude the table, or start after these rows"
    )]
    Width {
        /// Columns by the log.
        log: usize,
        /// Columns by the description.
        dictionary: usize,
    },
    /// A column is another.
    #[error(
        "column {} ({name}): found `{log}` in the binlog, `{dictionary}` in information_schema: it \
         was altered since these rows were written; exclude the table, or start after these rows",
        column + 1
    )]
    Column {
        /// Its ordinal, from 0.
        column: usize,
        /// Its name by the description.
        name: String,
        /// What the log says of it.
        log: String,
        /// What the description says of it.
        dictionary: String,
    },
    /// Names are needed, and nobody can give them.
    #[error(
        "the binlog does not name its columns, and settings speak of its columns by name: the \
         columns of filter.drop_columns, filter.hash_columns and outbox.columns, and the mark of \
         canary.paths, can't be found; SET GLOBAL binlog_row_metadata = FULL, and start after these rows, or set \
         source.schema_fallback = \"information_schema\""
    )]
    Unnamed,
    /// The description may be that of a later table, and names decide what may leave.
    #[error(
        "the binlog does not name its columns, and the table was created or altered in the second of \
         these rows or later: what information_schema calls a column now may have had another name, \
         which filter.drop_columns, filter.hash_columns or canary.paths speak of; exclude the table, or \
         start after these rows; binlog_row_metadata = FULL prevents it (MySQL 8.0.1, MariaDB 10.5 and \
         newer)"
    )]
    ChangedSince,
    /// An outbox table without a column that its messages need.
    #[error(
        "it is one of outbox.tables and has no column `{column}`, as outbox.columns and \
         outbox.attributes have it after filter.drop_columns: name its columns there, or start after \
         these rows"
    )]
    NoOutbox {
        /// Name of the column.
        column: String,
    },
    /// A message that was sent is changed.
    #[error(
        "a row of an outbox table was updated, and outbox.on_update is halt: only insert rows there, \
         and delete them; set outbox.on_update = \"warn\" to go on"
    )]
    OutboxUpdate,
    /// A description that contradicts itself.
    #[error(
        "what information_schema says of its primary key contradicts itself: it is being altered, or \
         the account may not see all of it; grant SELECT on it, then start again"
    )]
    Key,
}

/// A row that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("table {table}, row {row} of the event, {image} image{}: {error}", column_label(column.as_deref()))]
pub struct RowFault {
    /// The table, `database.table`.
    pub table: String,
    /// Number of the row in its event, from 0.
    pub row: u64,
    /// `before` or `after`.
    pub image: &'static str,
    /// Name of the column, where it is one column's fault.
    pub column: Option<String>,
    /// What is wrong.
    pub error: ImageError,
}

fn column_label(column: Option<&str>) -> String {
    column.map(|name| format!(", column {name:?}")).unwrap_or_default()
}

/// What can be wrong around XA transactions.
#[derive(Debug, thiserror::Error)]
pub enum XaFault {
    /// An XA COMMIT of rows that we never saw: they were prepared before the place where reading
    /// began.
    #[error(
        "XA COMMIT {xid}, but its XA PREPARE is before the position where reading began: its rows \
         are not available; start before it, or accept the loss"
    )]
    Unseen {
        /// The transaction, as MySQL writes it.
        xid: String,
    },
    /// XA START of a transaction that is prepared already.
    #[error("XA START {xid}, which is prepared already, expected its XA COMMIT or XA ROLLBACK")]
    Twice {
        /// The transaction, as MySQL writes it.
        xid: String,
    },
    /// An XA statement for another transaction than the one that is open.
    #[error("XA statement of {found}, expected {expected}")]
    Other {
        /// The transaction that it names.
        found: String,
        /// The transaction that is open.
        expected: String,
    },
    /// An XA identifier that can't be.
    #[error("XA identifier {what}, expected X'..',X'..',n of at most 64 bytes each")]
    Identifier {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Held rows outgrew their memory, and there is no folder for them.
    #[error(
        "rows that wait for their transaction's decision take {held} bytes, more than {limit}, and \
         no folder is set for the rest (xa_spool_folder)"
    )]
    TooLarge {
        /// Bytes that would be held.
        held: u64,
        /// The limit.
        limit: u64,
    },
    /// The file of held rows can't be written or read.
    #[error("the spool of rows that wait for their transaction's decision: {0}")]
    Spool(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::row::CellError;

    #[test]
    fn a_row_that_can_not_be_read_names_its_column_where_it_is_one_columns_fault() {
        let told = |column: Option<&str>| {
            let fault = RowFault {
                table: "d.t".to_owned(),
                row: 3,
                image: "after",
                column: column.map(str::to_owned),
                error: ImageError::Frame(CellError::TooLong),
            };
            fault.to_string()
        };
        let front = "table d.t, row 3 of the event, after image";
        assert!(told(None).starts_with(&format!("{front}: ")), "{}", told(None));
        let named = told(Some("a"));
        assert!(named.starts_with(&format!("{front}, column \"a\": ")), "{named}");
    }
}
