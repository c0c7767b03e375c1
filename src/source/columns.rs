//! Tables as `information_schema` describes them, for logs that do not name their columns.
//!
//! The answers are about now, not about when the rows were written: whoever asks must hold them
//! against the log (`decode` does). The account needs SELECT on the tables, or sees nothing of them.

use std::collections::HashMap;

use super::{Config, Error, Flavor, Step};
use crate::change::{ColumnDescription, Description};
use crate::mysql::{Row, Session, Value};

/// Asks one server. The session is opened by the first question and kept.
#[derive(Debug)]
pub struct Columns {
    config: Config,
    host: usize,
    /// The server that the questions are meant for, as [`Identity::name`](super::Identity::name) has
    /// it.
    server: String,
    session: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    session: Session,
    dictionary: Dictionary,
}

/// What it takes to understand the answers of one server.
#[derive(Debug)]
pub struct Dictionary {
    flavor: Flavor,
    /// Ids of the collations by name.
    collations: HashMap<String, u16>,
}

/// Id of a collation for which the server tells none: no collation has it.
const COLLATION_UNKNOWN: u16 = u16::MAX;
/// Times that a table may change while it is asked for.
const ATTEMPTS_MAX: u32 = 3;

impl Columns {
    /// Asks the host with this number of the configuration, and only if it is `server`, the one that
    /// the stream comes from, named as by [`Identity::name`](super::Identity::name).
    pub fn new(config: &Config, host: usize, server: impl Into<String>) -> Self {
        Self { config: config.clone(), host, server: server.into(), session: None }
    }

    /// The table as it is now; `None` when there is none, or none that the account may see.
    ///
    /// # Errors
    ///
    /// A server that can't be asked within the configured deadlines, or is another one.
    pub async fn describe(
        &mut self,
        database: &str,
        table: &str,
    ) -> Result<Option<Description>, Error> {
        if let Some(mut opened) = self.session.take() {
            // A session that idled for long may be gone; one that works is kept.
            let Opened { session, dictionary } = &mut opened;
            if let Ok(found) = dictionary.describe(session, database, table).await {
                self.session = Some(opened);
                return Ok(found);
            }
        }
        let Opened { mut session, dictionary } = self.open().await?;
        let found = dictionary.describe(&mut session, database, table).await?;
        self.session = Some(Opened { session, dictionary });
        Ok(found)
    }

    async fn open(&self) -> Result<Opened, Error> {
        let mut session = Session::connect(&self.config.session(self.host)?).await?;
        let found = server_name(&mut session).await?;
        if found != self.server {
            // Behind the address stands another server than a moment ago: dial again.
            return Err(Error::Closed { step: Step::SetUp });
        }
        let dictionary = Dictionary::open(&mut session).await?;
        Ok(Opened { session, dictionary })
    }
}

/// What [`Identity::name`](super::Identity::name) is on a connection of SQL.
pub async fn server_name(session: &mut Session) -> Result<String, Error> {
    let uuid = unless_refused(session.query("SELECT @@GLOBAL.server_uuid").await)?;
    if let Some(uuid) = uuid.and_then(|rows| rows.first()?.text(0)) {
        return Ok(uuid.to_ascii_lowercase());
    }
    let row = session.query_first("SELECT @@GLOBAL.server_id").await?;
    Ok(format!("mariadb-{}", row.and_then(|row| row.text(0)).unwrap_or_default()))
}

/// Names to ids. MariaDB has collations of several character sets under one name, and tells the full
/// names elsewhere.
async fn collations(session: &mut Session) -> Result<HashMap<String, u16>, Error> {
    let mut ids = HashMap::new();
    for sql in [
        "SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS",
        "SELECT FULL_COLLATION_NAME, ID FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY",
    ] {
        let rows = unless_refused(session.query(sql).await)?.unwrap_or_default();
        ids.extend(rows.iter().filter_map(|row| Some((row.text(0)?, row.text(1)?.parse().ok()?))));
    }
    Ok(ids)
}

