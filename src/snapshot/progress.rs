//! How far a snapshot has got: what is saved with the checkpoint. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Request;
use super::replaced::replaces_rows;
use crate::encode::Format;
use crate::telemetry::snapshot::{
    SnapshotState, SnapshotStatus, SnapshotTable, SnapshotTableState,
};

/// Name of the entry about the snapshot as a whole; those of tables are their numbers.
const HEAD: &str = "snapshot";
/// Name of the entry that says that a new stream is to begin with a snapshot, and has not yet.
const OWED: &str = "owed";

/// A snapshot: what was asked for, and how far it has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is said of it as a whole.
    pub head: Head,
    /// Its tables, in the order in which they are read.
    pub tables: Vec<TableProgress>,
}

/// A snapshot as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is saved under its own name")]
pub struct Head {
    /// A ULID.
    pub id: Arc<str>,
    /// For whom it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Arc<str>>,
    /// Digests are published instead of rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_verify: bool,
    /// Tables without a key are read under a lock.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locks_keyless: bool,
    /// Most rows a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<u64>,
    /// When it was asked for, microseconds since 1970 UTC.
    pub started_at_us: i64,
    /// An operator paused it.
    #[serde(default)]
    pub is_paused: bool,
    /// An operator stopped it.
    #[serde(default)]
    pub is_stopped: bool,
    /// Number of the newest process that published parts of it: see the contract's `attempt`.
    pub attempt: u32,
    /// Format of the keys in the entries of its tables.
    pub format: String,
    /// Number of tables.
    tables: usize,
}

/// A table of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// Its database.
    pub database: Arc<str>,
    /// Its name.
    pub table: Arc<str>,
    /// Rows must meet it; SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Only rows with these keys, SQL; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Where it stands.
    pub state: SnapshotTableState,
    /// Key of the last row that was read, SQL; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The same key as consumers see it, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor_image: Option<String>,
    /// What the rows are ordered by: keys that were saved mean nothing in another order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Arc<str>>,
    /// Which part of it is read.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// All rows were read once.
    #[serde(default)]
    pub is_read: bool,
    /// Keys whose rows are to be read again, SQL: the stream told only a part of what they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
    /// Chunks that were published.
    pub chunks: u64,
    /// Rows that were published.
    pub rows: u64,
    /// Rows that were left out for a newer state.
    pub superseded: u64,
    /// About how many rows it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_estimated: Option<u64>,
    /// Why it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where the reading of a table begins and ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Behind this key; `None`: at the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Bound>,
    /// With this key; `None`: with the last row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<Bound>,
    /// How often it was begun again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passes: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A key at which the reading of a table begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// In SQL.
    pub key: String,
    /// As consumers see it, base64.
    image: String,
}

impl Bound {
    /// A key in SQL, and as consumers see it.
    pub fn new(key: String, image: &[u8]) -> Self {
        Self { key, image: STANDARD.encode(image) }
    }
}

/// Saved texts that are not those of a snapshot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint's entry `{entry}` about a snapshot can't be read: {what}")]
pub struct UnreadableEntry {
    /// Name of the entry.
    pub entry: String,
    /// What is wrong.
    pub what: String,
}

impl Progress {
    /// One that has read nothing yet.
    pub fn new(id: Arc<str>, request: &Request, now_us: i64, tables: Vec<TableProgress>) -> Self {
        let head = Head {
            id,
            audience: request.audience.as_deref().map(Arc::from),
            is_verify: request.verify,
            locks_keyless: request.lock_keyless,
            rows_per_second: request.rows_per_second,
            started_at_us: now_us,
            is_paused: false,
            is_stopped: false,
            attempt: 0,
            format: String::new(),
            tables: tables.len(),
        };
        Self { head, tables }
    }

