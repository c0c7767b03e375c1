//! A session on the server that chunks are read from.
//!
//! Each chunk is read in a transaction of its own, read-only, in a consistent view, of less than a
//! second: the server ends a SELECT that takes longer. Nothing that is selected, and no key, comes into
//! messages.

use std::sync::Arc;
use std::time::Duration;

use super::layout::{IndexPart, Layout, Unreadable};
use super::query::{BadKey, Range};
use super::values::{ChunkRows, Filling};
use crate::change::{GtidSet, Position};
use crate::mysql::{self, Row, Session, Value};
use crate::source::{self, Dictionary, Flavor, server_name};

/// Everything that the loop has processed when a chunk is asked for.
#[derive(Debug, Clone)]
pub struct Armed {
    /// Transactions with GTIDs.
    pub gtids: GtidSet,
    /// Up to where the log was read.
    pub position: Position,
    /// The stream's server, as [`Identity::name`](source::Identity::name) has it.
    pub server: String,
}

/// What became of a SELECT.
#[derive(Debug)]
pub enum Read {
    /// The rows.
    Rows(ChunkRows),
    /// The view is older than what was processed: open another.
    NotVisible,
    /// The table is not as the layout has it: ask for its layout again.
    SchemaChanged,
    /// The server ended it, or a lock kept it waiting: ask for fewer rows.
    TooSlow,
}

/// A chunk, or what is needed for one, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The server can't be reached, or does not answer.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// A statement without values in it failed.
    #[error(transparent)]
    Statement(#[from] mysql::Error),
    /// The SELECT failed. The server's words may hold values, and are left out.
    #[error("reading rows of {table}: the server answers error {code}")]
    Select {
        /// The table.
        table: String,
        /// The server's number.
        code: u16,
    },
    /// A value that is none of its column's type.
    #[error("{table}, column {column}: expected {expected}")]
    Value {
        /// The table.
        table: String,
        /// The column's name.
        column: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A key in the range is none of this table.
    #[error("{table}: the key to go on behind is not one of its own: {reason}")]
    Key {
        /// The table.
        table: String,
        /// What is wrong with it.
        #[source]
        reason: BadKey,
    },
    /// A place in the log of one server of MariaDB means nothing on another.
    #[error(
        "rows are read from {found}, and the stream comes from {expected}: on MariaDB they have to be \
         the same server"
    )]
    OtherServer {
        /// Where rows are read.
        found: String,
        /// Where the stream comes from.
        expected: String,
    },
    /// The server does not say where its view is in the binary log.
    #[error("the server does not say where its view lies in the binary log: is its log on?")]
    NoPlace,
}

impl ReadError {
    /// Whether a lock of somebody else kept a statement waiting: nothing is wrong, and it is over when
    /// that is.
    pub fn is_of_lock(&self) -> bool {
        matches!(self, Self::Statement(error) if error.code().is_some_and(|it| code::LOCKED.contains(&it)))
    }

    /// Whether the reader is of no more use: connect another.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Statement(error) => error.is_fatal(),
            Self::Source(_) => true,
            Self::Select { .. }
            | Self::Value { .. }
            | Self::Key { .. }
            | Self::OtherServer { .. }
            | Self::NoPlace => false,
        }
    }
}

/// What became of an attempt to lock a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// Nobody can write to it.
    Held,
    /// Others use it.
    Busy,
    /// It is gone, or is being altered.
    SchemaChanged,
    /// It can't be, for this reason.
    Refused(String),
}

/// A session that chunks are read in.
#[derive(Debug)]
pub struct Reader {
    session: Session,
    dictionary: Dictionary,
    server: String,
    locks_keyless: bool,
}

/// Longest time of all SELECTs in one view, milliseconds.
const SELECTS_MS_MAX: u32 = 900;
/// Between two looks of servers that know no waiting.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// For how long the server keeps the lock of a session that says nothing: a process that is frozen, or
/// cut off, must not hold up writers.
const LOCK_SECONDS_MAX: u32 = 2;

/// Numbers of the server's errors, as in its manual.
mod code {
    pub(super) const DENIED: [u16; 2] = [1142, 1143];
    /// A privilege for the whole database is missing.
    pub(super) const DENIED_DATABASE: u16 = 1044;
    pub(super) const UNKNOWN_TABLE: [u16; 2] = [1146, 1049];
    pub(super) const NO_SUCH_FUNCTION: u16 = 1305;
    /// A definition that changed since the view was opened; then a table, column or index that is gone.
    pub(super) const SCHEMA_CHANGED: [u16; 5] = [1412, 1146, 1049, 1054, 1176];
    /// A wait for a lock that took too long, or was ended for a deadlock.
    pub(super) const LOCKED: [u16; 2] = [1205, 1213];
    /// A query that took too long (MySQL, MariaDB), was interrupted, waited for a lock, or was chosen
    /// to end a deadlock.
    pub(super) const TOO_SLOW: [u16; 5] = [3024, 1969, 1317, 1205, 1213];
}