/// `None` for what the server does not know; a lost session stays an error.
fn unless_refused<T>(answer: Result<T, crate::mysql::Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_fatal() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

impl Dictionary {
    /// Prepares a session, whose time zone is UTC from here on, and learns what it takes.
    pub async fn open(session: &mut Session) -> Result<Self, Error> {
        session.query("SET time_zone = '+00:00'").await?;
        // Generated keys are columns of the log, shown or not (MySQL 8.0.30 and newer).
        let show = "SET show_gipk_in_create_table_and_information_schema = ON";
        unless_refused(session.query(show).await)?;
        let version = session.query_first("SELECT VERSION()").await?;
        let version = version.and_then(|row| row.text(0)).unwrap_or_default();
        let flavor = Flavor::of(&version);
        Ok(Self { flavor, collations: collations(session).await? })
    }

    /// The server's family.
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The table as it is now; `None` when there is none, or none that the account may see.
    ///
    /// Keys are asked for between two looks at the columns, which must be the same.
    pub async fn describe(
        &self,
        session: &mut Session,
        database: &str,
        table: &str,
    ) -> Result<Option<Description>, Error> {
        let mut attempt = 1;
        loop {
            let before = dictionary_rows(session, database, table).await?;
            let keys = ask(session, KEYS, database, table).await?;
            let after = dictionary_rows(session, database, table).await?;
            if before == after || attempt == ATTEMPTS_MAX {
                let is_steady = before == after;
                return Ok(self.describe_from(&after, &keys, is_steady));
            }
            attempt += 1;
        }
    }

    fn describe_from(
        &self,
        rows: &DictionaryRows,
        keys: &[Row],
        is_steady: bool,
    ) -> Option<Description> {
        let columns: Vec<_> =
            rows.columns.iter().map(|row| self.column(row)).collect::<Option<_>>()?;
        if columns.is_empty() {
            return None;
        }
        let is_marked = |row: &Row| row.text(8).is_some_and(|key| key == "PRI");
        let marked: Vec<bool> = rows.columns.iter().map(is_marked).collect();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let primary_key = if is_steady { primary_key(&names, &marked, &parts(keys)) } else { None };
        let changed_at = rows.changed.first().and_then(|row| row.signed(2).ok().flatten());
        Some(Description { columns, primary_key, changed_at })
    }

    fn column(&self, row: &Row) -> Option<ColumnDescription> {
        let id = |name| self.collations.get(&name).copied().unwrap_or(COLLATION_UNKNOWN);
        let collation = row.text(5).map(id);
        let is_invisible =
            row.text(7).unwrap_or_default().to_ascii_uppercase().contains("INVISIBLE");
        Some(ColumnDescription {
            name: row.text(2)?,
            column_type: row.text(3)?,
            octets: row.unsigned(4).ok().flatten(),
            collation,
            nullable: row.text(6)? == "YES",
            // No log of MariaDB tells: a table is the same whoever describes it.
            visible: !is_invisible || self.flavor == Flavor::Maria,
        })
    }
}

async fn dictionary_rows(
    session: &mut Session,
    database: &str,
    table: &str,
) -> Result<DictionaryRows, Error> {
    let changed = ask(session, CHANGED, database, table).await?;
    let columns = ask(session, COLUMNS, database, table).await?;
    Ok(DictionaryRows { changed, columns })
}

/// Rows about the table of exactly this name: names are compared without regard to case by some
/// servers, on whose disks there may be two all the same.
async fn ask(
    session: &mut Session,
    sql: &str,
    database: &str,
    table: &str,
) -> Result<Vec<Row>, Error> {
    let names = vec![Value::from(database), Value::from(table)];
    let rows = session.exec(sql, names).await?;
    let is = |row: &Row, same: fn(&str, &str) -> bool| {
        let is_same = |column, name| row.text(column).is_some_and(|text| same(&text, name));
        is_same(0, database) && is_same(1, table)
    };
    let exact: fn(&str, &str) -> bool = |a, b| a == b;
    if rows.iter().any(|row| is(row, exact)) {
        return Ok(rows.into_iter().filter(|row| is(row, exact)).collect());
    }
    // With lower_case_table_names = 2 the log may have another case than the dictionary.
    let folded: fn(&str, &str) -> bool = |a, b| a.to_lowercase() == b.to_lowercase();
    Ok(rows.into_iter().filter(|row| is(row, folded)).collect())
}

/// One reading of a table.
#[derive(Debug, PartialEq)]
struct DictionaryRows {
    changed: Vec<Row>,
    columns: Vec<Row>,
}

const CHANGED: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, UNIX_TIMESTAMP(CREATE_TIME) \
     FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
const COLUMNS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, \
     CHARACTER_OCTET_LENGTH, COLLATION_NAME, IS_NULLABLE, EXTRA, COLUMN_KEY \
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
     ORDER BY ORDINAL_POSITION";
const KEYS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME \
     FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? \
     AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX";

/// Parts of unique keys, in their order, under the keys' names.
fn parts(keys: &[Row]) -> Vec<(String, String)> {
    keys.iter()
        .map(|row| (row.text(2).unwrap_or_default(), row.text(3).unwrap_or_default()))
        .collect()
}

/// Ordinals of the primary key, in its order; `None` when the answers contradict each other.
///
/// Without a key of that name, servers take the first unique one without NULL for it, mark its columns
/// alike, and write it as the primary key into logs that have keys.
fn primary_key(names: &[&str], marked: &[bool], parts: &[(String, String)]) -> Option<Vec<usize>> {
    let mut keys: Vec<(&str, Vec<usize>)> = Vec::new();
    for (key, column) in parts {
        // Parts that are expressions have no column.
        let ordinal = names.iter().position(|name| name == column).unwrap_or(usize::MAX);
        match keys.last_mut().filter(|(last, _)| last == key) {
            Some((_, ordinals)) => ordinals.push(ordinal),
            None => keys.push((key, vec![ordinal])),
        }
    }
    let wanted: Vec<usize> = (0..names.len()).filter(|at| marked.get(*at) == Some(&true)).collect();
    if wanted.is_empty() {
        return Some(Vec::new());
    }
    let is_it = |ordinals: &Vec<usize>| {
        let mut sorted = ordinals.clone();
        sorted.sort_unstable();
        sorted == wanted
    };
    keys.sort_by_key(|(name, _)| *name != "PRIMARY");
    keys.into_iter().map(|(_, ordinals)| ordinals).find(is_it)
}

#[cfg(test)]
mod tests {
    use super::primary_key;

    fn key(names: &[&str], marked: &[bool], parts: &[(&str, &str)]) -> Option<Vec<usize>> {
        let own = |(key, column): &(&str, &str)| ((*key).to_owned(), (*column).to_owned());
        primary_key(names, marked, &parts.iter().map(own).collect::<Vec<_>>())
    }

    #[test]
    fn a_key_keeps_its_own_order() {
        let parts = [("PRIMARY", "c"), ("PRIMARY", "a"), ("u", "b")];
        assert_eq!(key(&["a", "b", "c"], &[true, false, true], &parts), Some(vec![2, 0]));
    }

    #[test]
    fn without_a_primary_key_the_unique_one_that_the_server_marks_counts() {
        let parts = [("u", "c"), ("v", "b"), ("v", "a")];
        assert_eq!(key(&["a", "b", "c"], &[true, true, false], &parts), Some(vec![1, 0]));
        assert_eq!(key(&["a", "b", "c"], &[false; 3], &parts), Some(vec![]));
    }

    #[test]
    fn another_key_of_the_same_columns_does_not_stand_for_the_primary_key() {
        let parts = [("A", "a"), ("A", "b"), ("PRIMARY", "b"), ("PRIMARY", "a")];
        assert_eq!(key(&["a", "b"], &[true, true], &parts), Some(vec![1, 0]));
    }

    #[test]
    fn answers_that_contradict_each_other_give_no_key() {
        let parts = [("PRIMARY", "a"), ("PRIMARY", "b")];
        assert_eq!(key(&["a", "b"], &[true, false], &parts), None);
        assert_eq!(key(&["a", "b"], &[true, false], &[]), None);
    }
}