    /// From the checkpoint's entries; `None`: there never was a snapshot.
    pub fn saved(entries: &BTreeMap<Arc<str>, Arc<str>>) -> Result<Option<Self>, UnreadableEntry> {
        let Some(text) = entries.get(HEAD) else { return Ok(None) };
        let head: Head = parsed(HEAD, text)?;
        let mut tables = Vec::new();
        for number in 0..head.tables {
            let name = number.to_string();
            let text = entries.get(name.as_str()).ok_or_else(|| UnreadableEntry {
                entry: name.clone(),
                what: "it is missing".to_owned(),
            })?;
            tables.push(parsed(&name, text)?);
        }
        Ok(Some(Self { head, tables }))
    }

    /// The entry of a new stream that is to begin with a snapshot: it is owed until one has begun, also
    /// if this process ends before.
    pub fn owed_entry() -> (Arc<str>, Arc<str>) {
        (OWED.into(), "1".into())
    }

    /// The entry that says that none is owed any more.
    pub fn not_owed_entry() -> (Arc<str>, Arc<str>) {
        (OWED.into(), "".into())
    }

    /// Whether the checkpoint's entries say that one is owed.
    pub fn is_owed(entries: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
        entries.contains_key(OWED)
    }

    /// Number of a process that begins now, seconds since 1970 UTC.
    pub fn next_attempt(&self, now_s: u32) -> u32 {
        now_s.max(self.head.attempt.saturating_add(1))
    }

    /// A process continues it: its parts get a number of their own, and keys that were written in
    /// another format mean nothing any more, so that their tables begin again.
    pub fn continued(&mut self, attempt: u32, format: Format) {
        self.head.attempt = attempt;
        let format = format_name(format);
        if self.head.format != format {
            for table in &mut self.tables {
                if table.state == SnapshotTableState::Reading {
                    table.restart();
                }
            }
            format.clone_into(&mut self.head.format);
        }
    }

    /// The entry about the whole.
    pub fn head_entry(&self) -> (Arc<str>, Arc<str>) {
        (HEAD.into(), text(&self.head))
    }

    /// The entry about one table.
    pub fn table_entry(&self, number: usize) -> Option<(Arc<str>, Arc<str>)> {
        self.tables.get(number).map(|table| (number.to_string().into(), text(table)))
    }

    /// All entries, and empty ones for the tables that a snapshot `before` had beyond these.
    pub fn entries(&self, before: Option<&Self>) -> Vec<(Arc<str>, Arc<str>)> {
        let tables = (0..self.tables.len()).filter_map(|number| self.table_entry(number));
        let had = before.map_or(0, |before| before.tables.len());
        let gone = (self.tables.len()..had).map(|number| (number.to_string().into(), "".into()));
        tables.chain(gone).chain([self.head_entry(), Self::not_owed_entry()]).collect()
    }

    /// Whether nothing more comes of it.
    #[cfg(feature = "testing")]
    pub fn is_over(&self) -> bool {
        self.next().is_none()
    }

    /// The table to be read now.
    pub fn next(&self) -> Option<usize> {
        self.tables.iter().position(|table| {
            matches!(table.state, SnapshotTableState::Waiting | SnapshotTableState::Reading)
        })
    }

    /// Where it stands, in the word that is shown.
    pub fn state(&self) -> SnapshotState {
        let has = |state| self.tables.iter().any(|table| table.state == state);
        match self.next() {
            None if self.head.is_stopped => SnapshotState::Stopped,
            None if has(SnapshotTableState::Done) => SnapshotState::Done,
            None => SnapshotState::Stopped,
            Some(_) if self.head.is_paused => SnapshotState::Paused,
            Some(_) => SnapshotState::Running,
        }
    }

    /// Rows that were published.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Rows that are left, about; `None` where the statistics do not tell.
    pub fn rows_left(&self) -> Option<u64> {
        let is_left = |table: &&TableProgress| {
            matches!(table.state, SnapshotTableState::Waiting | SnapshotTableState::Reading)
        };
        self.tables.iter().filter(is_left).try_fold(0_u64, |sum, table| {
            let read = table.rows + table.superseded;
            Some(sum.saturating_add(table.rows_estimated?.saturating_sub(read)))
        })
    }

