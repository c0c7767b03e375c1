//! Which rows of a chunk the stream has overtaken. Pure.
//!
//! A *window* is open for each chunk that is being read: from S, when the loop armed its table, to E,
//! when the loop takes the chunk. The keys of all rows of the table that go by in between are noted.
//! The keys are compared as stored, never ordered: what a collation holds for equal or smaller is for
//! the server to say.

use std::collections::HashMap;
use std::sync::Arc;

use super::reader::is_at_or_behind;
use crate::change::{Cell, Change, Image, Op, Position, Table};
use crate::encode::{Format, KeyWriter};
use crate::pack::choice::{self, Route};
use crate::telemetry::snapshot::ChunkDiscard as Discard;

/// A table that is read, as its chunks have it.
#[derive(Debug)]
pub struct Target {
    /// The table.
    pub table: Arc<Table>,
    /// Writes keys of its rows.
    key: KeyWriter,
    lanes: u32,
}

impl Target {
    /// `key` has the ordinals of the key's columns, in the key's order.
    pub fn new(table: Arc<Table>, key: Vec<usize>, format: Format, lanes: u32) -> Self {
        let key = KeyWriter::new(format, &table, key);
        Self { table, key, lanes: lanes.max(1) }
    }

    /// Appends the key of a row.
    pub fn put_key(&self, out: &mut Vec<u8>, image: &Image<'_>) {
        self.key.put(out, |ordinal| image.cell(ordinal));
    }

    /// Ordinals of the key's columns, in the key's order.
    pub fn key_columns(&self) -> impl Iterator<Item = usize> {
        self.key.columns().iter().copied()
    }

    /// Whether a row of `table` moves to another key, and nobody is told what else is in it: `target` is
    /// how its chunks are read, as far as that is known.
    pub fn moves_in_part(target: Option<&Self>, table: &Table, change: &Change<'_>) -> bool {
        if !is_partial(change) {
            return false;
        }
        match target.filter(|target| target.is(table)) {
            Some(target) => moves(change, target.key.columns()),
            None if !table.primary_key.is_empty() => moves(change, &table.primary_key),
            // Any column may be of its key; those that are not told did not change.
            None => moves(change, &(0..table.columns.len()).collect::<Vec<_>>()),
        }
    }

    /// Whether its rows have no key.
    pub fn is_keyless(&self) -> bool {
        self.key.columns().is_empty()
    }

    fn is(&self, table: &Table) -> bool {
        self.table.name == table.name && self.table.database == table.database
    }

    /// Whether rows of `table` have the columns that the chunks have.
    fn has_columns_of(&self, table: &Table) -> bool {
        let columns = self.table.columns.iter().zip(&table.columns);
        self.table.columns.len() == table.columns.len()
            && columns.clone().all(|(ours, theirs)| ours.logical_type == theirs.logical_type)
            && (!table.named || columns.clone().all(|(ours, theirs)| ours.name == theirs.name))
    }
}

/// A key that went by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    /// Number of the lane of its row.
    pub lane: u32,
    /// The newest image of the row is not complete: consumers may not have the rest of it.
    pub is_partial: bool,
}

/// The windows that are open.
#[derive(Debug)]
pub struct Windows {
    open: Vec<(u64, Window)>,
    next: u64,
    keys_max: usize,
}

/// One of them.
#[derive(Debug)]
pub struct Window {
    target: Arc<Target>,
    touched: HashMap<Box<[u8]>, Touched>,
    /// Where the newest transaction begins of which a row went by. Only of a table without a key.
    newest: Option<Position>,
    spoiled: Option<Discard>,
}

impl Windows {
    /// None is open; all together may hold so many keys.
    pub fn new(keys_max: usize) -> Self {
        Self { open: Vec::new(), next: 1, keys_max }
    }

    /// Opens one; its number.
    pub fn open(&mut self, target: Arc<Target>) -> u64 {
        let number = self.next;
        self.next += 1;
        let window = Window { target, touched: HashMap::new(), newest: None, spoiled: None };
        self.open.push((number, window));
        number
    }

    /// Closes one; what went by.
    pub fn close(&mut self, number: u64) -> Result<Window, Discard> {
        let at = self.open.iter().position(|(known, _)| *known == number);
        let (_, window) = self.open.swap_remove(at.ok_or(Discard::OutOfOrder)?);
        window.spoiled.map_or(Ok(window), Err)
    }

    /// Whether rows of this table are to be told. To be asked once for each event, not for each row.
    #[inline]
    pub fn is_open_for(&self, table: &Table) -> bool {
        !self.open.is_empty() && self.open.iter().any(|(_, window)| window.target.is(table))
    }

    /// A row of the table goes by, of a transaction that begins at `start`.
    pub fn row(&mut self, start: &Position, table: &Table, change: &Change<'_>) {
        let mut left = self.keys_left();
        for (_, window) in self.open.iter_mut().filter(|(_, window)| window.target.is(table)) {
            if window.target.is_keyless() {
                window.row_without_key(start, table);
            } else {
                window.row(table, change, &mut left);
            }
        }
    }

