//! Rows of a transaction, until they are written: one for each key, the last that came.
//!
//! Deletions are written before rows. Of keys that differ only in case, which are one to a collation and
//! two here, one at most is left as a row: the source has only one.

use std::collections::HashMap;
use std::sync::Arc;

use binpulse_core::change::{Cell, Change, Column, Image, Op, Table};

use super::dialect::{Dialect, Put};
use super::json_diff;
use super::session::{Failure, Session};
use super::tables::{CopyTable, Tables};

/// Bytes of a table's rows that are kept before they are written.
const TABLE_BYTES_MAX: usize = 8 << 20;
/// Keys in one condition: what a server plans well.
pub(super) const KEYS_AT_ONCE_MAX: usize = 500;
/// Rows in one statement.
const ROWS_AT_ONCE_MAX: usize = 2_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    dialect: Dialect,
    tables: HashMap<(Arc<str>, Arc<str>), TableRows>,
    /// Values that were left out of messages.
    pub(super) omitted: u64,
    /// Updates of a part of a row that is not there.
    pub(super) missing: u64,
}

#[derive(Debug)]
struct TableRows {
    table: Arc<CopyTable>,
    /// The condition of a key, to its entry.
    keys: HashMap<Vec<u8>, usize>,
    entries: Vec<Entry>,
    /// Sets of columns that rows carry: the ordinals of those that are there.
    shapes: Vec<Vec<usize>>,
    bytes: usize,
}

/// What stands for a key: a row with its shape, or its deletion.
type Entry = Option<(usize, Vec<u8>)>;

impl Pending {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, tables: HashMap::new(), omitted: 0, missing: 0 }
    }

    /// Takes a change of a row.
    pub(super) async fn take(
        &mut self,
        session: &mut Session,
        tables: &Tables,
        table: &Arc<Table>,
        change: &Change<'_>,
    ) -> Result<(), Failure> {
        let copy = tables.get(table)?;
        // With the key that rows are told apart by, which may be another one than the primary key.
        let table = &copy.source;
        let place = (Arc::clone(&table.database), Arc::clone(&table.name));
        // Rows of another schema come first, as a whole.
        if let Some(rows) = self.tables.get(&place)
            && (rows.table.source.fingerprint != table.fingerprint || rows.bytes > TABLE_BYTES_MAX)
            && let Some(rows) = self.tables.remove(&place)
        {
            rows.write(session).await?;
        }
        let dialect = self.dialect;
        let key = |first: Option<Image<'_>>, second: Option<Image<'_>>| {
            key_condition(dialect, table, |ordinal| {
                let cell = first.map_or(Cell::Absent, |image| image.cell(ordinal));
                if matches!(cell, Cell::Absent) {
                    second.map_or(Cell::Absent, |image| image.cell(ordinal))
                } else {
                    cell
                }
            })
        };
        let new = key(change.after, change.before)?;
        let old = match (change.before, change.after) {
            (Some(before), Some(after)) => key(Some(before), Some(after))?,
            _ => new.clone(),
        };
        let rows = self.tables.entry(place.clone()).or_insert_with(|| TableRows::new(copy));
        let Some(after) = change.after else {
            rows.set(old, None);
            return Ok(());
        };
        let row = row_literal(dialect, table, &after)?;
        // Here, where it is known whose row it is.
        let bytes = copy.names_bytes + row.values.len();
        if bytes > session.statement_bytes_max {
            return Err(Failure::refused(
                &CopyTable::shown(table),
                format!("a row of {bytes} bytes of SQL, {} at most", session.statement_bytes_max),
                "rows that fit into max_allowed_packet of the copy's server",
                "raise it, up to 1 GiB",
            ));
        }
        self.omitted += row.omitted;
        let is_whole = change.op != Op::Update || !row.is_part;
        if is_whole && (old == new || row.omitted == 0) {
            if old != new {
                rows.set(old, None);
            }
            // A row that lacks columns changes the one before, instead of standing in its place.
            let is_all = row.shape.len() == table.columns.len();
            if !is_all && rows.keys.contains_key(&new) {
                self.flush_table(session, table).await?;
            }
            let rows = self.tables.entry(place).or_insert_with(|| TableRows::new(copy));
            let shape = rows.shape(row.shape);
            rows.set(new, Some((shape, row.values)));
            return Ok(());
        }
        self.flush_table(session, table).await?;
        let part = PartOfRow { copy, after, condition: &old };
        self.missing += u64::from(!part.write(session).await?);
        Ok(())
    }

    /// Writes what is pending of a table.
    pub(super) async fn flush_table(
        &mut self,
        session: &mut Session,
        table: &Table,
    ) -> Result<(), Failure> {
        let place = (Arc::clone(&table.database), Arc::clone(&table.name));
        match self.tables.remove(&place) {
            Some(rows) => rows.write(session).await,
            None => Ok(()),
        }
    }

    /// Writes everything, in the order of the tables' names, so that two processes lock in the same.
    pub(super) async fn flush(&mut self, session: &mut Session) -> Result<(), Failure> {
        let mut tables: Vec<_> = self.tables.drain().collect();
        tables.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (_, rows) in tables {
            rows.write(session).await?;
        }
        Ok(())
    }
}