impl Reader {
    /// Connects to the host with this number of the configuration, and prepares the session.
    pub async fn connect(config: &source::Config, host: usize) -> Result<Self, ReadError> {
        let mut session = Session::connect(&config.session(host)?).await?;
        let server = server_name(&mut session).await?;
        let dictionary = Dictionary::open(&mut session).await?;
        for sql in [
            // Dates as they are stored; names in backticks only; CHAR without its padding.
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",
            "SET NAMES utf8mb4",
            // Text comes as it is stored.
            "SET character_set_results = NULL",
            "SET SESSION lock_wait_timeout = 1",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SET SESSION TRANSACTION READ ONLY",
        ] {
            session.query(sql).await?;
        }
        Ok(Self { session, dictionary, server, locks_keyless: false })
    }

    /// The server's name, as [`Identity::name`](source::Identity::name) has it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether tables without a key have a layout: who reads them [locks](Self::lock) them.
    pub fn locks_keyless(&mut self, locks: bool) {
        self.locks_keyless = locks;
    }

    /// Locks a table against writes: those that were begun are over and visible then, so that a view
    /// shows what the log has of it, up to the log's end. Waits for a second at most, and so do writers
    /// behind it. The lock ends with [`Self::unlock`], with the session, and when the session has said
    /// nothing for two seconds.
    pub async fn lock(&mut self, layout: &Layout) -> Result<Lock, ReadError> {
        // MySQL 5.6 would not wait for transactions that have written to the table.
        let row = self.session.query_first("SELECT @@version").await?;
        let version = row.and_then(|row| row.text(0)).unwrap_or_default();
        if !self.is_maria() && version.starts_with("5.6.") {
            let why = "it has no key, and its server is older than MySQL 5.7: a lock does not wait for \
                       transactions there";
            return Ok(Lock::Refused(why.to_owned()));
        }
        self.session.query(&format!("SET SESSION wait_timeout = {LOCK_SECONDS_MAX}")).await?;
        let sql = format!("LOCK TABLES {} READ", layout.query.from);
        let Err(error) = self.session.query(&sql).await else { return Ok(Lock::Held) };
        match error.code() {
            Some(code) if code::LOCKED.contains(&code) => Ok(Lock::Busy),
            Some(code) if code == code::DENIED_DATABASE || code::DENIED.contains(&code) => {
                let database = super::query::quoted(&layout.table.database);
                Ok(Lock::Refused(format!(
                    "it has no key, and the account may not lock it: grant LOCK TABLES on {database}.*"
                )))
            }
            Some(code) if code::UNKNOWN_TABLE.contains(&code) => Ok(Lock::SchemaChanged),
            _ => Err(error.into()),
        }
    }

    /// Ends the lock, if there is one.
    pub async fn unlock(&mut self) -> Result<(), ReadError> {
        self.session.query("UNLOCK TABLES").await?;
        self.session.query("SET SESSION wait_timeout = DEFAULT").await?;
        Ok(())
    }

    fn is_maria(&self) -> bool {
        self.dictionary.flavor() == Flavor::Maria
    }

    /// Tables that the account may see, without those of the server itself.
    pub async fn tables(&mut self) -> Result<Vec<(String, String)>, ReadError> {
        let sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN \
             ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY 1, 2";
        let rows = self.session.query(sql).await?;
        Ok(rows.iter().filter_map(|row| Some((row.text(0)?, row.text(1)?))).collect())
    }

