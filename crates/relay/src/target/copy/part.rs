//! Parts of snapshots: their rows, and behind a chunk's last part what is gone.
//!
//! The keys that a chunk tells of are kept beside the lane's mark until its last part: parts of one chunk
//! may be applied by different processes.

use std::collections::HashSet;

use binpulse_client::proto;
use binpulse_core::change::{Cell, Column, Image, RowBuffer, Table};
use binpulse_core::encode::opened::OpenedRows;

use super::dialect::{Dialect, Put};
use super::marks::{self, Mark};
use super::pending::{KEYS_AT_ONCE_MAX, Pending, any_of, key_condition};
use super::session::{Failure, Session, Text};
use super::tables::{CopyTable, Tables};
use super::verify::Compared;
use crate::lane::LaneKey;

/// Keys that are read of the copy at once.
pub(super) const PAGE_ROWS: usize = 10_000;
/// Between the cells of a key's printed form.
const BETWEEN: u8 = 0x1f;

/// A part, and where it belongs.
pub(super) struct Part<'p> {
    pub(super) lane: &'p LaneKey,
    pub(super) said: &'p proto::SnapshotPart,
    pub(super) rows: &'p OpenedRows,
}

/// What a part did.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) removed: u64,
    pub(super) ranges_passed: u64,
    pub(super) compared: Option<Compared>,
}

/// A key: as the server prints it, as far as that is known, and as a condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    printed: Vec<u8>,
    pub(super) condition: Vec<u8>,
}