    /// What is shown of it, without what only its reader knows.
    pub fn status(&self) -> SnapshotStatus {
        SnapshotStatus {
            id: self.head.id.to_string(),
            state: self.state(),
            waits_for: None,
            reason: None,
            audience: self.head.audience.as_deref().map(str::to_owned),
            verifies: self.head.is_verify,
            started_at_us: self.head.started_at_us,
            newest_chunk_at_us: None,
            stalled_seconds: None,
            rows: self.rows(),
            rows_per_second: 0.0,
            seconds_left: None,
            tables: self.tables.iter().map(TableProgress::status).collect(),
        }
    }
}

impl TableProgress {
    /// A table of which nothing was read.
    pub fn new(database: &str, table: &str, rows_estimated: Option<u64>) -> Self {
        Self {
            database: database.into(),
            table: table.into(),
            condition: None,
            keys: Vec::new(),
            state: SnapshotTableState::Waiting,
            cursor: None,
            cursor_image: None,
            order: None,
            bounds: Bounds::default(),
            is_read: false,
            again: Vec::new(),
            chunks: 0,
            rows: 0,
            superseded: 0,
            rows_estimated,
            reason: None,
        }
    }

    /// Whether the chunks tell of all rows of their ranges, so that a row that is in none of them is
    /// gone.
    pub fn is_whole(&self) -> bool {
        self.condition.is_none() && self.keys.is_empty()
    }

    /// The last row's key as consumers see it.
    pub fn cursor_image(&self) -> Option<Arc<[u8]>> {
        let image = self.cursor_image.as_ref()?;
        STANDARD.decode(image).ok().map(Arc::from)
    }

    /// A chunk was published up to this key, given in SQL and as consumers see it; without the latter
    /// where no row has the key.
    pub fn reached(&mut self, cursor: String, image: Option<&[u8]>) {
        self.cursor = Some(cursor);
        self.cursor_image = image.map(|image| STANDARD.encode(image));
    }

    /// Whether a statement that ran with `selected` as its database has put other rows in place of
    /// those that were read.
    pub fn is_replaced_by(&self, statement: &str, selected: &str) -> bool {
        let is_begun = self.state == SnapshotTableState::Reading
            && (self.cursor.is_some() || self.is_read || !self.again.is_empty());
        is_begun && replaces_rows(statement, selected, (&self.database, &self.table))
    }

    /// Rows were read, and what was read counts.
    pub fn is_begun(&self) -> bool {
        self.state == SnapshotTableState::Reading && self.order.is_some()
    }

    /// Only rows in a range of keys are read.
    pub fn within(&mut self, after: Option<Bound>, upto: Option<Bound>) {
        self.bounds = Bounds { after, upto, passes: 0 };
        self.restart();
    }

    /// The last key that is read as consumers see it, if there is one.
    pub fn upto_image(&self) -> Option<Arc<[u8]>> {
        STANDARD.decode(&self.bounds.upto.as_ref()?.image).ok().map(Arc::from)
    }

    /// It is read from its beginning once more.
    pub fn restart(&mut self) {
        self.bounds.passes += u32::from(self.order.is_some());
        (self.order, self.is_read) = (None, false);
        let after = self.bounds.after.as_ref();
        self.cursor = after.map(|bound| bound.key.clone());
        self.cursor_image = after.map(|bound| bound.image.clone());
        self.again.clear();
    }

    fn status(&self) -> SnapshotTable {
        SnapshotTable {
            database: self.database.to_string(),
            table: self.table.to_string(),
            state: self.state,
            rows: self.rows,
            rows_estimated: self.rows_estimated,
            chunks: self.chunks,
            reason: self.reason.clone(),
        }
    }
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Protobuf => "protobuf",
        Format::Json => "json",
    }
}

fn parsed<'a, T: Deserialize<'a>>(entry: &str, text: &'a str) -> Result<T, UnreadableEntry> {
    serde_json::from_str(text)
        .map_err(|error| UnreadableEntry { entry: entry.to_owned(), what: error.to_string() })
}