fn refused(table: &Table, column: &Column, found: &str) -> Failure {
    Failure::refused(
        &CopyTable::shown(table),
        format!("in column `{}` {found}", column.name),
        "a value that the copy can hold",
        "mask or drop the column with relay.filter, or change the value at the source",
    )
}

/// A condition for a row's key: `k` IN is made of these where the key has one column.
pub(super) fn key_condition<'c>(
    dialect: Dialect,
    table: &Table,
    cell: impl Fn(usize) -> Cell<'c>,
) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(16);
    let is_single = table.primary_key.len() == 1;
    for (index, ordinal) in table.primary_key.iter().enumerate() {
        let column = table.columns.get(*ordinal).ok_or_else(Failure::none)?;
        if !is_single {
            out.extend_from_slice(if index == 0 { b"(" } else { b" AND " });
            dialect.put_name(&mut out, &column.name);
            out.push(b'=');
        }
        let put = dialect.put_cell(&mut out, column, cell(*ordinal));
        if put.map_err(|found| refused(table, column, found))? != Put::Written {
            return Err(refused(table, column, "no value, although it is of the primary key"));
        }
    }
    if !is_single {
        out.push(b')');
    }
    Ok(out)
}

/// Joins conditions of keys.
pub(super) fn any_of<'k>(
    dialect: Dialect,
    table: &Table,
    keys: impl Iterator<Item = &'k [u8]>,
    out: &mut Vec<u8>,
) {
    let single = match table.primary_key.as_slice() {
        [ordinal] => table.columns.get(*ordinal),
        _ => None,
    };
    out.push(b'(');
    if let Some(column) = single {
        dialect.put_name(out, &column.name);
        out.extend_from_slice(b" IN (");
    }
    for (index, key) in keys.enumerate() {
        if index > 0 {
            out.extend_from_slice(if single.is_some() { b"," } else { b" OR " });
        }
        out.extend_from_slice(key);
    }
    out.extend_from_slice(if single.is_some() { b"))" } else { b")" });
}

struct RowLiteral {
    /// `1,'a'`.
    values: Vec<u8>,
    shape: Vec<usize>,
    omitted: u64,
    /// Whether the image lacks columns, or has a partial JSON update.
    is_part: bool,
}

fn row_literal(dialect: Dialect, table: &Table, image: &Image<'_>) -> Result<RowLiteral, Failure> {
    let mut row = RowLiteral {
        values: Vec::with_capacity(128),
        shape: Vec::with_capacity(table.columns.len()),
        omitted: 0,
        is_part: false,
    };
    for (ordinal, column) in table.columns.iter().enumerate() {
        let cell = image.cell(ordinal);
        if matches!(cell, Cell::JsonDiff(_)) {
            row.is_part = true;
            continue;
        }
        let length = row.values.len();
        if length > 0 {
            row.values.push(b',');
        }
        let put = dialect.put_cell(&mut row.values, column, cell);
        match put.map_err(|found| refused(table, column, found))? {
            Put::Written => row.shape.push(ordinal),
            put @ (Put::Absent | Put::Omitted) => {
                row.values.truncate(length);
                row.is_part |= put == Put::Absent;
                row.omitted += u64::from(put == Put::Omitted);
            }
        }
    }
    Ok(row)
}

impl TableRows {
    fn new(table: &Arc<CopyTable>) -> Self {
        let (keys, entries, shapes) = (HashMap::new(), Vec::new(), Vec::new());
        Self { table: Arc::clone(table), keys, entries, shapes, bytes: 0 }
    }

    fn shape(&mut self, shape: Vec<usize>) -> usize {
        let known = self.shapes.iter().position(|known| *known == shape);
        known.unwrap_or_else(|| {
            self.shapes.push(shape);
            self.shapes.len() - 1
        })
    }

    fn set(&mut self, key: Vec<u8>, row: Entry) {
        self.bytes += key.len() + row.as_ref().map_or(0, |(_, values)| values.len());
        match self.keys.get(&key).and_then(|index| self.entries.get_mut(*index)) {
            Some(entry) => *entry = row,
            None => {
                self.keys.insert(key, self.entries.len());
                self.entries.push(row);
            }
        }
    }

    async fn write(self, session: &mut Session) -> Result<(), Failure> {
        let Self { table, keys, entries, shapes, .. } = self;
        let dialect = session.dialect;
        let is_gone = |index: &usize| matches!(entries.get(*index), Some(None));
        let mut gone: Vec<_> = keys.iter().filter(|(_, index)| is_gone(index)).collect();
        gone.sort_by_key(|(_, index)| **index);
        for keys in gone.chunks(KEYS_AT_ONCE_MAX) {
            let mut sql = format!("DELETE FROM {} WHERE ", table.name).into_bytes();
            let keys = keys.iter().map(|(key, _)| key.as_slice());
            any_of(dialect, &table.source, keys, &mut sql);
            session.run(&sql).await?;
        }
        for (index, shape) in shapes.iter().enumerate() {
            let rows = entries.iter().flatten().filter(|(of, _)| *of == index);
            let (head, tail) = upsert(dialect, &table, shape);
            let mut statement = Statement { head: &head, tail: &tail, sql: Vec::new(), rows: 0 };
            for (_, values) in rows {
                statement.add(session, values).await?;
            }
            statement.send(session).await?;
        }
        Ok(())
    }
}