impl Part<'_> {
    pub(super) async fn apply(
        &self,
        session: &mut Session,
        tables: &Tables,
        pending: &mut Pending,
        mark: &mut Mark,
    ) -> Result<Gone, Failure> {
        let copy = tables.get(self.rows.table())?;
        let table = &copy.source;
        let dialect = session.dialect;
        let mut touched = HashSet::new();
        for image in &self.said.touched {
            let mut buffer = RowBuffer::default();
            let image = OpenedRows::image(image, &mut buffer);
            // Such an image has the key's columns alone, in the key's order.
            let at = |ordinal| table.primary_key.iter().position(|key| *key == ordinal);
            let cell = |ordinal| at(ordinal).map_or(Cell::Absent, |place| image.cell(place));
            touched.insert(key_of(dialect, table, cell)?);
        }
        let mut told = touched.clone();
        let mut buffer = RowBuffer::default();
        for index in 0..self.rows.len() {
            let Some(change) = self.rows.change(index, &mut buffer) else { break };
            let Some(after) = change.after else { continue };
            let key = key_of(dialect, table, |ordinal| after.cell(ordinal))?;
            if touched.contains(&key) {
                continue;
            }
            told.insert(key);
            pending.take(session, tables, table, &change).await?;
        }
        let is_compared = copy.sorts_as_source && self.rows.lane_count() <= 1;
        self.tell(session, mark, told, copy, is_compared, pending).await
    }

    /// Keeps what is told until the last part, and then removes the others.
    async fn tell(
        &self,
        session: &mut Session,
        mark: &mut Mark,
        mut told: HashSet<Key>,
        copy: &CopyTable,
        is_compared: bool,
        pending: &mut Pending,
    ) -> Result<Gone, Failure> {
        let part = self.said;
        let whole = format!("{} {} {}", part.snapshot, part.chunk, part.attempt);
        // Who joined within a chunk does not know all that it tells of.
        let in_part = format!("?{whole}");
        let is_whole = mark.chunk != in_part && !mark.joined_within;
        let is_compared = is_compared && is_whole;
        let chunk = if is_whole { whole } else { in_part };
        let is_first = mark.chunk != chunk;
        if is_first && !mark.chunk.is_empty() {
            self.forget(session).await?;
        }
        let digest = part.digest.as_ref();
        if !part.last_part && digest.is_none() {
            if is_compared {
                self.keep(session, &told, is_first).await?;
            }
            mark.chunk = chunk;
            return Ok(Gone::default());
        }
        mark.chunk = String::new();
        if !is_compared {
            let compared = digest.map(|digest| self.passed(digest));
            let ranges_passed = u64::from(digest.is_none());
            return Ok(Gone { ranges_passed, compared, ..Gone::default() });
        }
        if !is_first {
            told.extend(self.kept(session).await?);
            self.forget(session).await?;
        }
        pending.flush_table(session, self.rows.table()).await?;
        if let Some(digest) = digest {
            let compared = self.compare(session, copy, &told, digest).await?;
            return Ok(Gone { compared: Some(compared), ..Gone::default() });
        }
        let removed = self.remove_others(session, copy, &told).await?;
        Ok(Gone { removed, ..Gone::default() })
    }

    async fn forget(&self, session: &mut Session) -> Result<(), Failure> {
        let lane = marks::condition(session.dialect, self.lane);
        session
            .run(format!("DELETE FROM binpulse_relay_chunk_key WHERE {lane}").as_bytes())
            .await?;
        Ok(())
    }

    async fn keep(
        &self,
        session: &mut Session,
        told: &HashSet<Key>,
        is_first: bool,
    ) -> Result<(), Failure> {
        let dialect = session.dialect;
        let lane = marks::values(dialect, self.lane);
        let mut number = 0_u64;
        if !is_first {
            let lane = marks::condition(dialect, self.lane);
            let sql = format!("SELECT MAX(number) FROM binpulse_relay_chunk_key WHERE {lane}");
            let rows = session.rows(sql.as_bytes()).await?;
            let last = rows.first().and_then(|row| row.first()).map(super::session::text);
            number = last.and_then(|last| last.parse::<u64>().ok()).map_or(0, |last| last + 1);
        }
        let told: Vec<_> = told.iter().collect();
        for keys in told.chunks(KEYS_AT_ONCE_MAX) {
            let mut sql = b"INSERT INTO binpulse_relay_chunk_key \
                (stream, epoch, lane, number, printed, condition_sql) VALUES "
                .to_vec();
            for (index, key) in keys.iter().enumerate() {
                let begin = if index == 0 { "(" } else { ", (" };
                sql.extend_from_slice(format!("{begin}{lane}, {number}, ").as_bytes());
                dialect.put_bytes(&mut sql, &key.printed);
                sql.push(b',');
                dialect.put_bytes(&mut sql, &key.condition);
                sql.push(b')');
                number += 1;
            }
            session.run(&sql).await?;
        }
        Ok(())
    }

    async fn kept(&self, session: &mut Session) -> Result<Vec<Key>, Failure> {
        let dialect = session.dialect;
        let lane = marks::condition(dialect, self.lane);
        let sql =
            format!("SELECT printed, condition_sql FROM binpulse_relay_chunk_key WHERE {lane}");
        let rows = session.rows(sql.as_bytes()).await?;
        let bytes = |value: &Text| dialect.read_bytes(value.as_deref().unwrap_or_default());
        let keys = rows.iter().filter_map(|row| match row.as_slice() {
            [printed, condition] => {
                Some(Key { printed: bytes(printed), condition: bytes(condition) })
            }
            _ => None,
        });
        Ok(keys.collect())
    }

    /// Removes the rows of the range whose keys are not told.
    async fn remove_others(
        &self,
        session: &mut Session,
        copy: &CopyTable,
        told: &HashSet<Key>,
    ) -> Result<u64, Failure> {
        let table = &copy.source;
        let dialect = session.dialect;
        let columns: Vec<&Column> =
            table.primary_key.iter().filter_map(|ordinal| table.columns.get(*ordinal)).collect();
        let names: Vec<_> = columns.iter().map(|column| dialect.name(&column.name)).collect();
        let upto = bound(dialect, &columns, self.said.key_upto.as_ref(), false)?;
        let mut after = bound(dialect, &columns, self.said.key_after.as_ref(), true)?;
        let mut removed = 0;
        loop {
            let range = [&after, &upto].map(|bound| bound.as_deref().unwrap_or(b"TRUE"));
            let range = range.join(&b" AND "[..]);
            let select = format!(
                "SELECT {} FROM {} WHERE ",
                printed_columns(dialect, &columns).join(", "),
                copy.name
            );
            let order = format!(" ORDER BY {} LIMIT {PAGE_ROWS}", names.join(", "));
            let rows =
                session.rows(&[select.as_bytes(), &range, order.as_bytes()].concat()).await?;
            let Some(last) = rows.last() else { return Ok(removed) };
            let is_last = rows.len() < PAGE_ROWS;
            let next = after_printed(dialect, &columns, last);
            let others = self.others(session, &select, copy, rows, told).await?;
            for keys in others.chunks(KEYS_AT_ONCE_MAX) {
                let mut sql = format!("DELETE FROM {} WHERE ", copy.name).into_bytes();
                let conditions: Vec<_> =
                    keys.iter().map(|key| condition_of_printed(dialect, &columns, key)).collect();
                any_of(dialect, table, conditions.iter().map(Vec::as_slice), &mut sql);
                removed += session.run(&sql).await?;
            }
            if is_last {
                return Ok(removed);
            }
            after = Some(next);
        }
    }

    /// Which of these keys are not told. What the server prints otherwise than the message has it, or
    /// holds for equal although it is not the same, is compared by the server.
    async fn others(
        &self,
        session: &mut Session,
        select: &str,
        copy: &CopyTable,
        rows: Vec<Vec<Text>>,
        told: &HashSet<Key>,
    ) -> Result<Vec<Vec<Text>>, Failure> {
        let printed: HashSet<_> = told.iter().map(|key| key.printed.as_slice()).collect();
        let mut seen = HashSet::new();
        let mut others = Vec::new();
        for row in rows {
            let row_printed = join(row.iter().map(|cell| cell.as_deref().unwrap_or_default()));
            if printed.contains(row_printed.as_slice()) {
                seen.insert(row_printed);
            } else {
                others.push(row);
            }
        }
        if others.is_empty() {
            return Ok(others);
        }
        let unseen: Vec<_> = told.iter().filter(|key| !seen.contains(&key.printed)).collect();
        let mut equal = HashSet::new();
        for keys in unseen.chunks(KEYS_AT_ONCE_MAX) {
            let mut sql = select.as_bytes().to_vec();
            let keys = keys.iter().map(|key| key.condition.as_slice());
            any_of(session.dialect, &copy.source, keys, &mut sql);
            equal.extend(session.rows(&sql).await?);
        }
        others.retain(|row| !equal.contains(row));
        Ok(others)
    }
}