    /// How a table is read, as it is now.
    pub async fn layout(
        &mut self,
        database: &str,
        table: &str,
    ) -> Result<Result<Layout, Unreadable>, ReadError> {
        let full_name =
            format!("{}.{}", super::query::quoted(database), super::query::quoted(table));
        let estimated_rows = match self.kind(database, table).await? {
            Ok(rows) => rows,
            Err(unreadable) => return Ok(Err(unreadable)),
        };
        let probe = format!("SELECT * FROM {full_name} LIMIT 0");
        if let Err(error) = self.session.query(&probe).await {
            return unreadable(error).map(Err);
        }
        let Some(description) =
            self.dictionary.describe(&mut self.session, database, table).await?
        else {
            return Ok(Err(Unreadable::Missing));
        };
        let parts = match self.session.query_named(&format!("SHOW INDEX FROM {full_name}")).await {
            Ok(rows) => index_parts(&rows),
            Err(error) => return unreadable(error).map(Err),
        };
        let (maria, keyless) = (self.is_maria(), self.locks_keyless);
        let layout = Layout::new((database, table), &description, maria, &parts, keyless);
        let mut layout = match layout {
            Ok(layout) => Layout { estimated_rows, ..layout },
            Err(unreadable) => return Ok(Err(unreadable)),
        };
        let mut filling = Filling::new(Arc::clone(&layout.plan), 0);
        let sql = layout.query.rows("", &Range::default());
        let sql = sql.map_err(|reason| key_error(&layout, reason))?;
        if let Err(error) = self.session.stream(&sql, &mut filling).await {
            return match error.code() {
                Some(code) if code::SCHEMA_CHANGED.contains(&code) => {
                    Ok(Err(Unreadable::Unsettled))
                }
                _ => unreadable(error).map(Err),
            };
        }
        layout.definitions = filling.definitions();
        Ok(Ok(layout))
    }

    /// About how many rows a table has, if its kind is one that can be read.
    async fn kind(
        &mut self,
        database: &str,
        table: &str,
    ) -> Result<Result<Option<u64>, Unreadable>, ReadError> {
        let sql = "SELECT t.TABLE_TYPE, t.ENGINE, t.TABLE_ROWS, e.TRANSACTIONS \
             FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e \
             ON e.ENGINE = t.ENGINE WHERE t.TABLE_SCHEMA = ? AND t.TABLE_NAME = ?";
        let names = vec![Value::from(database), Value::from(table)];
        let rows = self.session.exec(sql, names).await?;
        let Some(row) = rows.first() else { return Ok(Err(Unreadable::Missing)) };
        let kind = row.text(0).unwrap_or_default();
        if kind != "BASE TABLE" {
            return Ok(Err(Unreadable::Kind(kind.to_lowercase())));
        }
        if row.text(3).as_deref() == Some("NO") {
            return Ok(Err(Unreadable::Engine(row.text(1).unwrap_or_default())));
        }
        Ok(Ok(row.unsigned(2)?))
    }