    /// Rows of the table go by that can't be read; without a name, of any table.
    pub fn unread(&mut self, database: &str, table: &str) {
        for (_, window) in &mut self.open {
            let ours = &window.target.table;
            if table.is_empty() || (*ours.database == *database && *ours.name == *table) {
                window.spoil(Discard::UnknownKeys);
            }
        }
    }

    /// A statement goes by that may change tables.
    pub fn statement(&mut self, statement: &str) {
        for (_, window) in &mut self.open {
            if mentions(statement, &window.target.table) {
                window.spoil(Discard::SchemaChanged);
            }
        }
    }

    fn keys_left(&self) -> usize {
        let kept: usize = self.open.iter().map(|(_, window)| window.touched.len()).sum();
        self.keys_max.saturating_sub(kept)
    }
}

impl Window {
    /// Whether the stream has brought something newer of the row with this key.
    pub fn touched(&self, key: &[u8]) -> Option<Touched> {
        self.touched.get(key).copied()
    }

    /// All keys that went by.
    pub fn into_keys(self) -> impl Iterator<Item = (Box<[u8]>, Touched)> {
        self.touched.into_iter()
    }

    /// Whether a row of a table without a key went by that was written behind this place.
    pub fn is_behind(&self, place: &Position) -> bool {
        self.newest.as_ref().is_some_and(|newest| is_at_or_behind(newest, place))
    }

    fn row_without_key(&mut self, start: &Position, table: &Table) {
        if !self.target.has_columns_of(table) {
            self.spoil(Discard::SchemaChanged);
        } else if self.newest.as_ref() != Some(start) {
            self.newest = Some(start.clone());
        }
    }

    fn spoil(&mut self, why: Discard) {
        // The keys mean nothing any more, and would take the room of others.
        self.touched = HashMap::new();
        self.spoiled.get_or_insert(why);
    }

    fn row(&mut self, table: &Table, change: &Change<'_>, left: &mut usize) {
        if self.spoiled.is_some() {
            return;
        }
        if !self.target.has_columns_of(table) {
            return self.spoil(Discard::SchemaChanged);
        }
        let columns = self.target.key.columns();
        let is_untold = |image: &Image<'_>| {
            columns.iter().any(|ordinal| matches!(image.cell(*ordinal), Cell::Absent))
        };
        if change.before.as_ref().is_some_and(is_untold) {
            return self.spoil(Discard::UnknownKeys);
        }
        let is_partial = is_partial(change);
        if is_partial && moves(change, columns) {
            return self.spoil(Discard::KeyMoved);
        }
        let mut keys = [None, None];
        if let Some(before) = change.before {
            let lane = self.lane(Change { op: Op::Delete, after: None, ..*change });
            keys[0] = Some((self.key(|at| before.cell(at)), lane, false));
        }
        if let Some(after) = change.after {
            let lane = if is_partial {
                keys[0].as_ref().map_or(0, |(_, lane, _)| *lane)
            } else {
                self.lane(Change { op: Op::Insert, before: None, ..*change })
            };
            keys[1] = Some((self.key(|at| after_cell(change, after, at)), lane, is_partial));
        }
        for (key, lane, is_partial) in keys.into_iter().flatten() {
            let touched = Touched { lane, is_partial };
            if self.touched.insert(key, touched).is_none() {
                let Some(fewer) = left.checked_sub(1) else {
                    return self.spoil(Discard::TooManyKeys);
                };
                *left = fewer;
            }
        }
    }

    fn key<'a>(&self, cell: impl Fn(usize) -> Cell<'a>) -> Box<[u8]> {
        let mut key = Vec::new();
        self.target.key.put(&mut key, cell);
        key.into_boxed_slice()
    }

    /// The lane of a row of which one image is there.
    fn lane(&self, image: Change<'_>) -> u32 {
        match choice::route(&self.target.table, &image, self.target.lanes) {
            Route::Lane(lane) | Route::Unordered(lane) | Route::Moves { to: lane, .. } => lane,
        }
    }
}

/// Whether the newest image of the row is not complete.
fn is_partial(change: &Change<'_>) -> bool {
    change.op == Op::Update
        && change.after.is_some_and(|after| {
            after.cells().any(|cell| matches!(cell, Cell::Absent | Cell::JsonDiff(_)))
        })
}

/// Whether a row moves to another key of these columns.
fn moves(change: &Change<'_>, columns: &[usize]) -> bool {
    let (Some(before), Some(after)) = (change.before, change.after) else { return false };
    columns.iter().any(|at| after_cell(change, after, *at) != before.cell(*at))
}

/// A cell of the row as it is now: an image that carries only what changed leaves out a key that did
/// not.
fn after_cell<'a>(change: &Change<'a>, after: Image<'a>, ordinal: usize) -> Cell<'a> {
    let cell = after.cell(ordinal);
    if matches!(cell, Cell::Absent) {
        return change.before.map_or(cell, |before| before.cell(ordinal));
    }
    cell
}

/// Whether a statement may be about the table: it holds its name, or that of its database in a
/// statement about databases. Too often yes costs a chunk that is read again.
fn mentions(statement: &str, table: &Table) -> bool {
    let text = statement.to_lowercase();
    let has = |name: &str| text.contains(&name.to_lowercase().replace('`', "``"));
    let of_databases = text.contains("database") || text.contains("schema");
    has(&table.name) || (of_databases && has(&table.database))
}