fn join<'c>(cells: impl Iterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for cell in cells {
        out.extend_from_slice(cell);
        out.push(BETWEEN);
    }
    out
}

fn key_of<'c>(
    dialect: Dialect,
    table: &Table,
    cell: impl Fn(usize) -> Cell<'c>,
) -> Result<Key, Failure> {
    let mut printed = Vec::new();
    for ordinal in &table.primary_key {
        match cell(*ordinal) {
            Cell::Int(value) => printed.extend_from_slice(value.to_string().as_bytes()),
            Cell::UInt(value) => printed.extend_from_slice(value.to_string().as_bytes()),
            Cell::Text(bytes) | Cell::Bytes(bytes) => printed.extend_from_slice(bytes),
            // Compared by the server.
            Cell::Absent
            | Cell::Null
            | Cell::Float(_)
            | Cell::Double(_)
            | Cell::Malformed(_)
            | Cell::Json(_)
            | Cell::JsonDiff(_)
            | Cell::Vector(_)
            | Cell::Omitted { .. } => {}
        }
        printed.push(BETWEEN);
    }
    Ok(Key { printed, condition: key_condition(dialect, table, cell)? })
}

/// Columns of a key as they are read: BIT as a number in MySQL, whose text of it is bytes.
pub(super) fn printed_columns(dialect: Dialect, columns: &[&Column]) -> Vec<String> {
    let print = |column: &&Column| {
        let name = dialect.name(&column.name);
        let is_bit = column.logical_type == binpulse_core::change::LogicalType::Bit;
        if is_bit && !dialect.is_postgres() { format!("{name}+0") } else { name }
    };
    columns.iter().map(print).collect()
}

/// The range above a key, or up to it; `None` where it is open.
pub(super) fn bound(
    dialect: Dialect,
    columns: &[&Column],
    image: Option<&proto::Image>,
    above: bool,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(image) = image.filter(|image| !image.values.is_empty()) else { return Ok(None) };
    let mut buffer = RowBuffer::default();
    let image: Image<'_> = OpenedRows::image(image, &mut buffer);
    let mut literals = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let mut literal = Vec::new();
        let put = dialect.put_cell(&mut literal, column, image.cell(place));
        if put != Ok(Put::Written) {
            let found = format!("a bound of a chunk without a value of column `{}`", column.name);
            return Err(Failure::refused(
                "(a snapshot)",
                found,
                "the whole key",
                "take a new snapshot",
            ));
        }
        literals.push(literal);
    }
    Ok(Some(side_of(dialect, columns, &literals, above)))
}

/// `(a > x OR a = x AND (b > y))`: servers find ranges in this form.
fn side_of(dialect: Dialect, columns: &[&Column], literals: &[Vec<u8>], above: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let last = columns.len().saturating_sub(1);
    for (place, (column, literal)) in columns.iter().zip(literals).enumerate() {
        let sign: &[u8] = match (above, place == last) {
            (true, _) => b">",
            (false, true) => b"<=",
            (false, false) => b"<",
        };
        out.push(b'(');
        dialect.put_name(&mut out, &column.name);
        out.extend_from_slice(sign);
        out.extend_from_slice(literal);
        if place < last {
            out.extend_from_slice(b" OR ");
            dialect.put_name(&mut out, &column.name);
            out.push(b'=');
            out.extend_from_slice(literal);
            out.extend_from_slice(b" AND ");
        }
    }
    out.extend(std::iter::repeat_n(b')', columns.len()));
    out
}

fn literals_of_printed(dialect: Dialect, columns: &[&Column], row: &[Text]) -> Vec<Vec<u8>> {
    let literals = columns.iter().zip(row).map(|(column, cell)| {
        let mut literal = Vec::new();
        dialect.put_printed(&mut literal, column, cell.as_deref().unwrap_or_default());
        literal
    });
    literals.collect()
}

pub(super) fn after_printed(dialect: Dialect, columns: &[&Column], row: &[Text]) -> Vec<u8> {
    side_of(dialect, columns, &literals_of_printed(dialect, columns, row), true)
}

/// The same form as [`key_condition`].
fn condition_of_printed(dialect: Dialect, columns: &[&Column], row: &[Text]) -> Vec<u8> {
    let literals = literals_of_printed(dialect, columns, row);
    if let [literal] = literals.as_slice() {
        return literal.clone();
    }
    let mut out = Vec::new();
    for (index, (column, literal)) in columns.iter().zip(&literals).enumerate() {
        out.extend_from_slice(if index == 0 { b"(" } else { b" AND " });
        dialect.put_name(&mut out, &column.name);
        out.push(b'=');
        out.extend_from_slice(literal);
    }
    out.push(b')');
    out
}