/// What stands before the rows and behind them.
fn upsert(dialect: Dialect, table: &CopyTable, shape: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let source = &table.source;
    let column = |ordinal: &usize| source.columns.get(*ordinal);
    let names = |ordinals: &mut dyn Iterator<Item = &usize>| {
        let names = ordinals.filter_map(column).map(|column| dialect.name(&column.name));
        names.collect::<Vec<_>>()
    };
    let all = names(&mut shape.iter());
    let head = format!("INSERT INTO {} ({}) VALUES ", table.name, all.join(","));
    // The key too: a collation may hold another spelling for the same.
    let sets: Vec<_> = if dialect.is_postgres() {
        let is_other = |ordinal: &&usize| !source.primary_key.contains(ordinal);
        let others = names(&mut shape.iter().filter(is_other));
        others.iter().map(|name| format!("{name}=EXCLUDED.{name}")).collect()
    } else {
        all.iter().map(|name| format!("{name}=VALUES({name})")).collect()
    };
    let tail = if !dialect.is_postgres() {
        format!(" ON DUPLICATE KEY UPDATE {}", sets.join(","))
    } else if sets.is_empty() {
        " ON CONFLICT DO NOTHING".to_owned()
    } else {
        let key = names(&mut source.primary_key.iter());
        format!(" ON CONFLICT ({}) DO UPDATE SET {}", key.join(","), sets.join(","))
    };
    (head.into_bytes(), tail.into_bytes())
}

/// A statement of many rows, sent when it is large.
struct Statement<'s> {
    head: &'s [u8],
    tail: &'s [u8],
    sql: Vec<u8>,
    rows: usize,
}

impl Statement<'_> {
    async fn add(&mut self, session: &mut Session, values: &[u8]) -> Result<(), Failure> {
        let alone = self.head.len() + values.len() + self.tail.len() + 2;
        let is_full =
            self.sql.len() + alone > session.statement_bytes || self.rows >= ROWS_AT_ONCE_MAX;
        if self.rows > 0 && is_full {
            self.send(session).await?;
        }
        if self.rows == 0 {
            self.sql.extend_from_slice(self.head);
        } else {
            self.sql.push(b',');
        }
        self.sql.push(b'(');
        self.sql.extend_from_slice(values);
        self.sql.push(b')');
        self.rows += 1;
        Ok(())
    }

    async fn send(&mut self, session: &mut Session) -> Result<(), Failure> {
        if self.rows > 0 {
            self.sql.extend_from_slice(self.tail);
            session.run(&self.sql).await?;
            self.sql.clear();
            self.rows = 0;
        }
        Ok(())
    }
}

/// An update of some columns.
struct PartOfRow<'p> {
    copy: &'p CopyTable,
    after: Image<'p>,
    /// The key's, as it was.
    condition: &'p [u8],
}

impl PartOfRow<'_> {
    /// Whether the row was there.
    async fn write(&self, session: &mut Session) -> Result<bool, Failure> {
        let (dialect, table) = (session.dialect, &self.copy.source);
        let (mut sets, mut holds) = (Vec::new(), Vec::new());
        for (ordinal, column) in table.columns.iter().enumerate() {
            let name = dialect.name(&column.name);
            let length = sets.len();
            sets.extend_from_slice(if length == 0 { b" SET " } else { b"," });
            sets.extend_from_slice(name.as_bytes());
            sets.push(b'=');
            let cell = self.after.cell(ordinal);
            if let Cell::JsonDiff(diff) = cell {
                let steps = json_diff::expression(dialect, &name, diff);
                let steps = steps.map_err(|found| refused(table, column, found))?;
                sets.extend_from_slice(&steps.value);
                holds.extend(steps.holds);
                continue;
            }
            let put = dialect.put_cell(&mut sets, column, cell);
            if put.map_err(|found| refused(table, column, found))? != Put::Written {
                sets.truncate(length);
            }
        }
        let mut row = b" WHERE ".to_vec();
        any_of(dialect, table, std::iter::once(self.condition), &mut row);
        let select = [b"SELECT 1 FROM ", self.copy.name.as_bytes(), &row].concat();
        if sets.is_empty() {
            return Ok(!session.rows(&select).await?.is_empty());
        }
        let mut sql = [b"UPDATE ", self.copy.name.as_bytes(), &sets, &row].concat();
        for hold in &holds {
            sql.extend_from_slice(b" AND ");
            sql.extend_from_slice(hold);
        }
        if session.run(&sql).await? > 0 {
            return Ok(true);
        }
        if holds.is_empty() || session.rows(&select).await?.is_empty() {
            return Ok(false);
        }
        Err(Failure::refused(
            &CopyTable::shown(table),
            "a partial JSON update of a path that the copy's document does not have",
            "the document that the source had",
            "take a snapshot of the table, and retry the row",
        ))
    }
}