    /// Whether the server takes a condition on the table's rows; if not, why, in its words.
    pub async fn check_condition(
        &mut self,
        layout: &Layout,
        condition: &str,
    ) -> Result<Result<(), String>, ReadError> {
        let from = &layout.query.from;
        // In parentheses it must not end early, and without them it must not need them.
        for condition in [format!("({condition}\n)"), condition.to_owned()] {
            let sql = format!("EXPLAIN SELECT 1 FROM {from} WHERE {condition}");
            match self.session.query(&sql).await {
                Ok(_) => {}
                Err(error) if error.is_fatal() => return Err(error.into()),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        Ok(Ok(()))
    }

    /// Where this server's log ends now.
    pub async fn log_end(&mut self) -> Result<Position, ReadError> {
        Ok(log_end(&mut self.session).await?)
    }

    /// Why nobody could tell whether a view shows what was processed, and what helps; `None`: it can
    /// be told.
    pub async fn cannot_prove_visibility(&mut self) -> Result<Option<String>, ReadError> {
        if self.is_maria() {
            return Ok(None);
        }
        let row = self.session.query_first("SELECT @@GLOBAL.gtid_mode").await?;
        let mode = row.and_then(|row| row.text(0)).unwrap_or_default();
        Ok((mode != "ON").then(|| {
            format!(
                "a snapshot needs GTIDs, and gtid_mode is {mode} on the server that is read: switch \
                 them on with `SET PERSIST gtid_mode = ON` in the steps that \
                 docs/operate/gtid-mode.md gives"
            )
        }))
    }

    /// Waits until what was processed is visible here, for at most about `within`; whether it is. On
    /// MariaDB nobody can wait: [`Reader::read`] looks at its view.
    pub async fn wait_until_visible(
        &mut self,
        armed: &Armed,
        within: Duration,
    ) -> Result<bool, ReadError> {
        if self.is_maria() {
            return Ok(true);
        }
        let give_up = tokio::time::Instant::now() + within;
        let set = armed.gtids.to_string();
        let mut waits = true;
        loop {
            // A second at a time: a session that waits answers nothing else.
            let (sql, visible) = if waits {
                (format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', 1)"), "0")
            } else {
                (format!("SELECT GTID_SUBSET('{set}', @@GLOBAL.gtid_executed)"), "1")
            };
            match self.session.query_first(&sql).await {
                Ok(row) => {
                    if row.and_then(|row| row.text(0)).as_deref() == Some(visible) {
                        return Ok(true);
                    }
                }
                // MySQL before 5.7.5.
                Err(error) if waits && error.code() == Some(code::NO_SUCH_FUNCTION) => {
                    waits = false;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if tokio::time::Instant::now() >= give_up {
                return Ok(false);
            }
            if !waits {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
        }
    }

    /// Reads a range in a view of its own.
    pub async fn read(
        &mut self,
        layout: &Layout,
        range: &Range<'_>,
        armed: &Armed,
    ) -> Result<Read, ReadError> {
        if self.is_maria() && armed.server != self.server {
            let (found, expected) = (self.server.clone(), armed.server.clone());
            return Err(ReadError::OtherServer { found, expected });
        }
        self.session.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
        let read = self.read_in_view(layout, range, armed).await;
        if !read.as_ref().is_err_and(ReadError::is_fatal) {
            self.session.query("COMMIT").await?;
        }
        read
    }

    async fn read_in_view(
        &mut self,
        layout: &Layout,
        range: &Range<'_>,
        armed: &Armed,
    ) -> Result<Read, ReadError> {
        if self.is_maria() && !self.shows(&armed.position).await? {
            return Ok(Read::NotVisible);
        }
        let mut range = *range;
        let mut boundary = None;
        // Rows that do not meet the condition count too, or a chunk could take for ever.
        let is_bounded = range.condition.is_some() && range.keys.is_empty();
        let (front, hint) = self.limits(if is_bounded { 2 } else { 1 });
        if is_bounded {
            let sql = layout.query.boundary(&hint, &range);
            let sql = sql.map_err(|reason| key_error(layout, reason))?;
            match self.session.query(&format!("{front}{sql}")).await {
                Ok(rows) => boundary = rows.first().and_then(|row| literals(layout, row)),
                Err(error) => return refused(layout, error),
            }
            range.upto = boundary.as_deref().or(range.upto);
        }
        let sql = layout.query.rows(&hint, &range).map_err(|reason| key_error(layout, reason))?;
        let mut filling = Filling::new(Arc::clone(&layout.plan), range.bytes_max);
        if let Err(error) = self.session.stream(&format!("{front}{sql}"), &mut filling).await {
            return refused(layout, error);
        }
        if filling.definitions() != layout.definitions {
            return Ok(Read::SchemaChanged);
        }
        if let Some(fault) = filling.fault {
            let column = layout.table.columns.get(fault.ordinal);
            return Err(ReadError::Value {
                table: label(layout),
                column: column.map(|column| column.name.clone()).unwrap_or_default(),
                expected: fault.expected,
            });
        }
        let Filling { mut rows, came, is_full, .. } = filling;
        match (is_full, is_bounded) {
            (true, _) => rows.end(false, None),
            (false, true) => rows.end(boundary.is_none(), boundary),
            (false, false) => rows.end(came < range.rows_max, None),
        }
        Ok(Read::Rows(rows))
    }

    /// How the server is told to end each of so many SELECTs: what stands in front of it, and behind its
    /// first word. MySQL before 5.7.8 takes the second for a comment.
    fn limits(&self, selects: u32) -> (String, String) {
        let each = SELECTS_MS_MAX / selects;
        if self.is_maria() {
            let seconds = f64::from(each) / 1000.0;
            return (format!("SET STATEMENT max_statement_time={seconds} FOR "), String::new());
        }
        (String::new(), format!("/*+ MAX_EXECUTION_TIME({each}) */ "))
    }

    /// Whether the view that was just opened shows all that lies in front of a place in the log.
    async fn shows(&mut self, place: &Position) -> Result<bool, ReadError> {
        let rows = self.session.query("SHOW STATUS LIKE 'binlog_snapshot_%'").await?;
        let named = |name: &str| {
            let row = rows
                .iter()
                .find(|row| row.text(0).is_some_and(|found| found.eq_ignore_ascii_case(name)));
            row.and_then(|row| row.text(1)).filter(|text| !text.is_empty())
        };
        let file = named("Binlog_snapshot_file");
        let offset = named("Binlog_snapshot_position").and_then(|text| text.parse::<u64>().ok());
        let (file, offset) = file.zip(offset).ok_or(ReadError::NoPlace)?;
        Ok(is_at_or_behind(&Position::new(file, offset), place))
    }
}

/// Files are numbered in the order in which they are written; the number grows beyond six digits.
pub(super) fn is_at_or_behind(found: &Position, place: &Position) -> bool {
    if found.is_in_file_of(place) {
        return found.offset >= place.offset;
    }
    let number = |position: &Position| {
        let (_, number) = position.file.rsplit_once('.')?;
        number.parse::<u64>().ok()
    };
    number(found).zip(number(place)).is_some_and(|(found, place)| found > place)
}

/// Where a session's server writes its log now.
pub async fn log_end(session: &mut Session) -> Result<Position, mysql::Error> {
    // MySQL from 8.2 on knows the first, all others the second.
    let mut refusal = None;
    for sql in ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"] {
        match session.query_first(sql).await {
            Ok(Some(row)) => {
                if let (Some(file), Some(offset)) = (row.text(0), row.unsigned(1)?) {
                    return Ok(Position::new(file, offset));
                }
            }
            Ok(None) => {}
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.unwrap_or(mysql::Error::Unexpected {
        column: 0,
        found: "nothing".to_owned(),
        expected: "the file that the binary log is written to",
    }))
}

/// What a refusal says of a table.
fn unreadable(error: mysql::Error) -> Result<Unreadable, ReadError> {
    match error.code() {
        Some(code) if code::DENIED.contains(&code) => Ok(Unreadable::Denied),
        Some(code) if code::UNKNOWN_TABLE.contains(&code) => Ok(Unreadable::Missing),
        _ => Err(error.into()),
    }
}

/// What a refusal of a SELECT in a view means.
fn refused(layout: &Layout, error: mysql::Error) -> Result<Read, ReadError> {
    match error.code() {
        Some(code) if code::SCHEMA_CHANGED.contains(&code) => Ok(Read::SchemaChanged),
        Some(code) if code::TOO_SLOW.contains(&code) => Ok(Read::TooSlow),
        Some(code) => Err(ReadError::Select { table: label(layout), code }),
        None => Err(error.into()),
    }
}

fn key_error(layout: &Layout, reason: BadKey) -> ReadError {
    ReadError::Key { table: label(layout), reason }
}

fn label(layout: &Layout) -> String {
    format!("{}.{}", layout.table.database, layout.table.name)
}

/// The key in a row that has nothing else.
fn literals(layout: &Layout, row: &Row) -> Option<String> {
    let mut text = String::new();
    for (at, column) in layout.query.key.iter().enumerate() {
        let Value::Bytes(value) = row.value(at) else { return None };
        if !column.kind.accepts(value) {
            return None;
        }
        text.push_str(if at == 0 { "" } else { "," });
        column.kind.write(value, &mut text);
    }
    Some(text)
}

/// The parts of the unique indexes that `SHOW INDEX` lists.
fn index_parts(rows: &mysql::Table) -> Vec<IndexPart> {
    let part = |row: usize| {
        let text = |name: &str| rows.text(row, name);
        if text("Non_unique")? != "0" {
            return None;
        }
        let is = |name: &str, value: &str| text(name).is_some_and(|text| text == value);
        let unusable = if !is("Index_type", "BTREE") {
            Some("is not a BTREE: it has no order")
        } else if is("Visible", "NO") || is("Ignored", "YES") {
            Some("is invisible to the server's optimizer")
        } else {
            None
        };
        Some(IndexPart {
            index: text("Key_name")?,
            column: text("Column_name"),
            is_prefix: text("Sub_part").is_some(),
            nullable: is("Null", "YES"),
            descending: is("Collation", "D"),
            unusable,
        })
    };
    (0..rows.rows.len()).filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_compared_by_the_number_of_their_file() {
        let place = Position::new("binlog.000009", 100);
        for (found, expected) in [
            (Position::new("binlog.000009", 100), true),
            (Position::new("binlog.000009", 99), false),
            (Position::new("binlog.000010", 4), true),
            (Position::new("binlog.1000000", 4), true),
            (Position::new("binlog.000008", 1_000), false),
            (Position::new("binlog", 1_000), false),
        ] {
            assert_eq!(is_at_or_behind(&found, &place), expected, "{found}");
        }
    }

    #[test]
    fn refusals_become_what_follows_from_them() {
        let server = |code| mysql::Error::Server {
            code,
            state: "HY000".to_owned(),
            message: "near 'secret'".to_owned(),
        };
        for code in [1142, 1143] {
            assert_eq!(unreadable(server(code)).expect("a reason"), Unreadable::Denied);
        }
        assert_eq!(unreadable(server(1146)).expect("a reason"), Unreadable::Missing);
        unreadable(server(1064)).expect_err("no reason");
    }
}
