//! Parts of snapshots: their rows, and behind a chunk's last part what is gone.
//!
//! The keys that a chunk tells of are kept beside the lane's mark until its last part: parts of one chunk
//! may be applied by different processes.

use std::collections::HashSet;

use binpulse_client::proto;
use binpulse_core::change::{Cell, Column, RowBuffer};
use binpulse_core::encode::opened::OpenedRows;

use super::keys::{
    Key, PAGE_ROWS, after_printed, bound, condition_of_printed, join, key_of, printed_columns,
};
use super::marks::{self, Mark};
use super::pending::{KEYS_AT_ONCE_MAX, Pending, any_of};
use super::session::{Failure, Session, Text};
use super::tables::{CopyTable, Tables};
use super::verify::{self, Compared};
use crate::lane::LaneKey;

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

/// Its chunk, known as a whole; and known in part, which is all that whoever joined within it knows.
fn chunk_names(part: &proto::SnapshotPart) -> (String, String) {
    let whole = format!("{} {} {}", part.snapshot, part.chunk, part.attempt);
    let in_part = format!("?{whole}");
    (whole, in_part)
}

/// A part is not applied: what its chunk tells of is not known any more. The keys that are kept of it are
/// forgotten with the next chunk.
pub(super) fn pass(mark: &mut Mark, part: &proto::SnapshotPart) {
    mark.chunk = chunk_names(part).1;
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
        let (whole, in_part) = chunk_names(part);
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
            let compared = digest.map(|digest| verify::passed(copy, part, digest));
            let ranges_passed = u64::from(digest.is_none());
            return Ok(Gone { ranges_passed, compared, ..Gone::default() });
        }
        if !is_first {
            told.extend(self.kept(session).await?);
            self.forget(session).await?;
        }
        pending.flush_table(session, self.rows.table()).await?;
        if let Some(digest) = digest {
            let compared = verify::compare(session, copy, part, &told, digest).await?;
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