fn text(value: &impl Serialize) -> Arc<str> {
    // Structs of texts and numbers: there is nothing in them that JSON can't hold.
    serde_json::to_string(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(tables: usize) -> Progress {
        let table = |number| TableProgress::new("shop", &format!("t{number}"), Some(10));
        let request = Request { tables: vec!["shop.*".to_owned()], ..Request::default() };
        Progress::new("01J".into(), &request, 7, (0..tables).map(table).collect())
    }

    fn saved(entries: Vec<(Arc<str>, Arc<str>)>) -> BTreeMap<Arc<str>, Arc<str>> {
        entries.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    #[test]
    fn what_is_saved_is_read_again_and_an_older_snapshot_leaves_nothing() {
        let (before, mut now) = (progress(3), progress(2));
        now.tables[0].reached("5, _utf8mb4 0x61".to_owned(), Some(&[1, 2, 255]));
        now.tables[0].again.push("3".to_owned());
        now.tables[1].state = SnapshotTableState::Abandoned;
        now.tables[1].reason = Some("it has no key".to_owned());
        let mut entries = saved(before.entries(None));
        for (name, text) in now.entries(Some(&before)) {
            if text.is_empty() {
                entries.remove(&name)
            } else {
                entries.insert(name, text)
            };
        }
        let again = Progress::saved(&entries).expect("texts of a snapshot").expect("one");
        assert_eq!(again, now);
        assert_eq!(again.tables[0].cursor_image().as_deref(), Some(&[1, 2, 255][..]));
        assert_eq!(entries.len(), 3, "{entries:?}");
        assert_eq!(Progress::saved(&BTreeMap::new()), Ok(None));
    }

    #[test]
    fn an_entry_that_is_missing_or_is_something_else_is_named() {
        let entries = saved(progress(2).entries(None));
        let mut missing = entries.clone();
        missing.remove("1");
        assert_eq!(Progress::saved(&missing).expect_err("it is not there").entry, "1");
        let mut other = entries;
        other.insert("0".into(), "{}".into());
        assert_eq!(Progress::saved(&other).expect_err("it is no table").entry, "0");
    }

    #[test]
    fn each_process_has_a_higher_number_and_another_format_begins_the_table_again() {
        let mut progress = progress(2);
        progress.continued(100, Format::Protobuf);
        assert_eq!(progress.head.attempt, 100);
        progress.tables[0].state = SnapshotTableState::Reading;
        progress.tables[0].reached("5".to_owned(), Some(&[1]));
        progress.continued(progress.next_attempt(7), Format::Protobuf);
        assert_eq!(progress.head.attempt, 101, "a clock that went back");
        assert_eq!(progress.tables[0].cursor.as_deref(), Some("5"));
        progress.continued(progress.next_attempt(200), Format::Json);
        assert_eq!((progress.tables[0].cursor.as_ref(), progress.head.attempt), (None, 200));
    }

    #[test]
    fn its_state_follows_from_its_tables() {
        let mut progress = progress(2);
        assert_eq!((progress.state(), progress.next()), (SnapshotState::Running, Some(0)));
        assert_eq!(progress.rows_left(), Some(20));
        progress.head.is_paused = true;
        assert_eq!(progress.state(), SnapshotState::Paused);
        progress.tables[0].state = SnapshotTableState::Done;
        progress.tables[1].rows = 4;
        assert_eq!(progress.rows_left(), Some(6));
        progress.tables[1].state = SnapshotTableState::Abandoned;
        assert_eq!((progress.state(), progress.next()), (SnapshotState::Done, None));
        progress.head.is_stopped = true;
        assert_eq!(progress.state(), SnapshotState::Stopped);
        progress.tables[0].state = SnapshotTableState::Abandoned;
        progress.head.is_stopped = false;
        assert_eq!(progress.state(), SnapshotState::Stopped, "nothing of it was read");
    }
}
